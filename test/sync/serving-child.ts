// A process that serves the store named on its command line over its stdin and stdout; HOLDFAST_PID_FILE gets its pid.
import { writeFileSync } from 'node:fs';
import { openStore } from '../../engine/index.ts';
import { serve, streamTransport } from '../../sync/index.ts';

const pidFile = process.env['HOLDFAST_PID_FILE'];
if (pidFile !== undefined) writeFileSync(pidFile, String(process.pid));
const store = await openStore(process.argv[2]!, {
  mode: 'open',
  durability: 'relaxed',
  threads: { count: 0 },
});
try {
  await serve(store, streamTransport({ input: process.stdin, output: process.stdout }));
} finally {
  await store.close();
}
