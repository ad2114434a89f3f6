/** The frame in which a large blob is stored that is not stored as it is: chunks, pages of their table among them, an index at the end. */
import { StoreError } from '../errors.ts';
import { equalBytes, readU64, writeU64 } from './bytes.ts';
import {
  type ChunkEntry,
  type StoredChunk,
  checkChunk,
  chunkCodecs,
  chunkCount,
  chunkLength,
  chunkLog2Max,
  chunkLog2Min,
  decodeInto,
  entryBytes,
  readEntry,
  writeEntry,
} from './chunks.ts';
import { type EncodedChunk, cutRun } from './chunk-run.ts';
import type { Provider } from './provider.ts';

/*
 * head · chunks · page · chunks · page · … · index · trailer
 *
 * A page is the table of up to 1,024 chunks and stands right behind them, so that a writer keeps no more than one page in memory, and
 * a reader of a range needs the trailer, the index and one page, however large the blob is.
 */

/** 'H' 'F' 'f' and the frame version. */
const headMagic = 0x01_66_46_48;
/** 'H' 'F' 't' and the frame version. */
const trailerMagic = 0x01_74_46_48;
const headBytes = 8;
const trailerBytes = 64;
/** Chunks of a page; the last page may have fewer. */
export const pageChunks = 1024;
/** Page offset u64 · CRC-32 of the page u32. */
const indexEntryBytes = 12;
/** What the content is: what was put, or a sealed object (codec/seal.ts), whose locator is the frame's id. */
const suites = { plain: 0, sealed: 1 } as const;

/** Makes a frame piece by piece. */
export class FrameWriter {
  readonly #provider: Provider;
  readonly #chunkLog2: number;
  readonly #sealed: boolean;
  readonly #page = new Uint8Array(pageChunks * entryBytes);
  readonly #pageView = new DataView(this.#page.buffer);
  readonly #pages: { readonly at: number; readonly crc: number }[] = [];
  #inPage = 0;
  #at = headBytes;

  constructor(provider: Provider, chunkLog2: number, sealed = false) {
    this.#provider = provider;
    this.#chunkLog2 = chunkLog2;
    this.#sealed = sealed;
  }

