/** What becomes of a good copy that is not needed: its space is given back. */
import type { BlobRow } from '../catalog/blob-rows.ts';
import { storedForms } from '../catalog/blob-rows.ts';
import type { Transaction } from '../catalog/catalog.ts';
import { type VolumeSet, locatorOf } from '../commit/volume-set.ts';
import { copiesOf, viewOf } from './placed.ts';

/** Where a copy lies, in the columns of its row. */
export type CopyPlace = Pick<
  BlobRow,
  'id' | 'codec' | 'stored' | 'volume' | 'extent' | 'start' | 'incarnation'
>;

/** A record is entered as freed; a file gets a tombstone, which is carried out when the store is next opened, and not before. */
export function dropFurtherCopy(transaction: Transaction, volumes: VolumeSet, copy: CopyPlace): void {
  if (!volumes.isDirectory(copy.volume)) return volumes.free(transaction, copy.volume, locatorOf(copy));
  transaction.changed = true;
  transaction.catalog.sql
    .rows('INSERT INTO tombstones (volume, id, incarnation, framed, bytes) VALUES (?, ?, ?, ?, ?)')
    .run(copy.volume, copy.id, copy.incarnation, Number(copy.codec === storedForms.framed), copy.stored);
}

/** Takes that back: the copy is needed after all. */
export function keepFurtherCopy(transaction: Transaction, volumes: VolumeSet, copy: CopyPlace): void {
  const { sql } = transaction.catalog;
  transaction.changed = true;
  if (volumes.isDirectory(copy.volume)) {
    sql
      .rows('DELETE FROM tombstones WHERE volume = ? AND id = ? AND incarnation = ?')
      .run(copy.volume, copy.id, copy.incarnation);
    return;
  }
  sql
    .rows('DELETE FROM freed WHERE volume = ? AND extent = ? AND start = ?')
    .run(copy.volume, copy.extent, copy.start);
  sql.rows('UPDATE volumes SET dead = dead - ? WHERE n = ?').run(copy.stored, copy.volume);
}

/** All copies of a blob, and the rows of all but the first. */
export function dropCopies(transaction: Transaction, volumes: VolumeSet, row: BlobRow): void {
  const { catalog } = transaction;
  for (const placed of copiesOf(catalog, row)) dropFurtherCopy(transaction, volumes, viewOf(placed));
  catalog.copies.deleteAll(row.n);
}
