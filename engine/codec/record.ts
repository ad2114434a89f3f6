/** The self-describing record in which a small blob lies in an extent: header, chunk table, payload. */
import type { BlobKind } from '../api.ts';
import { StoreError } from '../errors.ts';
import { plainBytes, readU64, writeU64 } from './bytes.ts';
import {
  type StoredChunk,
  checkChunk,
  chunkCodecs,
  chunkCount,
  chunkLength,
  chunkLog2Max,
  chunkLog2Min,
  decodeChunk,
  entryBytes,
  readEntry,
  writeEntry,
} from './chunks.ts';
import { type EncodedChunk, cutRun } from './chunk-run.ts';
import type { Provider } from './provider.ts';

/** 'H' 'F' 'r' and the record version. */
const magic = 0x01_72_46_48;
/** Bytes before the chunk table. */
export const recordHeadBytes = 76;
const kinds: readonly BlobKind[] = ['raw', 'node'];

/** What the content is: what was put, or a sealed object (codec/seal.ts), whose locator is the record's id. */
const suites = { plain: 0, sealed: 1 } as const;
const flagLast = 1;

export interface RecordHead {
  readonly kind: BlobKind;
  /** The content is a sealed object. */
  readonly sealed: boolean;
  /** 32 bytes; of a sealed object its locator. */
  readonly id: Uint8Array;
  readonly incarnation: number;
  /** A blob of several records: which part, where it starts in the blob, whether it is the last. */
  readonly part: number;
  readonly offset: number;
  readonly last: boolean;
  /** Bytes of the whole blob before compression. */
  readonly size: number;
  readonly chunkLog2: number;
  /** Of them, bytes in this record. */
  readonly contentBytes: number;
}

/** Bytes a record takes beside its payload. */
export function recordOverhead(contentBytes: number, chunkLog2: number): number {
  return recordHeadBytes + entryBytes * chunkCount(contentBytes, chunkLog2) + 4;
}

/**
 * Writes a record into `target` at `at`; returns the offset behind it. A chunk may already stand in its place (`recordOverhead` behind
 * `at`, one after another), so that a file can be read straight into the record. Layout in docs/format.md.
 */
export function writeRecord(
  provider: Provider,
  target: Uint8Array,
  at: number,
  record: { readonly head: RecordHead; readonly chunks: readonly StoredChunk[] },
): number {
  const { head, chunks } = record;
  const view = new DataView(target.buffer, target.byteOffset + at);
  const tableEnd = recordHeadBytes + entryBytes * chunks.length;
  let place = at + tableEnd + 4;
  chunks.forEach(({ codec, bytes }, i) => {
    if (bytes.byteOffset !== target.byteOffset + place || bytes.buffer !== target.buffer)
      target.set(bytes, place);
    // Where it lies now: a chunk that moved towards the front may have moved over itself.
    const { length } = bytes;
    const crc = provider.crc32(target.subarray(place, place + length));
    writeEntry(view, recordHeadBytes + entryBytes * i, { codec, length, crc });
    place += length;
  });
  view.setUint32(0, magic, true);
  view.setUint8(4, kinds.indexOf(head.kind));
  view.setUint8(5, head.sealed ? suites.sealed : suites.plain);
  view.setUint8(6, head.last ? flagLast : 0);
  view.setUint8(7, head.chunkLog2);
  target.set(head.id, at + 8);
  writeU64(view, 40, head.incarnation);
  view.setUint32(48, head.part, true);
  writeU64(view, 52, head.offset);
  writeU64(view, 60, head.size);
  view.setUint32(68, head.contentBytes, true);
  view.setUint32(72, place - (at + tableEnd + 4), true);
  view.setUint32(tableEnd, provider.crc32(target.subarray(at, at + tableEnd)), true);
  return place;
}

/** A copy of a raw blob's record that says it is a node's: what heals a node stays one for whoever has nothing but records. */
export function recordOfNode(provider: Provider, record: Uint8Array): Uint8Array {
  const bytes = record.slice();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const chunks = chunkCount(view.getUint32(68, true), view.getUint8(7));
  const tableEnd = recordHeadBytes + entryBytes * chunks;
  view.setUint8(4, kinds.indexOf('node'));
  view.setUint32(tableEnd, provider.crc32(bytes.subarray(0, tableEnd)), true);
  return bytes;
}

export interface RecordView {
  readonly head: RecordHead;
  /** Bytes the record takes. */
  readonly length: number;
  /** Bytes from..to of its content (default all), verified chunk by chunk; a view where they are stored as they are. */
  content(from?: number, to?: number): Uint8Array;
  /** Its chunks as they are stored, see `cutRun`; undefined where none is compressed. */
  encoded(offset: number, end: number): EncodedChunk[] | undefined;
}

