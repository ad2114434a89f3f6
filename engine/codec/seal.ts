/** Sealing: a blob becomes a sealed object, chunk after chunk, or at once when it is small. */
import { invariant } from '../errors.ts';
import { concatBytes } from './bytes.ts';
import { chunkLength } from './chunks.ts';
import { type Provider, tagBytes } from './provider.ts';
import { type SealHeader, deriveObjectKey, encodeHeader } from './seal-header.ts';
import {
  type Part,
  TableWriter,
  codecMax,
  encodeTrailer,
  padmeArea,
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

/** `padme` rounds the object's length up, so that it tells less of what is in it. */
export type Padding = 'none' | 'padme';

export interface SealOptions extends SealHeader {
  /** The blob key of `epoch`. */
  readonly blobKey: Uint8Array;
}

/** A chunk as it is to be sealed. */
export interface Chunk {
  /** How the bytes are encoded; 0 as they are. Authenticated, and given back by the reader. */
  readonly codec: number;
  /** The encoded bytes. */
  readonly bytes: Uint8Array;
  /** Content bytes before encoding: the chunk size for every chunk but the last. */
  readonly length: number;
}

export interface Tail {
  /** sha256 of the content. */
  readonly id: Uint8Array;
  readonly padding: Padding;
}

/**
 * Seals one object: `head`, then `chunk` for each chunk in order, `lastChunk` for the last (also of an empty blob), then
 * `tail`. What each gives is written one after the other. Neither id nor length need be known before the tail.
 * One object, one sealer, one fresh nonce from the Host: two objects under one nonce would share a key.
 */
export class ObjectSealer {
  /** The first bytes of the object. */
  readonly head: Uint8Array;
  readonly #cipher: StreamCipher;
  readonly #chunkLog2: number;
  readonly #table: TableWriter;
  #size = 0;
  #stored = 0;
  #codec = 0;
  #state: 'open' | 'last' | 'done' = 'open';

  constructor(provider: Provider, options: SealOptions) {
    const header = encodeHeader(options);
    const hash = provider.sha256(header);
    const derived = deriveObjectKey(provider, options.blobKey, { nonce: options.nonce, hash });
    this.head = concatBytes(header, derived.commitment);
    this.#cipher = new StreamCipher(provider, derived.key, hash);
    this.#chunkLog2 = options.chunkLog2;
    this.#table = new TableWriter(options.chunkLog2);
  }

  /** Seals a chunk that others follow. Writes to the start of `target`, which must not overlap the chunk's bytes. */
  chunk(chunk: Chunk, target: Uint8Array = new Uint8Array(chunk.bytes.length + tagBytes)): Uint8Array {
    return this.#seal(chunk, target, parts.chunk);
  }

  /** Seals the last chunk. */
  lastChunk(chunk: Chunk, target: Uint8Array = new Uint8Array(chunk.bytes.length + tagBytes)): Uint8Array {
    const sealed = this.#seal(chunk, target, parts.lastChunk);
    this.#state = 'last';
    return sealed;
  }

  /** `chunk`, or `lastChunk`, in memory of its own, in pieces. */
  pieces(chunk: Chunk, last: boolean): Uint8Array[] {
    const place = this.#stand(chunk, last ? parts.lastChunk : parts.chunk);
    if (last) this.#state = 'last';
    return this.#cipher.sealed(place, chunk.bytes);
  }

  #seal(chunk: Chunk, target: Uint8Array, part: Part): Uint8Array {
    const sealed = target.subarray(0, chunk.bytes.length + tagBytes);
    this.#cipher.seal(this.#stand(chunk, part), chunk.bytes, sealed);
    return sealed;
  }

  /** Takes the chunk into account, and gives its place. */
  #stand({ codec, bytes, length }: Chunk, part: Part): Place {
    invariant(this.#state === 'open', 'no chunk follows the last');
    invariant(
      length === 2 ** this.#chunkLog2 || part === parts.lastChunk,
      'every chunk but the last is full',
    );
    invariant(Number.isInteger(codec) && codec >= 0 && codec <= codecMax, `codec ${codec}`);
    invariant(length <= 2 ** this.#chunkLog2, `a chunk of ${length} bytes`);
    invariant(length > 0 || this.#table.count === 0, 'only an empty blob has an empty chunk');
    const fits = codec === 0 ? bytes.length === length : bytes.length > 0 && bytes.length <= length;
    invariant(fits, `a chunk of ${length} bytes became ${bytes.length} by codec ${codec}`);
    const index = this.#table.count;
    this.#table.add({ codec, length: bytes.length });
    this.#size += length;
    this.#stored += bytes.length + tagBytes;
    this.#codec = codec;
    return { part, index, codec, length };
  }

  /** The rest of the object, in pieces no larger than a sealed chunk: the table if there is one, padding, the trailer. */
  *tail({ id, padding }: Tail): Generator<Uint8Array> {
    invariant(this.#state === 'last', 'the tail follows the last chunk');
    this.#state = 'done';
    const tabled = this.#table.encoded && this.#table.count > 1;
    if (tabled) yield* this.#cut(parts.table, this.#table.encode());
    const table = tabled ? sealedArea(tableText(this.#table.count), this.#chunkLog2) : 0;
    const bare = this.head.length + this.#stored + table + trailerBytes;
    const area = padding === 'padme' ? padmeArea(bare) : 0;
    yield* this.#padding(area);
    const codec = tabled ? 0 : this.#codec;
    const trailer = { id, size: this.#size, stored: this.#stored, padding: area, tabled, codec };
    yield this.#piece({ part: parts.trailer, index: trailerIndex }, encodeTrailer(trailer));
    this.#cipher.wipe();
  }

  *#cut(part: typeof parts.table, text: Uint8Array): Generator<Uint8Array> {
    for (let index = 0; index < pieces(text.length, this.#chunkLog2); index++) {
      const start = index * 2 ** this.#chunkLog2;
      yield this.#piece({ part, index }, text.subarray(start, start + 2 ** this.#chunkLog2));
    }
  }

  *#padding(area: number): Generator<Uint8Array> {
    const { count, text } = paddingPieces(area, this.#chunkLog2);
    for (let index = 0; index < count; index++) {
      const zeros = new Uint8Array(pieceText(text, this.#chunkLog2, index));
      yield this.#piece({ part: parts.padding, index }, zeros);
    }
  }

  #piece(
    place: { readonly part: (typeof parts)['table' | 'padding' | 'trailer']; readonly index: number },
    text: Uint8Array,
  ): Uint8Array {
    const sealed = new Uint8Array(text.length + tagBytes);
    this.#cipher.seal({ ...place, codec: 0, length: text.length }, text, sealed);
    return sealed;
  }
}

export interface SmallObject extends SealOptions, Tail {
  /** In order; one empty chunk for an empty blob. */
  readonly chunks: readonly Chunk[];
}

/** Bytes of a sealed object of these chunks, padding apart: so a small one can be sealed into its place. */
export function sealedBytes(headBytes: number, chunkLog2: number, chunks: readonly Chunk[]): number {
  const stored = chunks.reduce((sum, { bytes }) => sum + bytes.length + tagBytes, 0);
  const tabled = chunks.length > 1 && chunks.some(({ codec }) => codec !== 0);
  return headBytes + stored + (tabled ? sealedArea(tableText(chunks.length), chunkLog2) : 0) + trailerBytes;
}

/** The whole object in one buffer. */
export function sealObject(provider: Provider, object: SmallObject): Uint8Array {
  const { chunks, chunkLog2 } = object;
  const size = chunks.reduce((sum, { length }) => sum + length, 0);
  invariant(chunks.length === sealedChunks(size, chunkLog2), `${chunks.length} chunks for ${size} bytes`);
  const sealer = new ObjectSealer(provider, object);
  const bare = sealedBytes(sealer.head.length, chunkLog2, chunks);
  const whole = new Uint8Array(bare + (object.padding === 'padme' ? padmeArea(bare) : 0));
  whole.set(sealer.head);
  let at = sealer.head.length;
  chunks.forEach((chunk, index) => {
    invariant(chunk.length === chunkLength(index, size, chunkLog2), 'every chunk but the last is full');
    const last = index === chunks.length - 1;
    const target = whole.subarray(at);
    at += (last ? sealer.lastChunk(chunk, target) : sealer.chunk(chunk, target)).length;
  });
  for (const piece of sealer.tail(object)) {
    whole.set(piece, at);
    at += piece.length;
  }
  invariant(at === whole.length, 'a sealed object is as long as was counted');
  return whole;
}

/** Cuts content into the chunks that are sealed when nothing is compressed. */
export function plainChunks(content: Uint8Array, chunkLog2: number): Chunk[] {
  return Array.from({ length: sealedChunks(content.length, chunkLog2) }, (_, index) => {
    const start = index * 2 ** chunkLog2;
    const bytes = content.subarray(start, start + chunkLength(index, content.length, chunkLog2));
    return { codec: 0, bytes, length: bytes.length };
  });
}
