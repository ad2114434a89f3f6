/** An encrypted store as the source of a transfer by locators: objects as they lie, with keys or without. */
import { type Session, type Store, StoreError } from '../../engine/index.ts';
import { fromHex } from '../../engine/codec/bytes.ts';
import type { BlobId, Ending, Identity, PeerMark, PeerRoot, Piece, Source, TreeLink } from '../peer.ts';
import { readingSession } from './reading-session.ts';

/** The form that tells the manifest of a chunked blob. */
const manifestForm = 3;

/** Who an encrypted store is, by its locators. */
export async function sealedIdentity(store: Store): Promise<Identity> {
  const { encryption } = store.parameters;
  if (encryption === null)
    throw new StoreError('invalid-argument', 'this store is not encrypted: it is not replicated by locators');
  const { storeId } = await store.stats();
  return { storeId, namespace: 'locators', realm: fromHex(encryption.realm)! };
}

export class SealedSource implements Source {
  readonly #store: Store;
  readonly #names = new Map<string, string>();
  #session: Session | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  identity(): Promise<Identity> {
    return sealedIdentity(this.#store);
  }

  async begin(): Promise<void> {
    this.#session = await readingSession(this.#store);
  }

  async keys(): Promise<readonly Uint8Array[]> {
    const { keys, offered = [] } = await this.#store.sealed.seed();
    return [keys, ...offered];
  }

  async roots(names?: readonly string[]): Promise<readonly PeerRoot[]> {
    const wanted = names && new Set(names);
    const found = (await this.#store.sealed.roots()).filter(({ key }) => wanted?.has(key) !== false);
    const facts = await this.#store.sealed.stat(found.map(({ locator }) => locator));
    return found.map(({ key, shown, locator: id }, i) => {
      const kind = facts[i]?.kind;
      if (kind === undefined)
        throw new StoreError('corrupt', `the blob of root ${key} is not in the store`, { id, root: key });
      this.#names.set(key, shown);
      return { name: key, id, kind };
    });
  }

  spoken(name: string): string {
    return this.#names.get(name) ?? name;
  }

  links(ids: readonly BlobId[]): Promise<readonly (readonly TreeLink[] | undefined)[]> {
    return Promise.all(
      ids.map(async (id) =>
        (await this.#store.sealed.links(id))?.map(({ kind, locator }) => ({ kind, id: locator })),
      ),
    );
  }

  async changes(asked: readonly PeerMark[]): Promise<readonly number[]> {
    const stored = asked.map(({ name: key, id: locator }) => ({ key, locator }));
    return (await this.#store.sealed.changes(stored)).map((sequences) => sequences.at(-1) ?? 0);
  }

  async read(
    id: BlobId,
    offset: number,
    length: number,
    codecs: readonly number[] = [],
  ): Promise<Piece | undefined> {
    const [facts] = await this.#store.sealed.stat([id]);
    if (facts === undefined) return undefined;
    const { size, manifest } = facts;
    if (manifest !== undefined) {
      if (codecs.includes(manifestForm)) return { bytes: fromHex(manifest)!, size: 32, codec: manifestForm };
      throw new StoreError('incompatible-format', 'the peer takes no chunked blobs as they lie', { id });
    }
    const bytes = await this.#store.sealed.read(id, { offset, length });
    return bytes && { bytes, size };
  }

  /** What peers had is told by nobody yet: a transfer by locators walks from the root. */
  marks(): Promise<ReadonlyMap<string, readonly BlobId[]>> {
    return Promise.resolve(new Map());
  }

  async end(_ending: Ending): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.end();
  }
}
