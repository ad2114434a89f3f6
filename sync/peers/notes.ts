/** What sync remembers beside a store: its id, the roots that peers have, transfers that were cut. Losing it costs time, nothing else. */
import { type SideTable, type Store, StoreError } from '../../engine/index.ts';
import type { BlobId, Identity, PeerMark } from '../peer.ts';

/** The bytes of a large blob that came before its transfer was cut: themselves a blob, that nobody refers to until they are used. */
export interface Partial {
  readonly id: BlobId;
  /** The blob that holds the beginning. */
  readonly prefix: BlobId;
  readonly bytes: number;
}

/** How far an offline stream was taken in: the parts before are stored. */
export interface StreamNote {
  /** Where the next part begins: bytes and frames of the stream before it. */
  readonly offset: number;
  readonly frames: number;
  readonly number: number;
  /** What the part before ended with. */
  readonly digest: string;
}

/** What a peer told of a root: what it was after this change of the peer's root log. */
export interface Sighting {
  readonly id: BlobId;
  readonly sequence: number;
}

/** A bookmark: the root that a peer had under a name when it was last heard of. It may be gone here. */
export interface Bookmark {
  /** The id of the peer's store. */
  readonly peer: string;
  readonly id: BlobId;
  /** What the peer told last, which a push from here does not change. */
  readonly seen?: Sighting;
}

const storeIdKey = 'store id';
const streamKey = 'stream';
const partialsKey = 'partials';
const cutKey = 'cut';
/** Peers remembered for each root. */
const marksMax = 7;
/** The oldest are forgotten, and collected. */
const partialsMax = 16;

export type Change = readonly [key: string, value: Uint8Array | undefined];

export class Notes {
  readonly #store: Store;
  readonly #table: SideTable;

  constructor(store: Store) {
    this.#store = store;
    this.#table = store.sideTable('sync');
  }

  /** The store's id, which its statistics give, and they count every row: asked for once, then remembered. */
  async identity(): Promise<Identity> {
    const [noted] = await this.#table.get([storeIdKey]);
    let storeId = noted === undefined ? undefined : new TextDecoder().decode(noted);
    if (storeId === undefined) {
      ({ storeId } = await this.#store.stats());
      await this.write([[storeIdKey, new TextEncoder().encode(storeId)]]);
    }
    return { storeId, namespace: 'ids', realm: new Uint8Array(0) };
  }

  /** Nodes that peers had, or gave us, under each name; the newest first. */
  async marks(names: readonly string[]): Promise<ReadonlyMap<string, readonly BlobId[]>> {
    const found = await this.bookmarksOf(names);
    return new Map([...found].map(([name, marks]) => [name, [...new Set(marks.map(({ id }) => id))]]));
  }

  /** Bookmarks of a root, the newest first. */
  async bookmarks(name: string): Promise<readonly Bookmark[]> {
    return (await this.bookmarksOf([name])).get(name) ?? [];
  }

  async stream(): Promise<StreamNote | undefined> {
    const [noted] = await this.#table.get([streamKey]);
    return noted === undefined ? undefined : streamNoteOf(decodeText(noted));
  }

  async setStream(note: StreamNote | undefined): Promise<void> {
    await this.write([[streamKey, note === undefined ? undefined : encodeText(JSON.stringify(note))]]);
  }

  /**
   * What is to be written of what a peer has now, with what it told of it, where it gave the root; and that the transfer is over, where
   * it was noted that it began. To be passed to `write`.
   */
  async remembering(
    peer: string,
    roots: readonly (PeerMark & { readonly seen?: Sighting })[],
    { begun }: { readonly begun: boolean },
  ): Promise<readonly Change[]> {
    const known = await this.bookmarksOf(roots.map(({ name }) => name));
    const changes: Change[] = begun ? [[cutKey, undefined]] : [];
    for (const { name, id, seen } of roots) {
      const marks = known.get(name) ?? [];
      const before = marks.find((mark) => mark.peer === peer);
      const now = seen ?? before?.seen;
      if (before?.id === id && before.seen?.sequence === now?.sequence && before.seen?.id === now?.id)
        continue;
      const others = marks.filter((mark) => mark.peer !== peer);
      const mark: Bookmark = { peer, id, ...(now === undefined ? {} : { seen: now }) };
      changes.push([markKey(name), encodeText(JSON.stringify([mark, ...others].slice(0, marksMax)))]);
    }
    return changes;
  }

  /** Whether a transfer to here began and did not end. */
  async wasCut(): Promise<boolean> {
    return (await this.#table.get([cutKey]))[0] !== undefined;
  }

  /** Notes that one begins, before its end takes that back. */
  async begin(): Promise<void> {
    await this.write([[cutKey, Uint8Array.of(1)]]);
  }

  async partials(): Promise<Partial[]> {
    const [noted] = await this.#table.get([partialsKey]);
    return noted === undefined ? [] : (JSON.parse(decodeText(noted)) as Partial[]);
  }

  /** Adds one, in place of an older one of the same blob. */
  async addPartial(partial: Partial): Promise<void> {
    const others = (await this.partials()).filter(({ id }) => id !== partial.id);
    await this.#setPartials([...others, partial].slice(-partialsMax));
  }

  async dropPartial(id: BlobId): Promise<void> {
    await this.#setPartials((await this.partials()).filter((partial) => partial.id !== id));
  }

  /** Of several roots; a root without one is left out. */
  async bookmarksOf(names: readonly string[]): Promise<Map<string, readonly Bookmark[]>> {
    const found = await this.#table.get(names.map(markKey));
    return new Map(
      names.flatMap((name, i) =>
        found[i] === undefined ? [] : [[name, JSON.parse(decodeText(found[i])) as Bookmark[]] as const],
      ),
    );
  }

  async #setPartials(partials: readonly Partial[]): Promise<void> {
    await this.write([
      [partialsKey, partials.length === 0 ? undefined : encodeText(JSON.stringify(partials))],
    ]);
  }

  /** All in one commit. */
  async write(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    try {
      await this.#table.set(changes);
    } catch (error) {
      // A store that is open for reading only remembers nothing.
      if (!StoreError.is(error, 'forbidden')) throw error;
    }
  }
}

/** Bookmarks of a root, the newest first: what each peer that it was replicated with had under its name. */
export async function bookmarks(store: Store, name: string): Promise<readonly Bookmark[]> {
  return await new Notes(store).bookmarks(name);
}

/** Undefined for what is no place in a stream: then it is received from its beginning. */
function streamNoteOf(text: string): StreamNote | undefined {
  try {
    const { offset, frames, number, digest } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const isCount = (value: unknown): value is number =>
      Number.isSafeInteger(value) && (value as number) >= 0;
    if (!isCount(offset) || !isCount(frames) || !isCount(number)) return undefined;
    if (typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest)) return undefined;
    return { offset, frames, number, digest };
  } catch {
    return undefined;
  }
}

function markKey(name: string): string {
  return `marks ${name}`;
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function decodeText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
