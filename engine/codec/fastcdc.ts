/** FastCDC: cuts content where its bytes say so, so that an insertion moves the cuts around it and no others. */
import type { Provider } from './provider.ts';

/*
 * Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data Deduplication" (USENIX ATC 2016): a gear hash,
 * no cut before the least size, a harder condition before the average size and an easier one behind it ("normalized chunking", level
 * 2), a forced cut at the greatest size. The hash has 32 bits, so that it is one machine word in JavaScript; its upper bits depend on
 * the last 32 bytes.
 */

/** Part of the format: other sizes cut elsewhere. Bytes; `average` is a power of two. */
export interface CutSizes {
  readonly least: number;
  readonly average: number;
  readonly greatest: number;
}

/** A quarter of a MiB in the middle: an edit costs about two chunks, and a gigabyte has four thousand. */
export const usualCuts: CutSizes = { least: 64 * 1024, average: 256 * 1024, greatest: 1024 * 1024 };

/** How much harder, and easier, the condition is before and behind the average size, in bits. */
const normalization = 2;

/** Entry i: the first four bytes, little-endian, of sha256("holdfast/gear/<i>"). */
export function gearTable(provider: Provider): Int32Array {
  const table = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    const digest = provider.sha256(new TextEncoder().encode(`holdfast/gear/${i}`));
    table[i] = digest[0]! | (digest[1]! << 8) | (digest[2]! << 16) | (digest[3]! << 24);
  }
  return table;
}

/** Made once: it takes longer than opening a store does otherwise. */
const gears = new WeakMap<Provider, Int32Array>();

function gearOf(provider: Provider): Int32Array {
  let gear = gears.get(provider);
  if (gear === undefined) gears.set(provider, (gear = gearTable(provider)));
  return gear;
}

export class Cutter {
  readonly sizes: CutSizes;
  readonly #gear: Int32Array;
  readonly #hard: number;
  readonly #easy: number;
  /** Between the two parts of a chunk. */
  #hash = 0;

  constructor(provider: Provider, sizes: CutSizes) {
    this.sizes = sizes;
    this.#gear = gearOf(provider);
    const bits = Math.log2(sizes.average);
    this.#hard = -1 << (32 - bits - normalization);
    this.#easy = -1 << (32 - bits + normalization);
  }

  /**
   * Length of the chunk that begins at `from`. `bytes` has to reach `greatest` bytes beyond it, or to the end of the content. Looks at
   * bytes up to the cut only.
   */
  cut(bytes: Uint8Array, from: number): number {
    const { least, average, greatest } = this.sizes;
    const length = Math.min(bytes.length - from, greatest);
    if (length <= least) return length;
    const middle = from + Math.min(average, length);
    this.#hash = 0;
    let cut = this.#scan(bytes, { from: from + least, to: middle }, this.#hard);
    if (cut < 0)
      cut = this.#scan(bytes, { from: Math.max(middle, from + least), to: from + length }, this.#easy);
    return cut < 0 ? length : cut - from;
  }

  /**
   * Where the first cut in a range is, or -1. The hot loop, 16 bytes a turn. Not only for speed: V8 puts a shorter function into its
   * caller, and leaves the loop there to its quick compiler, at a third of the speed (Node 24).
   */
  #scan(bytes: Uint8Array, range: { readonly from: number; readonly to: number }, mask: number): number {
    const gear = this.#gear;
    const { from, to } = range;
    let hash = this.#hash;
    let at = from;
    for (; at + 16 <= to; at += 16) {
      hash = ((hash << 1) + gear[bytes[at]!]!) | 0;
      if ((hash & mask) === 0) return at + 1;
      hash = ((hash << 1) + gear[bytes[at + 1]!]!) | 0;
      if ((hash & mask) === 0) return at + 2;
      hash = ((hash << 1) + gear[bytes[at + 2]!]!) | 0;
      if ((hash & mask) === 0) return at + 3;
      hash = ((hash << 1) + gear[bytes[at + 3]!]!) | 0;
      if ((hash & mask) === 0) return at + 4;
      hash = ((hash << 1) + gear[bytes[at + 4]!]!) | 0;
      if ((hash & mask) === 0) return at + 5;
      hash = ((hash << 1) + gear[bytes[at + 5]!]!) | 0;
      if ((hash & mask) === 0) return at + 6;
      hash = ((hash << 1) + gear[bytes[at + 6]!]!) | 0;
      if ((hash & mask) === 0) return at + 7;
      hash = ((hash << 1) + gear[bytes[at + 7]!]!) | 0;
      if ((hash & mask) === 0) return at + 8;
      hash = ((hash << 1) + gear[bytes[at + 8]!]!) | 0;
      if ((hash & mask) === 0) return at + 9;
      hash = ((hash << 1) + gear[bytes[at + 9]!]!) | 0;
      if ((hash & mask) === 0) return at + 10;
      hash = ((hash << 1) + gear[bytes[at + 10]!]!) | 0;
      if ((hash & mask) === 0) return at + 11;
      hash = ((hash << 1) + gear[bytes[at + 11]!]!) | 0;
      if ((hash & mask) === 0) return at + 12;
      hash = ((hash << 1) + gear[bytes[at + 12]!]!) | 0;
      if ((hash & mask) === 0) return at + 13;
      hash = ((hash << 1) + gear[bytes[at + 13]!]!) | 0;
      if ((hash & mask) === 0) return at + 14;
      hash = ((hash << 1) + gear[bytes[at + 14]!]!) | 0;
      if ((hash & mask) === 0) return at + 15;
      hash = ((hash << 1) + gear[bytes[at + 15]!]!) | 0;
      if ((hash & mask) === 0) return at + 16;
    }
    for (; at < to; at++) {
      hash = ((hash << 1) + gear[bytes[at]!]!) | 0;
      if ((hash & mask) === 0) return at + 1;
    }
    this.#hash = hash;
    return -1;
  }
}

/** Whether these sizes can work, and are ones that a reader of a manifest should believe. */
export function areCutSizes({ least, average, greatest }: CutSizes): boolean {
  const bits = Math.log2(average);
  return (
    Number.isInteger(bits) &&
    bits >= 12 &&
    bits <= 22 &&
    Number.isInteger(least) &&
    Number.isInteger(greatest) &&
    least >= 64 &&
    least <= average &&
    greatest >= average &&
    greatest <= 16 * 1024 * 1024
  );
}
