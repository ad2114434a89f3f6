/** The Store's `sealed`: objects and roots by what they are called on disk, checked before anything is begun. */
import type {
  Link,
  PutSource,
  ReplicaSeed,
  SealedFacts,
  SealedObjects,
  SealedPut,
  SealedPutResult,
  SealedRoot,
  StoreParameters,
} from './api.ts';
import { checkId, checkName, checkRange } from './arguments.ts';
import { concatBytes } from './codec/bytes.ts';
import { decodeLinkLocators } from './codec/locator.ts';
import { decodeHead } from './codec/seal-header.ts';
import { randomIncarnation } from './content/incarnation.ts';
import type { BadCopy } from './content/objects.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { TakenKeys } from './threads/key-work.ts';
import type { Calls } from './facets.ts';
import { newKeys } from './keys-facet.ts';
import type { Host } from './host.ts';
import type { Ingest } from './ingest.ts';
import type { CountedPut } from './ingest-parts.ts';
import type { Operation } from './commit/operations.ts';

export interface SealedParts extends Calls {
  /** A read whose damage is remembered and told. */
  readonly reading: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly ingest: Ingest;
  readonly host: Host;
  readonly crew: Crew;
  /** Opened without its keys. */
  readonly locked: boolean;
  readonly opened: { readonly parameters: StoreParameters };
}

/** A node of 4 MiB and its clear section, sealed and padded, take less. */
export const nodeObjectBytesMax: number = 8 * 1024 * 1024;
/** The largest chunks are of 16 MiB; sealed and padded they take less than twice that. */
const recordObjectBytesMax = 32 * 1024 * 1024;
/** Bytes of one read. */
const readBytesMax = 16 * 1024 * 1024;

export function makeSealed(parts: SealedParts): SealedObjects<StoreParameters> {
  const { run, writing, submit, query, reading, locked } = parts;
  const { parameters } = parts.opened;
  const put = async (
    source: Uint8Array | AsyncIterable<Uint8Array>,
    what: SealedPut,
  ): Promise<SealedPutResult> => {
    const { locator, kind } = checkPut(parameters, what);
    // Bytes without a wait: the order of puts is that in which they were called.
    const isWhole = kind === 'raw' || (source instanceof Uint8Array && source.length <= nodeObjectBytesMax);
    const bytes = isWhole ? bounded(source, parameters) : await whole(source, nodeObjectBytesMax);
    const links = kind === 'node' ? linksOf(bytes as Uint8Array) : [];
    // It would be its own reference: what was found damaged is replaced while its row is there.
    if (links.some(({ id }) => id === locator))
      throw new StoreError('corrupt', `node ${locator} links to itself`, { id: locator });
    const object = { locator, kind, links, keep: locked };
    const options = { object, ...(what.signal === undefined ? {} : { signal: what.signal }) };
    const result = await parts.ingest.put(bytes, options);
    if (await isHere(result, locator)) return told(result);
    const again = await healed(result, bytes, options);
    if (locked && !(await isHere(again, locator))) throw another(locator);
    return told(again);
  };
  /** Whether what was put is what lies here now. False also where that is damaged; without keys `conflict` for another that is not. */
  const isHere = async ({ deduplicated, digest }: CountedPut, locator: string): Promise<boolean> => {
    if (!deduplicated) return true;
    try {
      if ((await query<string | undefined>('objectDigest', locator)) === digest) return true;
    } catch (error) {
      if (StoreError.is(error, 'corrupt')) return false;
      throw error;
    }
    if (locked) throw another(locator);
    return false;
  };
  /** What is here opens, or is replaced by what was put just now. A stream is over: what it brought has to come again. */
  const healed = async (
    result: CountedPut,
    bytes: PutSource,
    options: Parameters<Ingest['put']>[1],
  ): Promise<CountedPut> => {
    const { locator } = options.object!;
    const unsound = await query<BadCopy[]>('unsoundCopies', locator);
    for (const copy of unsound) await submit({ op: 'suspect', id: result.id, ...copy });
    if (unsound.length === 0) return result;
    if (bytes instanceof Uint8Array) return await parts.ingest.put(bytes, options);
    const [code, what] = locked
      ? (['corrupt', 'is damaged'] as const)
      : (['tampered', 'does not open'] as const);
    throw new StoreError(code, `what is here as ${locator} ${what}: put it again`, { id: locator });
  };
  return {
    locked,
    seed: () =>
      run(async () => ({
        ...(await parts.crew.commit<Pick<ReplicaSeed, 'keys' | 'offered'>>('keys-files', undefined)),
        parameters,
      })),
    takeKeys: (file) =>
      run(() =>
        writing(async () => {
          if (!(file instanceof Uint8Array))
            throw new StoreError('invalid-argument', 'a file of keys is bytes');
          const { state, keyring } = await parts.crew.commit<TakenKeys>('keys-take', file);
          if (keyring !== undefined) await newKeys(parts.crew, keyring);
          return state;
        }),
      ),
    stat: (locators) => run(() => query('objectFacts', locators.map(checkId))),
    read: (locator, { offset, length }) =>
      reading(async () => {
        checkRange(offset, length);
        return await query('readObject', checkId(locator), offset, Math.min(length, readBytesMax));
      }),
    links: (locator) => reading(() => query('objectLinks', checkId(locator))),
    digest: (locator) => reading(() => query('objectDigest', checkId(locator))),
    put: (source, what) => run(() => writing(() => put(source, what))),
    putChunked: (locator, manifest) =>
      run(() =>
        writing(async () => {
          const [id, root] = [checkId(locator), checkId(manifest)];
          const label = await query<Uint8Array | null>('manifestLabel', id, root);
          if (id === root) throw new StoreError('corrupt', `${id} is said to be its own manifest`, { id });
          // Its size, where its label does not tell it, the manifest does.
          const incarnation = randomIncarnation(parts.host);
          await submit({ op: 'put-chunked', id, label, size: 0, incarnation, manifest: root });
          if (!locked) return;
          const [here] = await query<(SealedFacts | undefined)[]>('objectFacts', [id]);
          if (here !== undefined && here.manifest !== root) throw another(id);
        }),
      ),
    changes: (asked) =>
      run(() =>
        query(
          'objectChanges',
          asked.map(({ key, locator }) => ({ key: checkId(key), locator: checkId(locator) })),
        ),
      ),
    roots: () => run(() => query('objectRoots')),
    keysOf: (names) =>
      run(() =>
        query(
          'rootKeys',
          names.map((name) => checkName(name, 'root')),
        ),
      ),
    locatorsOf: (ids) => run(() => query('locators', ids.map(checkId))),
    setRoot: (root, { expect } = {}) => run(() => writing(() => submit(rootChange(root, expect)))),
    deleteRoot: (key, { expect } = {}) =>
      run(() =>
        writing(async () => {
          const found = (await query<SealedRoot[]>('objectRoots')).find((root) => root.key === checkId(key));
          if (found === undefined) return false;
          const expected = expect === undefined ? undefined : checkId(expect);
          return await submit<boolean>({
            op: 'delete-root',
            name: found.shown,
            expect: expected,
            sealed: true,
          });
        }),
      ),
  };
}

