/** The open file of a large blob, whatever form it is stored in: ranges of its content, verified. */
import { type BlobRow, storedForms } from '../catalog/blob-rows.ts';
import { equalBytes } from '../codec/bytes.ts';
import type { EncodedChunk } from '../codec/chunk-run.ts';
import { Frame, type ReadAt } from '../codec/frame.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError } from '../errors.ts';
import type { ReadableFile } from '../host.ts';
import type { ChunkSums } from './chunk-sums.ts';

export interface BlobFile {
  /** sha256 of the content, where the file itself proves it: of what was sealed. */
  readonly id?: Uint8Array;
  /** Bytes of the content. */
  readonly size: number;
  /** Bytes offset..end of the content; every chunk they touch is verified first. With `scratch` they hold until the next call. */
  read(offset: number, end: number, scratch?: Uint8Array): Uint8Array;
  /**
   * The same unverified, for whoever verifies it by himself; valid until the next call. Undefined where that would not be less work, and
   * where it is not to be had.
   */
  bare?(offset: number, end: number): Uint8Array | undefined;
  /**
   * The chunks that end within offset..end as they are stored, their checksums verified, see `cutRun`. Undefined where it is not stored
   * compressed, or not to be had so: then `read` gives the content.
   */
  encoded?(offset: number, end: number): readonly EncodedChunk[] | undefined;
  /** Verifies what of the file no read of its content needs, for whoever judges the copy. */
  verifyRest?(): void;
  close(): void;
}

/** A file that is the content, with its checksums in the catalog. Takes over the file. */
export class BareFile implements BlobFile {
  readonly #file: ReadableFile;
  readonly #sums: ChunkSums;
  readonly #provider: Provider;
  readonly #chunkBytes: number;
  readonly #proven: boolean;
  readonly size: number;

  /**
   * `proven`: whoever reads all of it compares the sha256 of what it read with the id, and its checksums only have to be there. One of each
   * read is compared all the same: that they are those of this file.
   */
  constructor(
    file: ReadableFile,
    size: number,
    how: {
      readonly sums: ChunkSums;
      readonly provider: Provider;
      readonly chunkBytes: number;
      readonly proven: boolean;
    },
  ) {
    this.#file = file;
    this.size = size;
    this.#sums = how.sums;
    this.#provider = how.provider;
    this.#chunkBytes = how.chunkBytes;
    this.#proven = how.proven;
  }

  read(offset: number, end: number, scratch?: Uint8Array): Uint8Array {
    if (offset >= end) return new Uint8Array(0);
    const chunkBytes = this.#chunkBytes;
    const first = Math.floor(offset / chunkBytes);
    const last = Math.ceil(end / chunkBytes);
    const start = first * chunkBytes;
    const size = Math.min(this.size, last * chunkBytes) - start;
    const bytes = this.#load(start, size, scratch);
    for (let chunk = first; chunk < last; chunk++) {
      const at = (chunk - first) * chunkBytes;
      const sum = this.#sums.at(chunk);
      const isRight =
        this.#proven && chunk > first
          ? !Number.isNaN(sum)
          : this.#provider.crc32(bytes.subarray(at, at + chunkBytes)) === sum;
      if (!isRight) throw new StoreError('corrupt', `checksum of chunk ${chunk} does not hold`);
    }
    return bytes.subarray(offset - start, end - start);
  }

  #load(start: number, size: number, scratch: Uint8Array | undefined): Uint8Array {
    // Who brings memory along is done with what he got when he asks for more.
    const seen = scratch === undefined ? undefined : this.#file.view?.(start, size);
    if (seen !== undefined) return seen;
    const bytes =
      scratch !== undefined && scratch.length >= size ? scratch.subarray(0, size) : new Uint8Array(size);
    if (this.#file.read(bytes, start) < bytes.length)
      throw new StoreError('corrupt', 'its file ends too early');
    return bytes;
  }

  close(): void {
    this.#file.close();
  }
}

/** A framed file. Takes over the file. */
export class FramedFile implements BlobFile {
  readonly size: number;
  readonly #file: ReadableFile;
  readonly #frame: Frame;
  readonly #read: ReadAt;

  constructor(file: ReadableFile, frame: Frame, read: ReadAt) {
    this.#file = file;
    this.#frame = frame;
    this.size = frame.size;
    this.#read = read;
  }

  read(offset: number, end: number, scratch?: Uint8Array): Uint8Array {
    if (offset >= end) return new Uint8Array(0);
    const size = end - offset;
    const bytes =
      scratch !== undefined && scratch.length >= size ? scratch.subarray(0, size) : new Uint8Array(size);
    this.#frame.read(this.#read, offset, end, bytes);
    return bytes;
  }

  bare(offset: number, end: number): Uint8Array | undefined {
    return this.#frame.bare(this.#read, offset, end);
  }

  encoded(offset: number, end: number): readonly EncodedChunk[] {
    return this.#frame.encoded(this.#read, offset, end);
  }

  verifyRest(): void {
    this.#frame.verifyHead(this.#read);
  }

  close(): void {
    this.#file.close();
  }
}

/** Bytes in memory, verified already. */
export function bytesFile(bytes: Uint8Array): BlobFile {
  return {
    size: bytes.length,
    read: (offset, end) => bytes.subarray(offset, end),
    close: () => undefined,
  };
}

/** Memory that reads share, one after another: fresh memory for each costs more than the reading. */
export class Scratch {
  #memory = new Uint8Array(128 * 1024);

  reader(file: ReadableFile): ReadAt {
    return (position, length) => {
      if (this.#memory.length < length) this.#memory = new Uint8Array(length);
      const bytes = this.#memory.subarray(0, length);
      return bytes.subarray(0, file.read(bytes, position));
    };
  }
}

const framesMax = 32;

/** Frames read lately, so that a range read need not begin at the end of the file each time. A file is never changed, so they hold. */
export class Frames {
  readonly #provider: Provider;
  readonly #known = new Map<string, Frame>();
  readonly #scratch = new Scratch();

  constructor(provider: Provider) {
    this.#provider = provider;
  }

  open(row: BlobRow, file: ReadableFile): FramedFile {
    const key = `${row.n}.${row.incarnation}`;
    const read = this.#scratch.reader(file);
    let frame = this.#known.get(key);
    if (frame === undefined) {
      frame = new Frame(this.#provider, read, row.stored);
      if (frame.size !== row.size || !equalBytes(frame.id, row.id))
        throw new StoreError('corrupt', 'its frame is of another blob');
    }
    this.#known.delete(key);
    this.#known.set(key, frame);
    if (this.#known.size > framesMax) this.#known.delete(this.#known.keys().next().value!);
    return new FramedFile(file, frame, read);
  }

  /** What is verified is read from its file, also where reads know it. */
  forget({ n, incarnation }: BlobRow): void {
    this.#known.delete(`${n}.${incarnation}`);
  }
}

export function isFramed(row: BlobRow): boolean {
  return row.codec === storedForms.framed;
}
