/** Rows beside a blob's own that a large file takes: the intent before it appears, the checksums of its chunks. */
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { fromHex } from '../codec/bytes.ts';
import type { PartName } from '../volume.ts';

/** Checksums per chunk_sums row: 16,384 chunks, 64 KiB of sums, 1 GiB of content at the default chunk size. */
export const sumsRowBytes = 65_536;

/** Says whose file is about to appear in a directory, so that recovery knows it and its cap counts it. Returns the intent's number. */
export function intend(
  transaction: Transaction,
  file: { readonly name: PartName; readonly lease: string; readonly volume: number; readonly bytes: number },
): number {
  transaction.changed = true;
  const { name, lease, volume, bytes } = file;
  const written = transaction.catalog.sql
    .rows('INSERT INTO intents (lease, id, incarnation, framed, volume, bytes) VALUES (?, ?, ?, ?, ?, ?)')
    .run(lease, fromHex(name.id)!, name.incarnation, Number(name.framed === true), volume, bytes);
  return Number(written.lastInsertRowid);
}

/** Stores the chunk checksums of a large blob, a row per `sumsRowBytes`. */
export function writeChunkSums(catalog: Catalog, blob: number, sums: Uint8Array): void {
  const insert = catalog.sql.rows(
    'INSERT OR REPLACE INTO chunk_sums (blob, part, sums, sum) VALUES (?, ?, ?, ?)',
  );
  for (let part = 0; part * sumsRowBytes < sums.length; part++) {
    const slice = sums.subarray(part * sumsRowBytes, (part + 1) * sumsRowBytes);
    insert.run(blob, part, slice, catalog.hasher.sum('chunk_sums', [blob, part, slice]));
  }
}
