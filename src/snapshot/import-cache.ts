/** Remembers what folders looked like when they were imported, so that unchanged files are not read again. */
import {
  type BlobId,
  type FolderListing,
  type SideTable,
  type Store,
  listingRecordBytes,
} from '../../engine/index.ts';
import { fromHex, toHex } from '../../engine/codec/bytes.ts';
import { utf8 } from './names.ts';

/*
 * Trust goes down from a live root: the record of an imported path names the snapshot that wrote it and its id therein; it counts
 * only while that snapshot is a root. The record of a folder counts only if the record above gives this folder the id that the
 * record says it has. So whatever an interrupted import or another one left behind is either held by a live root or not believed.
 */

const table = 'import-cache';
const magic = 0x31636668; // "hfc1"
const headBytes = 128;
const idBytes = 32;
const notableBytes = 8;
const partBytes = 1024 * 1024;
/** Kinds as the records of a listing number them. */
export const kindFile = 0;
export const kindFolder = 1;
export const kindLink = 2;
export const kindOther = 3;
/** A kind that no listing has: a record with it matches nothing. */
export const noKind = 0xff;
/** The id of what is remembered of paths that were imported together: no real folder, so it never counts as the same. */
export const noFolder = '';
/** A file whose times are this close to the scan may change again without showing it. */
const racyNs = 2e9;

/** What was directly in a folder, for the totals of an import that does not look at its entries. */
export interface FolderCounts {
  readonly files: number;
  readonly links: number;
  readonly bytes: number;
}

/** A folder as it was, and the ids of what was in it. Bytes are views of what the cache gave. */
export interface CachedFolder {
  readonly id: BlobId;
  /** Nodes in the longest chain below, its own included. */
  readonly height: number;
  readonly counts: FolderCounts;
  readonly names: Uint8Array;
  readonly records: Uint8Array;
  readonly count: number;
  /** 32 bytes an entry; zeros where there is none. */
  readonly ids: Uint8Array;
  /** Entries that are no files and no links: pairs of index and place in `names`. */
  readonly notable: Uint32Array;
  /** Keys it takes in the table. */
  readonly parts: number;
}

/** A path that was imported: in which snapshot, and as what. */
export interface CachedTop {
  readonly snapshot: BlobId;
  /** dev and ino of the store that remembers: in a copy of it, other folders are its own. */
  readonly store: Uint8Array;
  /** One record of a listing. */
  readonly record: Uint8Array;
  readonly id: Uint8Array;
}

export class ImportCache {
  readonly #side: SideTable;
  #writes: [string, Uint8Array | undefined][] = [];
  #writeBytes = 0;

  constructor(store: Store) {
    this.#side = store.sideTable(table);
  }

  async folder(path: string): Promise<CachedFolder | undefined> {
    const [first] = await this.#side.get([folderKey(path)]);
    return await this.#assemble(path, first);
  }

  /** To be written with the next `flush`. `before`: the record it takes the place of, when known. */
  setFolder(path: string, folder: Omit<CachedFolder, 'parts'>, before: CachedFolder | undefined): void {
    const parts = encodeFolder(folder);
    parts.forEach((part, i) => this.#write(i === 0 ? folderKey(path) : partKey(path, i), part));
    for (let i = parts.length; i < (before?.parts ?? 0); i++) this.#write(partKey(path, i), undefined);
  }

  forgetFolder(path: string, folder: CachedFolder): void {
    for (let i = 0; i < folder.parts; i++)
      this.#write(i === 0 ? folderKey(path) : partKey(path, i), undefined);
  }

  async tops(paths: readonly string[]): Promise<(CachedTop | undefined)[]> {
    const values = await this.#side.get(paths.map((path) => `top:${path}`));
    return values.map((value) => (value === undefined ? undefined : decodeTop(value)));
  }

  setTop(path: string, top: CachedTop): void {
    this.#write(`top:${path}`, Buffer.concat([fromHex(top.snapshot)!, top.store, top.record, top.id]));
  }

  /** Whether enough has gathered to be worth a write. */
  get full(): boolean {
    return this.#writeBytes >= partBytes || this.#writes.length >= 512;
  }

  async flush(): Promise<void> {
    if (this.#writes.length === 0) return;
    const writes = this.#writes;
    this.#writes = [];
    this.#writeBytes = 0;
    await this.#side.set(writes);
  }

  #write(key: string, value: Uint8Array | undefined): void {
    this.#writes.push([key, value]);
    this.#writeBytes += value?.length ?? 0;
  }

  async #assemble(path: string, first: Uint8Array | undefined): Promise<CachedFolder | undefined> {
    if (first === undefined) return undefined;
    const count = first.length < headBytes ? 0 : viewOf(first).getUint32(4, true);
    if (count <= 1) return decodeFolder([first]);
    const rest = await this.#side.get(Array.from({ length: count - 1 }, (_, i) => partKey(path, i + 1)));
    const parts = [first, ...rest];
    return parts.every((part) => part !== undefined) ? decodeFolder(parts) : undefined;
  }
}

