// The process that is killed in the middle of a scrub: opens the store it is told, and says how many bytes it has verified.
import { openStore } from '../../engine/index.ts';

const [path, rate] = process.argv.slice(2) as [string, string];
const store = await openStore(path, { mode: 'open', threads: { count: 1 }, schedule: 'leave' });
await store.scrub({ rate: Number(rate), onProgress: ({ bytes }) => void process.send!(bytes) });
await store.close();
process.disconnect();
