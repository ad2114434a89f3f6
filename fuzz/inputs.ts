/** The input of a run: a function of target, seed and run number alone, so that any run can be made again by itself. */
import { type Random, randomOf } from './random.ts';
import { mutate, randomBytes } from './mutate.ts';
import type { Target } from './target.ts';

export interface Input {
  readonly bytes: Uint8Array;
  /** Must be accepted. */
  readonly valid: boolean;
}

export function inputOf(target: Pick<Target, 'valid' | 'near' | 'repair'>, seed: number, run: number): Input {
  const random = randomOf(seed, run);
  const kind = random.below(16);
  if (kind === 0) return { bytes: target.valid(random), valid: true };
  if (kind === 1) return { bytes: repaired(target, randomBytes(random), random), valid: false };
  if (kind === 2 && target.near !== undefined) return { bytes: target.near(random), valid: false };
  const base = target.near !== undefined && random.chance(0.3) ? target.near : target.valid;
  const bytes = mutate(base(random), random, target.valid(random));
  return { bytes: repaired(target, bytes, random), valid: false };
}

/** Mostly repaired, where that is possible: a checksum that does not hold hides everything behind it. */
function repaired({ repair }: Pick<Target, 'repair'>, bytes: Uint8Array, random: Random): Uint8Array {
  return repair !== undefined && random.chance(0.75) ? repair(bytes) : bytes;
}
