/** Repair: what is damaged or lost here is had from other copies, from alternates, from another store, verified and put anew. */
import { type AlternatesParts, dissociate, makeAlternates } from './alternates-facet.ts';
import type {
  BlobId,
  BlobKind,
  BlobSource,
  ObjectSource,
  RepairOptions,
  RepairResult,
  ScrubResult,
  Store,
} from './api.ts';
import { type CopyInParts, alternatesOf, copyIn, presenceOf, sourceOf } from './copy-in.ts';
import { StoreError } from './errors.ts';
import { nothing, objectsOf, repairObjects, repairsByLocators } from './repair-sealed.ts';
import { resyncBlob } from './resync.ts';

export interface RepairParts extends AlternatesParts {
  /** The one that is repaired. */
  readonly store: Pick<Store, 'directory' | 'stream' | 'sealed' | 'parameters'>;
  readonly scrub: (signal: AbortSignal | undefined) => Promise<ScrubResult>;
  /** Opens another store for reading. */
  readonly openOther: (directory: string) => Promise<Store>;
}

/** Blobs that are being committed while others are had, and the most bytes of each. */
const committingMax = 64;
const readAheadMax: number = 1024 * 1024;

interface Suspect {
  readonly n: number;
  readonly id: BlobId;
  readonly kind: BlobKind;
}

/** What copies blobs in from elsewhere. `mend`: one that a read found damaged; false when no alternate has it. */
export function makeCopies(
  parts: RepairParts,
): Pick<Store, 'alternates' | 'dissociate' | 'repair'> & { readonly mend: (id: BlobId) => Promise<boolean> } {
  const { run, writing, during } = parts;
  return {
    alternates: makeAlternates(parts),
    dissociate: (options = {}) => dissociate(parts, options),
    repair: (options = {}) => run(() => writing(() => during(() => repairStore(parts, options)))),
    mend: (id) => mendBlob(parts, id),
  };
}

interface Remaining {
  readonly id: BlobId;
  readonly reason: string;
  /** It was put anew, read, and is damaged all the same. */
  readonly isRead?: true;
}

/** What was put anew lies in a new place; a bad file is set aside in `quarantine/`, a bad record is dead. */
async function repairStore(parts: RepairParts, options: RepairOptions<Store>): Promise<RepairResult> {
  const { from, signal } = options;
  const opened = typeof from === 'string' ? await parts.openOther(from) : undefined;
  try {
    const other = opened ?? (from as Store | BlobSource | ObjectSource | undefined);
    const isStore = other !== undefined && 'directory' in other;
    if (isStore && other.directory === parts.store.directory)
      throw new StoreError('invalid-argument', 'a store is not repaired from itself');
    if (other !== undefined && 'object' in other) return await repairObjects(parts, other, options);
    if (other === undefined && parts.store.sealed.locked) return await repairObjects(parts, nothing, options);
    if (isStore && repairsByLocators(parts.store, other))
      return await repairObjects(parts, objectsOf(other), options);
    const scrubbed = options.verify === false ? undefined : await parts.scrub(signal);
    const sources = { mirrors: scrubbed?.healed ?? 0, alternates: 0, from: 0 };
    const remaining: Remaining[] = [];
    const tried: [keyof typeof sources, BlobSource][] = [['alternates', alternatesOf(parts)]];
    const asked = isStore ? sourceOf(other) : other;
    if (asked !== undefined) tried.push(['from', asked]);
    let healed = sources.mirrors;
    const committing = new Committing();
    try {
      for (let after = 0; ;) {
        const page = await parts.query<Suspect[]>('suspects', after);
        if (page.length === 0) break;
        after = page.at(-1)!.n;
        asked?.expect?.(page.map(({ id }) => id));
        for (const suspect of page)
          await committing.begin(async (onRead) => {
            signal?.throwIfAborted();
            const how = { tried, signal, unverified: scrubbed === undefined, onRead };
            const found = await repairBlob(parts, suspect, how);
            if ('reason' in found) remaining.push({ id: suspect.id, ...found });
            else {
              sources[found.by]++;
              healed++;
              options.onProgress?.(healed);
            }
          });
      }
    } finally {
      await committing.settled();
    }
    committing.check();
    // Chunks that nobody has by themselves came back with the blob they are a part of.
    const still = await leftOf(parts, remaining);
    const { unreachable = 0, rootLog } = scrubbed ?? {};
    return { healed, sources, remaining: still, unreachable, ...(rootLog === undefined ? {} : { rootLog }) };
  } finally {
    await opened?.close();
  }
}

/** Blobs are had one after the other, and each is committed while the next ones are had: so a commit takes many. */
class Committing {
  readonly #under = new Set<Promise<void>>();
  #failed: { readonly error: unknown } | undefined;

