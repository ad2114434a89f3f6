/** Frames a large blob on its way to disk: cuts it into chunks, compresses several at once, seals them in an encrypted store. */
import { type EncodedChunk, decodeOne } from '../codec/chunk-run.ts';
import { type ChunkCodec, chunkCodecs } from '../codec/chunks.ts';
import type { ChunkCompressor } from '../codec/compress.ts';
import { FrameWriter } from '../codec/frame.ts';
import type { Provider } from '../codec/provider.ts';
import { type Chunk, ObjectSealer, type Padding, type SealOptions } from '../codec/seal.ts';
import { type AppendLater, WriteBehind } from './write-behind.ts';

/** Where encoded chunks go. Their memory may be used again as soon as a call returns. */
interface ChunkSink {
  add(chunks: readonly EncodedChunk[]): void;
  /** Returns the bytes of what the frame holds. */
  finish(blob: FramedBlob): number;
}

/** What is known at the end. */
export interface FramedBlob {
  /** sha256 of the content, its bytes, and what it is called on disk. */
  readonly id: Uint8Array;
  readonly size: number;
  readonly name: Uint8Array;
}

export interface FramingParts {
  readonly chunkLog2: number;
  /** Absent: nothing is compressed. */
  readonly compressor: ChunkCompressor | undefined;
  /** Absent in a store without encryption. `already`: what comes is a sealed object. */
  readonly seal: { readonly header: SealOptions; readonly padding: Padding } | 'already' | undefined;
  readonly append: AppendLater;
}

export class Framing {
  readonly #provider: Provider;
  readonly #compressor: ChunkCompressor | undefined;
  readonly #sink: ChunkSink;
  readonly #out: WriteBehind;
  /** The chunk that has begun but not ended. */
  readonly #partial: Uint8Array;
  #partialBytes = 0;
  /** The same, as it came encoded: of use if it is the last. */
  #last: EncodedChunk | undefined;

