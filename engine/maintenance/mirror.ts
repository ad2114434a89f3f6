/** Mirrors of a group: how many copies are wanted, what stands in the way, and what is left to do when all were looked at. */
import { readGroup, writeGroup } from '../catalog/group.ts';
import { fromHex } from '../codec/bytes.ts';
import type { RetireContext } from '../commit/copies.ts';
import type { DrainContext } from './drain.ts';
import { awayVolumes, checkMembers, completeMembers } from './members.ts';
import { copiesOf, viewOf } from './placed.ts';

export type MirrorContext = DrainContext & RetireContext;

/** Others want the commit thread, too. */
const volumesPerLook = 50;

export interface MirrorWish {
  readonly copies: number;
  readonly minCopies: number;
}

/** From now on puts make so many copies. What is there already follows step by step. */
export function setMirror({ catalog, volumes }: MirrorContext, { copies, minCopies }: MirrorWish): void {
  catalog.transaction((transaction) => {
    completeMembers(transaction, volumes, copies);
    checkMembers(volumes, copies);
    const group = readGroup(catalog.sql);
    if (group.copies === copies && group.minCopies === minCopies) return;
    transaction.changed = true;
    writeGroup(catalog.sql, { ...group, copies, minCopies });
    volumes.publish(transaction);
  });
}

export interface MirrorStart {
  /** What the group wants. */
  readonly copies: number;
  /** Whether copies are wanted or there; nothing is to be done otherwise. */
  readonly mirrored: boolean;
  /** Volumes that are not there: the copies in them do not count now. */
  readonly away: readonly number[];
  /** Go on with the volumes behind this one. */
  readonly next?: number;
}

/** Looks at some volumes, and at how many copies are wanted. */
export function beginMirror({ catalog, volumes }: MirrorContext, after: number): MirrorStart {
  const { copies } = readGroup(catalog.sql);
  const mirrored = copies > 1 || catalog.sql.values('SELECT EXISTS (SELECT 1 FROM copies)').get() === 1;
  return { copies, mirrored, ...(mirrored ? awayVolumes(volumes, after, volumesPerLook) : { away: [] }) };
}

/** Volumes whose file is lost while their folder is there go, once nothing is said to lie in them. */
export function endMirror({ catalog, volumes }: MirrorContext): void {
  catalog.transaction((transaction) => {
    const empty = catalog.sql.values(
      'SELECT NOT EXISTS (SELECT 1 FROM blobs WHERE volume = ?) AND NOT EXISTS (SELECT 1 FROM copies WHERE volume = ?)',
    );
    for (const row of volumes.rows()) {
      if (row.kind !== 'sqlite' || volumes.isForeign(row) || volumes.isPresent(row.n)) continue;
      const there = row.folder === null || volumes.isPresent(row.folder);
      if (there && empty.get(row.n, row.n) === 1) volumes.drop(transaction, row);
    }
    if (transaction.changed) volumes.publish(transaction);
  });
  volumes.removeDropped();
}

/** Those of the blobs that still have a copy which was found damaged. */
export function stillDamaged({ catalog }: MirrorContext, ids: readonly string[]): string[] {
  return catalog.transaction(() =>
    ids.filter((id) => {
      const found = catalog.blobs.inspect(fromHex(id)!);
      return found !== undefined && copiesOf(catalog, found.row).some((one) => viewOf(one).suspect !== 0);
    }),
  );
}
