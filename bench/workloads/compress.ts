/** Compression: programs, text and JSON against the codec alone (W9); media must not lose by it (W9-media). */
import { programFiles } from '../data.ts';
import { loadCodec } from '../rival.ts';
import { inFlight } from '../window.ts';
import type { Workload } from '../workload.ts';
import { putLarge } from './ingest.ts';

const filesInFlight = 1_000;

export const programs: Workload = {
  name: 'W9',
  title: 'programs, text and JSON of this machine by path, compressed',
  unit: 'MB/s',
  cache: 'any',
  cases: [
    {
      name: 'holdfast, auto',
      ours: true,
      async run({ open, target, scale, meter }) {
        const paths = programFiles(scale.programBytes);
        const store = await open(target, { compression: 'auto' });
        let stored = 0;
        let bytes = 0;
        await meter.time(async () => {
          await inFlight(paths.length, filesInFlight, async (i) => {
            const put = await store.put({ path: paths[i]! });
            bytes += put.size;
            // Of a file that is there twice too: the rival knows no copies.
            stored += put.storedSize;
          });
          return { bytes, operations: paths.length };
        });
        await store.close();
        meter.fact('storedOverContent', stored / bytes);
      },
    },
    {
      name: 'codec alone',
      ours: false,
      async run({ scale, meter }) {
        const { compressFiles } = await loadCodec();
        const paths = programFiles(scale.programBytes);
        let stored = 0;
        await meter.time(async () => {
          const done = await compressFiles(paths);
          stored = done.stored / done.bytes;
          return { bytes: done.bytes, operations: paths.length };
        });
        meter.fact('storedOverContent', stored);
      },
    },
  ],
  goals: [
    { figure: 'ratio', atLeast: 0.8, source: 'issue 3' },
    { figure: 'storedOverContent', atMost: 0.29, source: 'performance.md' },
  ],
};

export const media: Workload = {
  name: 'W9-media',
  title: 'the large incompressible file by path, with compression auto and off',
  unit: 'MB/s',
  cache: 'warm',
  warms: ['large'],
  cases: [putLarge('holdfast, auto', true, { compression: 'auto' }), putLarge('holdfast, off', false)],
  goals: [{ figure: 'ratio', atLeast: 0.9, source: 'issue 3' }],
};
