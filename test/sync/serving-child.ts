// A process that serves the store named on its command line over its stdin and stdout.
import { openStore } from '../../engine/index.ts';
import { serve, streamTransport } from '../../sync/index.ts';

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
