/** Empties volumes, the catalog's side: what is drained is recorded, records are moved in short transactions, files are settled. */
import { partNameOf } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { samePlace } from '../catalog/copy-rows.ts';
import { type VolumeRow, directoryNumber, ownFolder, readGroup } from '../catalog/group.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { intend } from '../commit/files.ts';
import { companionOf } from '../commit/companion.ts';
import { type VolumeSet, locatorOf } from '../commit/volume-set.ts';
import { randomIncarnation } from '../content/incarnation.ts';
import type { FileMove } from '../content/mover.ts';
import { StoreError } from '../errors.ts';
import type { Part } from '../volume.ts';
import { fanOut } from '../volumes/directory.ts';
import { checkMembers, isElsewhere } from './members.ts';
import {
  type PlaceCursor,
  type Placed,
  bury,
  copiesOf,
  cursorAt,
  groupByMembers,
  moveCopy,
  otherMembers,
  placedAfter,
  readRecordOf,
  storedIn,
  viewOf,
} from './placed.ts';
import { removeCondemned } from './tombstones.ts';

/** Records of one transaction: short enough that puts hardly wait. */
const recordsBytes = 1024 * 1024;
const recordsRows = 256;

export interface DrainContext {
  readonly catalog: Catalog;
  readonly volumes: VolumeSet;
  readonly provider: Provider;
  readonly lease: string;
}

/** A volume to be emptied, and how. */
export interface DrainUnit {
  readonly n: number;
  readonly id: string;
  readonly kind: VolumeRow['kind'];
}

export interface Unmovable {
  readonly id: string;
  readonly reason: string;
}

/**
 * Records that a volume is to be emptied, for which goal and where to: from now on nothing is allocated there, and whoever goes on after
 * a crash knows it. A folder is drained with the volumes in it, and what is removed with its companion. Returns what to empty, in order.
 */
export function beginDrain(
  { catalog, volumes }: DrainContext,
  request: { readonly from: string; readonly to?: string | undefined; readonly goal: 'remove' | 'keep' },
): DrainUnit[] {
  return catalog.transaction((transaction) => {
    const row = volumes.byId(request.from);
    if (row.n === directoryNumber && request.goal === 'remove')
      throw new StoreError(
        'invalid-argument',
        `volume ${row.id} is the store's own and cannot be removed; it can be emptied by moving`,
        { volume: row.id },
      );
    const companion = request.goal === 'remove' ? companionOf(volumes, row) : undefined;
    const target = targetOf(volumes, row, request.to);
    const units = [companion, row].flatMap((member) =>
      member === undefined ? [] : unitsOf({ catalog, volumes }, member, { ...request, target }),
    );
    for (const unit of units) {
      const goal = unit.kind === 'sqlite' ? 'remove' : request.goal;
      mark(transaction, unit.n, { state: 'draining', goal, target });
    }
    if (units.length > 0) volumes.publish(transaction);
    return units.map(unitOf);
  });
}

/** What is to be emptied for one member, once nothing speaks against it. */
function unitsOf(
  { catalog, volumes }: Pick<DrainContext, 'catalog' | 'volumes'>,
  row: VolumeRow,
  { goal, target }: { readonly goal: 'remove' | 'keep'; readonly target: number | null },
): VolumeRow[] {
  if (row.kind !== 'sqlite') checkMembers(volumes, readGroup(catalog.sql).copies, row);
  const units = row.kind === 'folder' ? [...volumesIn(volumes, row.n), row] : [row];
  const trouble = volumes.trouble(row);
  // What is away can be done without where all that lies there has another copy.
  if (trouble !== undefined && !isElsewhere(volumes, units))
    throw new StoreError('unavailable', trouble, { volume: row.id });
  // With nowhere else to put anything, what is empty stays in use: puts would fail meanwhile.
  if (row.kind === 'directory' && checkFits(volumes, row, target) === 0 && row.state === 'open') {
    if (goal === 'keep') return [];
    throw new StoreError('no-space', `no other directory is in use than ${row.id}`, { volume: row.id });
  }
  return units;
}

