/** What a folder's map was when it was last imported: its nodes, which need no put, and its leaves, of which most stay as they are. */
import { type BlobId, type FolderListing, type Store, listingRecordBytes } from '../../engine/index.ts';
import { type MapChild, decodeMapNode, isLeaf } from '../../sync/tree/map-node.ts';
import { compareNames, nameEnd } from './flat-listing.ts';
import {
  type CachedFolder,
  kindFile,
  kindFolder,
  kindLink,
  noFolder,
  noKind,
  sameBytes,
} from './import-cache.ts';

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
  /** The old entry that was compared last by name. */
  #looked = { index: 0, at: 0 };

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
   * Call it by rising index. A leaf is compared as a whole, and once, however often it is called.
   */
  leafAt(
    { listing, ids }: { readonly listing: FolderListing; readonly ids: Uint8Array },
    index: number,
    at: number,
  ): { readonly leaf: MapChild; readonly index: number; readonly at: number } | undefined {
    if (!this.#reach(listing.names, at) || this.#differs === this.#leaf) return undefined;
    const leaf = this.#leaves[this.#leaf]!;
    const end = this.#endOf(leaf);
    const [count, bytes] = [end.index - this.#index, end.at - this.#at];
    const same = (was: Uint8Array, now: Uint8Array, width: number): boolean =>
      sameBytes(
        was.subarray(this.#index * width, end.index * width),
        now.subarray(index * width, (index + count) * width),
      );
    const old = this.#cached;
    if (
      !sameBytes(old.names.subarray(this.#at, end.at), listing.names.subarray(at, at + bytes)) ||
      !same(old.records, listing.records, listingRecordBytes) ||
      !same(old.ids, ids, idBytes) ||
      !this.#areBelieved(end.index)
    ) {
      this.#differs = this.#leaf;
      return undefined;
    }
    this.#leaf++;
    this.#index = end.index;
    this.#at = end.at;
    return { leaf, index: index + count, at: at + bytes };
  }

  /**
   * 0 where the name at `at` is known to end no leaf, as it was in one and not its last; undefined where that takes its hash. Call it
   * by rising name.
   */
  endedBy(names: Uint8Array, at: number): 0 | undefined {
    if (!this.#reach(names, at)) return undefined;
    const old = this.#cached;
    if (this.#looked.index < this.#index) this.#looked = { index: this.#index, at: this.#at };
    for (const looked = this.#looked; looked.index < old.count; looked.index++) {
      const order = compareNames(old.names, looked.at, names, at);
      if (order > 0) return undefined;
      if (order === 0) {
        const kind = old.records[looked.index * listingRecordBytes];
        // Whatever else has a name here need not have been in the map.
        const was = kind === kindFile || kind === kindLink;
        return was && compareKey(this.#leaves[this.#leaf]!.key, names, at) !== 0 ? 0 : undefined;
      }
      looked.at = nameEnd(old.names, looked.at) + 1;
    }
    return undefined;
  }

  /** Goes on to the leaf where the name at `at` belongs; false when there is none. */
  #reach(names: Uint8Array, at: number): boolean {
    while (this.#leaf < this.#leaves.length) {
      const leaf = this.#leaves[this.#leaf]!;
      if (compareKey(leaf.key, names, at) >= 0) return true;
      const end = this.#endOf(leaf);
      this.#index = end.index;
      this.#at = end.at;
      this.#leaf++;
    }
    return false;
  }

  /** Where the leaf that is looked at ends in the old listing. */
  #endOf({ key }: MapChild): { readonly index: number; readonly at: number } {
    const { names, count } = this.#cached;
    let [index, at] = [this.#index, this.#at];
    for (; index < count && compareKey(key, names, at) >= 0; index++) at = nameEnd(names, at) + 1;
    return { index, at };
  }

  /** A folder is never taken for the same: what its entry links to shows only in the end. */
  #areBelieved(end: number): boolean {
    const { records } = this.#cached;
    for (let was = this.#index; was < end; was++) {
      const kind = records[was * listingRecordBytes];
      if (kind === kindFolder || kind === noKind) return false;
    }
    return true;
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
