/** A store as the sink of a transfer: blobs go in as puts, in a session that holds collection off. */
import { type EncodedPiece, type Session, type Store, StoreError } from '../../engine/index.ts';
import type { BlobId, Ending, Identity, RawPiece, Sink, SinkState, ToldRoot, TreeLink } from '../peer.ts';
import { Inflow } from './inflow.ts';
import { goesOn, refuseOlder, refuseReturn } from './lineage.ts';
import { type Change, Notes, type Partial, type Sighting } from './notes.ts';

/** Who holds beginnings while a transfer may use them. Released within another's session, they still stay until that ends. */
const partialOwner = 'holdfast sync: the beginning of a blob that was cut';
/** Kinds looked up at once. */
const statsAtOnce = 512;
/** Ids asked about for each root: as many as a question takes. */
const seenMax = 8;

export class StoreSink implements Sink {
  readonly #store: Store;
  readonly #notes: Notes;
  #session: Session | undefined;
  #begun: Promise<void> | undefined;
  #current = new Map<string, BlobId>();
  #partials = new Map<BlobId, Partial>();
  /** What the peer told of its roots in this transfer. */
  #told = new Map<string, Sighting>();
  /** Puts of raw blobs whose last piece was not acknowledged yet. */
  readonly #puts = new Map<BlobId, Promise<void>>();
  readonly #inflows = new Map<BlobId, Inflow>();

  constructor(store: Store) {
    this.#store = store;
    this.#notes = new Notes(store);
  }

  identity(): Promise<Identity> {
    return this.#notes.identity();
  }