  /** Resolves when the next may begin: after all of `work`, or when it calls `onRead`. Rejects with the first failure of any. */
  async begin(work: (onRead: () => void) => Promise<void>): Promise<void> {
    while (this.#under.size >= committingMax) await Promise.race(this.#under);
    this.check();
    await new Promise<void>((resolve) => {
      const one = work(resolve).catch((error: unknown) => {
        this.#failed ??= { error };
      });
      this.#under.add(one);
      void one.then(() => {
        this.#under.delete(one);
        resolve();
      });
    });
    this.check();
  }

  async settled(): Promise<void> {
    await Promise.all(this.#under);
  }

  check(): void {
    if (this.#failed !== undefined) throw this.#failed.error;
  }
}

async function leftOf(parts: RepairParts, found: readonly Remaining[]): Promise<RepairResult['remaining']> {
  const left: { id: BlobId; reason: string }[] = [];
  for (const { id, reason, isRead } of found)
    if (isRead === true || !(await isHere(parts, id))) left.push({ id, reason });
  return left;
}

async function isHere(parts: CopyInParts, id: BlobId): Promise<boolean> {
  try {
    return (await presenceOf(parts, id)).here;
  } catch (error) {
    if (StoreError.is(error, 'unavailable')) return false; // neither here, nor to be had from alternates now
    throw error;
  }
}

/** After a read got around damage: from an alternate, where one has the blob. False when it is as it was. */
async function mendBlob(parts: CopyInParts, id: BlobId): Promise<boolean> {
  const { here, lent } = await presenceOf(parts, id);
  if (here || lent === undefined) return false;
  return (await copyIn(parts, alternatesOf(parts), { id, kind: lent })) !== undefined;
}

async function repairBlob(
  parts: RepairParts,
  { id, kind }: Suspect,
  how: {
    readonly tried: readonly (readonly ['mirrors' | 'alternates' | 'from', BlobSource])[];
    readonly signal: AbortSignal | undefined;
    /** There was no scrub: it was not had from mirrors yet, and parts of it may be damaged that nobody has read. */
    readonly unverified: boolean;
    /** Called when no source is needed for it any more. */
    readonly onRead: () => void;
  },
): Promise<{ readonly by: 'mirrors' | 'alternates' | 'from' } | Omit<Remaining, 'id'>> {
  const reasons: string[] = [];
  if (how.unverified && (await resyncBlob(parts.crew, id, how.signal)).blobs > 0) return { by: 'mirrors' };
  for (const [by, source] of how.tried) {
    try {
      // Of what is lost nobody here knows for sure what it was: the one who has it does.
      const known = await source.kindOf(id);
      if (known === undefined) continue;
      // What a node lacks comes from the source as well; and another source may be asked for what this one gives wrong.
      const isLast = known === 'raw' && source === how.tried.at(-1)![1];
      const from = isLast ? tellingEnd(source, how.onRead) : source;
      await copyIn(parts, from, { id, kind: known === 'node' ? 'node' : kind }, { signal: how.signal });
      if (how.unverified) await readBack(parts, id, how.signal);
      if (await isHere(parts, id)) return { by };
      reasons.push('what was put was found damaged again');
    } catch (error) {
      how.signal?.throwIfAborted();
      if (error instanceof PartsDamaged) return { reason: error.message, isRead: true };
      if (!StoreError.is(error) || stopping.has(error.code)) throw error;
      reasons.push(error.message);
    }
  }
  return { reason: reasons.length === 0 ? 'nobody who was asked has it' : reasons.join('; ') };
}

/** Tells when all of a small blob was read. A larger one is committed before the next is had. */
function tellingEnd(source: BlobSource, onRead: () => void): BlobSource {
  let bytes = 0;
  const counted = (): TransformStream<Uint8Array, Uint8Array> =>
    new TransformStream({
      transform: (piece, controller) => {
        bytes += piece.length;
        controller.enqueue(piece);
      },
      flush: () => {
        if (bytes <= readAheadMax) onRead();
      },
    });
  return {
    kindOf: (id) => source.kindOf(id),
    stream: async (id, signal) => (await source.stream(id, signal))?.pipeThrough(counted()),
  };
}

class PartsDamaged extends Error {}

/** A put of a chunked blob takes chunks that are here as good: one that was never read since it was damaged is found only now, and marked. */
async function readBack({ store }: RepairParts, id: BlobId, signal: AbortSignal | undefined): Promise<void> {
  try {
    const stream = await store.stream(id, signal === undefined ? {} : { signal });
    await stream?.pipeTo(new WritableStream());
  } catch (error) {
    if (!StoreError.is(error, 'corrupt')) throw error;
    throw new PartsDamaged(`more of it is damaged than was known: ${error.message}`, { cause: error });
  }
}

/** Trouble with this store, not with what was to be had: it would be the same with the next blob. */
const stopping: ReadonlySet<string> = new Set([
  'closed',
  'needs-reopen',
  'no-space',
  'forbidden',
  'wrong-key',
]);
