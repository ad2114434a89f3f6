/** A folder while it is imported: its listing as flat bytes, filled up with ids until its map can be built. */
import { type BlobId, type FolderListing, type SourceFacts, listingRecordBytes } from '../../engine/index.ts';
import { fromHex, readU64, toHex } from '../../engine/codec/bytes.ts';
import type { EntryFacts } from './entry.ts';
import {
  type CachedFolder,
  kindFile,
  kindFolder,
  foldersOf,
  kindLink,
  kindOther,
  markRacy,
  noKind,
  sameBytes,
  sameListing,
} from './import-cache.ts';
import { compareNames, equalAt, nameEnd } from './flat-listing.ts';
import { utf8 } from './names.ts';
import { Latch } from './pacing.ts';

const idBytes = 32;
const noId = '0'.repeat(64);

/** Where a folder is, outside and inside. */
export interface FolderPlace {
  /** Real path; '' for the snapshot's own folder, which is nowhere. */
  readonly path: string;
  /** Path in the snapshot. */
  readonly inside: string;
  readonly depth: number;
  /** Where the entries of the snapshot's own folder are. */
  readonly tops?: ReadonlyMap<string, string>;
}

export class OpenFolder {
  readonly place: FolderPlace;
  readonly listing: FolderListing;
  /** What a live snapshot remembers of it. */
  readonly cached: CachedFolder | undefined;
  /** Looks exactly as it did; only what is in its folders may differ. */
  readonly same: boolean;
  readonly ids: Uint8Array;
  readonly targets: Map<number, string> = new Map();
  /** Index and place in `names` of all that is neither file nor link. */
  readonly notable: Uint32Array;
  /** Puts of its files under way. */
  readonly reading: Latch = new Latch();
  /** Differs from what the cache knows. */
  altered: boolean;
  readonly #listedMs: number;
  /** Of the records. */
  readonly #view: DataView;
  #known: ReadonlyMap<string, BlobId> | undefined;

  constructor(
    place: FolderPlace,
    seen: {
      readonly listing: FolderListing;
      readonly listedMs: number;
      readonly cached: CachedFolder | undefined;
    },
  ) {
    const { listing, listedMs, cached } = seen;
    this.place = place;
    this.listing = listing;
    this.cached = cached;
    this.#listedMs = listedMs;
    const { records } = listing;
    this.#view = new DataView(records.buffer, records.byteOffset, records.length);
    this.same = cached !== undefined && sameListing(cached, listing);
    this.altered = !this.same;
    this.ids = this.same ? cached!.ids : new Uint8Array(listing.count * idBytes);
    this.notable = this.same ? cached!.notable : findNotable(listing);
  }

  kind(index: number): number {
    return this.listing.records[index * listingRecordBytes]!;
  }

  /** The name that begins at `at`, and where the next one does. */
  nameAt(at: number): { readonly bytes: Uint8Array; readonly next: number } {
    const end = this.listing.names.indexOf(0, at);
    return { bytes: this.listing.names.subarray(at, end), next: end + 1 };
  }

  /** Device and inode of an entry. */
  identity(index: number): Uint8Array {
    const at = index * listingRecordBytes + 32;
    return this.listing.records.subarray(at, at + 16);
  }

