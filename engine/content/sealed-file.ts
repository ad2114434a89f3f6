/** A sealed object read as the content in it: each chunk a range touches is read, opened, and decompressed. */
import { release } from '../codec/bytes.ts';
import { decodeChunk, decodeInto } from '../codec/chunks.ts';
import { type EncodedChunk, cutRun } from '../codec/chunk-run.ts';
import type { Provider } from '../codec/provider.ts';
import { decodeHead, fixedHeadBytes, headBytesOf } from '../codec/seal-header.ts';
import { trailerBytes } from '../codec/seal-layout.ts';
import {
  type Expected,
  type OpenedChunk,
  type OpeningKeys,
  type Range,
  SealedReader,
} from '../codec/unseal.ts';
import { StoreError } from '../errors.ts';
import type { BlobFile } from './blob-file.ts';

/** Whether stored bytes begin as a sealed object does. `incompatible-format` for one of a later version. */
export function looksSealed(stored: BlobFile): boolean {
  if (stored.size < fixedHeadBytes + trailerBytes) return false;
  // What is damaged by itself is not judged here: that says nothing of what was written.
  const head = stored.read(0, fixedHeadBytes);
  try {
    headBytesOf(head);
    return true;
  } catch (error) {
    if (StoreError.is(error, 'corrupt')) return false;
    throw error;
  }
}

/** Verifies head, trailer and table of an object: `tampered` where it is not sealed, or not the object that was looked for. */
export function openSealed(
  provider: Provider,
  stored: BlobFile,
  access: { readonly keys: OpeningKeys; readonly expected: Expected },
): SealedReader {
  if (!looksSealed(stored)) throw new StoreError('tampered', 'it is not sealed, and this store is encrypted');
  const headLength = headBytesOf(stored.read(0, fixedHeadBytes));
  if (headLength + trailerBytes > stored.size) throw new StoreError('tampered', 'it ends inside its head');
  const ends = {
    head: stored.read(0, headLength).slice(),
    trailer: stored.read(stored.size - trailerBytes, stored.size).slice(),
    bytes: stored.size,
  };
  // A raw object in the place of a node is the same content: a put of its bytes has healed it.
  const raw = access.expected.role === 'node' && decodeHead(ends.head).header.role === 'raw';
  const expected: Expected = raw ? { ...access.expected, role: 'raw' } : access.expected;
  const reader = new SealedReader(provider, ends, { keys: access.keys, expected });
  const table = reader.tableRanges.map(({ offset, length }) => stored.read(offset, offset + length).slice());
  if (table.length > 0) reader.loadTable(table);
  return reader;
}

/** An object that was opened, and the file it lies in, which it takes over. */
export class SealedFile implements BlobFile {
  readonly #provider: Provider;
  readonly #stored: BlobFile;
  readonly #reader: SealedReader;

  constructor(provider: Provider, stored: BlobFile, reader: SealedReader) {
    this.#provider = provider;
    this.#stored = stored;
    this.#reader = reader;
  }

  /** sha256 of the content. */
  get id(): Uint8Array {
    return this.#reader.id;
  }

  get size(): number {
    return this.#reader.size;
  }

  get epoch(): number {
    return this.#reader.header.epoch;
  }

  read(offset: number, end: number, scratch?: Uint8Array): Uint8Array {
    if (offset >= end) return new Uint8Array(0);
    const chunkBytes = 2 ** this.#reader.header.chunkLog2;
    const first = Math.floor(offset / chunkBytes);
    const last = Math.ceil(end / chunkBytes);
    if (last - first === 1)
      return this.#chunk(first).subarray(offset - first * chunkBytes, end - first * chunkBytes);
    const size = end - offset;
    const bytes =
      scratch !== undefined && scratch.length >= size ? scratch.subarray(0, size) : new Uint8Array(size);
    for (let index = first; index < last; index++) {
      const start = index * chunkBytes;
      const chunk = this.#opened(index);
      const from = Math.max(0, offset - start);
      const target = bytes.subarray(start + from - offset);
      decodeInto(this.#provider, chunk, { from, to: Math.min(chunk.length, end - start), target });
      release(chunk.bytes);
    }
    return bytes;
  }

  encoded(offset: number, end: number): readonly EncodedChunk[] {
    const { size, header } = this.#reader;
    const chunk = (index: number): OpenedChunk => this.#opened(index);
    return cutRun(this.#provider, { size, chunkLog2: header.chunkLog2, chunk }, { offset, end });
  }

  /** Reads and verifies what is only there to make it longer. */
  *verifyPadding(): Generator<number, void> {
    for (const [index, range] of this.#reader.paddingRanges.entries()) {
      this.#reader.verifyPadding(index, this.#read(range));
      yield range.length;
    }
    if (this.#reader.size === 0) this.#chunk(0);
  }

  close(): void {
    this.#stored.close();
  }

  #chunk(index: number): Uint8Array {
    const { codec, bytes, length } = this.#opened(index);
    return decodeChunk(this.#provider, { codec, length: bytes.length, crc: 0 }, bytes, length);
  }

  /** Its tag says more than the checksums around it, which are only asked what it was when the tag does not hold. */
  #opened(index: number): OpenedChunk {
    const range = this.#reader.chunkRange(index);
    const bare = this.#stored.bare?.(range.offset, range.offset + range.length);
    if (bare !== undefined) {
      try {
        return this.#reader.chunk(index, bare);
      } catch (error) {
        if (!StoreError.is(error, 'tampered')) throw error;
      }
    }
    return this.#reader.chunk(index, this.#read(range));
  }

  #read({ offset, length }: Range): Uint8Array {
    return this.#stored.read(offset, offset + length);
  }
}
