/** A volume whose disk is found at another path now: known by its label, and written down. */
import type { Transaction } from '../catalog/catalog.ts';
import type { VolumeRow } from '../catalog/group.ts';
import { isDead } from '../catalog/leases.ts';
import { StoreError } from '../errors.ts';
import { checkLabel } from '../volumes/label.ts';
import { companionOf, companionPath, sharingCap } from './companion.ts';
import { checkApart, outside, realFolder } from './extend.ts';
import type { VolumeSet } from './volume-set.ts';

export interface LocateRequest {
  readonly volume: string;
  /** Absolute. */
  readonly path: string;
}

/**
 * In a transaction, as extending is: the row and the labels come under one write lock. Nobody else may have the store open: a journal of
 * SQLite lies beside its database by path, and one that was written beside the old path would not be found when it is needed.
 */
export function locateVolume(
  transaction: Transaction,
  volumes: VolumeSet,
  { volume, path: given }: LocateRequest,
): VolumeRow {
  const { host, provider } = volumes.options;
  const { files } = host;
  const row = volumes.byId(volume);
  if (row.path === null)
    throw new StoreError(
      'invalid-argument',
      `${volume} is no directory or folder that was added to the store: it lies where its folder does`,
      { volume },
    );
  if (files.facts(given) === undefined)
    throw new StoreError('unavailable', `volume ${volume} is not there: ${given} is missing`, {
      volume,
      path: given,
    });
  const path = outside(given, () => realFolder(files, given));
  if (path === row.path) {
    checkLabel(volumes.place(row), volumes.identity(row));
    return row;
  }
  // Of the two on one disk the other may be there already.
  const together = [row, { ...row, path }].flatMap((one) => sharingCap(volumes, one));
  checkApart(volumes, path, [row, ...together]);
  outside(path, () => checkLabel({ files, provider, folder: path }, volumes.identity(row)));
  if (isThere(volumes, row))
    throw new StoreError(
      'conflict',
      `volume ${volume} is still at ${row.path}: which of the two is meant, only you can say; take the other one away`,
      { volume, path: row.path },
    );
  checkAlone(transaction, volumes);
  const companion = companionOf(volumes, row);
  moveRow(transaction, volumes, { row, path });
  // It went along; if it did not, it is away, and can be located by itself.
  if (companion !== undefined)
    moveRow(transaction, volumes, { row: companion, path: companionPath(files, { ...row, path })! });
  volumes.publish(transaction);
  return volumes.byId(volume);
}

function moveRow(
  transaction: Transaction,
  volumes: VolumeSet,
  { row, path }: { readonly row: VolumeRow; readonly path: string },
): void {
  transaction.changed = true;
  transaction.catalog.sql.rows('UPDATE volumes SET path = ? WHERE n = ?').run(path, row.n);
  volumes.letGo(row);
}

function isThere(volumes: VolumeSet, row: VolumeRow): boolean {
  try {
    checkLabel(volumes.place(row), volumes.identity(row));
    return true;
  } catch (error) {
    if (StoreError.is(error, 'unavailable')) return false;
    throw error;
  }
}

function checkAlone({ catalog }: Transaction, volumes: VolumeSet): void {
  const { host, layout, driver, lease } = volumes.options;
  const others = (catalog.sql.values('SELECT uuid FROM leases').all() as string[]).filter(
    (uuid) => uuid !== lease && !isDead(driver, host.files, { folder: layout.leases, uuid }),
  );
  if (others.length > 0)
    throw new StoreError('busy', 'another process has the store open; close it there first');
}
