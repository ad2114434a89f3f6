/** Dissociates a store and kills itself after so many blobs. */
import { openStore } from '../../engine/index.ts';

const [path, count] = process.argv.slice(2);
const store = await openStore(path!, { threads: { count: 0 } });
await store.dissociate({
  onProgress: ({ blobs }) => blobs >= Number(count) && process.kill(process.pid, 'SIGKILL'),
});
