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
  let nameBytes = 0;
  for (const entry of entries) nameBytes += entry.name.length + 1;
  const names = new Uint8Array(nameBytes);
  const records = new Uint8Array(entries.length * listingRecordBytes);
  const view = new DataView(records.buffer);
  let at = 0;
  entries.forEach(({ name, facts }, i) => {
    names.set(name, at);
    at += name.length + 1;
    const base = i * listingRecordBytes;
    view.setUint8(base, kinds.indexOf(facts.kind));
    view.setUint16(base + 2, facts.mode, true);
    view.setUint32(base + 4, facts.links, true);
    writeU64(view, base + 8, facts.size);
    view.setBigInt64(base + 16, facts.mtimeNs, true);
    view.setBigInt64(base + 24, facts.ctimeNs, true);
    view.setBigUint64(base + 32, facts.dev, true);
    view.setBigUint64(base + 40, facts.ino, true);
  });
  return { names, count: entries.length, records, badNames };
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
