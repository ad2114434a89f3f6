/** Bit flips under a store that stays open: each bit of what a blob of 64 KiB is stored as, in each form there is, is turned on disk and read. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type OpenOptions, type Store, StoreError, openStore } from '../../engine/index.ts';
import { noise, sha256 } from '../engine/store-folder.ts';
import { type FlipLoss, runFlips } from './bit-flips.ts';
import { forgetPages } from './forgetful-driver.ts';

const blobBytes = 65_536;
const secret = { kind: 'raw-key', key: new Uint8Array(32).fill(9) } as const;
const noisy = noise(blobBytes, 1);
/** Half of it is left when it is compressed. */
const plainer = noise(blobBytes, 2).map((byte) => byte & 0x0f);
const asFile = { smallMax: 4096, extentBytes: 4096, chunkBytes: 4096 };
const chunking = { mode: 'fastcdc', least: 1024, average: 4096, greatest: 16_384 } as const;

interface Form {
  readonly options: OpenOptions;
  readonly bytes: Uint8Array;
  /** What each bit comes to; without it the right bytes or an error. */
  readonly always?: 'refused' | 'right';
  readonly mirrored?: true;
}

/** The plain file first: a bit of it that is not seen is lost. */
const forms: Readonly<Record<string, Form>> = {
  file: { options: { parameters: asFile }, bytes: noisy, always: 'refused' },
  'encrypted file': { options: { parameters: asFile, encryption: { secret } }, bytes: noisy },
  'compressed file': { options: { parameters: asFile, compression: 'always' }, bytes: plainer },
  record: { options: {}, bytes: noisy },
  'encrypted record': { options: { encryption: { secret } }, bytes: noisy },
  'compressed record': { options: { compression: 'always' }, bytes: plainer },
  chunks: { options: { parameters: { ...asFile, chunking } }, bytes: noisy },
  'file with a copy': { options: { parameters: asFile }, bytes: noisy, always: 'right', mirrored: true },
};

export interface KeptFlipsOptions {
  /** The first bit: those of a form follow each other. */
  readonly from?: number;
  readonly runs: number;
  /** Only the forms with this in their name. */
  readonly only?: string;
  /** With `of`: only every so manieth, for several at once. */
  readonly share?: number;
  readonly of?: number;
  readonly onRun?: (report: KeptFlipsReport) => void;
}

export interface KeptFlipsReport {
  runs: number;
  /** All there are. */
  readonly bits: number;
  /** The blob was refused, or the right bytes were read. */
  refused: number;
  harmless: number;
  /** Further bits, of any file of a store, that was opened with it, read, collected and scrubbed. */
  reopened: number;
  readonly losses: FlipLoss[];
  seconds: number;
}

/** One bit of any file for so many of these: opening is a hundred times as dear as reading. */
const keptForReopened = 1024;

export async function runKeptFlips(options: KeptFlipsOptions): Promise<KeptFlipsReport> {
  const { from = 0, share = 0, of = 1, onRun } = options;
  const started = performance.now();
  const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-kept-flips-'));
  const { stackTraceLimit } = Error;
  try {
    const kept = await KeptFlips.make(base, options.only);
    const report: KeptFlipsReport = {
      runs: 0,
      bits: kept.bits,
      refused: 0,
      harmless: 0,
      reopened: 0,
      losses: [],
      seconds: 0,
    };
    const to = Math.min(kept.bits, from + options.runs);
    // Each bit that is refused is an error, and half of what one costs is the trace of where it was made.
    Error.stackTraceLimit = 0;
    for (let run = from; run < to; run++) {
      if (run % of !== share) continue;
      try {
        report[await kept.flip(run)]++;
      } catch (error) {
        report.losses.push({ run, what: kept.place(run), problem: String(error) });
      }
      report.runs++;
      report.seconds = (performance.now() - started) / 1000;
      onRun?.(report);
    }
    Error.stackTraceLimit = stackTraceLimit;
    await kept.close();
    const first = Math.ceil(from / keptForReopened);
    const reopened = { from: first, runs: Math.ceil(to / keptForReopened) - first, share, of };
    if (reopened.runs > 0 && options.only === undefined) {
      const { runs, losses } = await runFlips(reopened);
      report.reopened = runs;
      report.losses.push(...losses);
    }
    report.seconds = (performance.now() - started) / 1000;
    onRun?.(report);
    return report;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    rmSync(base, { recursive: true, force: true });
  }
}

/** A store of one blob, open for reading, and the files whose bits are turned. */
interface Stage {
  readonly name: string;
  readonly form: Form;
  readonly store: Store;
  readonly files: readonly { readonly path: string; readonly fd: number; readonly bits: number }[];
  readonly bits: number;
}

export type Turned = 'refused' | 'harmless';
/** After so many the store is read as it is: nothing of those before may stay. */
const soundEvery = 64;