function another(locator: string): StoreError {
  return new StoreError('conflict', `another object is here as ${locator}, and it stays`, { id: locator });
}

function told({ digest, storedSize, deduplicated }: CountedPut): SealedPutResult {
  return { digest: digest!, storedSize, deduplicated };
}

function rootChange({ key, shown, locator }: SealedRoot, expect: string | null | undefined): Operation {
  if (typeof shown !== 'string' || !shown.startsWith(`${key}.`))
    throw new StoreError('invalid-argument', 'the name of a root stands under another key');
  const expected = expect === undefined || expect === null ? expect : checkId(expect);
  return { op: 'set-root', name: shown, id: checkId(locator), expect: expected, sealed: true };
}

function checkPut({ encryption }: StoreParameters, { locator, kind }: SealedPut): SealedPut {
  if (encryption === null)
    throw new StoreError('invalid-argument', 'this store is not encrypted: it takes no sealed objects');
  if (kind !== 'raw' && kind !== 'node')
    throw new StoreError('invalid-argument', 'a sealed object is raw or a node');
  return { locator: checkId(locator), kind };
}

/** What of an object is no head is refused by whoever encodes it. */
function linksOf(object: Uint8Array): Link[] {
  return decodeLinkLocators(decodeHead(object).header.clear).map(({ kind, locator: id }) => ({ kind, id }));
}

function tooLarge(bytes: number): StoreError {
  return new StoreError('limit-exceeded', `a sealed object of this kind has at most ${bytes} bytes`);
}

/** All of a source that is no longer than this. */
async function whole(source: Uint8Array | AsyncIterable<Uint8Array>, bytesMax: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of limited(source instanceof Uint8Array ? [source] : source, bytesMax))
    pieces.push(source === piece ? piece : new Uint8Array(piece));
  return pieces.length === 1 ? pieces[0]! : concatBytes(...pieces);
}

/** In a store that has no files an object is one record. */
function bounded(source: Uint8Array | AsyncIterable<Uint8Array>, { layout }: StoreParameters): PutSource {
  if (layout !== 'sqlite-only') return source;
  if (!(source instanceof Uint8Array)) return limited(source, recordObjectBytesMax);
  if (source.length > recordObjectBytesMax) throw tooLarge(recordObjectBytesMax);
  return source;
}

async function* limited(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  bytesMax: number,
): AsyncGenerator<Uint8Array, void, void> {
  let bytes = 0;
  for await (const piece of source) {
    bytes += piece.length;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
    yield piece;
  }
}