/** Reads the record at `at` and verifies its head and table; `corrupt` with the reason otherwise. Chunks are verified when they are read. */
export function readRecord(provider: Provider, bytes: Uint8Array, at: number): RecordView {
  const found = measureRecord(provider, bytes, at);
  if (typeof found === 'string') throw damaged(found);
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
  const head = readHead(view, bytes.subarray(at + 8, at + 40));
  return new StoredRecord(provider, bytes.subarray(at, at + found), head);
}

/** Bytes that many records are looked for in, with a view that is made once. */
export interface RecordBytes {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Bytes of a record of one chunk, stored as it is. */
export function commonRecordBytes(size: number): number {
  return recordOverhead(size, chunkLog2Max) + size;
}

/**
 * The content of the record at `at` when its head and table are right, and as with most: of this id, incarnation and size, not sealed, in
 * one chunk that is stored as it is. Anything else gives undefined and takes `readRecord` to tell. For whoever goes through many: it makes
 * two views a record, and nothing more. The content itself is not verified: its sha256 is to be compared with the id, which proves more
 * than the chunk's checksum does, and that one lies in the table.
 */
export function commonContent(
  provider: Provider,
  { bytes, view }: RecordBytes,
  at: number,
  { id, incarnation, size }: Pick<RecordHead, 'id' | 'incarnation' | 'size'>,
): Uint8Array | undefined {
  const tableEnd = at + recordHeadBytes + entryBytes;
  const place = tableEnd + 4;
  if (size === 0 || place + size > bytes.length) return undefined;
  const chunkLog2 = view.getUint8(at + 7);
  const isCommon =
    view.getUint32(at, true) === magic &&
    view.getUint8(at + 4) < kinds.length &&
    view.getUint8(at + 5) === suites.plain &&
    (view.getUint8(at + 6) & ~flagLast) === 0 &&
    chunkLog2 >= chunkLog2Min &&
    chunkLog2 <= chunkLog2Max &&
    size <= 2 ** chunkLog2 &&
    readU64(view, at + 40) === incarnation &&
    readU64(view, at + 52) === 0 &&
    readU64(view, at + 60) === size &&
    view.getUint32(at + 68, true) === size &&
    view.getUint32(at + 72, true) === size &&
    // The table: codec identity, all of it.
    view.getUint32(at + recordHeadBytes, true) === size;
  if (!isCommon) return undefined;
  for (let i = 0; i < 32; i++) if (bytes[at + 8 + i] !== id[i]) return undefined;
  if (provider.crc32(bytes.subarray(at, tableEnd)) !== view.getUint32(tableEnd, true)) return undefined;
  return bytes.subarray(place, place + size);
}

/** Bytes of the record at `at`, of which head and table are right, or why they are not: for whoever looks at many places. */
export function measureRecord(provider: Provider, bytes: Uint8Array, at: number): number | string {
  if (at + recordHeadBytes + 4 > bytes.length) return 'ends inside its header';
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
  if (view.getUint32(0, true) !== magic) return 'has no magic';
  const chunkLog2 = view.getUint8(7);
  if (chunkLog2 < chunkLog2Min || chunkLog2 > chunkLog2Max) return 'has an impossible chunk size';
  const tableEnd = recordHeadBytes + entryBytes * chunkCount(view.getUint32(68, true), chunkLog2);
  const length = tableEnd + 4 + view.getUint32(72, true);
  if (at + length > bytes.length) return 'ends inside its payload';
  if (view.getUint32(tableEnd, true) !== provider.crc32(bytes.subarray(at, at + tableEnd)))
    return 'header checksum does not hold';
  return length;
}

function readHead(view: DataView, id: Uint8Array): RecordHead {
  const kind = kinds[view.getUint8(4)];
  if (kind === undefined) throw damaged('has an unknown kind');
  const suite = view.getUint8(5);
  const flags = view.getUint8(6);
  if (suite > suites.sealed || (flags & ~flagLast) !== 0)
    throw new StoreError(
      'incompatible-format',
      `a record has suite ${suite} and flags ${flags}, unknown here`,
    );
  return {
    kind,
    sealed: suite === suites.sealed,
    id,
    incarnation: wholeNumber(view, 40),
    part: view.getUint32(48, true),
    offset: wholeNumber(view, 52),
    last: flags === flagLast,
    size: wholeNumber(view, 60),
    chunkLog2: view.getUint8(7),
    contentBytes: view.getUint32(68, true),
  };
}

class StoredRecord implements RecordView {
  readonly head: RecordHead;
  readonly length: number;
  readonly #provider: Provider;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(provider: Provider, bytes: Uint8Array, head: RecordHead) {
    this.head = head;
    this.length = bytes.length;
    this.#provider = provider;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  content(from = 0, to: number = this.head.contentBytes): Uint8Array {
    const { contentBytes, chunkLog2 } = this.head;
    const end = Math.min(to, contentBytes);
    if (from === 0 && end === contentBytes && contentBytes <= 2 ** chunkLog2 && contentBytes > 0)
      return this.#only();
    const pieces: Uint8Array[] = [];
    let first = 0;
    this.#walk((chunk, decode) => {
      const start = chunk * 2 ** chunkLog2;
      if (start >= end || start + 2 ** chunkLog2 <= from) return;
      if (pieces.length === 0) first = start;
      pieces.push(decode());
    });
    return joined(pieces).subarray(from - first, Math.max(from, end) - first);
  }

  encoded(offset: number, end: number): EncodedChunk[] | undefined {
    const { contentBytes: size, chunkLog2 } = this.head;
    const chunks = chunkCount(size, chunkLog2);
    const table = Array.from({ length: chunks }, (_, i) =>
      readEntry(this.#view, recordHeadBytes + entryBytes * i),
    );
    if (table.every(({ codec }) => codec === chunkCodecs.identity)) return undefined;
    const first = recordHeadBytes + entryBytes * chunks + 4;
    const chunk = (index: number): { readonly codec: number; readonly bytes: Uint8Array } => {
      const entry = table[index]!;
      const place = table.slice(0, index).reduce((sum, { length }) => sum + length, first);
      const bytes = this.#bytes.subarray(place, place + entry.length);
      checkChunk(this.#provider, entry, bytes);
      return { codec: entry.codec, bytes };
    };
    return cutRun(this.#provider, { size, chunkLog2, chunk }, { offset, end });
  }

  /** The content of a record of one chunk, as most are. */
  #only(): Uint8Array {
    const place = recordHeadBytes + entryBytes + 4;
    const entry = readEntry(this.#view, recordHeadBytes);
    const stored = this.#bytes.subarray(place, place + entry.length);
    checkChunk(this.#provider, entry, stored);
    const content = decodeChunk(this.#provider, entry, stored, this.head.contentBytes);
    if (place + entry.length !== this.length) throw damaged('has chunks of other lengths than its payload');
    return plainBytes(content);
  }

  #walk(visit: (chunk: number, decode: () => Uint8Array) => void): void {
    const { contentBytes, chunkLog2 } = this.head;
    const chunks = chunkCount(contentBytes, chunkLog2);
    let place = recordHeadBytes + entryBytes * chunks + 4;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const entry = readEntry(this.#view, recordHeadBytes + entryBytes * chunk);
      const stored = this.#bytes.subarray(place, place + entry.length);
      visit(chunk, () => {
        checkChunk(this.#provider, entry, stored);
        return decodeChunk(this.#provider, entry, stored, chunkLength(chunk, contentBytes, chunkLog2));
      });
      place += entry.length;
    }
    if (place !== this.length) throw damaged('has chunks of other lengths than its payload');
  }
}

/** The records of an extent, in order. Stops at the first that is damaged, naming it: what follows cannot be found by position. */
export function* readExtent(
  provider: Provider,
  extent: Uint8Array,
): Generator<{ at: number; record: RecordView } | { at: number; damage: string }> {
  let at = 0;
  while (at < extent.length) {
    let record: RecordView;
    try {
      record = readRecord(provider, extent, at);
    } catch (error) {
      yield { at, damage: error instanceof Error ? error.message : String(error) };
      return;
    }
    yield { at, record };
    at += record.length;
  }
}

/** Pieces that follow each other in memory are one view; others are copied. */
function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const first = pieces[0];
  if (first === undefined) return new Uint8Array(0);
  let bytes = 0;
  const adjacent = pieces.every((piece) => {
    const follows = piece.buffer === first.buffer && piece.byteOffset === first.byteOffset + bytes;
    bytes += piece.length;
    return follows;
  });
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (adjacent) return new Uint8Array(first.buffer, first.byteOffset, total);
  const all = new Uint8Array(total);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function wholeNumber(view: DataView, at: number): number {
  const value = readU64(view, at);
  if (Number.isNaN(value)) throw damaged('has a number beyond 53 bits');
  return value;
}

function damaged(why: string): StoreError {
  return new StoreError('corrupt', `a record ${why}`);
}
