/** What a folder's map was when it was last imported: its nodes, which need no put, and its leaves, of which most stay as they are. */
import { type BlobId, type FolderListing, type Store, listingRecordBytes } from '../../engine/index.ts';
import { type MapChild, decodeMapNode, isLeaf } from '../../sync/tree/map-node.ts';
import { compareNames, equalAt, nameEnd } from './flat-listing.ts';
import { type CachedFolder, kindFolder, noFolder, noKind } from './import-cache.ts';

const idBytes = 32;

/** The map of a live snapshot: held, with all its nodes, by the session that the import runs in. */
export class MapBefore {
  readonly nodes: ReadonlySet<BlobId>;
  readonly #leaves: readonly MapChild[];
  readonly #cached: CachedFolder;
  /** The leaf to look at next, and where its first entry lies in the old listing. */
  #leaf = 0;
  #index = 0;
  #at = 0;
  #differs = -1;

  /** Undefined where there was none, or it cannot be read. Reads the inner nodes: one in 64 leaves. */
  static async read(store: Store, cached: CachedFolder | undefined): Promise<MapBefore | undefined> {
    if (cached === undefined || cached.id === noFolder) return undefined;
    const nodes = new Set<BlobId>([cached.id]);
    let level: MapChild[] = [{ key: new Uint8Array(0), id: cached.id }];
    try {
      for (;;) {
        const found = await Promise.all(level.map(({ id }) => store.getNode(id)));
        const below: MapChild[] = [];
        let leavesBelow = false;
        for (const content of found) {
          const node = content && decodeMapNode(content);
          if (node === undefined) return undefined;
          if (isLeaf(node)) return new MapBefore(nodes, [], cached); // the root: no leaf has another beside it
          leavesBelow = node.level === 1;
          for (const child of node.children) below.push(child);
        }
        for (const { id } of below) nodes.add(id);
        if (leavesBelow) return new MapBefore(nodes, below, cached);
        level = below;
      }
    } catch {
      return undefined; // what is wrong with it is for those to tell who need it: it is built anew
    }
  }

  private constructor(nodes: ReadonlySet<BlobId>, leaves: readonly MapChild[], cached: CachedFolder) {
    this.nodes = nodes;
    this.#leaves = leaves;
    this.#cached = cached;
  }

  /**
   * The leaf that held exactly what follows in the new listing from entry `index` on, whose name is at `at`; and where it ends there.
   * Call it by rising index. Each entry is compared once, however often it is called.
   */
  leafAt(
    { listing, ids }: { readonly listing: FolderListing; readonly ids: Uint8Array },
    index: number,
    at: number,
  ): { readonly leaf: MapChild; readonly index: number; readonly at: number } | undefined {
    if (this.#leaf === this.#leaves.length) return undefined;
    while (compareKey(this.#leaves[this.#leaf]!.key, listing.names, at) < 0)
      if (!this.#passLeaf()) return undefined;
    if (this.#differs === this.#leaf) return undefined;
    const leaf = this.#leaves[this.#leaf]!;
    const old = this.#cached;
    for (let was = this.#index, wasAt = this.#at; index < listing.count && was < old.count; index++, was++) {
      if (compareNames(old.names, wasAt, listing.names, at) !== 0) break;
      if (!this.#isSame(was, { listing, ids }, index)) break;
      const isLast = compareKey(leaf.key, listing.names, at) === 0;
      const length = nameEnd(old.names, wasAt) - wasAt + 1;
      at += length;
      wasAt += length;
      if (!isLast) continue;
      this.#leaf++;
      this.#index = was + 1;
      this.#at = wasAt;
      return { leaf, index: index + 1, at };
    }
    this.#differs = this.#leaf;
    return undefined;
  }

  /** Goes to where the next leaf begins in the old listing; false when there is none. */
  #passLeaf(): boolean {
    const { names, count } = this.#cached;
    const { key } = this.#leaves[this.#leaf]!;
    for (; this.#index < count; this.#index++) {
      if (compareKey(key, names, this.#at) < 0) break;
      this.#at = nameEnd(names, this.#at) + 1;
    }
    return ++this.#leaf < this.#leaves.length;
  }

  /** A folder is never taken for the same: what its entry links to shows only in the end. */
  #isSame(
    was: number,
    now: { readonly listing: FolderListing; readonly ids: Uint8Array },
    index: number,
  ): boolean {
    const { records, ids } = this.#cached;
    const at = was * listingRecordBytes;
    if (records[at] === kindFolder || records[at] === noKind) return false;
    return (
      equalAt(records, at, now.listing.records, index * listingRecordBytes, listingRecordBytes) &&
      equalAt(ids, was * idBytes, now.ids, index * idBytes, idBytes)
    );
  }
}

/** The order of a key, which may be any bytes, and of the name that begins at `at`. */
function compareKey(key: Uint8Array, names: Uint8Array, at: number): number {
  for (let i = 0; i < key.length; i++) {
    const byte = names[at + i] ?? 0;
    if (byte === 0) return 1;
    if (key[i] !== byte) return key[i]! - byte;
  }
  return (names[at + key.length] ?? 0) === 0 ? 0 : -1;
}
