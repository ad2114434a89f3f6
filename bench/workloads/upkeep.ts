/** Upkeep: verifying everything (W6), collecting half (W7), opening a store that is full (W11). */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type DataSet, smallFiles } from '../data.ts';
import { foreground, residentBytes } from '../foreground.ts';
import { peakBytes } from '../meter.ts';
import { loadCores, loadNaive, loadSqliteTable } from '../rival.ts';
import type { Case, Workload } from '../workload.ts';

/** Long enough for what opening left behind to be collected. */
const restMs = 200;

/** The id of a small file, found without opening anything. */
function someId(data: DataSet): Buffer {
  return createHash('sha256')
    .update(readFileSync(smallFiles(data)[0]!))
    .digest();
}

const readsCold = 'its files read by all cores';
const hashes = 'sha256 on all cores';

/** What the machine could do at best, on the very volumes that are scrubbed: the slower of the two is the bar. */
function theMachine(name: string, what: 'read' | 'hash'): Case {
  return {
    name,
    ours: false,
    needs: ['store-all'],
    async run({ prepared, meter }) {
      const { startCores } = await loadCores();
      const files = filesBelow(prepared('store-all')).filter((path) =>
        /[/\\](blobs|volumes)[/\\]/.test(path),
      );
      const threads = await startCores(files, what);
      await meter.time(async () => ({ bytes: await threads.run(), operations: files.length }));
      await threads.stop();
    },
  };
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
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
        const before = residentBytes();
        await meter.time(async () => {
          const { bytes, blobs, damaged } = await store.scrub();
          if (damaged.length > 0) throw new Error(`the scrub found damage in ${damaged.length} blobs`);
          return { bytes, operations: blobs };
        });
        meter.fact('overIdleMB', (peakBytes() - before) / 1e6);
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
    theMachine(readsCold, 'read'),
    theMachine(hashes, 'hash'),
  ],
  goals: [
    { figure: 'ratio', rival: [readsCold, hashes], atLeast: 0.8, source: 'issue 4' },
    { figure: 'rate', atLeast: 1_100, source: 'performance.md' },
    { figure: 'overIdleMB', atMost: 150, source: 'issue 4' },
  ],
};

/** Puts one after another, alone and beside a scrub that starts anew until they were enough. */
export const scrubBeside: Workload = {
  name: 'W6-beside',
  title: 'puts of 8 KiB, one after another, beside a scrub',
  unit: 's',
  cache: 'warm',
  cases: [
    {
      name: 'holdfast scrub',
      ours: true,
      copies: 'store-halves',
      async run({ open, target, scale, meter }) {
        const store = await open(target, { mode: 'open' });
        const puts = await foreground(store, scale.repeatMs);
        await meter.time(() =>
          puts.during(async () => {
            const { bytes, blobs } = await store.scrub();
            return { bytes, operations: blobs };
          }),
        );
        puts.tell(meter);
        await store.close();
      },
    },
  ],
  goals: [{ figure: 'putP99Ratio', atMost: 2, source: 'issue 4' }],
};

/** So many `repeatMs` a scrub of everything at this rate would take, and for so many it is looked at: what it may make up for is 3 % of that. */
const paced = { whole: 10, looked: 4 };

export const scrubPaced: Workload = {
  name: 'W6-paced',
  title: 'the first part of a scrub at a rate',
  unit: 'MB/s',
  cache: 'warm',
  cases: [
    {
      name: 'holdfast scrub',
      ours: true,
      needs: ['store-halves'],
      async run({ open, prepared, scale, meter }) {
        const store = await open(prepared('store-halves'), { mode: 'open' });
        const { bytes: all } = await store.stats();
        const rate = Math.max(1024, Math.round((all * 1000) / (paced.whole * scale.repeatMs)));
        // While it reads: planning before it and counting behind it read nothing.
        const seen: { readonly ms: number; readonly bytes: number }[] = [];
        await meter.time(async () => {
          const { bytes, blobs } = await store.scrub({
            rate,
            timeBoxMs: paced.looked * scale.repeatMs,
            onProgress: (progress) => seen.push({ ms: performance.now(), bytes: progress.bytes }),
          });
          return { bytes, operations: blobs };
        });
        const [first, last] = [seen[0]!, seen.at(-1)!];
        const held = (last.bytes - first.bytes) / Math.max(1e-3, (last.ms - first.ms) / 1000);
        meter.fact('rateOffPercent', Math.abs(held / rate - 1) * 100);
        await store.close();
      },
    },
  ],
  goals: [{ figure: 'rateOffPercent', atMost: 5, source: 'issue 4' }],
};

export const dropHalf: Workload = {
  name: 'W7',
  title: 'half of many objects of 512 bytes collected, with puts beside it',
  unit: 'ops/s',
  cache: 'warm',
  cases: [
    {
      name: 'holdfast gc',
      ours: true,
      copies: 'store-many',
      async run({ open, target, scale, meter }) {
        const store = await open(target, { mode: 'open' });
        const puts = await foreground(store, scale.repeatMs);
        const before = residentBytes();
        await meter.time(() =>
          puts.during(async () => {
            const { deleted, freedBytes, blocked } = await store.gc({ graceMs: 0 });
            if (blocked !== undefined || deleted < scale.collected / 2)
              throw new Error(`collection deleted ${deleted}: ${blocked ?? 'no reason'}`);
            return { bytes: freedBytes, operations: deleted };
          }),
        );
        puts.tell(meter);
        meter.fact('overIdleMB', (peakBytes() - before) / 1e6);
        await store.close();
      },
    },
    {
      name: 'SQLite table, rows deleted',
      ours: false,
      copies: 'table-many',
      async run({ target, scale, meter }) {
        const { openTable } = await loadSqliteTable();
        const table = openTable(join(target, 'table.db'));
        const ids = table.ids().slice(0, scale.collected / 2);
        await meter.time(() => ({ bytes: 0, operations: table.deleteRows(ids) }));
        table.close();
      },
    },
  ],
  goals: [
    { figure: 'overIdleMB', atMost: 150, source: 'issue 4' },
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
