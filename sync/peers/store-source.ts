/** A store as the source of a transfer. */
import { type Session, type Store, StoreError } from '../../engine/index.ts';
import type { BlobId, Ending, Identity, PeerMark, PeerRoot, Piece, Source, TreeLink } from '../peer.ts';
import { type Change, Notes } from './notes.ts';
import { readingSession } from './reading-session.ts';

/** Nodes read at once while trees are compared. */
const linksAtOnce = 256;
/** Sizes remembered of blobs that are read in pieces. */
const sizesMax = 1024;

export class StoreSource implements Source {
  readonly #store: Store;
  readonly #notes: Notes;
  readonly #sizes = new Map<BlobId, number>();
  #session: Session | undefined;

  constructor(store: Store) {
    this.#store = store;
    this.#notes = new Notes(store);
  }

  identity(): Promise<Identity> {
    return this.#notes.identity();
  }

  async begin(): Promise<void> {
    this.#session = await readingSession(this.#store);
  }

  async roots(names?: readonly string[]): Promise<readonly PeerRoot[]> {
    const wanted = names === undefined ? undefined : new Set(names);
    const all = await this.#store.roots.list();
    const found = all.filter(({ name }) => wanted?.has(name) !== false);
    return await Promise.all(
      found.map(async ({ name, id }) => {
        const stat = await this.#store.stat(id);
        if (stat === undefined)
          throw new StoreError('corrupt', `the blob of root ${name} is not in the store`, { id, root: name });
        return { name, id, kind: stat.kind };
      }),
    );
  }

  async links(ids: readonly BlobId[]): Promise<readonly (readonly TreeLink[] | undefined)[]> {
    const all: (readonly TreeLink[] | undefined)[] = [];
    for (let at = 0; at < ids.length; at += linksAtOnce) {
      const some = ids.slice(at, at + linksAtOnce);
      all.push(...(await Promise.all(some.map((id) => this.#linksOf(id)))));
    }
    return all;
  }

  async read(
    id: BlobId,
    offset: number,
    length: number,
    codecs: readonly number[] = [],
  ): Promise<Piece | undefined> {
    if (codecs.length > 0) return await this.#store.encoded.read(id, { offset, length }, codecs);
    const known = this.#sizes.get(id);
    if (offset > 0 && known === undefined) {
      const size = await this.#sizeOf(id);
      if (size === undefined) return undefined;
      if (offset >= size) return { bytes: new Uint8Array(0), size };
    }
    const bytes = await this.#store.readRange(id, offset, length);
    if (bytes === undefined) return undefined;
    if (bytes.length < length) return { bytes, size: offset + bytes.length };
    const size = known ?? (await this.#sizeOf(id));
    return size === undefined ? undefined : { bytes, size };
  }

  async changes(asked: readonly PeerMark[]): Promise<readonly number[]> {
    return (await this.#store.roots.changes(asked)).map((sequences) => sequences.at(-1) ?? 0);
  }

  marks(names: readonly string[]): Promise<ReadonlyMap<string, readonly BlobId[]>> {
    return this.#notes.marks(names);
  }

  async end(ending: Ending): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    let changes: readonly Change[] = [];
    try {
      if (ending.how === 'done')
        changes = await this.#notes.remembering(ending.peer, ending.roots, { begun: false });
    } finally {
      // Both at once: they share a commit.
      await Promise.all([this.#notes.write(changes), session?.end()]);
    }
  }

  async #linksOf(id: BlobId): Promise<readonly TreeLink[] | undefined> {
    try {
      return (await this.#store.getNode(id))?.links;
    } catch (error) {
      // Bytes that are no node: named by a peer as if they were one, or damaged, which the transfer itself will tell.
      if (StoreError.is(error, 'corrupt') || StoreError.is(error, 'limit-exceeded')) return undefined;
      throw error;
    }
  }

  async #sizeOf(id: BlobId): Promise<number | undefined> {
    const size = (await this.#store.stat(id))?.size;
    if (size === undefined) return undefined;
    if (this.#sizes.size >= sizesMax) this.#sizes.clear();
    this.#sizes.set(id, size);
    return size;
  }
}