/** Volumes of which more than half is dead are to be emptied, and what was begun earlier is to be ended. */
export function beginCompaction({ catalog, volumes }: DrainContext): DrainUnit[] {
  return catalog.transaction((transaction) => {
    const rows = volumes.rows();
    const sparse = rows.filter(
      (row) =>
        row.kind === 'sqlite' &&
        row.state !== 'draining' &&
        row.dead * 2 > row.bytes &&
        !volumes.isForeign(row) &&
        volumes.usable(row),
    );
    for (const row of sparse) mark(transaction, row.n, { state: 'draining', goal: 'remove', target: null });
    if (sparse.length > 0) volumes.publish(transaction);
    const draining = volumes.rows().filter(({ state }) => state === 'draining');
    // A folder last: it goes when nothing lies in it any more.
    return draining.toSorted((a, b) => Number(a.kind === 'folder') - Number(b.kind === 'folder')).map(unitOf);
  });
}

/** Takes a drain back: what was moved stays moved, and the volume is in use as before. */
export function cancelDrain({ catalog, volumes }: DrainContext, units: readonly DrainUnit[]): void {
  catalog.transaction((transaction) => {
    const draining = volumes
      .rows()
      .filter(({ n, state }) => state === 'draining' && units.some((unit) => unit.n === n));
    for (const { n, kind } of draining)
      mark(transaction, n, { state: kind === 'sqlite' ? 'sealed' : 'open', goal: null, target: null });
    if (draining.length > 0) volumes.publish(transaction);
  });
}

export interface RecordsMoved {
  readonly blobs: number;
  readonly bytes: number;
  readonly unmovable: readonly Unmovable[];
  /** Where to go on; undefined at the end. */
  readonly next?: PlaceCursor;
}

/**
 * Moves the next records, byte for byte: read and verified, durable in another volume, then rows and free entries in one COMMIT. A crash
 * before it leaves second copies, which recovery or a scrub counts as dead.
 */
export function moveRecords(
  { catalog, volumes, provider }: DrainContext,
  request: { readonly n: number; readonly after: PlaceCursor },
): RecordsMoved {
  return catalog.transaction((transaction) => {
    const volume = volumes.rows().find(({ n }) => n === request.n);
    if (volume === undefined || volume.state !== 'draining') return { blobs: 0, bytes: 0, unmovable: [] };
    const unmovable: Unmovable[] = [];
    const moving: Moving[] = [];
    let bytes = 0;
    let last: Placed | undefined;
    for (const placed of placedAfter(catalog, request, recordsRows)) {
      const { row } = placed;
      if (bytes > 0 && bytes + row.stored > recordsBytes) break;
      last = placed;
      try {
        if (!catalog.blobs.holds(row)) throw new StoreError('corrupt', 'its catalog row is damaged');
        // This one, or any other: their bytes are the same.
        const others = copiesOf(catalog, row).filter((one) => !samePlace(viewOf(one), viewOf(placed)));
        const good = readRecordOf({ volumes, provider }, [placed, ...others]);
        moving.push({ placed, part: { name: partNameOf(row), bytes: good.bytes } });
        bytes += row.stored;
      } catch (error) {
        if (!StoreError.is(error, 'corrupt')) throw error;
        unmovable.push({ id: toHex(row.id), reason: error.message });
      }
    }
    if (moving.length > 0) place(transaction, volumes, { volume, moving });
    return { blobs: moving.length, bytes, unmovable, ...cursorAt(last) };
  });
}

interface Moving {
  readonly placed: Placed;
  readonly part: Part;
}

/** Those with other copies on the same members go together, to members without. */
function place(
  transaction: Transaction,
  volumes: VolumeSet,
  { volume, moving }: { readonly volume: VolumeRow; readonly moving: readonly Moving[] },
): void {
  const groups = groupByMembers(moving, ({ placed }) => otherMembers(transaction.catalog, volumes, placed));
  for (const { without, items } of groups) {
    const parts = items.map(({ part }) => part);
    const only = volume.target ?? undefined;
    const { volume: n, locators } = volumes.append(transaction, parts, { only, without });
    items.forEach(({ placed }, i) => {
      const view = viewOf(placed);
      volumes.free(transaction, view.volume, locatorOf(view));
      const { extent, offset } = locators[i]!;
      moveCopy(transaction, placed, { volume: n, extent, start: offset });
    });
  }
}

