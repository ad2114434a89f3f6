/** Chunking: a large file that is here already, with 1 KiB inserted at its head (W10); and the same file for the first time. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { Noise } from '../data.ts';
import type { Place, Workload } from '../workload.ts';
import { putLarge } from './ingest.ts';

const inserted = 1024;
const pieceBytes = 4 * 1024 * 1024;

/** A copy of the large file with something new in front. */
function insertAtHead({ data, target }: Place): string {
  const path = `${target}.edited`;
  const [from, to] = [openSync(data.large, 'r'), openSync(path, 'w')];
  const piece = Buffer.allocUnsafe(pieceBytes);
  writeSync(to, new Noise(77).bytes(inserted));
  for (let count = readSync(from, piece); count > 0; count = readSync(from, piece))
    writeSync(to, piece.subarray(0, count));
  closeSync(from);
  closeSync(to);
  return path;
}

export const insertion: Workload = {
  name: 'W10',
  title: 'the large file with 1 KiB inserted at its head, chunked',
  unit: 'MB/s',
  cache: 'any',
  cases: [
    {
      name: 'holdfast, the edit',
      ours: true,
      async run(place) {
        const { open, data, target, meter } = place;
        const store = await open(target, { chunking: 'fastcdc' });
        await store.put({ path: data.large });
        const path = insertAtHead(place);
        let stored = 0;
        await meter.time(async () => {
          const { size, storedSize } = await store.put({ path });
          stored = storedSize;
          return { bytes: size, operations: 1 };
        });
        await store.close();
        meter.fact('newMB', stored / 1e6);
      },
    },
    putLarge('holdfast, first put', true, { chunking: 'fastcdc' }),
    putLarge('holdfast, off', false),
  ],
  goals: [
    { figure: 'newMB', of: 'holdfast, the edit', atMost: 2.1, source: 'issue 3' },
    { figure: 'newMB', of: 'holdfast, the edit', atMost: 1.2, source: 'performance.md' },
    { figure: 'rate', of: 'holdfast, the edit', atLeast: 550, source: 'performance.md' },
  ],
};