  constructor(provider: Provider, parts: FramingParts) {
    const { chunkLog2, compressor, seal } = parts;
    const out = (this.#out = new WriteBehind(parts.append));
    this.#provider = provider;
    this.#compressor = compressor;
    this.#partial = new Uint8Array(2 ** chunkLog2);
    const frame = new FrameWriter(provider, chunkLog2, seal !== undefined);
    out.write(frame.head());
    this.#sink =
      seal === undefined || seal === 'already'
        ? new FrameSink(frame, out)
        : new SealSink(provider, { ...seal, frame, out, chunkBytes: 2 ** chunkLog2 });
  }

  /**
   * Takes the next bytes; they may be used again when it resolves. Not to be called again before. `meanwhile` runs while they are
   * compressed on other threads.
   */
  async add(bytes: Uint8Array, meanwhile: () => void): Promise<void> {
    const chunkBytes = this.#partial.length;
    const chunks: Uint8Array[] = [];
    let at = 0;
    if (bytes.length > 0) this.#last = undefined;
    if (this.#partialBytes > 0) {
      at = Math.min(bytes.length, chunkBytes - this.#partialBytes);
      this.#partial.set(bytes.subarray(0, at), this.#partialBytes);
      this.#partialBytes += at;
      if (this.#partialBytes === chunkBytes) {
        chunks.push(this.#partial);
        this.#partialBytes = 0;
      }
    }
    for (; at + chunkBytes <= bytes.length; at += chunkBytes)
      chunks.push(bytes.subarray(at, at + chunkBytes));
    const encoded = Promise.all(chunks.map((chunk) => this.#encode(chunk)));
    meanwhile();
    this.#sink.add(await encoded);
    await this.#out.settle();
    if (at < bytes.length) {
      this.#partial.set(bytes.subarray(at));
      this.#partialBytes = bytes.length - at;
    }
  }

  /**
   * Takes chunks that were encoded elsewhere; `content` gets what they decode to. They are framed as they are where they are cut
   * as here and compressed by `codec`, if at all; where they are not, their content is taken in like any other.
   */
  async addEncoded(
    chunks: readonly EncodedChunk[],
    codec: ChunkCodec | undefined,
    content: { update(bytes: Uint8Array): void },
  ): Promise<void> {
    const chunkBytes = this.#partial.length;
    for (const chunk of chunks) {
      const bytes = decodeOne(this.#provider, chunk);
      // What did not pay there, would not here.
      const isOurs = chunk.codec === chunkCodecs.identity || chunk.codec === codec;
      const kept = this.#partialBytes === 0 && chunk.length <= chunkBytes && isOurs;
      if (kept && chunk.length === chunkBytes) {
        content.update(bytes);
        this.#sink.add([chunk]);
        await this.#out.settle();
        continue;
      }
      await this.add(bytes, () => content.update(bytes));
      if (kept) this.#last = { ...chunk, bytes: chunk.bytes.slice() };
    }
  }

  /** Returns the bytes of what the frame holds: the content, or the sealed object. */
  async finish(blob: FramedBlob): Promise<number> {
    if (this.#partialBytes > 0)
      this.#sink.add([this.#last ?? (await this.#encode(this.#partial.subarray(0, this.#partialBytes)))]);
    const bytes = this.#sink.finish(blob);
    await this.#out.finish();
    return bytes;
  }

  async #encode(bytes: Uint8Array): Promise<EncodedChunk> {
    const { length } = bytes;
    if (this.#compressor === undefined) return { codec: chunkCodecs.identity, bytes, length };
    return { ...(await this.#compressor.encodeLater(bytes)), length };
  }
}

/** Of an object that was sealed elsewhere, as it is. */
export function objectFraming(provider: Provider, chunkBytes: number, append: AppendLater): Framing {
  return new Framing(provider, {
    chunkLog2: Math.log2(chunkBytes),
    compressor: undefined,
    seal: 'already',
    append,
  });
}

/** Chunks as they are encoded. */
class FrameSink implements ChunkSink {
  readonly #frame: FrameWriter;
  readonly #out: WriteBehind;

  constructor(frame: FrameWriter, out: WriteBehind) {
    this.#frame = frame;
    this.#out = out;
  }

  add(chunks: readonly EncodedChunk[]): void {
    for (const chunk of chunks) for (const piece of this.#frame.add(chunk)) this.#out.write(piece);
  }

  finish({ name, size }: FramedBlob): number {
    for (const piece of this.#frame.finish(name, size)) this.#out.write(piece);
    return size;
  }
}

/** Chunks sealed one after another into an object, and that cut into the chunks of the frame, whose checksums keyless scrubs go by. */
class SealSink implements ChunkSink {
  readonly #sealer: ObjectSealer;
  readonly #padding: Padding;
  readonly #frame: FrameWriter;
  readonly #out: WriteBehind;
  readonly #provider: Provider;
  readonly #chunkBytes: number;
  /** Of the frame's chunk that has begun but not ended: its bytes and their CRC-32. */
  #pieceBytes = 0;
  #pieceCrc = 0;
  /** The last chunk is sealed as the last, so each waits for the next. */
  #held: EncodedChunk | undefined;
  #size = 0;

  constructor(
    provider: Provider,
    parts: {
      readonly header: SealOptions;
      readonly padding: Padding;
      readonly frame: FrameWriter;
      readonly out: WriteBehind;
      readonly chunkBytes: number;
    },
  ) {
    this.#sealer = new ObjectSealer(provider, parts.header);
    this.#padding = parts.padding;
    this.#frame = parts.frame;
    this.#out = parts.out;
    this.#provider = provider;
    this.#chunkBytes = parts.chunkBytes;
    this.#put(this.#sealer.head);
  }

  add(chunks: readonly EncodedChunk[]): void {
    for (const chunk of chunks) {
      if (this.#held !== undefined)
        this.#sealer.pieces(this.#held, false).forEach((piece) => this.#put(piece));
      this.#held = chunk;
    }
    // The caller's memory is used again.
    if (this.#held !== undefined && chunks.length > 0)
      this.#held = { ...this.#held, bytes: this.#held.bytes.slice() };
  }

  finish({ id, name }: FramedBlob): number {
    const last: Chunk = this.#held ?? { codec: chunkCodecs.identity, bytes: new Uint8Array(0), length: 0 };
    this.#sealer.pieces(last, true).forEach((piece) => this.#put(piece));
    for (const piece of this.#sealer.tail({ id, padding: this.#padding })) this.#put(piece);
    if (this.#pieceBytes > 0) for (const page of this.#endPiece()) this.#out.write(page);
    for (const piece of this.#frame.finish(name, this.#size)) this.#out.write(piece);
    return this.#size;
  }

  /** Takes the bytes over: a copy would cost as much as the cipher. */
  #put(bytes: Uint8Array): void {
    this.#size += bytes.length;
    let given = 0;
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + this.#chunkBytes - this.#pieceBytes);
      at += part.length;
      const pages = this.#counted(part);
      if (pages.length === 0) continue;
      this.#out.write(bytes.subarray(given, at));
      given = at;
      for (const page of pages) this.#out.write(page);
    }
    if (given === 0) this.#out.give(bytes);
    else this.#out.write(bytes.subarray(given));
  }

  /** Counts a part as part of that chunk. Returns the page to write next, where one ended with it. */
  #counted(part: Uint8Array): Uint8Array[] {
    this.#pieceCrc = this.#provider.crc32(part, this.#pieceCrc);
    this.#pieceBytes += part.length;
    return this.#pieceBytes < this.#chunkBytes ? [] : this.#endPiece();
  }

  #endPiece(): Uint8Array[] {
    const entry = { codec: chunkCodecs.identity, length: this.#pieceBytes, crc: this.#pieceCrc };
    this.#pieceBytes = 0;
    this.#pieceCrc = 0;
    return this.#frame.added(entry);
  }
}
