/** Files condemned by committed tombstones: removed, then the tombstones dropped. Repeating it is harmless. */
import type { Catalog } from '../catalog/catalog.ts';
import { toHex } from '../codec/bytes.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import { StoreError } from '../errors.ts';

interface Tombstone {
  readonly n: number;
  readonly volume: number;
  readonly id: Uint8Array;
  readonly incarnation: number;
  readonly framed: number;
}

/**
 * The files go outside any transaction: unlinking a large file takes a while, and others want the write lock. Those in a volume that is
 * away keep their tombstones until it is back.
 */
export function removeCondemned(catalog: Catalog, volumes: VolumeSet): void {
  const tombstones = catalog.sql
    .rows('SELECT n, volume, id, incarnation, framed FROM tombstones')
    .all() as Tombstone[];
  const done = tombstones.filter((tombstone) => remove(volumes, tombstone));
  if (done.length === 0) return;
  catalog.transaction((transaction) => {
    transaction.changed = true;
    const drop = catalog.sql.rows('DELETE FROM tombstones WHERE n = ?');
    for (const { n } of done) drop.run(n);
  });
}

function remove(volumes: VolumeSet, { volume, id, incarnation, framed }: Tombstone): boolean {
  try {
    volumes.directory(volume).delete({ id: toHex(id), incarnation, framed: framed === 1 });
    return true;
  } catch (error) {
    if (StoreError.is(error, 'unavailable')) return false;
    throw error;
  }
}
