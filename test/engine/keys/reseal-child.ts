// A process that turns epochs and seals everything anew, and tells how far it is, until it is killed.
import { openStore } from '../../../engine/index.ts';
import { smallParameters } from '../store-folder.ts';
import { secret } from './known.ts';

const store = await openStore(process.argv[2]!, {
  threads: { count: 0 },
  parameters: smallParameters,
  encryption: { secret },
});
for (;;) {
  await store.keys.rotate();
  process.send!('rotated');
  await store.keys.reseal({ onProgress: ({ blobs }) => void process.send!(blobs) });
}
