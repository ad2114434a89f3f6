/** Sets on how many members each blob is kept, from the calling thread, and sees to it. */
import type { MirrorOptions, MirrorResult } from './api.ts';
import { StoreError } from './errors.ts';
import type { MirrorStart } from './maintenance/mirror.ts';
import { missingOf, resyncAll } from './resync.ts';
import { verifyStore } from './scrub.ts';
import type { ScrubParts } from './scrub-heal.ts';

/** More are of no use on disks that people have. */
const copiesMax = 4;

/** Sets how many copies are wanted, and makes or frees copies of what is there. */
export async function mirrorVolumes(
  parts: ScrubParts,
  copies: number,
  options: MirrorOptions,
): Promise<MirrorResult> {
  const { crew } = parts;
  const { minCopies = 1 } = options;
  const isCount = (value: number, max: number): boolean =>
    Number.isInteger(value) && value >= 1 && value <= max;
  if (!isCount(copies, copiesMax))
    throw new StoreError('invalid-argument', `copies must be a whole number from 1 to ${copiesMax}`);
  if (!isCount(minCopies, copies))
    throw new StoreError('invalid-argument', `minCopies must be a whole number from 1 to copies (${copies})`);
  // What stays must be good before anything that is too much goes.
  const before = await crew.commit<MirrorStart>('mirror-begin', 0);
  if (before.mirrored && copies < before.copies) await verifyStore(parts, options.signal);
  await crew.commit('mirror-set', { copies, minCopies });
  const done = await resyncAll(crew, options);
  if (done === undefined) return { blobs: 0, bytes: 0, missing: 0 };
  const { blobs, bytes, full } = done;
  if (full > 0)
    throw new StoreError('no-space', `there is no room for all copies of ${full} blob(s)`, { blobs: full });
  return { blobs, bytes, missing: missingOf(done) };
}
