// The process that dies in the middle of a scrub: opens the store it is told, and kills itself when so many bytes are verified.
import { openStore } from '../../engine/index.ts';

const [path, rate, until] = process.argv.slice(2) as [string, string, string];
const store = await openStore(path, { mode: 'open', threads: { count: 1 }, schedule: 'leave' });
await store.scrub({
  rate: Number(rate),
  // By itself, so that however loaded the machine is it dies there.
  onProgress: ({ bytes }) => bytes >= Number(until) && process.kill(process.pid, 'SIGKILL'),
});
await store.close();
