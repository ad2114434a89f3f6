/** Repair by locators: what is damaged is had as it lies in another store of the realm, and verified as far as the keys here go. */
import type {
  BlobKind,
  ObjectSource,
  RepairOptions,
  RepairResult,
  ScrubResult,
  SealedObjects,
  Store,
} from './api.ts';
import { StoreError } from './errors.ts';

/** Bytes of one read of another store. */
const readBytes = 1024 * 1024;

interface Suspect {
  readonly n: number;
  readonly id: string;
  readonly kind: BlobKind;
  readonly locator: string;
}

/** The store that is repaired. */
interface RepairedStore {
  readonly store: Pick<Store, 'sealed'>;
  readonly query: <Result>(name: string, ...args: readonly unknown[]) => Promise<Result>;
  readonly scrub: (signal: AbortSignal | undefined) => Promise<ScrubResult>;
}

/** A store as the source of a repair by locators. */
export function objectsOf({ sealed }: Pick<Store, 'sealed'>): ObjectSource {
  return {
    async object(locator) {
      const [facts] = await sealed.stat([locator]);
      if (facts === undefined) return undefined;
      const { size, manifest } = facts;
      return manifest === undefined ? { size, bytes: pieces(sealed, locator, size) } : { manifest };
    },
  };
}

/** Where only mirrors are to be had from. */
export const nothing: ObjectSource = { object: () => Promise.resolve(undefined) };

async function* pieces(
  sealed: Pick<SealedObjects, 'read'>,
  locator: string,
  size: number,
): AsyncGenerator<Uint8Array, void, void> {
  for (let offset = 0; offset < size;) {
    const piece = await sealed.read(locator, { offset, length: Math.min(readBytes, size - offset) });
    if (piece === undefined || piece.length === 0)
      throw new StoreError('unavailable', `object ${locator} is not there any more`, { id: locator });
    offset += piece.length;
    yield piece;
  }
}

/**
 * Whether two stores are repaired from each other by locators: one of them is open without its keys. `wrong-key` where that cannot help,
 * as they are not of one realm.
 */
export function repairsByLocators(
  here: Pick<Store, 'sealed' | 'parameters'>,
  other: Pick<Store, 'sealed' | 'parameters'>,
): boolean {
  const realm = here.parameters.encryption?.realm;
  if (realm === undefined || (!here.sealed.locked && !other.sealed.locked)) return false;
  if (realm === other.parameters.encryption?.realm) return true;
  throw new StoreError(
    'wrong-key',
    'a store that is open without its keys repairs, and is repaired from, stores of its realm only: give its key',
  );
}

/** Scrubs, then has each object that is damaged from the source. What it could not or would not give is told, and the others go on. */
export async function repairObjects(
  parts: RepairedStore,
  source: ObjectSource,
  options: Pick<RepairOptions<Store>, 'verify' | 'signal' | 'onProgress'>,
): Promise<RepairResult> {
  const { signal } = options;
  const scrubbed = options.verify === false ? undefined : await parts.scrub(signal);
  const sources = { mirrors: scrubbed?.healed ?? 0, alternates: 0, from: 0 };
  const remaining: { id: string; reason: string }[] = [];
  let healed = sources.mirrors;
  for (let after = 0; ;) {
    const page = await parts.query<Suspect[]>('suspects', after);
    if (page.length === 0) break;
    after = page.at(-1)!.n;
    for (const suspect of page) {
      signal?.throwIfAborted();
      const reason = await mendObject(parts, source, { suspect, signal });
      if (reason !== undefined) {
        remaining.push({ id: suspect.id, reason });
        continue;
      }
      sources.from++;
      healed++;
      options.onProgress?.(healed);
    }
  }
  return { healed, sources, remaining, unreachable: scrubbed?.unreachable ?? 0 };
}

/** Why it is damaged still; undefined where it is not. */
async function mendObject(
  { store }: RepairedStore,
  source: ObjectSource,
  what: { readonly suspect: Suspect; readonly signal: AbortSignal | undefined },
): Promise<string | undefined> {
  const { sealed } = store;
  const { suspect, signal } = what;
  const { locator, kind } = suspect;
  try {
    const [lost] = await sealed.stat([locator]);
    const found = await source.object(locator, signal);
    if (found === undefined) return 'nobody who was asked has it';
    if ('manifest' in found) await sealed.putChunked(locator, found.manifest);
    else {
      // Without keys length is most of what tells one object from another: all that seal the same bytes have the same.
      if (sealed.locked && lost !== undefined && lost.size > 0 && lost.size !== found.size)
        return `what was given has ${found.size} bytes, and what was here ${lost.size}`;
      await sealed.put(found.bytes, { locator, kind, ...(signal === undefined ? {} : { signal }) });
    }
    const [now] = await sealed.stat([locator]);
    return now === undefined || now.suspect ? 'what was put was found damaged again' : undefined;
  } catch (error) {
    signal?.throwIfAborted();
    if (!StoreError.is(error) || stopping.has(error.code)) throw error;
    return error.message;
  }
}

/** Trouble with this store, which the next object would meet as well. */
const stopping: ReadonlySet<string> = new Set(['closed', 'needs-reopen', 'no-space', 'forbidden']);
