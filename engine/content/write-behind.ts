/** Pieces of any size on their way to a file: gathered to some size, and written while the next ones are made. */
import { release } from '../codec/bytes.ts';

/** Appends all, in their order; the bytes are left alone until it resolves. */
export type AppendLater = (pieces: readonly Uint8Array[]) => Promise<void>;

/** Bytes of a write. */
const writeBytes = 1024 * 1024;
/** Of memory for pieces that are copied. */
const slabBytes = 64 * 1024;

export class WriteBehind {
  readonly #append: AppendLater;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  /** Those of them whose memory is nobody else's. */
  #given: Uint8Array[] = [];
  /** What is left of the memory for copies. */
  #slab = new Uint8Array(0);
  /** In their order. */
  readonly #underWay: Promise<void>[] = [];

  constructor(append: AppendLater) {
    this.#append = append;
  }

  /** Takes a copy. What it holds grows until `settle`. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#slab.length === 0) this.#slab = new Uint8Array(slabBytes);
      const part = bytes.subarray(at, at + this.#slab.length);
      this.#slab.set(part);
      this.#add(this.#slab.subarray(0, part.length));
      this.#slab = this.#slab.subarray(part.length);
      at += part.length;
    }
  }

  /** Takes the bytes over: their memory goes back to the system when they are written. */
  give(bytes: Uint8Array): void {
    this.#given.push(bytes);
    this.#add(bytes);
  }

  /** Waits until no more than one write is under way. Throws what a write threw. */
  async settle(): Promise<void> {
    while (this.#underWay.length > 1) await this.#underWay.shift();
  }

  /** Writes what is left, and waits for all. */
  async finish(): Promise<void> {
    this.#send();
    await Promise.all(this.#underWay.splice(0));
  }

  #add(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes >= writeBytes) this.#send();
  }

  #send(): void {
    const pieces = this.#pieces;
    if (pieces.length === 0) return;
    // Not the memory for copies: what is left of it may hold the next ones.
    const given = this.#given;
    this.#pieces = [];
    this.#given = [];
    this.#bytes = 0;
    const written = this.#append(pieces).then(() => given.forEach(release));
    // Whoever settles learns of it; whoever has given up does not have to.
    written.catch(() => undefined);
    this.#underWay.push(written);
  }
}
