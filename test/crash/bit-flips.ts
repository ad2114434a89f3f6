// Bit flips: every bit of every file of a small store is turned; nothing may be wrong, and nothing that lives may be collected.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BlobId, type OpenOptions, type Store, StoreError, openStore } from '../../engine/index.ts';
import { noise, sha256, smallParameters } from '../engine/store-folder.ts';

const secret = { kind: 'raw-key', key: new Uint8Array(32).fill(9) } as const;
const parameters = {
  ...smallParameters,
  chunking: { mode: 'off', least: 1024, average: 4096, greatest: 16_384 },
} as const;
/** Stores whose bits are turned. `killed` has commits that only its write-ahead log knows. */
const patterns: Readonly<Record<string, { readonly options: OpenOptions; readonly killed?: true }>> = {
  plain: { options: {} },
  encrypted: { options: { encryption: { secret } } },
  killed: { options: {}, killed: true },
};
const contents = [0, 10, 3000, 4096, 9000, 17_000, 20_000].map((size, i) => noise(size, 50 + i));
/** Held by nothing: collection takes it. */
const loose = noise(2000, 99);

export interface FlipsOptions {
  /** The first of the order; neighbours in it lie far apart, so that a slice is a sample of everything. */
  readonly from?: number;
  readonly runs: number;
  /** Only the store of this name. */
  readonly only?: string;
  /** With `of`: only every so manieth, for several at once. */
  readonly share?: number;
  readonly of?: number;
  readonly onRun?: (report: FlipsReport) => void;
}

export interface FlipLoss {
  readonly run: number;
  readonly what: string;
  readonly problem: string;
}

export interface FlipsReport {
  runs: number;
  /** All bits of all files. */
  readonly bits: number;
  readonly bytes: number;
  /** The store was not opened, or something was not read, or a scrub found it; the others made no difference. */
  refused: number;
  seen: number;
  harmless: number;
  readonly losses: FlipLoss[];
  seconds: number;
}

interface Target {
  readonly pattern: string;
  readonly folder: string;
  readonly file: string;
  readonly bits: number;
}