  /** What stands at the beginning. */
  head(): Uint8Array {
    const bytes = new Uint8Array(headBytes);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, headMagic, true);
    view.setUint8(4, this.#sealed ? suites.sealed : suites.plain);
    view.setUint8(5, this.#chunkLog2);
    return bytes;
  }

  /** The pieces to write next. All chunks but the last are whole. */
  add(chunk: StoredChunk): Uint8Array[] {
    const { codec, bytes } = chunk;
    return [bytes, ...this.added({ codec, length: bytes.length, crc: this.#provider.crc32(bytes) })];
  }

  /** The same of a chunk whose bytes are written already: what follows them. */
  added(entry: ChunkEntry): Uint8Array[] {
    writeEntry(this.#pageView, this.#inPage++ * entryBytes, entry);
    this.#at += entry.length;
    return this.#inPage === pageChunks ? [this.#endPage()] : [];
  }

  /** The end: the last page, the index, the trailer. */
  finish(id: Uint8Array, size: number): Uint8Array[] {
    const last = this.#inPage > 0 ? [this.#endPage()] : [];
    const index = new Uint8Array(this.#pages.length * indexEntryBytes);
    const indexView = new DataView(index.buffer);
    this.#pages.forEach(({ at, crc }, i) => {
      writeU64(indexView, i * indexEntryBytes, at);
      indexView.setUint32(i * indexEntryBytes + 8, crc, true);
    });
    const trailer = new Uint8Array(trailerBytes);
    const view = new DataView(trailer.buffer);
    trailer.set(id);
    writeU64(view, 32, size);
    view.setUint32(40, this.#pages.length, true);
    view.setUint32(44, this.#provider.crc32(index), true);
    trailer.set(this.head(), 48);
    view.setUint32(56, this.#provider.crc32(trailer.subarray(0, 56)), true);
    view.setUint32(60, trailerMagic, true);
    return [...last, index, trailer];
  }

  #endPage(): Uint8Array {
    const page = this.#page.slice(0, this.#inPage * entryBytes);
    this.#pages.push({ at: this.#at, crc: this.#provider.crc32(page) });
    this.#at += page.length;
    this.#inPage = 0;
    return page;
  }
}

/** Bytes position..position+length of the file; fewer only at its end. What it returned last may be overwritten by the next call. */
export type ReadAt = (position: number, length: number) => Uint8Array;

/** Pages that a reader keeps: 16 KiB each, the tables of 2 GiB at chunks of 64 KiB. */
const pagesKept = 32;

interface Page {
  readonly number: number;
  /** Where each chunk is stored. */
  readonly places: Float64Array;
  readonly table: DataView;
}

/** A chunk as it is stored. */
interface StoredBytes {
  readonly codec: number;
  readonly bytes: Uint8Array;
}

/** What the end of a frame says: enough to read any part of it. Keeps 12 bytes per 1,024 chunks, and the pages used last. */
export class Frame {
  /** 32 bytes. */
  readonly id: Uint8Array;
  /** Bytes of the content. */
  readonly size: number;
  /** The content is a sealed object. */
  readonly sealed: boolean;
  readonly #provider: Provider;
  readonly #chunkLog2: number;
  /** As the trailer repeats it. */
  readonly #head: Uint8Array;
  readonly #index: DataView;
  /** The pages used last, the newest at the end. */
  readonly #pages: Page[] = [];

  /** Reads and verifies trailer and index. `corrupt` with the reason; `incompatible-format` for a later version. */
  constructor(provider: Provider, read: ReadAt, fileBytes: number) {
    this.#provider = provider;
    const trailer = read(Math.max(0, fileBytes - trailerBytes), trailerBytes).slice();
    if (fileBytes < headBytes + trailerBytes || trailer.length < trailerBytes) throw damaged('is too short');
    const view = new DataView(trailer.buffer);
    if (view.getUint32(60, true) !== trailerMagic) throw damaged('has no trailer');
    if (view.getUint32(56, true) !== provider.crc32(trailer.subarray(0, 56)))
      throw damaged('trailer checksum does not hold');
    if (
      view.getUint32(48, true) !== headMagic ||
      view.getUint8(52) > suites.sealed ||
      view.getUint16(54) !== 0
    )
      throw new StoreError('incompatible-format', 'a frame has a suite or version unknown here');
    this.#chunkLog2 = view.getUint8(53);
    if (this.#chunkLog2 < chunkLog2Min || this.#chunkLog2 > chunkLog2Max)
      throw damaged('has an impossible chunk size');
    this.sealed = view.getUint8(52) === suites.sealed;
    this.id = trailer.subarray(0, 32);
    this.#head = trailer.subarray(48, 48 + headBytes);
    this.size = readU64(view, 32);
    const pages = view.getUint32(40, true);
    const chunks = chunkCount(this.size, this.#chunkLog2);
    if (Number.isNaN(this.size) || pages !== Math.ceil(chunks / pageChunks))
      throw damaged('has another number of pages than its size asks for');
    const indexBytes = pages * indexEntryBytes;
    if (indexBytes > fileBytes - trailerBytes - headBytes) throw damaged('has an index longer than itself');
    const index = read(fileBytes - trailerBytes - indexBytes, indexBytes).slice();
    if (index.length !== indexBytes || provider.crc32(index) !== view.getUint32(44, true))
      throw damaged('index checksum does not hold');
    this.#index = new DataView(index.buffer);
  }

  /** Verifies what stands at the beginning, which nothing else reads: `corrupt` where it is not what the trailer repeats. */
  verifyHead(read: ReadAt): void {
    if (!equalBytes(read(0, headBytes), this.#head))
      throw damaged('begins with another head than it ends with');
  }

  /** Bytes from..to of the content, verified, in `target` from its start. All of them: from < to ≤ size. */
  read(read: ReadAt, from: number, to: number, target: Uint8Array): void {
    const chunkBytes = 2 ** this.#chunkLog2;
    for (let chunk = Math.floor(from / chunkBytes); chunk * chunkBytes < to; chunk++) {
      const start = chunk * chunkBytes;
      const begin = Math.max(0, from - start);
      const length = chunkLength(chunk, this.size, this.#chunkLog2);
      decodeInto(
        this.#provider,
        { ...this.#stored(read, chunk), length },
        { from: begin, to: Math.min(length, to - start), target: target.subarray(start + begin - from) },
      );
    }
  }

  /**
   * Bytes from..to of the content, unverified, in one read, for whoever verifies them by himself; valid until the next read. Undefined
   * where they are not stored one after another, as they are.
   */
  bare(read: ReadAt, from: number, to: number): Uint8Array | undefined {
    const chunkBytes = 2 ** this.#chunkLog2;
    const first = Math.floor(from / chunkBytes);
    const last = Math.ceil(to / chunkBytes) - 1;
    const number = Math.floor(first / pageChunks);
    if (Math.floor(last / pageChunks) !== number) return undefined;
    const page = this.#pageAt(read, number);
    for (let chunk = first; chunk <= last; chunk++)
      if (readEntry(page.table, (chunk % pageChunks) * entryBytes).codec !== chunkCodecs.identity)
        return undefined;
    const bytes = read(page.places[first % pageChunks]! + (from - first * chunkBytes), to - from);
    return bytes.length === to - from ? bytes : undefined;
  }

  /** The chunks as they are stored, verified by their checksums, see `cutRun`. */
  encoded(read: ReadAt, offset: number, end: number): EncodedChunk[] {
    const { size } = this;
    const chunk = (index: number): StoredBytes => this.#stored(read, index);
    return cutRun(this.#provider, { size, chunkLog2: this.#chunkLog2, chunk }, { offset, end });
  }

  /** Verified; valid until the next read. */
  #stored(read: ReadAt, chunk: number): StoredBytes {
    const number = Math.floor(chunk / pageChunks);
    const page = this.#pageAt(read, number);
    const inPage = chunk % pageChunks;
    const entry = readEntry(page.table, inPage * entryBytes);
    const stored = read(page.places[inPage]!, entry.length);
    checkChunk(this.#provider, entry, stored);
    return { codec: entry.codec, bytes: stored };
  }

  #pageAt(read: ReadAt, number: number): Page {
    const last = this.#pages.at(-1);
    if (last?.number === number) return last;
    const at = this.#pages.findIndex((page) => page.number === number);
    const page = at < 0 ? this.#load(read, number) : this.#pages.splice(at, 1)[0]!;
    this.#pages.push(page);
    if (this.#pages.length > pagesKept) this.#pages.shift();
    return page;
  }

  #load(read: ReadAt, number: number): Page {
    const chunks = chunkCount(this.size, this.#chunkLog2) - number * pageChunks;
    const count = Math.min(pageChunks, chunks);
    const at = readU64(this.#index, number * indexEntryBytes);
    if (Number.isNaN(at)) throw damaged('has a number beyond 53 bits');
    const bytes = read(at, count * entryBytes).slice();
    const crc = this.#index.getUint32(number * indexEntryBytes + 8, true);
    if (bytes.length !== count * entryBytes || this.#provider.crc32(bytes) !== crc)
      throw damaged(`checksum of page ${number} does not hold`);
    const table = new DataView(bytes.buffer);
    const places = new Float64Array(count);
    // The chunks of a page end where it begins.
    for (let i = count - 1, place = at; i >= 0; i--) {
      place -= readEntry(table, i * entryBytes).length;
      places[i] = place;
    }
    if (places[0]! < headBytes) throw damaged('has chunks that reach before its beginning');
    return { number, places, table };
  }
}

function damaged(why: string): StoreError {
  return new StoreError('corrupt', `its frame ${why}`);
}
