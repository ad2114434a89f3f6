/** An encrypted store as the sink of a transfer by locators: with keys all is opened before it is taken in, without it is taken as it is. */
import {
  type SealedPutResult,
  type SealedRoot,
  type Session,
  type Store,
  StoreError,
} from '../../engine/index.ts';
import { toHex } from '../../engine/codec/bytes.ts';
import type {
  BlobId,
  Ending,
  Identity,
  Message,
  RawPiece,
  Sink,
  SinkState,
  ToldRoot,
  TreeLink,
} from '../peer.ts';
import { goesOn } from './lineage.ts';
import { ObjectInflow } from './object-inflow.ts';
import { objectLinks } from './object-links.ts';
import { sealedIdentity } from './sealed-source.ts';

export class SealedSink implements Sink {
  readonly linksOf: NonNullable<Sink['linksOf']> = objectLinks;
  readonly #store: Store;
  #session: Session | undefined;
  #keys: Promise<void> = Promise.resolve();
  /** What is to be told of what is of an epoch not known here, where files of keys came that are not in use. */
  #unopened: StoreError | undefined;
  #current = new Map<string, BlobId>();
  /** The sealed names that came, by key and locator. */
  readonly #names = new Map<string, string>();
  readonly #puts = new Map<BlobId, Promise<SealedPutResult>>();
  readonly #inflows = new Map<BlobId, ObjectInflow>();

  constructor(store: Store) {
    this.#store = store;
  }