export interface FilesPicked {
  readonly moves: readonly FileMove[];
  readonly unmovable: readonly Unmovable[];
  readonly next?: PlaceCursor;
}

/** The next files to move: for each an intent in the volume it goes to, so that recovery knows a copy that nobody came back for. */
export function pickFiles(
  { catalog, volumes, lease }: DrainContext,
  request: {
    readonly n: number;
    readonly after: PlaceCursor;
    readonly count: number;
    /** For moves out of a volume that stays in use. */
    readonly to?: number;
  },
): FilesPicked {
  return catalog.transaction((transaction) => {
    const volume = volumes.rows().find(({ n }) => n === request.n);
    if (volume === undefined || (request.to === undefined && volume.state !== 'draining'))
      return { moves: [], unmovable: [] };
    const found = placedAfter(catalog, request, request.count);
    const unmovable: Unmovable[] = [];
    const moves: FileMove[] = [];
    for (const placed of found) {
      const { row } = placed;
      const id = toHex(row.id);
      if (!catalog.blobs.holds(row)) {
        unmovable.push({ id, reason: 'its catalog row is damaged' });
        continue;
      }
      const without = otherMembers(catalog, volumes, placed);
      // Of a volume that stays in use, a copy stays where the place it should go to has one already.
      if (request.to !== undefined && without.has(request.to)) continue;
      const only = request.to ?? volume.target ?? undefined;
      const to = volumes.forCopiedFile(transaction, row.stored, { only, without });
      moves.push(intendCopy(transaction, { volumes, lease }, { placed, to }));
    }
    return { moves, unmovable, ...cursorAt(found.at(-1)) };
  });
}

/** A copy of a file that is about to be made, said before it appears. */
export function intendCopy(
  transaction: Transaction,
  { volumes, lease }: Pick<DrainContext, 'volumes' | 'lease'>,
  { placed, to }: { readonly placed: Placed; readonly to: number },
): FileMove {
  const view = viewOf(placed);
  const { n, stored: bytes, volume: from, incarnation: old } = view;
  const incarnation = randomIncarnation(volumes.options.host);
  const name = { ...partNameOf(view), incarnation };
  const intent = intend(transaction, { name, lease, volume: to, bytes });
  return { n, id: name.id, framed: name.framed === true, old, incarnation, from, to, bytes, intent };
}

/** The copy is durable and verified: the row points to it, and the old file is condemned. False when the blob has changed meanwhile. */
export function settleFile({ catalog, volumes }: DrainContext, move: FileMove): boolean {
  const moved = catalog.transaction((transaction) => {
    transaction.changed = true;
    catalog.sql.rows('DELETE FROM intents WHERE n = ?').run(move.intent);
    const row = catalog.blobs.byNumber(move.n);
    const placed = (row === undefined ? [] : copiesOf(catalog, row)).find((one) => {
      const { volume, incarnation } = viewOf(one);
      return volume === move.from && incarnation === move.old;
    });
    // Meanwhile another copy may have come to lie where this one was to go.
    if (placed === undefined || otherMembers(catalog, volumes, placed).has(move.to)) return false;
    bury(transaction, volumes, viewOf(placed));
    volumes.charge(transaction, move.to, placed.row.stored);
    const place = { volume: move.to, extent: fanOut(move.id), start: 0, incarnation: move.incarnation };
    moveCopy(transaction, placed, place);
    return true;
  });
  if (!moved) volumes.directory(move.to).delete(move);
  removeCondemned(catalog, volumes);
  return moved;
}

/** A file that was not moved after all. */
export function forgetFile({ catalog }: DrainContext, intent: number): void {
  catalog.transaction((transaction) => {
    transaction.changed = true;
    catalog.sql.rows('DELETE FROM intents WHERE n = ?').run(intent);
  });
}

