/** Compares two real trees: names, kinds, every byte, modes, times, targets of links. Reads both sides from disk, and nothing else. */
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

export interface Comparison {
  readonly files: number;
  readonly bytes: number;
  /** What differs, in words; the first hundred. */
  readonly differences: readonly string[];
  readonly differenceCount: number;
}

export interface CompareOptions {
  /** Paths of the first tree that the second need not have. */
  readonly without: ReadonlySet<string>;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: { readonly files: number; readonly bytes: number }) => void;
}

const differencesMax = 100;
const blockBytes = 1024 * 1024;
/** Node sets times as a double of seconds, which holds them to about 0.2 µs. */
const mtimeToleranceNs = 1000n;
/** Small files compared at once. */
const parallel = 8;

export async function compareTrees(
  first: string,
  second: string,
  options: CompareOptions,
): Promise<Comparison> {
  const comparing = new Comparing(options);
  await comparing.entries(first, second);
  return comparing.result;
}

class Comparing {
  readonly result: { files: number; bytes: number; differences: string[]; differenceCount: number } = {
    files: 0,
    bytes: 0,
    differences: [],
    differenceCount: 0,
  };
  readonly #options: CompareOptions;
  readonly #blocks: [Buffer, Buffer][] = [];

  constructor(options: CompareOptions) {
    this.#options = options;
  }

  async entries(first: string, second: string): Promise<void> {
    this.#options.signal.throwIfAborted();
    const [a, b] = await Promise.all([facts(first), facts(second)]);
    if (a === undefined || b === undefined)
      return this.#differ(b === undefined ? first : second, 'is only on one side');
    const kind = kindOf(a);
    if (kind !== kindOf(b)) return this.#differ(first, `is a ${kind} here and a ${kindOf(b)} there`);
    if (kind !== 'link' && (a.mode & 0o7777n) !== (b.mode & 0o7777n)) this.#differ(first, 'has another mode');
    // The time of a link itself comes back where the file system can set it.
    if (kind !== 'link' && apart(a.mtimeNs, b.mtimeNs) > mtimeToleranceNs)
      this.#differ(first, 'has another modification time');
    if (kind === 'folder') await this.#folders(first, second);
    else if (kind === 'file') await this.#files(first, second, a.size === b.size);
    else if (kind === 'link' && (await readlink(first)) !== (await readlink(second)))
      this.#differ(first, 'points elsewhere');
  }

  async #folders(first: string, second: string): Promise<void> {
    const [a, b] = await Promise.all([readdir(first), readdir(second)]);
    const names = [...new Set([...a, ...b])].filter((name) => !this.#options.without.has(join(first, name)));
    const left = names.values();
    const worker = async (): Promise<void> => {
      for (const name of left) await this.entries(join(first, name), join(second, name));
    };
    // All are waited for, also when one fails: nothing may be open when the trees are removed.
    const ends = await Promise.allSettled(Array.from({ length: Math.min(parallel, names.length) }, worker));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #files(first: string, second: string, sameSize: boolean): Promise<void> {
    if (!sameSize) return this.#differ(first, 'has another size');
    const handles: FileHandle[] = [];
    const blocks = this.#blocks.pop() ?? [Buffer.allocUnsafe(blockBytes), Buffer.allocUnsafe(blockBytes)];
    try {
      for (const path of [first, second])
        handles.push(await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)));
      if (!(await this.#sameBytes(handles, blocks))) this.#differ(first, 'has other content');
      this.result.files++;
    } finally {
      this.#blocks.push(blocks);
      for (const handle of handles) await handle.close();
    }
  }

  async #sameBytes(handles: readonly FileHandle[], blocks: readonly [Buffer, Buffer]): Promise<boolean> {
    for (let at = 0; ;) {
      this.#options.signal.throwIfAborted();
      const [a, b] = await Promise.all(handles.map(async (handle, i) => readFully(handle, blocks[i]!, at)));
      if (!a!.equals(b!)) return false;
      at += a!.length;
      this.result.bytes += a!.length;
      this.#options.onProgress(this.result);
      if (a!.length < blockBytes) return true;
    }
  }

  #differ(path: string, how: string): void {
    this.result.differenceCount++;
    if (this.result.differences.length < differencesMax) this.result.differences.push(`${path} ${how}`);
  }
}

async function readFully(handle: FileHandle, block: Buffer, position: number): Promise<Buffer> {
  let filled = 0;
  while (filled < block.length) {
    const { bytesRead } = await handle.read(block, filled, block.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return block.subarray(0, filled);
}

async function facts(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function kindOf(stats: BigIntStats): 'file' | 'folder' | 'link' | 'special file' {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'folder';
  return stats.isSymbolicLink() ? 'link' : 'special file';
}

function apart(a: bigint, b: bigint): bigint {
  return a > b ? a - b : b - a;
}