export class KeptFlips {
  readonly #stages: readonly Stage[];
  readonly bits: number;
  #sinceSound = 0;

  private constructor(stages: readonly Stage[]) {
    this.#stages = stages;
    this.bits = stages.reduce((sum, stage) => sum + stage.bits, 0);
  }

  /** Stores in a folder; `only` those whose form has this in its name. */
  static async make(folder: string, only = ''): Promise<KeptFlips> {
    const stages: Stage[] = [];
    for (const [name, form] of Object.entries(forms).filter(([name]) => name.includes(only)))
      stages.push(await makeStage(join(folder, name.replaceAll(' ', '-')), name, form));
    return new KeptFlips(stages);
  }

  /** Which bit a number is. */
  place(number: number): string {
    const { stage, file, bit } = this.#find(number);
    return `bit ${bit} of ${file.path.split('/').slice(-2).join('/')} (${stage.name})`;
  }

  /** Turns one bit where it lies, reads the blob, and turns it back. Throws where a promise is broken. */
  async flip(number: number): Promise<Turned> {
    const { stage, file, bit } = this.#find(number);
    const at = bit >> 3;
    const byte = new Uint8Array(1);
    readSync(file.fd, byte, 0, 1, at);
    const turn = (mask: number): void => {
      writeSync(file.fd, Uint8Array.of(byte[0]! ^ mask), 0, 1, at);
      forgetPages(file.path);
    };
    turn(1 << (bit & 7));
    let read: Turned;
    try {
      read = await reading(stage, number);
    } finally {
      turn(0);
    }
    const { always } = stage.form;
    if (always === 'refused' && read !== 'refused') throw new Error('nobody sees it');
    if (always === 'right' && read === 'refused') throw new Error('refused, and there is another copy');
    if (++this.#sinceSound >= soundEvery) {
      this.#sinceSound = 0;
      if ((await reading(stage, 0)) !== 'harmless') throw new Error('all is as it was, and refused');
    }
    return read;
  }

  async close(): Promise<void> {
    for (const { store, files } of this.#stages) {
      for (const { fd } of files) closeSync(fd);
      await store.close();
    }
  }

  #find(number: number): {
    readonly stage: Stage;
    readonly file: Stage['files'][number];
    readonly bit: number;
  } {
    let left = number;
    for (const stage of this.#stages) {
      if (left >= stage.bits) left -= stage.bits;
      else
        for (const file of stage.files) {
          if (left < file.bits) return { stage, file, bit: left };
          left -= file.bits;
        }
    }
    throw new Error(`there is no bit ${number}`);
  }
}

async function makeStage(path: string, name: string, form: Form): Promise<Stage> {
  mkdirSync(path);
  const folder = join(path, 'store');
  const options = { ...form.options, threads: { count: 0 }, durability: 'relaxed' } as const;
  const made = await openStore(folder, options);
  if (form.mirrored === true) {
    await made.volumes.extend(join(path, 'copies'));
    await made.volumes.extend(join(path, 'packs'), { kind: 'sqlite' });
    await made.volumes.mirror(2);
  }
  await made.put(form.bytes, { owner: 'kept' });
  await made.close();
  const driver = { module: new URL('./forgetful-driver.ts', import.meta.url).href };
  // Whoever only reads notes nothing of what is damaged, so each bit is as the first one.
  const store = await openStore(folder, { ...options, driver, mode: 'read-only' });
  const files = ['blobs', 'volumes']
    .flatMap((place) => readdirSync(join(folder, place), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && !/-(journal|wal|shm)$|^label/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => statSync(file).size > 0)
    .toSorted()
    .map((file) => ({ path: file, fd: openSync(file, 'r+'), bits: statSync(file).size * 8 }));
  return { name, form, store, files, bits: files.reduce((sum, { bits }) => sum + bits, 0) };
}

/** Whole, and one in eight as a range or a stream besides. */
async function reading({ store, form: { bytes } }: Stage, number: number): Promise<Turned> {
  const id = sha256(bytes);
  const whole = await attempt(() => store.get(id), bytes);
  if (number % 8 === 3) {
    const offset = (number * 7) % (blobBytes - 300);
    await attempt(() => store.readRange(id, offset, 300), bytes.subarray(offset, offset + 300));
  } else if (number % 8 === 7)
    await attempt(async () => {
      const stream = await store.stream(id);
      return stream && new Uint8Array(await new Response(stream).arrayBuffer());
    }, bytes);
  return whole;
}

/** The right bytes, or an error of ours; what the catalog has is never absent. */
async function attempt(read: () => Promise<Uint8Array | undefined>, right: Uint8Array): Promise<Turned> {
  try {
    const got = await read();
    if (got === undefined) throw new Error('what is held is said not to be there');
    if (Buffer.compare(got, right) !== 0) throw new Error('wrong bytes');
    return 'harmless';
  } catch (error) {
    if (!StoreError.is(error)) throw error;
    return 'refused';
  }
}
