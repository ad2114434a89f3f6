/** The sweeps that the numbers of the format were chosen by: threshold, extent, chunk and volume sizes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type OpenOptions, type Store, openStore } from '../src/index.ts';
import { Noise, programFiles } from './data.ts';
import { syncMachine } from './machine.ts';
import type { Plot, Series } from './plot.ts';
import { inFlight } from './window.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

export interface SweepOptions {
  /** Where stores are made. */
  readonly directory: string;
  /** Content bytes of each point. */
  readonly bytes: number;
  /** Each point is the median of so many. */
  readonly runs: number;
  readonly says: (text: string) => void;
}

export interface Sweep {
  readonly name: string;
  run(options: SweepOptions): Promise<Omit<Plot, 'note'>[]>;
}

const powers = (from: number, to: number, step = 2): number[] => {
  const sizes: number[] = [];
  for (let size = from; size <= to; size *= step) sizes.push(size);
  return sizes;
};

/** Runs `work` on a new store each time; the medians of the figures it gives. */
async function median(
  options: SweepOptions,
  open: OpenOptions,
  work: (store: Store) => Promise<readonly number[]>,
): Promise<readonly number[]> {
  const all: (readonly number[])[] = [];
  for (let run = 0; run < options.runs; run++) {
    const folder = mkdtempSync(join(options.directory, 'sweep-'));
    const store = await openStore(join(folder, 'store'), open);
    try {
      all.push(await work(store));
    } finally {
      await store.close();
      rmSync(folder, { recursive: true });
      syncMachine();
    }
  }
  return all[0]!.map((_, i) => all.map((figures) => figures[i]!).sort((a, b) => a - b)[all.length >> 1]!);
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Puts blobs of one size and reads them again in another order; MB a second of both. */
async function putAndGet(store: Store, size: number, total: number): Promise<readonly number[]> {
  const count = Math.max(24, Math.min(20_000, Math.floor(total / size)));
  const noise = new Noise(size);
  const sample = noise.bytes(size);
  const ids: string[] = [];
  const put = await seconds(() =>
    inFlight(count, 256, async (i) => {
      const bytes = Buffer.from(sample);
      bytes.writeUInt32LE(i);
      ids[i] = (await store.put(bytes)).id;
    }),
  );
  const get = await seconds(() => inFlight(count, 64, (i) => store.get(ids[(i * 7919) % count]!)));
  return [put, get].map((time) => (count * size) / 1e6 / time);
}

/** Two lines from figures by size. */
function lines(names: readonly string[], found: readonly (readonly [number, readonly number[]])[]): Series[] {
  return names.map((name, i) => ({ name, points: found.map(([size, figures]) => [size, figures[i]!]) }));
}

const threshold: Sweep = {
  name: 'threshold',
  async run(options) {
    const forms = { 'in SQLite volumes': 16 * MiB, 'as files': 0 };
    const puts: Series[] = [];
    const gets: Series[] = [];
    for (const [name, smallMax] of Object.entries(forms)) {
      const found: [number, readonly number[]][] = [];
      for (const size of powers(4 * KiB, 4 * MiB)) {
        options.says(`threshold: ${size} bytes ${name}`);
        // A file costs several syncs: fewer of the small ones say as much.
        const total = smallMax === 0 ? Math.min(options.bytes, 500 * size) : options.bytes;
        const work = (store: Store): Promise<readonly number[]> => putAndGet(store, size, total);
        found.push([size, await median(options, { parameters: { smallMax } }, work)]);
      }
      const [put, get] = lines([name, name], found);
      puts.push(put!);
      gets.push(get!);
    }
    const shared = { across: 'size of a blob', up: 'MB a second, durable', chosen: 256 * KiB };
    return [
      { ...shared, title: 'Putting blobs of one size, many in flight', series: puts },
      { ...shared, up: 'MB a second, verified', title: 'Reading them again, in another order', series: gets },
    ];
  },
};

const extent: Sweep = {
  name: 'extent',
  async run(options) {
    const blob = 8 * KiB;
    const found: [number, readonly number[]][] = [];
    for (const extentBytes of powers(16 * KiB, MiB)) {
      options.says(`extent: ${extentBytes} bytes`);
      const work = (store: Store): Promise<readonly number[]> => putAndGet(store, blob, options.bytes);
      const rates = await median(options, { parameters: { extentBytes } }, work);
      found.push([extentBytes, rates.map((rate) => (rate * 1e6) / blob)]);
    }
    return [
      {
        title: 'Blobs of 8 KiB in extents of different sizes',
        across: 'size of an extent',
        up: 'blobs a second',
        chosen: 64 * KiB,
        series: lines(['put', 'get'], found),
      },
    ];
  },
};

const chunk: Sweep = {
  name: 'chunk',
  async run(options) {
    const source = join(options.directory, 'sweep-source');
    writeFileSync(source, new Noise(5).bytes(options.bytes));
    const programs = programFiles(options.bytes);
    const reads: [number, readonly number[]][] = [];
    const saved: [number, readonly number[]][] = [];
    for (const chunkBytes of powers(16 * KiB, MiB)) {
      options.says(`chunk: ${chunkBytes} bytes`);
      reads.push([
        chunkBytes,
        await median(options, { parameters: { chunkBytes } }, (store) =>
          ranges(store, source, options.bytes),
        ),
      ]);
      const open = { parameters: { chunkBytes }, compression: 'auto' } as const;
      const ratio = await median({ ...options, runs: 1 }, open, async (store) => {
        await inFlight(programs.length, 500, (i) => store.put({ path: programs[i]! }));
        const { bytes, storedBytes } = await store.stats();
        return [(100 * storedBytes) / bytes];
      });
      saved.push([chunkBytes, ratio]);
    }
    rmSync(source);
    const shared = { across: 'size of a chunk', chosen: 64 * KiB };
    return [
      {
        ...shared,
        title: 'Random ranges of 64 KiB from a large blob',
        up: 'ranges a second, verified',
        series: lines(['stored as it is', 'compressed'], reads),
      },
      {
        ...shared,
        title: 'What programs, text and JSON take, compressed',
        up: '% of their size',
        series: lines(['stored'], saved),
      },
    ];
  },
};

async function ranges(store: Store, source: string, total: number): Promise<readonly number[]> {
  const rates: number[] = [];
  const quiet = new Noise(6).bytes(total).map((byte) => byte & 0x3f);
  for (const put of [await store.put({ path: source }), await store.put(quiet, { compression: 'auto' })]) {
    const noise = new Noise(9);
    const count = 4000;
    const offsets = Array.from({ length: count }, () => noise.below(total - 64 * KiB));
    const time = await seconds(() =>
      inFlight(count, 32, (i) => store.readRange(put.id, offsets[i]!, 64 * KiB)),
    );
    rates.push(count / time);
  }
  return rates;
}

const cap: Sweep = {
  name: 'cap',
  async run(options) {
    const found: [number, readonly number[]][] = [];
    for (const volumeBytesMax of powers(8 * MiB, 2048 * MiB, 4)) {
      options.says(`cap: ${volumeBytesMax} bytes`);
      const work = (store: Store): Promise<readonly number[]> =>
        putAndGet(store, 16 * KiB, 2 * options.bytes);
      found.push([volumeBytesMax, await median(options, { parameters: { volumeBytesMax } }, work)]);
    }
    return [
      {
        title: 'Blobs of 16 KiB in volumes that are sealed at different sizes',
        across: 'size at which a volume is sealed',
        up: 'MB a second',
        chosen: 1024 * MiB,
        series: lines(['put', 'get'], found),
      },
    ];
  },
};

export const sweeps: readonly Sweep[] = [threshold, extent, chunk, cap];
