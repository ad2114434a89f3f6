/** Upkeep: verifying everything (W6), giving back half (W7), opening a store that is full (W11). */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type DataSet, smallFiles } from '../data.ts';
import { loadNaive, loadSqliteTable } from '../rival.ts';
import type { Workload } from '../workload.ts';

/** Long enough for what opening left behind to be collected. */
const restMs = 200;

/** The id of a small file, found without opening anything. */
function someId(data: DataSet): Buffer {
  return createHash('sha256')
    .update(readFileSync(smallFiles(data)[0]!))
    .digest();
}

export const scrubAll: Workload = {
  name: 'W6',
  title: 'every stored byte verified, cold',
  unit: 'MB/s',
  cache: 'cold',
  cases: [
    {
      name: 'holdfast scrub',
      ours: true,
      needs: ['store-all'],
      async run({ open, prepared, meter }) {
        const store = await open(prepared('store-all'), { mode: 'open' });
        await meter.time(async () => {
          const { bytes, blobs, damaged } = await store.scrub();
          if (damaged.length > 0) throw new Error(`the scrub found damage in ${damaged.length} blobs`);
          return { bytes, operations: blobs };
        });
        await store.close();
      },
    },
    {
      name: 'naive sha256',
      ours: false,
      async run({ data, meter }) {
        const { hashFiles } = await loadNaive();
        const paths = [...smallFiles(data), data.large];
        await meter.time(() => ({ bytes: hashFiles(paths), operations: paths.length }));
      },
    },
  ],
  goals: [{ figure: 'rate', atLeast: 1_100, source: 'performance.md' }],
};

export const dropHalf: Workload = {
  name: 'W7',
  title: 'half of the small files dropped and collected',
  unit: 's',
  cache: 'warm',
  cases: [
    {
      name: 'holdfast gc',
      ours: true,
      copies: 'store-halves',
      async run({ open, target, meter }) {
        const store = await open(target, { mode: 'open' });
        await meter.time(async () => {
          await store.roots.delete('b');
          const { deleted, freedBytes, blocked } = await store.gc({ graceMs: 0 });
          if (blocked !== undefined || deleted === 0)
            throw new Error(`collection did nothing: ${blocked ?? 'no reason'}`);
          return { bytes: freedBytes, operations: deleted };
        });
        await store.close();
      },
    },
    {
      name: 'naive unlink + sync',
      ours: false,
      copies: 'small-files',
      async run({ target, meter }) {
        const { unlinkAll } = await loadNaive();
        await meter.time(() => ({ bytes: 0, operations: unlinkAll(join(target, 'b')) }));
      },
    },
  ],
  goals: [
    { figure: 'seconds', atMost: 1, source: 'performance.md' },
    { figure: 'ratio', atLeast: 2, source: 'performance.md' },
    { figure: 'loopP99Ms', atMost: 10, source: 'issue 2' },
  ],
};

export const openFull: Workload = {
  name: 'W11',
  title: 'open with all small files in the store, and one read',
  unit: 's',
  cache: 'warm',
  warms: ['store-halves', 'table-small'],
  cases: [
    {
      name: 'holdfast',
      ours: true,
      needs: ['store-halves'],
      async run({ open, data, prepared, meter }) {
        const id = someId(data).toString('hex');
        let store: Awaited<ReturnType<typeof open>> | undefined;
        let sinceStartMs = 0;
        await meter.time(async () => {
          store = await open(prepared('store-halves'), { mode: 'open' });
          const bytes = (await store.get(id))!.length;
          sinceStartMs = performance.now();
          return { bytes, operations: 1 };
        });
        // Of the whole process, Node's own start and ours included.
        meter.fact('sinceStartMs', sinceStartMs);
        await wait(restMs);
        meter.fact('restMB', process.memoryUsage().rss / 1e6);
        await store?.close();
      },
    },
    {
      name: 'SQLite table',
      ours: false,
      needs: ['table-small'],
      async run({ data, prepared, meter }) {
        const { openTable } = await loadSqliteTable();
        const path = join(prepared('table-small'), 'table.db');
        const id = someId(data);
        let table: ReturnType<typeof openTable> | undefined;
        await meter.time(() => {
          table = openTable(path);
          return { bytes: table.get(id), operations: 1 };
        });
        await wait(restMs);
        meter.fact('restMB', process.memoryUsage().rss / 1e6);
        table?.close();
      },
    },
  ],
  goals: [
    { figure: 'seconds', atMost: 0.05, source: 'performance.md' },
    { figure: 'restMB', atMost: 80, source: 'performance.md' },
  ],
};
