/** Frames a large blob on its way to disk: cuts it into chunks, compresses several at once, hashes the content meanwhile. */
import type { ChunkCompressor } from '../codec/compress.ts';
import { FrameWriter } from '../codec/frame.ts';
import type { Hasher, Provider } from '../codec/provider.ts';

export class Framing {
  readonly #compressor: ChunkCompressor;
  readonly #frame: FrameWriter;
  readonly #hasher: Hasher;
  readonly #write: (bytes: Uint8Array) => void;
  /** The chunk that has begun but not ended. */
  readonly #partial: Uint8Array;
  #partialBytes = 0;
  #size = 0;

  constructor(
    provider: Provider,
    chunkLog2: number,
    to: { readonly compressor: ChunkCompressor; readonly write: (bytes: Uint8Array) => void },
  ) {
    this.#compressor = to.compressor;
    this.#frame = new FrameWriter(provider, chunkLog2);
    this.#hasher = provider.hasher();
    this.#write = to.write;
    this.#partial = new Uint8Array(2 ** chunkLog2);
    this.#write(this.#frame.head());
  }

  /** Takes the next bytes; they may be used again when it resolves. Not to be called again before. */
  async add(bytes: Uint8Array): Promise<void> {
    const chunkBytes = this.#partial.length;
    const chunks: Uint8Array[] = [];
    let at = 0;
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
    const encoded = Promise.all(chunks.map((chunk) => this.#compressor.encodeLater(chunk)));
    this.#hasher.update(bytes);
    this.#size += bytes.length;
    for (const chunk of await encoded) this.#frame.add(chunk).forEach(this.#write);
    if (at < bytes.length) {
      this.#partial.set(bytes.subarray(at));
      this.#partialBytes = bytes.length - at;
    }
  }

  async finish(): Promise<{ readonly id: Uint8Array; readonly size: number }> {
    if (this.#partialBytes > 0) {
      const last = this.#partial.subarray(0, this.#partialBytes);
      this.#frame.add(await this.#compressor.encodeLater(last)).forEach(this.#write);
    }
    const id = this.#hasher.digest();
    this.#frame.finish(id, this.#size).forEach(this.#write);
    return { id, size: this.#size };
  }
}
