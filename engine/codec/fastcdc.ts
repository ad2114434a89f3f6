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

export class Cutter {
  readonly sizes: CutSizes;
  readonly #gear: Int32Array;
  readonly #hard: number;
  readonly #easy: number;

  constructor(provider: Provider, sizes: CutSizes) {
    this.sizes = sizes;
    this.#gear = gearTable(provider);
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
    const gear = this.#gear;
    const middle = from + Math.min(average, length);
    const end = from + length;
    let hash = 0;
    let at = from + least;
    const hard = this.#hard;
    for (; at < middle; at++) {
      hash = ((hash << 1) + gear[bytes[at]!]!) | 0;
      if ((hash & hard) === 0) return at + 1 - from;
    }
    const easy = this.#easy;
    for (; at < end; at++) {
      hash = ((hash << 1) + gear[bytes[at]!]!) | 0;
      if ((hash & easy) === 0) return at + 1 - from;
    }
    return length;
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