/** Marks entries that must be read again next time: their times are too close to the scan to be believed. */
export function markRacy(records: Uint8Array, listedMs: number): void {
  const view = viewOf(records);
  const believed = listedMs * 1e6 - racyNs;
  for (let at = 0; at < records.length; at += listingRecordBytes) {
    // A folder's record says nothing of what is in it: it is listed each time.
    if (records[at] === kindFolder) continue;
    if (nanoseconds(view, at + 16) > believed || nanoseconds(view, at + 24) > believed) records[at] = noKind;
  }
}

/** The folders directly in a folder, and the ids they had. */
export function foldersOf(cached: CachedFolder): Map<string, BlobId> {
  const found = new Map<string, BlobId>();
  for (let n = 0; n < cached.notable.length; n += 2) {
    const [index, at] = [cached.notable[n]!, cached.notable[n + 1]!];
    const name = utf8(cached.names.subarray(at, cached.names.indexOf(0, at)));
    const id = toHex(cached.ids.subarray(index * idBytes, (index + 1) * idBytes));
    if (name !== undefined && cached.records[index * listingRecordBytes] === kindFolder) found.set(name, id);
  }
  return found;
}

/** Whether a folder looks exactly as it did. One comparison of whole buffers, however many entries. */
export function sameListing(cached: CachedFolder, listing: FolderListing): boolean {
  return (
    cached.id !== noFolder &&
    cached.count === listing.count &&
    sameBytes(cached.names, listing.names) &&
    sameBytes(cached.records, listing.records)
  );
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  // Buffer's comparison is one memcmp.
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

function encodeFolder(folder: Omit<CachedFolder, 'parts'>): Uint8Array[] {
  const notable = new Uint8Array(folder.notable.buffer, folder.notable.byteOffset, folder.notable.byteLength);
  const body = [folder.names, folder.records, folder.ids, notable];
  const bytes = body.reduce((sum, piece) => sum + piece.length, headBytes);
  const whole = Buffer.allocUnsafe(bytes).fill(0, 0, headBytes);
  let at = headBytes;
  for (const piece of body) {
    whole.set(piece, at);
    at += piece.length;
  }
  const parts = Math.max(1, Math.ceil(bytes / partBytes));
  const stamp = Date.now() + performance.now() / 1e6;
  const view = viewOf(whole);
  view.setUint32(0, magic, true);
  view.setUint32(4, parts, true);
  view.setFloat64(8, stamp, true);
  [folder.count, folder.names.length, folder.notable.length / 2, folder.height].forEach((value, i) =>
    view.setUint32(16 + 4 * i, value, true),
  );
  [folder.counts.files, folder.counts.links, folder.counts.bytes].forEach((value, i) =>
    view.setFloat64(32 + 8 * i, value, true),
  );
  whole.set(fromHex(folder.id)!, 56);
  return Array.from({ length: parts }, (_, i) => {
    const part = whole.subarray(i * partBytes, (i + 1) * partBytes);
    return i === 0 ? part : Buffer.concat([whole.subarray(8, 16), part]);
  });
}

/** Undefined for anything that does not fit together: then the folder counts as never seen. */
function decodeFolder(parts: readonly Uint8Array[]): CachedFolder | undefined {
  const first = parts[0]!;
  if (first.length < headBytes) return undefined;
  const head = viewOf(first);
  if (head.getUint32(0, true) !== magic || head.getUint32(4, true) !== parts.length) return undefined;
  const stamp = head.getFloat64(8, true);
  if (parts.slice(1).some((part) => part.length < 8 || viewOf(part).getFloat64(0, true) !== stamp))
    return undefined;
  const body =
    parts.length === 1
      ? first.subarray(headBytes)
      : Buffer.concat([first.subarray(headBytes), ...parts.slice(1).map((part) => part.subarray(8))]);
  const [count, namesLength, notables, height] = [0, 1, 2, 3].map((i) =>
    head.getUint32(16 + 4 * i, true),
  ) as [number, number, number, number];
  const [files, links, bytes] = [0, 1, 2].map((i) => head.getFloat64(32 + 8 * i, true)) as [
    number,
    number,
    number,
  ];
  const ends = [namesLength, count * listingRecordBytes, count * idBytes, notables * notableBytes];
  if (body.length !== ends.reduce((sum, length) => sum + length, 0)) return undefined;
  let at = 0;
  const [names, records, ids, notable] = ends.map((length) => body.subarray(at, (at += length))) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  return {
    id: toHex(first.subarray(56, 56 + idBytes)),
    height,
    counts: { files, links, bytes },
    names,
    records,
    count,
    ids,
    // A copy: the view may begin anywhere, and numbers may not.
    notable: new Uint32Array(new Uint8Array(notable).buffer),
    parts: parts.length,
  };
}

function decodeTop(value: Uint8Array): CachedTop | undefined {
  if (value.length !== idBytes + 16 + listingRecordBytes + idBytes) return undefined;
  return {
    snapshot: toHex(value.subarray(0, idBytes)),
    store: value.subarray(idBytes, idBytes + 16),
    record: value.subarray(idBytes + 16, idBytes + 16 + listingRecordBytes),
    id: value.subarray(idBytes + 16 + listingRecordBytes),
  };
}

function folderKey(path: string): string {
  return `folder:${path}`;
}

function partKey(path: string, part: number): string {
  return `part ${part}:${path}`;
}

/** Nanoseconds near enough to compare with seconds. */
function nanoseconds(view: DataView, at: number): number {
  return view.getInt32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
