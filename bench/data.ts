/** Makes the sources of the benchmarks: the same bytes every time, kept in a folder and used again. */
import { createCipheriv } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Scale } from './scale.ts';

/** Where the sources are. */
export interface DataSet {
  /** One incompressible file. */
  readonly large: string;
  /** A larger one, made when first asked for. */
  readonly huge: string;
  /** Folder of two folders, `a` and `b`, each with half of the folders of small files. */
  readonly small: string;
}

/** Raised when what is made changes. */
const version = 1;
const smallMin = 1024;
const smallSpan = 15 * 1024;
const pieceBytes = 4 * 1024 * 1024;
/** Files this young may still change unseen, as far as an import cache knows. */
const settledMs = 2_500;

/** A stream of bytes that look random and depend on the seed alone: AES in counter mode, at the speed of memory. */
export class Noise {
  readonly #cipher;

  constructor(seed: number) {
    const key = Buffer.alloc(16);
    key.writeUInt32LE(seed);
    this.#cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  }

  bytes(count: number): Buffer {
    return this.#cipher.update(Buffer.alloc(count));
  }

  /** A whole number from 0, below `limit` (at most 2^32). */
  below(limit: number): number {
    return Math.floor((this.bytes(4).readUInt32LE() / 0x1_0000_0000) * limit);
  }
}

/** Makes what is not there yet. `says` hears what takes long. */
export function makeData(directory: string, scale: Scale, says: (text: string) => void): DataSet {
  const folder = join(directory, `data-${scale.name}`);
  const data = {
    large: join(folder, 'large.bin'),
    huge: join(folder, 'huge.bin'),
    small: join(folder, 'small'),
  };
  const marker = join(folder, 'made.json');
  const { largeBytes, folders, filesPerFolder } = scale;
  const wanted = JSON.stringify({ version, largeBytes, folders, filesPerFolder });
  if (existsSync(marker) && readFileSync(marker, 'utf8') === wanted) return data;
  says(
    `making ${folders * filesPerFolder} small files and one of ${Math.round(largeBytes / 1e6)} MB in ${folder}`,
  );
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeNoise(data.large, largeBytes, 1);
  writeSmallFiles(data.small, scale);
  writeFileSync(marker, wanted);
  return data;
}

export function makeHuge(data: DataSet, scale: Scale): void {
  if (existsSync(data.huge) && statSync(data.huge).size === scale.hugeBytes) return;
  writeNoise(data.huge, scale.hugeBytes, 2);
}

function writeNoise(path: string, size: number, seed: number): void {
  const noise = new Noise(seed);
  const file = openSync(path, 'w');
  try {
    for (let at = 0; at < size; at += pieceBytes)
      writeSync(file, noise.bytes(Math.min(pieceBytes, size - at)));
  } finally {
    closeSync(file);
  }
}

/** Half of them noise, half of them lines of words that compress about three to one. */
function writeSmallFiles(folder: string, { folders, filesPerFolder }: Scale): void {
  const noise = new Noise(3);
  const words = wordsOf(noise);
  for (let i = 0; i < folders; i++) {
    const path = join(folder, i % 2 === 0 ? 'a' : 'b', `folder-${String(i).padStart(3, '0')}`);
    mkdirSync(path, { recursive: true });
    for (let j = 0; j < filesPerFolder; j++) {
      const size = smallMin + noise.below(smallSpan + 1);
      const bytes = j % 2 === 0 ? noise.bytes(size) : textOf(words, { size, noise });
      writeFileSync(join(path, `file-${String(j).padStart(5, '0')}${j % 2 === 0 ? '.jpg' : '.txt'}`), bytes);
    }
  }
}

function wordsOf(noise: Noise): Buffer[] {
  return Array.from({ length: 1024 }, () => {
    const letters = noise.bytes(2 + noise.below(9));
    return Buffer.from(letters.map((byte) => 0x61 + (byte % 26))).subarray();
  });
}

function textOf(
  words: readonly Buffer[],
  { size, noise }: { readonly size: number; readonly noise: Noise },
): Buffer {
  const text = Buffer.alloc(size, 0x20);
  const choices = noise.bytes(size);
  for (let at = 0, i = 0; at < size; i += 2) {
    const word = words[choices.readUInt16LE(i % (size - 1)) % words.length]!;
    at += word.copy(text, at) + 1;
  }
  return text;
}

/** The small files of a set, by path, in the order of their names. */
export function smallFiles({ small }: DataSet): string[] {
  const found = ['a', 'b'].flatMap((half) =>
    readdirSync(join(small, half)).flatMap((folder) =>
      readdirSync(join(small, half, folder)).map((name) => join(small, half, folder, name)),
    ),
  );
  return found.sort();
}

/** Waits until an import cache may believe the times of the files. */
export async function settled(data: DataSet): Promise<void> {
  const age = Date.now() - statSync(join(data.small, '..', 'made.json')).ctimeMs;
  if (age < settledMs) await new Promise((resolve) => void setTimeout(resolve, settledMs - age));
}

/** The same for files that were changed just now. */
export async function settledNow(): Promise<void> {
  await new Promise((resolve) => void setTimeout(resolve, settledMs));
}

/**
 * Files of the packages installed here and the Node that runs, up to so many bytes: code, JSON, text and native programs, as they are
 * on the machine.
 */
export function programFiles(bytesMax: number): string[] {
  const modules = join(createRequire(import.meta.url).resolve('better-sqlite3/package.json'), '..', '..');
  const found = readdirSync(modules, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('/.'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const chosen: string[] = [];
  let bytes = 0;
  for (const path of found) {
    const { size } = statSync(path);
    if (bytes + size > bytesMax) continue;
    bytes += size;
    chosen.push(path);
  }
  return chosen;
}
