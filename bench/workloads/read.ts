/** Random reads (W5): ranges of the large blob, warm and cold, and small objects. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Noise, smallFiles } from '../data.ts';
import { type Range, loadNaive, loadSqliteTable } from '../rival.ts';
import { inFlight } from '../window.ts';
import type { Case, Place, Workload } from '../workload.ts';

const rangeBytes = 64 * 1024;
const readsInFlight = 256;

function rangesOf({ data, scale }: Place): Range[] {
  const noise = new Noise(11);
  const { size } = statSync(data.large);
  return Array.from({ length: scale.reads }, () => ({
    offset: noise.below(size - rangeBytes),
    length: rangeBytes,
  }));
}

/** The same number of picks for everybody; the rivals pick among what they have. */
function picksOf<Item>(from: readonly Item[], count: number): Item[] {
  const noise = new Noise(12);
  return Array.from({ length: count }, () => from[noise.below(from.length)]!);
}

const ourRanges: Case = {
  name: 'holdfast (verified)',
  ours: true,
  needs: ['store-all'],
  async run(place) {
    const { open, prepared, meter } = place;
    const ranges = rangesOf(place);
    const store = await open(prepared('store-all'), { mode: 'open' });
    const [large] = (await store.roots.list()).filter(({ name }) => name === 'large');
    let bytes = 0;
    await meter.time(async () => {
      await inFlight(ranges.length, readsInFlight, async (i) => {
        const { offset, length } = ranges[i]!;
        const { length: count } = (await store.readRange(large!.id, offset, length))!;
        bytes += count;
      });
      return { bytes, operations: ranges.length };
    });
    await store.close();
  },
};

const naiveRanges: Case = {
  name: 'naive pread',
  ours: false,
  async run(place) {
    const { readRanges } = await loadNaive();
    const ranges = rangesOf(place);
    await place.meter.time(() => ({
      bytes: readRanges(place.data.large, ranges),
      operations: ranges.length,
    }));
  },
};

const tableRanges: Case = {
  name: 'SQLite table',
  ours: false,
  needs: ['table-large'],
  async run(place) {
    const { openTable } = await loadSqliteTable();
    const ranges = rangesOf(place);
    const table = openTable(join(place.prepared('table-large'), 'table.db'));
    await place.meter.time(() => ({
      bytes: ranges.reduce((sum, range) => sum + table.readRange(range), 0),
      operations: ranges.length,
    }));
    table.close();
  },
};

export const rangesWarm: Workload = {
  name: 'W5-ranges',
  title: 'random ranges of 64 KiB of the large blob, warm',
  unit: 'ops/s',
  cache: 'warm',
  warms: ['large', 'store-all', 'table-large'],
  cases: [ourRanges, naiveRanges, tableRanges],
  goals: [
    { figure: 'rate', atLeast: 20_000, source: 'performance.md' },
    { figure: 'loopP99Ms', atMost: 10, source: 'issue 2' },
  ],
};

export const rangesCold: Workload = {
  name: 'W5-ranges-cold',
  title: 'random ranges of 64 KiB of the large blob, cold',
  unit: 'ops/s',
  cache: 'cold',
  cases: [ourRanges, naiveRanges],
  goals: [{ figure: 'ratio', atLeast: 1.2, source: 'performance.md' }],
};

export const objectsWarm: Workload = {
  name: 'W5-objects',
  title: 'random small objects, warm',
  unit: 'ops/s',
  cache: 'warm',
  warms: ['small', 'store-halves', 'table-small'],
  cases: [
    {
      name: 'holdfast (verified)',
      ours: true,
      needs: ['store-halves'],
      async run({ open, prepared, meter, scale }) {
        const store = await open(prepared('store-halves'), { mode: 'open' });
        const all: string[] = [];
        for await (const { id, kind } of store.list()) if (kind === 'raw') all.push(id);
        const picks = picksOf(all, scale.reads);
        let bytes = 0;
        await meter.time(async () => {
          await inFlight(picks.length, readsInFlight, async (i) => {
            const { length: count } = (await store.readRange(picks[i]!, 0, rangeBytes))!;
            bytes += count;
          });
          return { bytes, operations: picks.length };
        });
        await store.close();
      },
    },
    {
      name: 'SQLite table',
      ours: false,
      needs: ['table-small'],
      async run({ prepared, meter, scale }) {
        const { openTable } = await loadSqliteTable();
        const table = openTable(join(prepared('table-small'), 'table.db'));
        const picks = picksOf(table.ids(), scale.reads);
        await meter.time(() => ({
          bytes: picks.reduce((sum, id) => sum + table.get(id), 0),
          operations: picks.length,
        }));
        table.close();
      },
    },
    {
      name: 'naive files',
      ours: false,
      async run({ data, meter, scale }) {
        const { readFiles } = await loadNaive();
        const picks = picksOf(smallFiles(data), scale.reads);
        await meter.time(() => ({ bytes: readFiles(picks), operations: picks.length }));
      },
    },
  ],
  goals: [{ figure: 'rate', atLeast: 40_000, source: 'performance.md' }],
};
