/** Keeps what the owner of a cache holds below its cap: a policy says what goes first, least recently used unless another is given. */
import type { Cap, Evicted, EvictionPolicy } from './api.ts';
import { checkName } from './arguments.ts';
import type { HeldBlob, HeldPage } from './content/held.ts';
import { StoreError } from './errors.ts';
import type { Calls } from './facets.ts';

/** So far below the cap, that the puts behind it need not evict again at once. */
const roomPart = 0.1;
/** Released in one commit. */
const batchBlobs = 500;

const leastRecentlyUsed: EvictionPolicy = ({ usedMs }) => usedMs;

export interface Held {
  readonly blobs: number;
  readonly bytes: number;
}

/** `invalid-argument` where it makes no sense. */
export function checkedCap(cap: Cap): Cap {
  const { bytes, blobs, above, policy } = cap;
  checkName(cap.owner, 'owner');
  const wrong = (what: string): StoreError => new StoreError('invalid-argument', what);
  if (bytes === undefined && blobs === undefined) throw wrong('a cap is of bytes, of blobs, or of both');
  for (const limit of [bytes, blobs])
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0))
      throw wrong('the bytes and blobs of a cap are whole numbers from 0');
  if (above !== undefined && above !== 'evict' && above !== 'refuse')
    throw wrong('what happens above a cap is "evict" or "refuse"');
  if (policy !== undefined && typeof policy !== 'function') throw wrong('the policy of a cap is a function');
  return cap;
}

export function isAbove(cap: Cap, { blobs, bytes }: Held): boolean {
  return blobs > (cap.blobs ?? Number.POSITIVE_INFINITY) || bytes > (cap.bytes ?? Number.POSITIVE_INFINITY);
}

/** What the owner of a cap alone holds. O(what the owner holds). */
export async function measureHeld(
  { query }: Pick<Calls, 'query'>,
  cap: Cap,
  signal?: AbortSignal,
): Promise<Held> {
  const held = { blobs: 0, bytes: 0 };
  for await (const { bytes } of heldBlobs({ query }, cap, { ids: false, signal })) {
    held.blobs++;
    held.bytes += bytes;
  }
  return held;
}

/**
 * Above its cap, the owner's references to what goes first are taken back, until it is a tenth below. With `dryRun` it is only told.
 * O(n log n) in what the owner holds, of which it keeps 24 bytes a blob.
 */
export async function evictAbove(
  { query, submit }: Pick<Calls, 'query' | 'submit'>,
  cap: Cap,
  { dryRun = false, signal }: { readonly dryRun?: boolean; readonly signal?: AbortSignal } = {},
): Promise<Evicted> {
  const held: { blobs: number; bytes: number } = await measureHeld({ query }, cap, signal);
  const evicted = { blobs: 0, bytes: 0 };
  if (!isAbove(cap, held)) return { ...evicted, left: held };
  const room = {
    owner: cap.owner,
    blobs: Math.floor((cap.blobs ?? Number.POSITIVE_INFINITY) * (1 - roomPart)),
    bytes: Math.floor((cap.bytes ?? Number.POSITIVE_INFINITY) * (1 - roomPart)),
  };
  const ranked = await rankedBlobs({ query }, cap, signal);
  for (let at = 0; at < ranked.length && isAbove(room, held);) {
    signal?.throwIfAborted();
    const wanted: Ranked[] = [];
    const then = { ...held };
    for (; at < ranked.length && wanted.length < batchBlobs && isAbove(room, then); at++) {
      const one = ranked[at]!;
      wanted.push(one);
      then.blobs--;
      then.bytes -= one.bytes;
    }
    const blobs = wanted.map(({ n, usedMs }) => ({ n, usedMs }));
    const gone = dryRun
      ? blobs.map(({ n }) => n)
      : await submit<number[]>({ op: 'evict', owner: cap.owner, blobs });
    const released = new Set(gone);
    for (const { n, bytes } of wanted) {
      if (!released.has(n)) continue; // used, or held by others, since it was looked up
      evicted.blobs++;
      evicted.bytes += bytes;
      held.blobs--;
      held.bytes -= bytes;
    }
  }
  return { ...evicted, left: held };
}

interface Ranked extends Pick<HeldBlob, 'n' | 'bytes' | 'usedMs'> {
  readonly rank: number;
}

/** Those that may go, first what goes first. */
async function rankedBlobs(
  { query }: Pick<Calls, 'query'>,
  cap: Cap,
  signal: AbortSignal | undefined,
): Promise<Ranked[]> {
  const { policy = leastRecentlyUsed } = cap;
  const ranked: Ranked[] = [];
  for await (const { n, bytes, usedMs, id } of heldBlobs({ query }, cap, {
    ids: policy !== leastRecentlyUsed,
    signal,
  })) {
    const rank = policy({ id: id ?? '', bytes, usedMs });
    if (rank === undefined) continue;
    if (Number.isNaN(rank)) throw new StoreError('invalid-argument', 'the policy of a cap gave no number');
    ranked.push({ n, bytes, usedMs, rank });
  }
  return ranked.sort((a, b) => a.rank - b.rank || a.n - b.n);
}

async function* heldBlobs(
  { query }: Pick<Calls, 'query'>,
  { owner }: Cap,
  { ids, signal }: { readonly ids: boolean; readonly signal: AbortSignal | undefined },
): AsyncGenerator<HeldBlob> {
  for (let after: number | undefined = 0; after !== undefined;) {
    signal?.throwIfAborted();
    const page: HeldPage = await query<HeldPage>('heldBy', owner, { after, ids });
    yield* page.blobs;
    ({ after } = page);
  }
}
