/** Where the parts of a sealed object lie, and the trailer that says so. */
import { StoreError, invariant } from '../errors.ts';
import { readU64, writeU64 } from './bytes.ts';
import { chunkCount, chunkLength } from './chunks.ts';
import { padme } from './padding.ts';
import { tagBytes } from './provider.ts';
import { damaged } from './seal-header.ts';

/** Chunks that a table can list: 64 MiB of table. Without a table (nothing compressed) there is no such limit. */
export const tabledChunksMax: number = 2 ** 24;
/** Codecs lie in the high 4 bits of an entry, as in the tables of records and frames; the length in the low 28. */
export const codecMax = 15;
const lengthBits = 2 ** 28;
const entryBytes = 4;
/** Below the index that the trailer has for itself. */
export const chunksMax = 0xffff_fffe;

/** What lies under each nonce, by its last byte. The final chunk has its own, as in STREAM. */
export const parts: {
  readonly chunk: 0;
  readonly lastChunk: 1;
  readonly table: 2;
  readonly padding: 3;
  readonly trailer: 4;
} = { chunk: 0, lastChunk: 1, table: 2, padding: 3, trailer: 4 };
export type Part = (typeof parts)[keyof typeof parts];
export const trailerIndex = 0xffff_ffff;
const trailerTextBytes = 64;
export const trailerBytes: number = trailerTextBytes + tagBytes;

export interface Trailer {
  /** sha256 of the content. */
  readonly id: Uint8Array;
  /** Bytes of the content. */
  readonly size: number;
  /** Bytes of all sealed chunks. */
  readonly stored: number;
  /** Bytes of the sealed padding. */
  readonly padding: number;
  /** With a table each chunk has a codec of its own. Without one there is a single chunk, or none is encoded. */
  readonly tabled: boolean;
  /** Of the single chunk; else 0. */
  readonly codec: number;
}

export interface ChunkEntry {
  readonly codec: number;
  /** Bytes after encoding, before the tag. */
  readonly length: number;
}

/** Also an empty blob has a chunk: something must be the last. */
export function sealedChunks(size: number, chunkLog2: number): number {
  return Math.max(1, chunkCount(size, chunkLog2));
}

/** Table and padding are sealed in pieces as large as a chunk, so that no part of an object is large in memory. */
export function pieces(textBytes: number, chunkLog2: number): number {
  return Math.ceil(textBytes / 2 ** chunkLog2);
}

/** Bytes that a text takes when it is sealed in pieces. */
export function sealedArea(textBytes: number, chunkLog2: number): number {
  return textBytes + tagBytes * pieces(textBytes, chunkLog2);
}

export function tableText(chunks: number): number {
  return chunks * entryBytes;
}

/** Where padding pieces lie in an area of this many bytes: `count` pieces with `text` zeros in all. */
export function paddingPieces(
  area: number,
  chunkLog2: number,
): { readonly count: number; readonly text: number } {
  const count = Math.ceil(area / (2 ** chunkLog2 + tagBytes));
  return { count, text: area - count * tagBytes };
}

/** Bytes of piece `index` of a text of `textBytes`, without its tag. */
export function pieceText(textBytes: number, chunkLog2: number, index: number): number {
  return Math.max(0, Math.min(2 ** chunkLog2, textBytes - index * 2 ** chunkLog2));
}

/** Bytes of padding that bring an object of `bytes` to a length of Padmé's; never 1 to 15, which no tag fits in. */
export function padmeArea(bytes: number): number {
  const short = padme(bytes) - bytes;
  return short === 0 || short >= tagBytes ? short : padme(bytes + tagBytes) - bytes;
}