/**
 * Ends the drain of an empty volume: it is removed, or in use again. `busy` while something lies in it or is on its way there: a put of
 * before, which the next pass takes along.
 */
export function endDrain({ catalog, volumes }: DrainContext, unit: DrainUnit): 'done' | 'busy' {
  removeCondemned(catalog, volumes);
  const result = catalog.transaction((transaction) => {
    const row = volumes.rows().find(({ n }) => n === unit.n);
    if (row === undefined || row.state !== 'draining') return 'done';
    const away = !volumes.isPresent(row.n);
    // Files of one that is away stay there; should it come back, a scrub deals with them.
    if (away) catalog.sql.rows('DELETE FROM tombstones WHERE volume = ?').run(row.n);
    const left = [
      'SELECT 1 FROM blobs WHERE volume = ? LIMIT 1',
      'SELECT 1 FROM copies WHERE volume = ? LIMIT 1',
      'SELECT 1 FROM intents WHERE volume = ? LIMIT 1',
      'SELECT 1 FROM tombstones WHERE volume = ? LIMIT 1',
      `SELECT 1 FROM volumes WHERE folder = ? AND state != 'dropped' LIMIT 1`,
    ].some((question) => catalog.sql.values(question).get(row.n) !== undefined);
    if (left) return 'busy';
    if (row.goal === 'remove') volumes.drop(transaction, row);
    else {
      mark(transaction, row.n, { state: 'open', goal: null, target: null });
      // Nothing is known to lie there now, so an empty folder will do in its place.
      if (away) catalog.sql.rows('UPDATE volumes SET generation = 0 WHERE n = ?').run(row.n);
    }
    volumes.publish(transaction);
    return 'done';
  });
  volumes.removeDropped();
  return result;
}

function mark(
  transaction: Transaction,
  n: number,
  { state, goal, target }: Pick<VolumeRow, 'state' | 'goal' | 'target'>,
): void {
  transaction.changed = true;
  transaction.catalog.sql
    .rows('UPDATE volumes SET state = ?, goal = ?, target = ?, lease = NULL WHERE n = ?')
    .run(state, goal, target, n);
}

function targetOf(volumes: VolumeSet, from: VolumeRow, to: string | undefined): number | null {
  if (to === undefined) return null;
  const records = from.kind !== 'directory';
  if (records && to === 'volumes') return ownFolder;
  const row = volumes.byId(to);
  if (row.kind !== (records ? 'folder' : 'directory') || row.state !== 'open' || row.n === from.n)
    throw new StoreError(
      'invalid-argument',
      records
        ? `SQLite volumes move to another folder that is open, or to "volumes", not to ${to}`
        : `a directory moves to another directory that is open, not to ${to}`,
      { volume: to },
    );
  return row.n;
}

/** Said before anything is moved; caps and disks are watched while it goes on, too. Returns how many directories there are for it. */
function checkFits(volumes: VolumeSet, from: VolumeRow, target: number | null): number {
  const { sql } = volumes.catalog;
  const wanted = storedIn(sql, from.n);
  const others = volumes
    .rows()
    .filter((row) => row.kind === 'directory' && row.state === 'open' && row.n !== from.n)
    .filter((row) => (target === null || row.n === target) && volumes.usable(row));
  const room = others.reduce((sum, row) => {
    const { freeBytes } = volumes.options.host.files.space(volumes.place(row).folder);
    return sum + Math.max(0, Math.min(freeBytes, row.cap === null ? freeBytes : row.cap - row.bytes));
  }, 0);
  if (room < wanted || (others.length === 0 && wanted > 0))
    throw new StoreError(
      'no-space',
      `volume ${from.id} holds ${wanted} bytes, and elsewhere there is room for ${room}`,
      { volume: from.id, bytes: wanted, room },
    );
  return others.length;
}

function volumesIn(volumes: VolumeSet, folder: number): VolumeRow[] {
  return volumes.rows().filter((row) => row.folder === folder);
}

function unitOf({ n, id, kind }: VolumeRow): DrainUnit {
  return { n, id, kind };
}