  identity(): Promise<Identity> {
    return sealedIdentity(this.#store);
  }

  takeKeys(file: Uint8Array): Promise<void> {
    this.#keys = this.#keys.then(() => this.#take(file));
    this.#keys.catch(() => undefined); // told by whoever waits
    return this.#keys;
  }

  /**
   * Anybody who may push somewhere can have a file wait there that nobody made, and it is given on with what is sound. So where keys are
   * open it ends nothing: what comes tells whether it is of an epoch that is not here.
   */
  async #take(file: Uint8Array): Promise<void> {
    const { sealed } = this.#store;
    try {
      if ((await sealed.takeKeys(file)) !== 'ahead' || sealed.locked) return;
      this.#unopened ??= new StoreError(
        'needs-reopen',
        'the peer has new keys, which came with it: open this store again, with a secret that opens them',
      );
    } catch (error) {
      if (sealed.locked || !StoreError.is(error, 'limit-exceeded')) throw error;
      this.#unopened = error;
    }
  }

  /** What came is taken in, once the keys before it are. */
  async #taking<Result>(work: () => Promise<Result>): Promise<Result> {
    await this.#keys;
    try {
      return await work();
    } catch (error) {
      throw StoreError.is(error, 'wrong-key') ? (this.#unopened ?? error) : error;
    }
  }

  /** Names are the keys that roots are found by. */
  async begin(names: readonly string[] | undefined): Promise<SinkState> {
    this.#session = await this.#store.session();
    const roots = await this.#store.sealed.roots();
    this.#current = new Map(roots.map(({ key, locator }) => [key, locator]));
    const wanted = names ?? [...this.#current.keys()];
    const here = wanted.flatMap((name) => {
      const id = this.#current.get(name);
      return id === undefined ? [] : [{ name, id }];
    });
    const sound = await this.has(here.map(({ id }): TreeLink => ({ kind: 'node', id })));
    const haves = new Map(here.filter((_, i) => sound[i]).map(({ name, id }) => [name, [id]]));
    const seen = new Map(here.map(({ name, id }) => [name, [id]]));
    return { current: this.#current, haves, seen, partials: new Map() };
  }

  heard(message: Message): Message {
    if (message.type !== 'roots' && message.type !== 'offer') return message;
    const heard = <Root extends { readonly name: string; readonly id: BlobId | null }>(root: Root): Root => {
      if (root.id === null) return root;
      const [key = '', sealed] = root.name.split('.');
      if (!/^[0-9a-f]{64}$/.test(key) || sealed === undefined)
        throw new StoreError('corrupt', 'the peer is refused: the name of a root is not sealed');
      this.#names.set(`${key} ${root.id}`, root.name);
      return { ...root, name: key };
    };
    return message.type === 'roots'
      ? { ...message, roots: message.roots.map(heard) }
      : { ...message, roots: message.roots.map(heard) };
  }

  /** Nothing is remembered of peers yet: what the log here knows of is all that tells whether a root goes back. */
  async judge(_peer: string, roots: readonly ToldRoot[], rollback: 'refuse' | 'allow'): Promise<void> {
    if (rollback === 'allow') return;
    const moves = roots.filter(({ name, id }) => {
      const current = this.#current.get(name);
      return current !== undefined && current !== id;
    });
    const asked = moves.filter((root) => !goesOn(root, this.#current.get(root.name)!));
    const changes = await this.#store.sealed.changes(
      asked.map(({ name: key, id: locator }) => ({ key, locator })),
    );
    const back = asked.find((_, i) => changes[i]!.length > 0);
    if (back !== undefined)
      throw new StoreError(
        'conflict',
        `root ${back.name} would go back to ${back.id}, which it was here before; allow rollback if that is meant`,
        { root: back.name, id: back.id, lineage: 'return' },
      );
  }

  async has(links: readonly TreeLink[]): Promise<boolean[]> {
    const facts = await this.#store.sealed.stat(links.map(({ id }) => id));
    return links.map(({ kind }, i) => {
      const found = facts[i];
      return found !== undefined && !found.suspect && (kind === 'raw' || found.kind === 'node');
    });
  }

  async write(piece: RawPiece): Promise<void> {
    const { id, size, offset, bytes } = piece;
    if (offset === 0 && bytes.length === size) {
      // Noted at once: `written` is asked before the keys that it waits for are here.
      const put = this.#taking(() => this.#store.sealed.put(bytes, { locator: id, kind: 'raw' }));
      this.#puts.set(id, put);
      put.catch(() => undefined); // told by `written`
      await put.catch(() => undefined);
      return;
    }
    let inflow = this.#inflows.get(id);
    if (inflow === undefined) {
      const opened = new ObjectInflow(size);
      inflow = opened;
      this.#inflows.set(id, opened);
      const put = this.#taking(() => this.#store.sealed.put(opened.pieces(), { locator: id, kind: 'raw' }));
      put.catch(() => opened.close()); // likewise
      this.#puts.set(id, put);
    }
    await inflow.write(bytes);
  }

  async written(id: BlobId): Promise<boolean> {
    try {
      await this.#puts.get(id);
      return true;
    } finally {
      this.#puts.delete(id);
      this.#inflows.delete(id);
    }
  }

  async putNode(id: BlobId, bytes: Uint8Array): Promise<boolean> {
    const put = (): Promise<SealedPutResult> => this.#store.sealed.put(bytes, { locator: id, kind: 'node' });
    return await unlessMissing(this.#taking(put));
  }

  async putManifest(id: BlobId, manifest: Uint8Array): Promise<boolean> {
    return await unlessMissing(this.#taking(() => this.#store.sealed.putChunked(id, toHex(manifest))));
  }

  async setRoot(key: string, locator: BlobId): Promise<boolean> {
    const root: SealedRoot = { key, locator, shown: this.#names.get(`${key} ${locator}`)! };
    const expect = this.#current.get(key) ?? null;
    return await unlessMissing(this.#taking(() => this.#store.sealed.setRoot(root, { expect })));
  }

  async end(_ending: Ending): Promise<void> {
    for (const inflow of this.#inflows.values()) inflow.cut();
    this.#inflows.clear();
    await Promise.allSettled(this.#puts.values());
    this.#puts.clear();
    const session = this.#session;
    this.#session = undefined;
    await session?.end();
  }
}

/** False where something that it leads to is not here. */
async function unlessMissing(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (StoreError.is(error, 'not-found')) return false;
    throw error;
  }
}
