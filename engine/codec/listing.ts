/** Folder listings as flat bytes: names and 48-byte records that cross threads and compare without being parsed. */
import type { FolderListing } from '../api.ts';
import type { FileFacts, FileKind } from '../host.ts';
import { readU64, writeU64 } from './bytes.ts';

/**
 * kind u8 · 0 u8 · mode u16 · links u32 · size u64 · mtimeNs i64 · ctimeNs i64 · dev u64 · ino u64, little-endian.
 */
export const listingRecordBytes = 48;

const kinds: readonly FileKind[] = ['file', 'folder', 'link', 'other'];

/** Packs entries that are already sorted by name bytes. */
export function packListing(
  entries: readonly { readonly name: Uint8Array; readonly facts: FileFacts }[],
  badNames: readonly string[],
): FolderListing {
  const packer = new ListingPacker(entries.map(({ name }) => name));
  for (const { name, facts } of entries) packer.add(name, facts);
  return packer.finish(badNames);
}

/** Packs entries as their facts become known, in memory that is taken once: facts of a large folder are kept in no other form. */
export class ListingPacker {
  readonly #names: Uint8Array;
  readonly #records: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #count = 0;

  /** `names`: all that may be added. */
  constructor(names: readonly Uint8Array[]) {
    let nameBytes = 0;
    for (const name of names) nameBytes += name.length + 1;
    this.#names = new Uint8Array(nameBytes);
    this.#records = new Uint8Array(names.length * listingRecordBytes);
    this.#view = new DataView(this.#records.buffer);
  }

  /** By rising name. */
  add(name: Uint8Array, facts: FileFacts): void {
    this.#names.set(name, this.#at);
    this.#at += name.length + 1;
    const base = this.#count++ * listingRecordBytes;
    const view = this.#view;
    view.setUint8(base, kinds.indexOf(facts.kind));
    view.setUint16(base + 2, facts.mode, true);
    view.setUint32(base + 4, facts.links, true);
    writeU64(view, base + 8, facts.size);
    view.setBigInt64(base + 16, facts.mtimeNs, true);
    view.setBigInt64(base + 24, facts.ctimeNs, true);
    view.setBigUint64(base + 32, facts.dev, true);
    view.setBigUint64(base + 40, facts.ino, true);
  }

  finish(badNames: readonly string[]): FolderListing {
    const bytes = this.#count * listingRecordBytes;
    const all = bytes === this.#records.length;
    // A copy where some were left out: what is posted to another thread takes its whole buffer along.
    const names = all ? this.#names : this.#names.slice(0, this.#at);
    const records = all ? this.#records : this.#records.slice(0, bytes);
    return { names, count: this.#count, records, badNames };
  }
}

/** The names of a listing, in order. */
export function listingNames(listing: FolderListing): string[] {
  if (listing.count === 0) return [];
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    .decode(listing.names.subarray(0, -1))
    .split('\0');
}

/** The facts of entry `index`. */
export function listingFacts(listing: FolderListing, index: number): FileFacts {
  const { records } = listing;
  const view = new DataView(
    records.buffer,
    records.byteOffset + index * listingRecordBytes,
    listingRecordBytes,
  );
  return {
    kind: kinds[view.getUint8(0)]!,
    mode: view.getUint16(2, true),
    links: view.getUint32(4, true),
    size: readU64(view, 8),
    mtimeNs: view.getBigInt64(16, true),
    ctimeNs: view.getBigInt64(24, true),
    dev: view.getBigUint64(32, true),
    ino: view.getBigUint64(40, true),
  };
}
