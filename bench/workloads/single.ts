/** Single operations, one after the other: how long one caller waits. Repeated by tinybench. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../../src/index.ts';
import { Noise } from '../data.ts';
import { type Table, loadSqliteTable } from '../rival.ts';
import type { Place, Workload } from '../workload.ts';

/** Objects that are there to be read. */
const objects = 200;
const objectBytes = 1024;

interface Subject {
  readonly ids: readonly Buffer[];
  /** Bytes nobody has seen yet. */
  readonly fresh: () => Buffer;
}

function makeObjects(): Buffer[] {
  const noise = new Noise(21);
  return Array.from({ length: objects }, () => noise.bytes(objectBytes));
}

function subjectOf(all: readonly Buffer[]): Subject {
  let count = 0;
  const pattern = new Noise(22).bytes(objectBytes);
  return {
    ids: all.map((bytes) => createHash('sha256').update(bytes).digest()),
    fresh() {
      const bytes = Buffer.from(pattern);
      bytes.writeUInt32LE(count++);
      return bytes;
    },
  };
}

/** Has tinybench repeat the operation, and tells what it found of one. */
async function repeat(place: Place, operation: (index: number) => unknown): Promise<void> {
  const { meter, scale } = place;
  // Loaded only here: the other cases are not to hold it in memory.
  const { Bench } = await import('tinybench');
  const bench = new Bench({
    time: scale.repeatMs,
    warmupTime: scale.repeatMs / 4,
    warmupIterations: 4,
    iterations: 8,
  });
  let index = 0;
  // A promise that is returned is waited for; a rival's plain value is not, so it pays for no turn of the queue.
  bench.add('operation', () => operation(index++));
  const [task] = bench.tasks;
  await task!.warmup();
  await meter.time(async () => {
    await task!.run();
    return { bytes: 0, operations: task!.runs };
  });
  const { result } = task!;
  if (result.state !== 'completed') throw new Error(`tinybench: ${result.state}`);
  meter.fact('medianUs', result.latency.p50 * 1000);
  meter.fact('p99Us', result.latency.p99 * 1000);
}

interface Operation {
  readonly name: string;
  readonly title: string;
  readonly ours: (store: Store, subject: Subject) => (index: number) => unknown;
  readonly theirs: (table: Table, subject: Subject) => (index: number) => unknown;
}

const operations: readonly Operation[] = [
  {
    name: 'get',
    title: 'one object of 1 KiB read and waited for',
    ours: (store, { ids }) => {
      const names = ids.map((id) => id.toString('hex'));
      return (i) => store.get(names[i % objects]!);
    },
    theirs:
      (table, { ids }) =>
      (i) =>
        table.get(ids[i % objects]!),
  },
  {
    name: 'has',
    title: 'one id asked for',
    ours: (store, { ids }) => {
      const names = ids.map((id) => id.toString('hex'));
      return (i) => store.has(names[i % objects]!);
    },
    theirs:
      (table, { ids }) =>
      (i) =>
        table.has(ids[i % objects]!),
  },
  {
    name: 'put',
    title: 'one object of 1 KiB put and waited for, durable',
    ours:
      (store, { fresh }) =>
      () =>
        store.put(fresh(), { owner: 'bench' }),
    theirs:
      (table, { fresh }) =>
      () =>
        table.putOne(fresh()),
  },
];

export const singles: readonly Workload[] = operations.map(({ name, title, ours, theirs }) => ({
  name: `single-${name}`,
  title,
  unit: 'ops/s',
  cache: 'any',
  cases: [
    {
      name: 'holdfast',
      ours: true,
      async run(place) {
        const store = await place.open(place.target);
        const all = makeObjects();
        await Promise.all(all.map((bytes) => store.put(bytes, { owner: 'bench' })));
        await repeat(place, ours(store, subjectOf(all)));
        await store.close();
      },
    },
    {
      name: 'SQLite table',
      ours: false,
      async run(place) {
        const { openTable } = await loadSqliteTable();
        mkdirSync(place.target);
        const table = openTable(join(place.target, 'table.db'));
        const all = makeObjects();
        table.putObjects(all.length, (i) => all[i]!);
        await repeat(place, theirs(table, subjectOf(all)));
        table.close();
      },
    },
  ],
  goals: [],
}));

const codecEntries = 1_000;

/** Nothing but computing: a node with 64 links there and back. No rival: a figure to watch. */
export const codec: Workload = {
  name: 'codec',
  title: 'one node with 64 links encoded and decoded',
  unit: 'ops/s',
  cache: 'any',
  cases: [
    {
      name: 'holdfast',
      ours: true,
      async run(place) {
        const { encodeNode, decodeNode } = place.door;
        const noise = new Noise(23);
        const links = Array.from({ length: 64 }, () => ({
          kind: 'raw' as const,
          id: noise.bytes(32).toString('hex'),
        }));
        const payload = noise.bytes(codecEntries);
        await repeat(place, () => decodeNode(encodeNode({ links, payload })));
      },
    },
  ],
  goals: [],
};
