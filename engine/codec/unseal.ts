/** Reading sealed objects: header and trailer first, then any chunk, each verified before a byte of it is released. */
import { StoreError, invariant } from '../errors.ts';
import { concatBytes, copyBytes, equalSecrets } from './bytes.ts';
import { chunkLength } from './chunks.ts';
import { locatorOf } from './locator.ts';
import { type Provider, tagBytes } from './provider.ts';
import { type ObjectRole, type SealHeader, decodeHead, headBytesOf, objectKey } from './seal-header.ts';
import {
  ChunkTable,
  type Trailer,
  decodeTrailer,
  paddingPieces,
  parts,
  pieceText,
  pieces,
  sealedArea,
  sealedChunks,
  tableText,
  trailerBytes,
  trailerIndex,
} from './seal-layout.ts';
import { type Place, StreamCipher } from './stream-cipher.ts';

/** The keys that opening takes; a Keyring is one. */
export interface OpeningKeys {
  /** The blob key of an epoch; `wrong-key` when there is none. */
  blobKey(epoch: number): Uint8Array;
  /** The key that locators are made with. */
  readonly idKey: Uint8Array;
}

/** What the caller looked up. An object that is anything else is `tampered`, however sound it is. */
export interface Expected {
  readonly role: ObjectRole;
  readonly locator: Uint8Array;
}

/** The parts of an object that opening takes, and its whole length. */
export interface ObjectEnds {
  /** At least the head. */
  readonly head: Uint8Array;
  /** Exactly the last `trailerBytes`. */
  readonly trailer: Uint8Array;
  readonly bytes: number;
}

export interface Range {
  readonly offset: number;
  readonly length: number;
}

export interface OpenedChunk {
  readonly codec: number;
  /** Still encoded by `codec`. */
  readonly bytes: Uint8Array;
  /** Content bytes after decoding. */
  readonly length: number;
}

/**
 * A sealed object, opened. With a table (`tableRanges` is not empty) the caller reads those pieces and gives them to
 * `loadTable` before any chunk.
 */
export class SealedReader {
  readonly header: SealHeader;
  readonly id: Uint8Array;
  readonly size: number;
  readonly chunks: number;
  readonly #headBytes: number;
  readonly #trailer: Trailer;
  readonly #cipher: StreamCipher;
  #table: ChunkTable | undefined;

  /** Verifies commitment, role, trailer, locator and length: `tampered`, `corrupt`, `wrong-key` or `incompatible-format`. */
  constructor(
    provider: Provider,
    ends: ObjectEnds,
    access: { readonly keys: OpeningKeys; readonly expected: Expected },
  ) {
    const head = decodeHead(ends.head);
    const { role, chunkLog2, epoch } = head.header;
    const { keys, expected } = access;
    if (role !== expected.role) throw tampered(`is of role ${role}, where ${expected.role} was looked for`);
    const { key, hash } = objectKey(provider, head, keys.blobKey(epoch));
    this.#cipher = new StreamCipher(provider, key, hash);
    invariant(ends.trailer.length === trailerBytes, 'a trailer has one length');
    const place = { part: parts.trailer, index: trailerIndex, codec: 0, length: trailerBytes - tagBytes };
    const trailer = decodeTrailer(this.#open(place, ends.trailer), chunkLog2);
    if (!equalSecrets(locatorOf(provider, keys.idKey, trailer.id), expected.locator))
      throw tampered('is not the one that was looked for');
    this.header = {
      ...head.header,
      nonce: copyBytes(head.header.nonce),
      clear: copyBytes(head.header.clear),
    };
    this.#headBytes = headBytesOf(ends.head);
    this.#trailer = trailer;
    this.id = trailer.id;
    this.size = trailer.size;
    this.chunks = sealedChunks(trailer.size, chunkLog2);
    const whole = this.#tableStart + this.#tableBytes + trailer.padding + trailerBytes;
    if (ends.bytes !== whole) throw tampered(`has ${ends.bytes} bytes instead of ${whole}`);
  }

  get #tableStart(): number {
    return this.#headBytes + this.#trailer.stored;
  }

