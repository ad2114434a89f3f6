/** Files read past the page cache, on Linux: O_DIRECT, by libuv's threads, into memory that a disk can write to. */
import * as fs from 'node:fs';
import type { DirectFile } from '../host.ts';

const pieceBytes = 1024 * 1024;
/** What every file system is content with, of positions and of memory. */
const alignBytes = 4096;
/** Where malloc may put things. */
const mallocBytes = 16;

/** Pieces of this thread that are not in use: fresh memory costs more than reading into it. */
const spare: Uint8Array[] = [];
const spareMax = 2;

/** The file behind a descriptor, opened anew; undefined where the system, or its file system, has no such way. */
export function openDirect(descriptor: number): DirectFile | undefined {
  const flag = (fs.constants as { readonly O_DIRECT?: number }).O_DIRECT;
  if (process.platform !== 'linux' || flag === undefined) return undefined;
  try {
    return new NodeDirectFile(fs.openSync(`/proc/self/fd/${descriptor}`, fs.constants.O_RDONLY | flag));
  } catch {
    return undefined;
  }
}

class NodeDirectFile implements DirectFile {
  readonly alignBytes = alignBytes;
  readonly #descriptor: number;
  #reading = 0;
  #closed = false;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  async read(position: number): Promise<Uint8Array> {
    const piece = spare.pop() ?? alignedPiece(this.#descriptor);
    this.#reading++;
    try {
      const count = await new Promise<number>((resolve, reject) => {
        fs.read(this.#descriptor, piece, 0, pieceBytes, position, (error, bytes) =>
          error === null ? resolve(bytes) : reject(error),
        );
      });
      return piece.subarray(0, count);
    } catch (error) {
      this.release(piece);
      throw error;
    } finally {
      this.#reading--;
      if (this.#closed) this.#close();
    }
  }

  release({ buffer, byteOffset }: Uint8Array): void {
    if (spare.length < spareMax) spare.push(new Uint8Array(buffer, byteOffset, pieceBytes));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#close();
  }

  /** Not while a thread of the system reads: the number would soon be another file's. */
  #close(): void {
    if (this.#reading > 0) return;
    try {
      fs.closeSync(this.#descriptor);
    } catch {
      // nothing was written, and what was read is verified
    }
  }
}

/** Memory that this file can be read into. Where it lies cannot be asked, so it is tried out; `EINVAL` where the file cannot be read so. */
function alignedPiece(descriptor: number): Uint8Array {
  const memory = new Uint8Array(pieceBytes + alignBytes);
  // At the beginning of a page, or, where glibc maps it, 16 bytes behind one.
  for (let before = 0; ; before += mallocBytes) {
    const piece = memory.subarray((alignBytes - before) % alignBytes).subarray(0, pieceBytes);
    try {
      fs.readSync(descriptor, piece, 0, alignBytes, 0);
      return piece;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL' || before + mallocBytes >= alignBytes)
        throw error;
    }
  }
}
