/** The same folders again, unchanged (W4): by what the import cache remembers, by the command line, and read anew. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { smallFiles } from '../data.ts';
import { loadNaive } from '../rival.ts';
import type { Place, Workload } from '../workload.ts';

/** Opens, imports and closes: all of it is the work. */
async function importAgain({ door, open, data, meter, prepared }: Place, rehash: boolean): Promise<void> {
  const directory = prepared('store-all');
  let filesRead = 0;
  await meter.time(async () => {
    const store = await open(directory, { mode: 'open' });
    const result = await door.importPaths(store, [data.small], { root: 'small', rehash });
    await store.close();
    filesRead = result.filesRead;
    return { bytes: result.bytes, operations: result.files };
  });
  meter.fact('filesRead', filesRead);
}

export const unchanged: Workload = {
  name: 'W4',
  title: 'the small files again, unchanged',
  unit: 's',
  cache: 'warm',
  warms: ['small', 'store-all'],
  cases: [
    { name: 'holdfast', ours: true, needs: ['store-all'], run: (place) => importAgain(place, false) },
    {
      name: 'holdfast add (whole command)',
      ours: true,
      needs: ['store-all'],
      async run({ data, meter, prepared, build }) {
        const args = [build.program, 'add', prepared('store-all'), data.small, '--root', 'small', '--json'];
        await meter.time(() => {
          const said = execFileSync(process.execPath, args, {
            encoding: 'utf8',
            stdio: ['ignore', 'pipe', 'ignore'],
          });
          const result = JSON.parse(said.trim().split('\n').at(-1)!) as { files: number; bytes: number };
          return { bytes: result.bytes, operations: result.files };
        });
      },
    },
    {
      name: 'naive notes',
      ours: false,
      needs: ['naive-notes'],
      async run({ data, meter, prepared }) {
        const { checkNotes } = await loadNaive();
        const notes = join(prepared('naive-notes'), 'notes.json');
        await meter.time(() => ({ bytes: 0, operations: checkNotes(data.small, notes) }));
      },
    },
  ],
  goals: [
    { figure: 'seconds', of: 'holdfast', atMost: 1.5, source: 'issue 2' },
    { figure: 'seconds', of: 'holdfast', atMost: 1, source: 'performance.md' },
    { figure: 'seconds', of: 'holdfast add (whole command)', atMost: 1.5, source: 'issue 2' },
    { figure: 'loopP99Ms', of: 'holdfast', atMost: 10, source: 'issue 2' },
  ],
};

export const rehash: Workload = {
  name: 'W4-rehash',
  title: 'the small files again, every one read and hashed',
  unit: 'ops/s',
  cache: 'warm',
  warms: ['small', 'store-all'],
  cases: [
    { name: 'holdfast', ours: true, needs: ['store-all'], run: (place) => importAgain(place, true) },
    {
      name: 'naive',
      ours: false,
      async run({ data, meter }) {
        const { hashFiles } = await loadNaive();
        const paths = smallFiles(data);
        await meter.time(() => ({ bytes: hashFiles(paths), operations: paths.length }));
      },
    },
  ],
  goals: [{ figure: 'ratio', atLeast: 1.5, source: 'performance.md' }],
};