/** id 32 · size u64 · stored u64 · padding u64 · tabled u8 · codec u8 · zeros 6. */
export function encodeTrailer(trailer: Trailer): Uint8Array {
  const bytes = new Uint8Array(trailerTextBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(trailer.id);
  writeU64(view, 32, trailer.size);
  writeU64(view, 40, trailer.stored);
  writeU64(view, 48, trailer.padding);
  bytes[56] = trailer.tabled ? 1 : 0;
  bytes[57] = trailer.codec;
  return bytes;
}

/** Reads what a sealer wrote, and refuses what none would have written: the tag has held, so it is no accident. */
export function decodeTrailer(bytes: Uint8Array, chunkLog2: number): Trailer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [size, stored, padding] = [readU64(view, 32), readU64(view, 40), readU64(view, 48)];
  const [tabled, codec] = [view.getUint8(56), view.getUint8(57)];
  if ([size, stored, padding].some(Number.isNaN) || tabled > 1 || codec > codecMax)
    throw damaged('has an impossible trailer');
  if (bytes.subarray(58).some((byte) => byte !== 0))
    throw new StoreError('incompatible-format', 'a sealed object has a trailer of another version');
  const chunks = sealedChunks(size, chunkLog2);
  if (chunks > chunksMax || (tabled === 1 && chunks > tabledChunksMax))
    throw damaged('has more chunks than it can');
  if (tabled === 1 ? chunks === 1 || codec !== 0 : chunks > 1 && codec !== 0)
    throw damaged('has a trailer that no sealer writes');
  const text = stored - chunks * tagBytes;
  if (tabled === 0 && (codec === 0 ? text !== size : text < 1 || text > size))
    throw damaged('has chunks of impossible lengths');
  if (padding > 0 && padding < tagBytes) throw damaged('has an impossible padding');
  return { id: bytes.subarray(0, 32), size, stored, padding, tabled: tabled === 1, codec };
}

/**
 * Lists chunks while they are sealed. Four bytes a chunk. Chunks before
 * the first encoded one are whole, so until then nothing has to be kept.
 */
export class TableWriter {
  readonly #chunkLog2: number;
  #count = 0;
  #entries = new Uint32Array(0);
  #encoded = false;

  constructor(chunkLog2: number) {
    this.#chunkLog2 = chunkLog2;
  }

  get count(): number {
    return this.#count;
  }

  get encoded(): boolean {
    return this.#encoded;
  }

  add({ codec, length }: ChunkEntry): void {
    const most = this.#encoded || codec !== 0 ? tabledChunksMax : chunksMax;
    if (this.#count >= most)
      throw new StoreError('limit-exceeded', `a sealed object has over ${most} chunks`);
    if (codec !== 0 && !this.#encoded) {
      this.#encoded = true;
      this.#entries = new Uint32Array(2 * this.#count + 16).fill(2 ** this.#chunkLog2);
    }
    if (this.#encoded) {
      if (this.#count === this.#entries.length) {
        const more = new Uint32Array(2 * this.#count);
        more.set(this.#entries);
        this.#entries = more;
      }
      this.#entries[this.#count] = codec * lengthBits + length;
    }
    this.#count++;
  }

  /** The table's bytes. */
  encode(): Uint8Array {
    const bytes = new Uint8Array(tableText(this.#count));
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < this.#count; i++) view.setUint32(entryBytes * i, this.#entries[i]!, true);
    return bytes;
  }
}

/** Chunks between two offsets that are kept; those between are summed up, so that a table takes 4 bytes a chunk in memory too. */
const stride = 256;

/** The chunks of an object: their codecs, and where each begins. */
export class ChunkTable {
  readonly #entries: DataView;
  readonly #marks: Float64Array;

  /** Takes the table over. `corrupt` when it is none that a sealer writes. */
  constructor(table: Uint8Array, trailer: Trailer, chunkLog2: number) {
    const chunks = sealedChunks(trailer.size, chunkLog2);
    invariant(table.length === tableText(chunks), 'a table has an entry for each chunk');
    this.#entries = new DataView(table.buffer, table.byteOffset, table.length);
    this.#marks = new Float64Array(Math.ceil(chunks / stride));
    let encoded = false;
    let offset = 0;
    for (let index = 0; index < chunks; index++) {
      const { codec, length } = this.entry(index);
      const text = chunkLength(index, trailer.size, chunkLog2);
      if (codec === 0 ? length !== text : length < 1 || length > text)
        throw damaged('has chunks of impossible lengths');
      if (index % stride === 0) this.#marks[index / stride] = offset;
      encoded ||= codec !== 0;
      offset += length + tagBytes;
    }
    if (offset !== trailer.stored) throw damaged('has a table that does not fit its chunks');
    if (!encoded) throw damaged('has a table that no sealer writes');
  }

  entry(index: number): ChunkEntry {
    const word = this.#entries.getUint32(entryBytes * index, true);
    return { codec: Math.floor(word / lengthBits), length: word % lengthBits };
  }

  /** Offset of a chunk from the first one's. */
  offset(index: number): number {
    let at = index - (index % stride);
    let offset = this.#marks[at / stride]!;
    for (; at < index; at++) offset += this.entry(at).length + tagBytes;
    return offset;
  }
}
