/** Taking in: one large file (W1), many small files (W3), many small objects from memory (W3m). */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { OpenOptions, PutOptions } from '../../src/index.ts';
import { Noise, smallFiles } from '../data.ts';
import { spaceOf } from '../machine.ts';
import { loadNaive, loadSqliteTable } from '../rival.ts';
import { inFlight } from '../window.ts';
import type { Case, Place, Workload } from '../workload.ts';

/** Puts of small files in flight: as many as the rival has rows in a transaction. */
const filesInFlight = 1_000;
/** Puts of objects in flight. */
const objectsInFlight = 4_000;
const objectBytes = 1024;

/** The large file into a new store. */
export function putLarge(name: string, ours: boolean, options: OpenOptions = {}): Case {
  return {
    name,
    ours,
    async run({ open, data, target, meter }) {
      const store = await open(target, options);
      await meter.time(async () => {
        const { size } = await store.put({ path: data.large });
        return { bytes: size, operations: 1 };
      });
      await store.close();
    },
  };
}

export const largeFile: Workload = {
  name: 'W1',
  title: 'one large incompressible file by path, source cold',
  unit: 'MB/s',
  cache: 'cold',
  cases: [
    putLarge('holdfast', true),
    {
      name: 'naive + sync',
      ours: false,
      async run({ data, target, meter }) {
        const { copyFile } = await loadNaive();
        mkdirSync(target);
        await meter.time(() => ({ bytes: copyFile(data.large, join(target, 'copy')), operations: 1 }));
      },
    },
  ],
  goals: [
    { figure: 'ratio', atLeast: 1.0, source: 'issue 2' },
    { figure: 'ratio', atLeast: 1.3, source: 'performance.md' },
    { figure: 'loopP99Ms', atMost: 10, source: 'issue 2' },
    { figure: 'loopP99Ms', atMost: 5, source: 'performance.md' },
    { figure: 'loopMaxMs', atMost: 20, source: 'performance.md' },
    { figure: 'peakMB', atMost: 120, source: 'performance.md' },
  ],
};

/** What the small files take once they are stored. */
function noteSpace({ meter, target }: Place, contentBytes: number): void {
  const { bytes, inodes } = spaceOf(target);
  meter.fact('storedOverContent', bytes / contentBytes);
  meter.fact('inodes', inodes);
}

/** Without an owner, as the rivals have none; and with one, as applications mostly put. */
function putFiles(name: string, options: PutOptions): Case {
  return {
    name,
    ours: true,
    async run(place) {
      const { open, data, target, meter } = place;
      const paths = smallFiles(data);
      const store = await open(target);
      let bytes = 0;
      await meter.time(async () => {
        await inFlight(paths.length, filesInFlight, async (i) => {
          const { size } = await store.put({ path: paths[i]! }, options);
          bytes += size;
        });
        return { bytes, operations: paths.length };
      });
      await store.close();
      noteSpace(place, bytes);
    },
  };
}

export const smallFilesIn: Workload = {
  name: 'W3',
  title: 'many files of 1 to 16 KiB, half compressible, by path, sources warm',
  unit: 'ops/s',
  cache: 'warm',
  warms: ['small'],
  cases: [
    putFiles('holdfast', {}),
    putFiles('holdfast, owned', { owner: 'bench' }),
    {
      name: 'SQLite table',
      ours: false,
      async run(place) {
        const { data, target, meter } = place;
        const { openTable } = await loadSqliteTable();
        const paths = smallFiles(data);
        mkdirSync(target);
        const table = openTable(join(target, 'table.db'));
        let bytes = 0;
        await meter.time(() => {
          bytes = table.putFiles(paths);
          return { bytes, operations: paths.length };
        });
        table.close();
        noteSpace(place, bytes);
      },
    },
    {
      name: 'naive + sync',
      ours: false,
      async run(place) {
        const { data, target, meter } = place;
        const { storeFiles } = await loadNaive();
        const paths = smallFiles(data);
        let bytes = 0;
        await meter.time(() => {
          bytes = storeFiles(paths, target);
          return { bytes, operations: paths.length };
        });
        noteSpace(place, bytes);
      },
    },
  ],
  goals: [
    { figure: 'ratio', rival: 'SQLite table', atLeast: 1.3, source: 'issue 2' },
    { figure: 'ratio', rival: 'SQLite table', atLeast: 1.8, source: 'performance.md' },
    { figure: 'loopP99Ms', atMost: 10, source: 'issue 2' },
    { figure: 'storedOverContent', atMost: 1.1, source: 'performance.md' },
    { figure: 'inodes', atMost: 50, source: 'performance.md' },
  ],
};

export const objectsFew: Workload = objects('W3m-few', 'objectsFew');
export const objectsMany: Workload = objects('W3m-many', 'objectsMany');

type Count = 'objectsFew' | 'objectsMany';

function putObjects(name: string, size: Count, options: PutOptions): Case {
  return {
    name,
    ours: true,
    async run({ open, target, scale, meter }) {
      const store = await open(target);
      const make = objectMaker();
      const operations = scale[size];
      await meter.time(async () => {
        await inFlight(operations, objectsInFlight, (i) => store.put(make(i), options));
        return { bytes: operations * objectBytes, operations };
      });
      await store.close();
    },
  };
}

function objects(name: string, size: Count): Workload {
  const what = size === 'objectsFew' ? '10,000' : '100,000';
  const cases: Case[] = [
    putObjects('holdfast', size, {}),
    putObjects('holdfast, owned', size, { owner: 'bench' }),
    {
      name: 'SQLite table',
      ours: false,
      async run({ target, scale, meter }) {
        const { openTable } = await loadSqliteTable();
        mkdirSync(target);
        const table = openTable(join(target, 'table.db'));
        const make = objectMaker();
        const operations = scale[size];
        await meter.time(() => {
          table.putObjects(operations, make);
          return { bytes: operations * objectBytes, operations };
        });
        table.close();
      },
    },
  ];
  return {
    name,
    title: `objects of 1 KiB from memory (${what} at full scale), many puts in flight`,
    unit: 'ops/s',
    cache: 'any',
    cases,
    goals: [
      { figure: 'ratio', atLeast: 0.9, source: 'performance.md' },
      { figure: 'loopP99Ms', atMost: 10, source: 'issue 2' },
    ],
  };
}

/** Objects that differ in their first bytes: cheap to make, so that making them is not what is measured. */
function objectMaker(): (index: number) => Uint8Array {
  const pattern = new Noise(7).bytes(objectBytes);
  return (index) => {
    const bytes = Buffer.from(pattern);
    bytes.writeUInt32LE(index);
    return bytes;
  };
}