  get #tableText(): number {
    return this.#trailer.tabled ? tableText(this.chunks) : 0;
  }

  get #tableBytes(): number {
    return sealedArea(this.#tableText, this.header.chunkLog2);
  }

  #open(place: Place, bytes: Uint8Array): Uint8Array {
    const plain = this.#cipher.open(place, bytes);
    if (plain === undefined) throw tampered(`was changed in ${nameOf(place)}`);
    return plain;
  }

  /** The pieces of the table; none when the object has no table or it is loaded. */
  get tableRanges(): Range[] {
    if (this.#table !== undefined || !this.#trailer.tabled) return [];
    return this.#ranges(this.#tableStart, this.#tableText, pieces(this.#tableText, this.header.chunkLog2));
  }

  /** Takes the bytes of all `tableRanges`, in order. */
  loadTable(sealed: readonly Uint8Array[]): void {
    const opened = sealed.map((bytes, index) =>
      this.#open({ part: parts.table, index, codec: 0, length: bytes.length - tagBytes }, bytes),
    );
    const table = concatBytes(...opened);
    if (table.length !== this.#tableText) throw tampered('was changed in its table');
    this.#table = new ChunkTable(table, this.#trailer, this.header.chunkLog2);
  }

  /** Where chunk `index` lies in the object. */
  chunkRange(index: number): Range {
    invariant(index >= 0 && index < this.chunks, `no chunk ${index}`);
    const { tabled, stored } = this.#trailer;
    if (tabled) {
      const { length } = this.#loaded.entry(index);
      return { offset: this.#headBytes + this.#loaded.offset(index), length: length + tagBytes };
    }
    const full = 2 ** this.header.chunkLog2 + tagBytes;
    return { offset: this.#headBytes + index * full, length: Math.min(full, stored - index * full) };
  }

  get #loaded(): ChunkTable {
    invariant(this.#table !== undefined, 'the table of a sealed object is loaded first');
    return this.#table;
  }

  /** Opens chunk `index` from the bytes of its range. */
  chunk(index: number, sealed: Uint8Array): OpenedChunk {
    invariant(index >= 0 && index < this.chunks, `no chunk ${index}`);
    const codec = this.#trailer.tabled ? this.#loaded.entry(index).codec : this.#trailer.codec;
    const length = chunkLength(index, this.size, this.header.chunkLog2);
    const part = index === this.chunks - 1 ? parts.lastChunk : parts.chunk;
    return { codec, bytes: this.#open({ part, index, codec, length }, sealed), length };
  }

  /** The pieces of the padding. Only a scrub reads them. */
  get paddingRanges(): Range[] {
    const { count, text } = paddingPieces(this.#trailer.padding, this.header.chunkLog2);
    return this.#ranges(this.#tableStart + this.#tableBytes, text, count);
  }

  /** Verifies piece `index` of the padding. */
  verifyPadding(index: number, sealed: Uint8Array): void {
    const { text } = paddingPieces(this.#trailer.padding, this.header.chunkLog2);
    const length = pieceText(text, this.header.chunkLog2, index);
    this.#open({ part: parts.padding, index, codec: 0, length }, sealed);
  }

  /** After the last use: forgets the object's key as far as that can be done. */
  wipe(): void {
    this.#cipher.wipe();
  }

  #ranges(start: number, text: number, count: number): Range[] {
    const { chunkLog2 } = this.header;
    return Array.from({ length: count }, (_, index) => ({
      offset: start + Math.min(text, index * 2 ** chunkLog2) + index * tagBytes,
      length: pieceText(text, chunkLog2, index) + tagBytes,
    }));
  }
}

/** A small object in one buffer: everything of it verified, table and padding too, but the chunks; `chunk(i)` opens those. */
export function openObject(
  provider: Provider,
  whole: Uint8Array,
  access: { readonly keys: OpeningKeys; readonly expected: Expected },
): { readonly reader: SealedReader; readonly chunk: (index: number) => OpenedChunk } {
  if (whole.length < headBytesOf(whole) + trailerBytes)
    throw new StoreError('corrupt', 'a sealed object is too short');
  const ends = { head: whole, trailer: whole.subarray(whole.length - trailerBytes), bytes: whole.length };
  const reader = new SealedReader(provider, ends, access);
  const at = ({ offset, length }: Range): Uint8Array => whole.subarray(offset, offset + length);
  const table = reader.tableRanges;
  if (table.length > 0) reader.loadTable(table.map(at));
  reader.paddingRanges.forEach((range, index) => reader.verifyPadding(index, at(range)));
  return { reader, chunk: (index) => reader.chunk(index, at(reader.chunkRange(index))) };
}

function nameOf({ part, index }: Place): string {
  if (part === parts.trailer) return 'its trailer';
  if (part === parts.table) return 'its table';
  return part === parts.padding ? 'its padding' : `chunk ${index}`;
}

function tampered(why: string): StoreError {
  return new StoreError('tampered', `a sealed object ${why}`);
}
