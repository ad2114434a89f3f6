/** What a folder's map was when it was last imported: its nodes, which need no put, and its leaves, of which most stay as they are. */
import { type BlobId, type FolderListing, type Store, listingRecordBytes } from '../../engine/index.ts';
import { compareBytes } from '../../engine/codec/bytes.ts';
import { type MapChild, decodeMapNode, isLeaf } from '../../sync/tree/map-node.ts';
import { type CachedFolder, kindFolder, noFolder, noKind, sameBytes } from './import-cache.ts';

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
    const name = listing.names.subarray(at, listing.names.indexOf(0, at));
    while (compareBytes(this.#leaves[this.#leaf]!.key, name) < 0) if (!this.#passLeaf()) return undefined;
    if (this.#differs === this.#leaf) return undefined;
    const leaf = this.#leaves[this.#leaf]!;
    const old = this.#cached;
    for (let was = this.#index, wasAt = this.#at; index < listing.count && was < old.count; index++, was++) {
      const end = listing.names.indexOf(0, at);
      const oldEnd = old.names.indexOf(0, wasAt);
      const key = listing.names.subarray(at, end);
      if (!sameBytes(old.names.subarray(wasAt, oldEnd), key)) break;
      if (!this.#isSame(was, { listing, ids }, index)) break;
      at = end + 1;
      wasAt = oldEnd + 1;
      if (!sameBytes(key, leaf.key)) continue;
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
      const end = names.indexOf(0, this.#at);
      if (compareBytes(names.subarray(this.#at, end), key) > 0) break;
      this.#at = end + 1;
    }
    return ++this.#leaf < this.#leaves.length;
  }

  /** A folder is never taken for the same: what its entry links to shows only in the end. */
  #isSame(
    was: number,
    now: { readonly listing: FolderListing; readonly ids: Uint8Array },
    index: number,
  ): boolean {
    const old = this.#cached.records.subarray(was * listingRecordBytes, (was + 1) * listingRecordBytes);
    if (old[0] === kindFolder || old[0] === noKind) return false;
    const record = now.listing.records.subarray(index * listingRecordBytes, (index + 1) * listingRecordBytes);
    return (
      sameBytes(old, record) &&
      sameBytes(
        this.#cached.ids.subarray(was * idBytes, (was + 1) * idBytes),
        now.ids.subarray(index * idBytes, (index + 1) * idBytes),
      )
    );
  }
}
