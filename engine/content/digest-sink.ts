/** Where slices of content go to be hashed: to a neighbour thread, or to a hasher of this one. */
import type { ContentDigest, Digester } from './digest.ts';
import type { DigestLink, DigestSizes, FarDigest } from './digest-link.ts';

export interface DigestSink {
  /** Memory for the next slice; waits until there is some. */
  room(): Promise<Uint8Array>;
  /** The first `length` bytes of the room are the next slice. */
  push(length: number): void;
  finish(): Promise<ContentDigest>;
  abandon(): void;
}

/** `own` is asked where there is no link. */
export function digestSink(link: DigestLink | undefined, own: Digester, sizes: DigestSizes): DigestSink {
  return link === undefined ? new OwnSink(own, sizes.sliceBytes) : new FarSink(link.ask(sizes));
}

class OwnSink implements DigestSink {
  readonly #digester: Digester;
  readonly #memory: Uint8Array;

  constructor(digester: Digester, sliceBytes: number) {
    this.#digester = digester;
    this.#memory = new Uint8Array(sliceBytes);
  }

  room(): Promise<Uint8Array> {
    return Promise.resolve(this.#memory);
  }

  push(length: number): void {
    this.#digester.update(this.#memory.subarray(0, length));
  }

  finish(): Promise<ContentDigest> {
    return Promise.resolve(this.#digester.finish());
  }

  abandon(): void {}
}

class FarSink implements DigestSink {
  readonly #digest: FarDigest;
  /** In the order in which they become free. */
  readonly #slots: { readonly slot: number; readonly free: Promise<unknown> }[];

  constructor(digest: FarDigest) {
    this.#digest = digest;
    this.#slots = digest.slots.map((slot) => ({ slot, free: digest.opened }));
  }

  async room(): Promise<Uint8Array> {
    const { slot, free } = this.#slots[0]!;
    await free;
    return this.#digest.memory(slot);
  }

  push(length: number): void {
    const { slot } = this.#slots.shift()!;
    this.#slots.push({ slot, free: this.#digest.hash(slot, length) });
  }

  finish(): Promise<ContentDigest> {
    return this.#digest.finish();
  }

  abandon(): void {
    this.#digest.drop();
  }
}
