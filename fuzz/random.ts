/** The randomness of a run: of seed and run number alone, and nothing alike for neighbours. */
import { type Random, seededRandom } from '../test/crash/random.ts';

export type { Random };

export function randomOf(seed: number, run: number): Random {
  return seededRandom(mixed(seed ^ mixed(run)), run);
}

/** The finalizer of MurmurHash3: every bit changes every other. */
function mixed(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
