/** One pass over the content of a large blob: its sha256 and, where it is to be a file, the CRC-32 of every chunk. */
import type { Provider } from '../codec/provider.ts';

export interface ContentDigest {
  readonly id: Uint8Array;
  /** CRC-32 of each chunk, little-endian. */
  readonly sums: Uint8Array;
  readonly size: number;
}

export class Digester {
  readonly #provider: Provider;
  readonly #chunkBytes: number;
  readonly #hasher: ReturnType<Provider['hasher']>;
  /** The chunk that has begun but not ended. */
  readonly #partial: Uint8Array;
  #partialBytes = 0;
  #sums = new Uint32Array(64);
  #chunks = 0;
  #size = 0;

  /** `chunkBytes` 0: the sha256 is all that is wanted. */
  constructor(provider: Provider, chunkBytes: number) {
    this.#provider = provider;
    this.#chunkBytes = chunkBytes;
    this.#hasher = provider.hasher();
    this.#partial = new Uint8Array(chunkBytes);
  }

  update(bytes: Uint8Array): void {
    this.#hasher.update(bytes);
    this.#size += bytes.length;
    if (this.#chunkBytes === 0) return;
    let at = 0;
    if (this.#partialBytes > 0) {
      at = Math.min(bytes.length, this.#chunkBytes - this.#partialBytes);
      this.#partial.set(bytes.subarray(0, at), this.#partialBytes);
      this.#partialBytes += at;
      if (this.#partialBytes < this.#chunkBytes) return;
      this.#push(this.#partial);
      this.#partialBytes = 0;
    }
    for (; at + this.#chunkBytes <= bytes.length; at += this.#chunkBytes)
      this.#push(bytes.subarray(at, at + this.#chunkBytes));
    this.#partial.set(bytes.subarray(at));
    this.#partialBytes = bytes.length - at;
  }

  finish(): ContentDigest {
    if (this.#partialBytes > 0) this.#push(this.#partial.subarray(0, this.#partialBytes));
    const sums = new Uint8Array(4 * this.#chunks);
    const view = new DataView(sums.buffer);
    for (let i = 0; i < this.#chunks; i++) view.setUint32(4 * i, this.#sums[i]!, true);
    return { id: this.#hasher.digest(), sums, size: this.#size };
  }

  #push(chunk: Uint8Array): void {
    if (this.#chunks === this.#sums.length) {
      const grown = new Uint32Array(2 * this.#sums.length);
      grown.set(this.#sums);
      this.#sums = grown;
    }
    this.#sums[this.#chunks++] = this.#provider.crc32(chunk);
  }
}
