/** Members of a mirrored group: whether there are enough for its copies, and whether what lies on some of them lies elsewhere too. */
import type { Transaction } from '../catalog/catalog.ts';
import { type VolumeRow, ownFolder } from '../catalog/group.ts';
import { companionPath, sharingCap } from '../commit/companion.ts';
import { extendGroup } from '../commit/extend.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import { StoreError } from '../errors.ts';

/** Directories for files, or places of SQLite volumes: those in use, whether they are there now or not. */
function members(volumes: VolumeSet, kind: 'directory' | 'folder', but?: number): number[] {
  const open = volumes.rows().filter((row) => row.kind === kind && row.state === 'open');
  return [...(kind === 'folder' ? [ownFolder] : []), ...open.map(({ n }) => n)].filter((n) => n !== but);
}

/** Kinds of members that a mirrored group needs. */
function neededKinds(volumes: VolumeSet): readonly ('directory' | 'folder')[] {
  return volumes.options.parameters.layout === 'hybrid' ? ['directory', 'folder'] : ['folder'];
}

/**
 * Gives members of one kind a companion of the other where fewer of those are there than copies: all that can have one, so that one can
 * stand in for another. Where even that would be too few, nothing is added. A companion shares the cap of the member it lies in.
 */
export function completeMembers(transaction: Transaction, volumes: VolumeSet, copies: number): void {
  const plans = neededKinds(volumes).map((kind) => {
    const there = members(volumes, kind).filter((n) => n === ownFolder || volumes.isPresent(n));
    const missing = copies - there.length;
    return { kind, missing, within: missing > 0 ? withoutCompanion(volumes, kind) : [] };
  });
  if (plans.some(({ missing, within }) => within.length < missing)) return;
  for (const { kind, within } of plans)
    for (const row of within)
      extendGroup(transaction, volumes, {
        path: companionPath(volumes.options.host.files, row)!,
        kind: kind === 'folder' ? 'sqlite' : 'directory',
        within: row,
        ...(row.cap === null ? {} : { cap: row.cap }),
      });
}

/** Members of the other kind in which one of this kind could lie, and does not. */
function withoutCompanion(volumes: VolumeSet, kind: 'directory' | 'folder'): VolumeRow[] {
  const other = kind === 'folder' ? 'directory' : 'folder';
  return volumes.rows().filter(
    (row) =>
      row.kind === other &&
      row.path !== null &&
      row.state === 'open' &&
      volumes.usable(row) &&
      // Neither has one nor is one: within a companion would be the disk of the member that it lies in, for the second time.
      sharingCap(volumes, row).length === 0,
  );
}

/** Refuses what would leave fewer members than copies are wanted. `but` is a member that is to be emptied. */
export function checkMembers(volumes: VolumeSet, copies: number, but?: VolumeRow): void {
  if (copies === 1) return;
  const kinds = but === undefined ? neededKinds(volumes) : ([but.kind] as const);
  for (const kind of kinds) {
    if (kind === 'sqlite') continue;
    const { length } = members(volumes, kind, but?.n);
    if (length >= copies) continue;
    const what = kind === 'directory' ? 'directories for large blobs' : 'places for SQLite volumes';
    const without = but === undefined ? '' : ` without ${but.id}`;
    throw new StoreError(
      'invalid-argument',
      `${copies} copies need ${copies} ${what}, each on a member of its own; there ${length === 1 ? 'is' : 'are'} ${length}${without}: extend the store first`,
      { copies, members: length },
    );
  }
}

/** Whether every blob in these volumes has a copy elsewhere that is there and not known to be damaged. O(blobs of the volumes). */
export function isElsewhere(volumes: VolumeSet, units: readonly VolumeRow[]): boolean {
  const within = units.map(({ n }) => n);
  const present = volumes
    .rows()
    .filter((row) => row.kind !== 'folder' && !within.includes(row.n) && volumes.isPresent(row.n))
    .map(({ n }) => n);
  return (
    volumes.catalog.sql
      .values(
        `WITH unit(volume) AS (SELECT value FROM json_each(?)), present(volume) AS (SELECT value FROM json_each(?)),
           here(n) AS (SELECT n FROM blobs WHERE volume IN unit UNION ALL SELECT blob FROM copies WHERE volume IN unit)
         SELECT 1 FROM here
         WHERE NOT EXISTS (SELECT 1 FROM blobs AS b WHERE b.n = here.n AND b.suspect = 0 AND b.volume IN present)
           AND NOT EXISTS (SELECT 1 FROM copies WHERE blob = here.n AND suspect = 0 AND volume IN present)
         LIMIT 1`,
      )
      .get(JSON.stringify(within), JSON.stringify(present)) === undefined
  );
}

/** Of so many volumes behind a number, those that are not there now: each is looked at, which takes up to a millisecond. */
export function awayVolumes(
  volumes: VolumeSet,
  after: number,
  count: number,
): { readonly away: number[]; readonly next?: number } {
  const rows = volumes.rows().filter(({ n, kind }) => kind !== 'folder' && n > after);
  const page = rows.slice(0, count).map(({ n }) => n);
  const away = page.filter((n) => !volumes.isPresent(n));
  return { away, ...(rows.length > count ? { next: page.at(-1)! } : {}) };
}