export async function runFlips(options: FlipsOptions): Promise<FlipsReport> {
  const started = performance.now();
  const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-bit-flips-'));
  try {
    const targets: Target[] = [];
    for (const pattern of Object.keys(patterns).filter((name) => name === (options.only ?? name)))
      targets.push(...(await makePattern(base, pattern)));
    const bits = targets.reduce((sum, target) => sum + target.bits, 0);
    const report: FlipsReport = {
      runs: 0,
      bits,
      bytes: bits / 8,
      refused: 0,
      seen: 0,
      harmless: 0,
      losses: [],
      seconds: 0,
    };
    const { from = 0, runs, share = 0, of = 1 } = options;
    const step = BigInt(strideOf(bits));
    for (let run = from; run < Math.min(bits, from + runs); run++) {
      if (run % of !== share) continue;
      let left = Number((BigInt(run) * step) % BigInt(bits));
      const target = targets.find((one) => left < one.bits || ((left -= one.bits), false))!;
      const what = `bit ${left} of ${target.file} (${target.pattern})`;
      try {
        report[await flip(join(base, 'run'), target, left)]++;
      } catch (error) {
        const problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
        report.losses.push({ run, what, problem });
      }
      report.runs++;
      report.seconds = (performance.now() - started) / 1000;
      options.onRun?.(report);
    }
    return report;
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

/** The order of bits is that of a golden walk: fixed, whatever the slices. */
function strideOf(bits: number): number {
  const coprime = (a: number, b: number): boolean => (b === 0 ? a === 1 : coprime(b, a % b));
  let step = Math.floor(bits * 0.618_034);
  while (!coprime(step, bits)) step++;
  return step;
}

function open(path: string, pattern: string): Promise<Store> {
  const { options } = patterns[pattern]!;
  return openStore(path, { threads: { count: 0 }, durability: 'relaxed', parameters, ...options });
}

async function makePattern(base: string, pattern: string): Promise<Target[]> {
  const folder = join(base, pattern);
  const path = join(base, 'run');
  const first = await open(path, pattern);
  await first.close();
  const store = await open(path, pattern);
  for (const [i, content] of contents.entries())
    await store.put(content, { owner: 'me', chunking: i === 6 ? 'fastcdc' : 'off' });
  const links = [1, 5].map((i) => ({ kind: 'raw', id: sha256(contents[i]!) }) as const);
  await store.put(new Uint8Array([7]), {
    links: links.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    owner: 'me',
  });
  await store.roots.set('main', sha256(contents[2]!));
  await store.put(loose);
  const killed = patterns[pattern]!.killed === true;
  if (killed) cpSync(path, folder, { recursive: true });
  await store.close();
  if (!killed) cpSync(path, folder, { recursive: true });
  rmSync(path, { recursive: true });
  // A mebibyte of which nobody reads a bit.
  rmSync(join(folder, 'ballast'));
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('-shm'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => statSync(file).size > 0)
    .toSorted()
    .map((file) => ({ pattern, folder, file: file.slice(folder.length + 1), bits: statSync(file).size * 8 }));
}

type Reading = 'right' | 'refused' | 'absent';

/** Turns one bit of a copy, and has it opened, read, collected, scrubbed and read again. */
async function flip(copy: string, target: Target, bit: number): Promise<'refused' | 'seen' | 'harmless'> {
  cpSync(target.folder, copy, { recursive: true });
  try {
    const file = join(copy, target.file);
    const bytes = readFileSync(file);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    chmodSync(file, 0o644);
    writeFileSync(file, bytes);
    const store = await attempt(() => open(copy, target.pattern));
    if (store === 'refused') return 'refused';
    try {
      return await judge(store);
    } finally {
      await attempt(() => store.close());
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

async function judge(store: Store): Promise<'refused' | 'seen' | 'harmless'> {
  const before = await readings(store);
  const collected = await attempt(() => store.gc({ graceMs: 0 }));
  const after = await readings(store);
  for (const [id, was] of before) {
    const is = after.get(id)!;
    if (was !== is && is === 'absent')
      throw new Error(`collection took ${id.slice(0, 8)}, which is held and was ${was}`);
    if (was === 'right' && is !== 'right')
      throw new Error(`${id.slice(0, 8)} was right before the collection, and is ${is}`);
  }
  const scrubbed = await attempt(() => store.scrub());
  const found =
    scrubbed === 'refused' ||
    scrubbed.rootLog !== undefined ||
    scrubbed.damaged.length + scrubbed.badRows + scrubbed.recounted + scrubbed.adopted > 0;
  const blocked = collected === 'refused' || collected.blocked !== undefined;
  const bad = [...after].filter(([, is]) => is !== 'right');
  if (bad.length > 0 && !found && !blocked)
    throw new Error(
      `${bad[0]![0].slice(0, 8)} is ${bad[0]![1]}, and neither collection nor scrub see anything`,
    );
  for (const [id, is] of await readings(store))
    if (is === 'absent' && after.get(id) === 'right') throw new Error(`a scrub lost ${id.slice(0, 8)}`);
  if (bad.some(([, is]) => is === 'refused')) return 'refused';
  return found || blocked ? 'seen' : 'harmless';
}

/** All that is held: read whole, and told of; anything but the right bytes or a typed error ends it. */
async function readings(store: Store): Promise<Map<BlobId, Reading>> {
  const found = new Map<BlobId, Reading>();
  for (const content of contents) {
    const id = sha256(content);
    const got = await attempt(() => store.get(id));
    if (got !== 'refused' && got !== undefined && Buffer.compare(got, content) !== 0)
      throw new Error(`wrong bytes of ${id.slice(0, 8)}, ${content.length} bytes`);
    found.set(id, got === 'refused' ? 'refused' : got === undefined ? 'absent' : 'right');
    const range = await attempt(() => store.readRange(id, 4000, 300));
    if (
      range !== 'refused' &&
      range !== undefined &&
      Buffer.compare(range, content.subarray(4000, 4300)) !== 0
    )
      throw new Error(`wrong bytes in a range of ${id.slice(0, 8)}`);
  }
  const root = await attempt(() => store.roots.get('main'));
  if (root !== 'refused' && root !== undefined && root !== sha256(contents[2]!))
    throw new Error('another root');
  return found;
}

/** What may fail, but only by an error of ours. */
async function attempt<Result>(work: () => Promise<Result>): Promise<Result | 'refused'> {
  try {
    return await work();
  } catch (error) {
    if (!StoreError.is(error)) throw error;
    return 'refused';
  }
}
