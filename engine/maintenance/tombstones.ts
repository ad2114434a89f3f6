/** Files condemned by committed tombstones: removed, then the tombstones dropped. Repeating it is harmless. */
import type { Catalog } from '../catalog/catalog.ts';
import { toHex } from '../codec/bytes.ts';
import type { VolumeSet } from '../commit/volume-set.ts';

/** The files go outside any transaction: unlinking a large file takes a while, and others want the write lock. */
export function removeCondemned(catalog: Catalog, volumes: VolumeSet): void {
  const tombstones = catalog.sql.rows('SELECT n, id, incarnation, framed FROM tombstones').all() as {
    n: number;
    id: Uint8Array;
    incarnation: number;
    framed: number;
  }[];
  if (tombstones.length === 0) return;
  for (const { id, incarnation, framed } of tombstones)
    volumes.directory.delete({ id: toHex(id), incarnation, framed: framed === 1 });
  catalog.transaction((transaction) => {
    transaction.changed = true;
    const drop = catalog.sql.rows('DELETE FROM tombstones WHERE n = ?');
    for (const { n } of tombstones) drop.run(n);
  });
}