  size(index: number): number {
    return readU64(this.#view, index * listingRecordBytes + 8);
  }

  /** The real path of an entry. */
  pathOf(name: string): string {
    return this.place.tops?.get(name) ?? joinPath(this.place.path, name);
  }

  /** The id that a live snapshot gives the folder of this name here. */
  knownId(name: string): BlobId | undefined {
    if (this.cached === undefined) return undefined;
    this.#known ??= foldersOf(this.cached);
    return this.#known.get(name);
  }

  /** Folders that the cache knows here and that are no more. */
  goneFolders(): string[] {
    if (this.cached === undefined || this.same) return [];
    const here = new Set<string>();
    for (let n = 0; n < this.notable.length; n += 2) {
      if (this.kind(this.notable[n]!) === kindFolder)
        here.add(utf8(this.nameAt(this.notable[n + 1]!).bytes)!);
    }
    return [...foldersOf(this.cached).keys()].filter((name) => !here.has(name));
  }

  setId(index: number, id: BlobId): void {
    const bytes = fromHex(id)!;
    const at = index * idBytes;
    if (sameBytes(this.ids.subarray(at, at + idBytes), bytes)) return;
    this.ids.set(bytes, at);
    this.altered = true;
  }

  id(index: number): BlobId {
    return toHex(this.ids.subarray(index * idBytes, (index + 1) * idBytes));
  }

  /** Takes over what a put found when it really read the file. */
  setFacts(index: number, facts: SourceFacts): void {
    const view = this.#view;
    const at = index * listingRecordBytes;
    view.setUint16(at + 2, facts.mode, true);
    view.setBigUint64(at + 8, BigInt(facts.size), true);
    view.setBigInt64(at + 16, facts.mtimeNs, true);
    view.setBigInt64(at + 24, facts.ctimeNs, true);
    view.setBigUint64(at + 32, facts.dev, true);
    view.setBigUint64(at + 40, facts.ino, true);
  }

  /** Leaves an entry out of the snapshot, and makes sure that the cache does not know it. */
  exclude(index: number): void {
    this.listing.records[index * listingRecordBytes] = noKind;
    this.altered = true;
  }

  /** The entry as the snapshot has it; undefined for what is left out. */
  entry(index: number): EntryFacts | undefined {
    const kind = this.kind(index);
    if (kind === noKind || kind === kindOther) return undefined;
    const at = index * listingRecordBytes;
    const common = {
      mode: this.#view.getUint16(at + 2, true),
      mtimeNs: this.#view.getBigInt64(at + 16, true),
    };
    if (kind === kindLink) return { type: 'link', ...common, target: this.targets.get(index)! };
    const id = this.id(index);
    if (id === noId) return undefined; // the store itself
    return kind === kindFolder
      ? { type: 'folder', ...common, id }
      : { type: 'file', ...common, id, size: this.size(index) };
  }

  /** What the cache is to remember. Call it last: it marks what must not be believed next time. */
  remember(result: { readonly id: BlobId; readonly height: number }): Omit<CachedFolder, 'parts'> {
    const { names, records, count } = this.listing;
    const counts = { files: 0, links: 0, bytes: 0 };
    for (let i = 0; i < count; i++) {
      const kind = this.kind(i);
      if (kind === kindLink) counts.links++;
      if (kind !== kindFile) continue;
      counts.files++;
      counts.bytes += this.size(i);
    }
    markRacy(records, this.#listedMs);
    return { ...result, counts, names, records, count, ids: this.ids, notable: this.notable };
  }
}

/** Walks two listings side by side, and finds the entries that are the very same files. Byte by byte: views cost more than they show. */
export class SameFiles {
  readonly #old: CachedFolder;
  readonly #folder: OpenFolder;
  #index = 0;
  #at = 0;

  constructor(old: CachedFolder, folder: OpenFolder) {
    this.#old = old;
    this.#folder = folder;
  }

  /** Gives an unchanged entry, whose name is at `at`, the id that it had. Call it by rising index. */
  take(index: number, at: number): boolean {
    const { names, records, ids, count } = this.#old;
    const { listing } = this.#folder;
    for (; this.#index < count; this.#index++) {
      const order = compareNames(names, this.#at, listing.names, at);
      if (order > 0) return false;
      if (order === 0) {
        const was = this.#index * listingRecordBytes;
        if (!equalAt(records, was, listing.records, index * listingRecordBytes, listingRecordBytes))
          return false;
        for (let i = 0; i < idBytes; i++)
          this.#folder.ids[index * idBytes + i] = ids[this.#index * idBytes + i]!;
        return true;
      }
      this.#at = nameEnd(names, this.#at) + 1;
    }
    return false;
  }
}

function findNotable({ records, names, count }: FolderListing): Uint32Array {
  const found: number[] = [];
  for (let i = 0, at = 0; i < count; i++) {
    const kind = records[i * listingRecordBytes]!;
    if (kind === kindFolder || kind === kindOther) found.push(i, at);
    at = names.indexOf(0, at) + 1;
  }
  return Uint32Array.from(found);
}

export function joinPath(folder: string, name: string): string {
  return folder.endsWith('/') ? folder + name : `${folder}/${name}`;
}