  async begin(
    names: readonly string[] | undefined,
    marks: ReadonlyMap<string, readonly BlobId[]>,
  ): Promise<SinkState> {
    // Before anything is looked up: what loses its last reference from now on stays until the end.
    this.#session = await this.#store.session();
    this.#begun = undefined;
    this.#told = new Map();
    this.#current = new Map((await this.#store.roots.list()).map(({ name, id }) => [name, id]));
    this.#partials = await this.#holdPartials();
    const wanted = names ?? [...this.#current.keys()];
    const haves = (await this.#notes.wasCut())
      ? new Map<string, readonly BlobId[]>()
      : await this.#haves(wanted, marks);
    const partials = new Map([...this.#partials].map(([id, { bytes }]) => [id, bytes]));
    return { current: this.#current, haves, seen: await this.#seen(wanted), partials };
  }

  async judge(peer: string, roots: readonly ToldRoot[], rollback: 'refuse' | 'allow'): Promise<void> {
    for (const { name, id, sequence } of roots) if (sequence > 0) this.#told.set(name, { id, sequence });
    if (rollback === 'allow') return;
    // Where there is none yet, nothing goes back.
    const moves = roots.filter(({ name, id }) => (this.#current.get(name) ?? id) !== id);
    const marks = await this.#notes.bookmarksOf(moves.map(({ name }) => name));
    for (const root of moves)
      refuseOlder(
        root,
        marks.get(root.name)?.find((mark) => mark.peer === peer),
      );
    await refuseReturn(
      this.#store,
      moves.filter((root) => !goesOn(root, this.#current.get(root.name)!)),
    );
  }

  async has(links: readonly TreeLink[]): Promise<boolean[]> {
    const found = await this.#store.hasMany(links.map(({ id }) => id));
    const here = links.map(({ id }) => found.has(id));
    // What is a node here has all its links here. Bytes that only look like one may have come as a raw blob, without them.
    const nodes = links.flatMap(({ kind }, i) => (kind === 'node' && here[i] === true ? [i] : []));
    for (let at = 0; at < nodes.length; at += statsAtOnce)
      await Promise.all(
        nodes.slice(at, at + statsAtOnce).map(async (i) => {
          const stat = await this.#store.stat(links[i]!.id);
          here[i] = stat?.kind === 'node' && !stat.suspect;
        }),
      );
    return here;
  }

  async write(piece: RawPiece): Promise<void> {
    void this.#begin();
    const { id, size, offset, from, codec, length } = piece;
    if (offset === 0 && length === size) {
      const putting =
        codec === 0
          ? this.#store.put(piece.bytes, { expectId: id })
          : this.#store.encoded.put(once(piece), { expectId: id });
      const put = putting.then(() => undefined, wrongBytes(id, codec !== 0));
      this.#puts.set(id, put);
      put.catch(() => undefined); // told by `written`
      await put;
      return;
    }
    let inflow = this.#inflows.get(id);
    if (inflow === undefined) {
      inflow = new Inflow(this.#store, { id, size, prefix: from > 0 ? this.#partials.get(id) : undefined });
      this.#inflows.set(id, inflow);
      const put = this.#takeIn(inflow);
      put.catch(() => undefined); // likewise
      this.#puts.set(id, put);
    }
    await inflow.write(piece);
  }

  async written(id: BlobId): Promise<boolean> {
    try {
      await this.#puts.get(id);
      return true;
    } catch (error) {
      // The beginning came from somebody who need not have had the blob at all.
      const began = this.#inflows.get(id)?.blob.prefix;
      if (began === undefined || !StoreError.is(error, 'corrupt')) throw error;
      await this.#notes.dropPartial(id);
      return false;
    } finally {
      this.#puts.delete(id);
      this.#inflows.delete(id);
    }
  }

  async putNode(id: BlobId, bytes: Uint8Array): Promise<boolean> {
    void this.#begin();
    try {
      await this.#store.put(bytes, { kind: 'node', expectId: id }).catch(wrongBytes(id));
      return true;
    } catch (error) {
      if (StoreError.is(error, 'not-found')) return false;
      throw error;
    }
  }

  async setRoot(name: string, id: BlobId): Promise<boolean> {
    try {
      await this.#store.roots.set(name, id, { expect: this.#current.get(name) ?? null });
    } catch (error) {
      if (StoreError.is(error, 'not-found')) return false;
      throw error;
    }
    return true;
  }

  async end(ending: Ending): Promise<void> {
    const cut = [...this.#inflows.values()];
    this.#inflows.clear();
    for (const inflow of cut) inflow.cut(ending.how === 'cut' ? 'keep' : 'drop');
    await Promise.allSettled(this.#puts.values());
    this.#puts.clear();
    let changes: readonly Change[] = [];
    try {
      if (ending.how === 'done') changes = await this.#remembering(ending);
      else for (const inflow of cut) await this.#keepPartial(inflow);
    } finally {
      await this.#begun?.catch(() => undefined);
      for (const { prefix } of this.#partials.values()) await this.#store.release(prefix, partialOwner);
      const session = this.#session;
      this.#session = undefined;
      // Both at once: they share a commit.
      await Promise.all([this.#notes.write(changes), session?.end()]);
    }
  }

  /** Beginnings that are still here, held while they may be used. */
  async #holdPartials(): Promise<Map<BlobId, Partial>> {
    const held = new Map<BlobId, Partial>();
    for (const partial of await this.#notes.partials()) {
      try {
        await this.#store.retain(partial.prefix, partialOwner);
        held.set(partial.id, partial);
      } catch (error) {
        if (!StoreError.is(error, 'not-found')) throw error;
        await this.#notes.dropPartial(partial.id);
      }
    }
    return held;
  }

  /** Common nodes are good for nothing after a cut: what came then is not below them, and would be sent again. */
  async #haves(
    names: readonly string[],
    offered: ReadonlyMap<string, readonly BlobId[]>,
  ): Promise<Map<string, readonly BlobId[]>> {
    const marks = await this.#notes.marks(names);
    const candidates = names.map((name) => {
      const ids = [this.#current.get(name), ...(marks.get(name) ?? []), ...(offered.get(name) ?? [])];
      return [...new Set(ids.filter((id) => id !== undefined))].slice(0, 8);
    });
    const links = candidates.flat().map((id): TreeLink => ({ kind: 'node', id }));
    const here = await this.has(links);
    const known = new Set(links.filter((_, i) => here[i]).map(({ id }) => id));
    return new Map(names.map((name, i) => [name, candidates[i]!.filter((id) => known.has(id))]));
  }

  /** What peers may be asked about: what is here, what each told last, and what each has had since; the last only as far as there is room. */
  async #seen(names: readonly string[]): Promise<Map<string, readonly BlobId[]>> {
    const marks = await this.#notes.bookmarksOf(names);
    return new Map(
      names.map((name) => {
        const peers = marks.get(name) ?? [];
        const ids = [
          this.#current.get(name),
          ...peers.map(({ seen }) => seen?.id),
          ...peers.map(({ id }) => id),
        ];
        return [name, [...new Set(ids.filter((id) => id !== undefined))].slice(0, seenMax)];
      }),
    );
  }

  /** Noted beside the first blob that comes, so that the next transfer knows if this one did not end. */
  #begin(): Promise<void> {
    this.#begun ??= this.#notes.begin();
    this.#begun.catch(() => undefined); // awaited at the end
    return this.#begun;
  }

  async #takeIn(inflow: Inflow): Promise<void> {
    const { id } = inflow.blob;
    const expected = (): BlobId | undefined => (inflow.isWhole ? id : undefined);
    const stored = await this.#store.encoded
      .put(inflow.pieces(), { expected })
      .catch((error: unknown) => wrongBytes(id, inflow.isEncoded)(error))
      .finally(() => inflow.close());
    inflow.storedAs = stored;
    if (stored.id !== id) {
      if (inflow.wasCut) return;
      throw new Error(`holdfast bug: blob ${id} was stored as ${stored.id}`);
    }
    if (this.#partials.has(id)) await this.#notes.dropPartial(id);
  }

  async #keepPartial(inflow: Inflow): Promise<void> {
    const { storedAs, blob } = inflow;
    if (storedAs === undefined || storedAs.id === blob.id) return;
    await this.#notes.addPartial({ id: blob.id, prefix: storedAs.id, bytes: storedAs.size });
  }

  async #remembering({ peer, roots }: Extract<Ending, { readonly how: 'done' }>): Promise<readonly Change[]> {
    await this.#begun;
    const told = roots.map(({ name, id }) => {
      const seen = this.#told.get(name);
      return { name, id, ...(seen?.id === id ? { seen } : {}) };
    });
    return await this.#notes.remembering(peer, told, { begun: this.#begun !== undefined });
  }
}

async function* once(piece: EncodedPiece): AsyncGenerator<EncodedPiece, void, void> {
  yield piece;
}

/** What a put says of bytes that are not those of their id, or do not decode, as it is to be told of a peer. */
function wrongBytes(id: BlobId, encoded = false): (error: unknown) => never {
  return (error) => {
    if (!StoreError.is(error, 'conflict') && !(encoded && StoreError.is(error, 'corrupt'))) throw error;
    throw new StoreError('corrupt', 'the peer is refused: the bytes of a blob are not those of its id', {
      id,
    });
  };
}
