/** Which of several files of keys a secret opens: the one in use, or a newer one that came while nobody had a key. */
import type { Secret } from '../api.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError } from '../errors.ts';
import type { Keyring } from './keyring.ts';
import { type Unlocked, comesAfter, followKeys, unlockWith } from './keys.ts';
import { type SlotFile, decodeSlotFile } from './slot-file.ts';
import { SlotKeys } from './slot-keys.ts';

/**
 * Work for all files that wait, in bytes of memory that key derivations pass over: whoever may push can bring sixteen of sixteen slots of
 * a gigabyte each, minutes of work. It is four of the dearest slots that are taken, 21 of Argon2id as we make them, or 32 of scrypt: about
 * ten seconds. A genuine file of one such slot is within it whatever the fifteen others are.
 */
export const waitingWorkMax: number = 4 * 1024 * 1024 * 1024;

export interface NewestKeys {
  readonly keyring: Keyring;
  readonly keysFile: Uint8Array;
}

interface Candidate {
  readonly file: Uint8Array;
  readonly decoded: SlotFile;
}

interface Opened extends Candidate, Unlocked {
  /** By a slot that was made of the secret since the file in use was written. */
  readonly made: boolean;
}

/**
 * By the newest of the files that wait, where the secret opens it and it comes after the one in use; else by that. Of such files one with a
 * slot that was made of this secret since goes before all others: who was shut out by it had the keys of the slots before, and can make a
 * file that is newer still.
 *
 * Those that wait are tried by what they cost, the cheapest first, within `waitingWorkMax`: so what is tried in vain before the right one
 * costs at most fifteen times as much as that. `wrong-key` where the secret opens none, `limit-exceeded` where it opens none and not all
 * were tried.
 */
export async function openNewest(
  provider: Provider,
  { inUse, waiting }: { readonly inUse: Uint8Array; readonly waiting: readonly Uint8Array[] },
  secret: Secret,
): Promise<NewestKeys> {
  const slotKeys = new SlotKeys(provider, secret);
  try {
    return await openBest(provider, { inUse, waiting }, slotKeys);
  } finally {
    slotKeys.wipe();
  }
}

async function openBest(
  provider: Provider,
  { inUse, waiting }: { readonly inUse: Uint8Array; readonly waiting: readonly Uint8Array[] },
  slotKeys: SlotKeys,
): Promise<NewestKeys> {
  let own: Unlocked | undefined;
  let refusal: unknown;
  try {
    own = await unlockWith(provider, inUse, slotKeys);
  } catch (error) {
    if (waiting.length === 0 || !StoreError.is(error, 'wrong-key')) throw error;
    refusal = error;
  }
  const salts = new Set(saltsOf(decodeSlotFile(provider, inUse)).values());
  const found: { best?: Opened } = {};
  const consider = (next: Opened): void => {
    const { best } = found;
    if (comesAfter(provider, next.keyring, inUse) && isBetter(next, best)) {
      best?.keyring.wipe();
      found.best = next;
    } else next.keyring.wipe();
  };
  let left: Candidate[] = [];
  for (const file of waiting) {
    const candidate = { file, decoded: decodeSlotFile(provider, file) };
    const known = await unlessWrong(() => own && followKeys(provider, own.keyring, { file, only: own.slot }));
    // Not made since, whatever salt it names: who had the keys had the key of this slot, too, and can say any.
    if (known !== undefined) consider({ ...candidate, keyring: known, slot: own!.slot, made: false });
    else left.push(candidate);
  }
  let [work, untried] = [0, 0];
  while (left.length > 0) {
    const { candidate, cost } = cheapest(left, slotKeys);
    left = left.filter((one) => one !== candidate);
    if (found.best?.made === true && sequenceOf(candidate) < sequenceOf(found.best)) continue;
    if (work + cost > waitingWorkMax) {
      untried++;
      continue;
    }
    work += cost;
    const opened = await unlessWrong(() => unlockWith(provider, candidate.file, slotKeys));
    if (opened === undefined) continue;
    const made = !salts.has(saltsOf(candidate.decoded).get(opened.slot)!);
    consider({ ...candidate, ...opened, made });
  }
  const { best } = found;
  if (best !== undefined) {
    own?.keyring.wipe();
    return { keyring: best.keyring, keysFile: best.file };
  }
  if (own !== undefined) return { keyring: own.keyring, keysFile: inUse };
  throw untried === 0 ? refusal : untriedError(slotKeys.kind, untried);
}

/** The newest of those that cost least, and what it costs. */
function cheapest(
  candidates: readonly Candidate[],
  slotKeys: SlotKeys,
): { readonly candidate: Candidate; readonly cost: number } {
  const costed = candidates.map((candidate) => ({ candidate, cost: slotKeys.workOf(candidate.decoded) }));
  return costed.toSorted((a, b) => a.cost - b.cost || sequenceOf(b.candidate) - sequenceOf(a.candidate))[0]!;
}

/** Whatever is wrong with a file that waits, it is not used. */
async function unlessWrong<Result>(open: () => Result | Promise<Result>): Promise<Result | undefined> {
  try {
    return await open();
  } catch (error) {
    if (StoreError.is(error)) return undefined;
    throw error;
  }
}

function isBetter(next: Opened, best: Opened | undefined): boolean {
  if (best === undefined || next.made !== best.made) return best === undefined || next.made;
  return sequenceOf(next) > sequenceOf(best);
}

function sequenceOf({ decoded }: Candidate): number {
  return decoded.head.sequence;
}

/** By slot, hex. */
function saltsOf({ slots }: SlotFile): Map<string, string> {
  return new Map(slots.map(({ head: { id, salt } }) => [id, toHex(salt)]));
}

function untriedError(kind: string, untried: number): StoreError {
  const text =
    `no key slot of the file in use opens with this ${kind}, and ${untried} newer file(s) of keys that wait beside it, ` +
    'keys.offered.…, would take too much work to try: remove those that nobody of yours made';
  return new StoreError('limit-exceeded', text, { kind, untried });
}
