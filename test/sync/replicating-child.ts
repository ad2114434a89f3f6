// A process that pulls or pushes between the store named first and one that a child of its own serves; tells when it begins, and its result.
import { fileURLToPath } from 'node:url';
import { openStore } from '../../engine/index.ts';
import { pull, push, spawnTransport } from '../../sync/index.ts';

const [, , folder, direction, remote] = process.argv;
const child = fileURLToPath(new URL('./serving-child.ts', import.meta.url));
const store = await openStore(folder!, { mode: 'open', durability: 'relaxed', threads: { count: 0 } });
try {
  const transport = spawnTransport(process.execPath, ['--no-warnings', child, remote!]);
  const done = await (direction === 'pull' ? pull : push)(store, transport);
  console.log(JSON.stringify({ bytes: done.bytes, wire: done.sentBytes + done.receivedBytes }));
} finally {
  await store.close();
}
