/** Recovery: what processes that died left behind — leases, temps, intents, unseen records, tombstones, a root log that is ahead. */
import { decodeBorrow } from '../catalog/borrow.ts';
import type { Transaction } from '../catalog/catalog.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { isDead, leasesIn, removeLeaseFile } from '../catalog/leases.ts';
import { type VolumeRow, tempPath } from '../catalog/group.ts';
import { shortLog } from '../catalog/log-damage.ts';
import { type LogPosition, type RootLog, logStart } from '../catalog/root-log.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import type { DatabaseClass } from '../driver.ts';
import { removeFolderIfThere, removeIfThere } from '../commit/create.ts';
import { type AdoptContext, adoptFile, adoptRecords, emptyReport } from './adopt.ts';

export interface RecoverContext extends AdoptContext {
  readonly layout: StoreLayout;
  readonly driver: DatabaseClass;
  /** The lease of this process, which is alive. */
  readonly lease: string;
}

export interface RecoverReport {
  readonly deadLeases: number;
  readonly adopted: number;
  readonly replayed: number;
  readonly unresolved: number;
}

/**
 * Runs inside a transaction, under the catalog's write lock, in this order: dead leases and their temps; their intents and what lies
 * unseen in volumes nobody writes to, adopted; then the root log, which may name what was just adopted. (Tombstones are carried out
 * after the transaction: tombstones.ts.)
 * Every step may be repeated, so a crash in the middle is repaired by the next run. O(what was left behind).
 */
export function recover(transaction: Transaction, context: RecoverContext): RecoverReport {
  const report = emptyReport();
  const dead = deadLeases(transaction, context);
  for (const lease of dead) clearLease(transaction, context, lease);
  clearTemps(transaction, context);
  borrowAhead(transaction);
  adoptIntents(transaction, context, dead, report);
  adoptUnseen(transaction, context, report);
  const { replayed, unresolved } = replayLog(transaction, context, report);
  return { deadLeases: dead.length, adopted: report.adopted, replayed, unresolved };
}

/** What the log says was borrowed comes before what is adopted: nodes may link to it. */
function borrowAhead(transaction: Transaction): void {
  const { log } = transaction.catalog;
  if (!log.isAhead(transaction.state.log)) return;
  for (const { entry } of log.tail(transaction.state.log))
    if (entry.change === 'borrow') transaction.borrowAgain(entry.id!, decodeBorrow(entry.name));
}

function deadLeases(transaction: Transaction, { host, layout, driver, lease }: RecoverContext): string[] {
  const listed = transaction.catalog.sql.values('SELECT uuid FROM leases').all() as string[];
  const intents = transaction.catalog.sql.values('SELECT DISTINCT lease FROM intents').all() as string[];
  const writers = transaction.catalog.sql
    .values('SELECT DISTINCT lease FROM volumes WHERE lease IS NOT NULL')
    .all() as string[];
  const known = new Set([...listed, ...intents, ...writers, ...leasesIn(host.files, layout.leases)]);
  known.delete(lease);
  return [...known].filter((uuid) => isDead(driver, host.files, { folder: layout.leases, uuid }));
}

function clearLease(transaction: Transaction, context: RecoverContext, uuid: string): void {
  const { host, layout } = context;
  const { sql } = transaction.catalog;
  transaction.changed = true;
  sql.rows('DELETE FROM leases WHERE uuid = ?').run(uuid);
  sql.rows('UPDATE volumes SET lease = NULL WHERE lease = ?').run(uuid);
  sql.rows('DELETE FROM dying WHERE lease = ?').run(uuid);
  for (const temps of tempFolders(context)) removeFolderIfThere(host.files, host.files.join(temps, uuid));
  removeLeaseFile(host.files, { folder: layout.leases, uuid });
  const marker = host.files.join(layout.leases, `${uuid}.library`);
  removeIfThere(host.files, marker);
}

/** Temp folders whose lease is nowhere: left when a process died between taking back its lease and its temps. */
function clearTemps(transaction: Transaction, context: RecoverContext): void {
  const { files } = context.host;
  const alive = new Set(transaction.catalog.sql.values('SELECT uuid FROM leases').all() as string[]);
  for (const temps of tempFolders(context)) {
    for (const raw of files.list(temps)) {
      const name = new TextDecoder().decode(raw);
      if (name !== context.lease && !alive.has(name)) removeFolderIfThere(files, files.join(temps, name));
    }
  }
}

/** The store's own, and those of volumes on other disks that are there. */
export function tempFolders({ host, layout, volumes }: RecoverContext): string[] {
  const others = volumes
    .rows()
    .filter((row) => row.path !== null && volumes.usable(row))
    .map((row) => tempPath(host.files, layout, row, ''));
  return [layout.temps, ...others.filter((path) => host.files.facts(path) !== undefined)];
}

function adoptIntents(
  transaction: Transaction,
  context: RecoverContext,
  dead: readonly string[],
  report: ReturnType<typeof emptyReport>,
): void {
  const { sql } = transaction.catalog;
  for (const lease of dead) {
    const intents = sql
      .rows('SELECT id, incarnation, framed, volume FROM intents WHERE lease = ?')
      .all(lease) as {
      id: Uint8Array;
      incarnation: number;
      framed: number;
      volume: number;
    }[];
    for (const { id, incarnation, framed, volume } of intents) {
      // In a volume that is away it is an orphan, which a scrub finds when the volume is back.
      if (!context.volumes.usableNumber(volume)) continue;
      const name = { id: toHex(id), incarnation, framed: framed === 1 };
      adoptFile(transaction, context, { volume, name }, report);
    }
    sql.rows('DELETE FROM intents WHERE lease = ?').run(lease);
  }
}

/** Volumes that no living process appends to may hold records whose COMMIT never came, or came and was lost. */
function adoptUnseen(
  transaction: Transaction,
  context: RecoverContext,
  report: ReturnType<typeof emptyReport>,
): void {
  for (const stray of context.volumes.strays())
    context.volumes.register(transaction, { ...stray, lease: null });
  const rows = transaction.catalog.sql
    .rows(`SELECT * FROM volumes WHERE kind = 'sqlite' AND state = 'open' AND (lease IS NULL OR lease = ?)`)
    .all(context.lease) as VolumeRow[];
  const ranges = rows.flatMap((row) => {
    // One that is away, or not the one it should be, is looked at when it is back; the rest of the store is of use without it.
    const unseen = context.volumes.usable(row) ? context.volumes.unseen(row) : undefined;
    return unseen === undefined ? [] : [{ row, from: unseen.from, to: unseen.to }];
  });
  // A node's children may lie in another volume, or be files whose rows are lost as well: tried again while that gets further.
  for (let searched = false; ;) {
    const found = ranges.map((range) => adoptRecords(transaction, context, range));
    const adopted = found.reduce((sum, one) => sum + one.adopted, 0);
    const incomplete = found.reduce((sum, one) => sum + one.incomplete, 0);
    report.adopted += adopted;
    if (incomplete > 0 && adopted > 0) continue;
    if (incomplete > 0 && !searched) {
      searched = true;
      adoptAllFiles(transaction, context, report);
      continue;
    }
    report.incomplete += incomplete;
    break;
  }
  for (const { row } of ranges) context.volumes.refresh(transaction, row);
}

/**
 * Records behind the catalog's position are of a process that died before its COMMIT, or of a catalog that lost its newest commits.
 * Both are replayed. What they name may then have lost its row too, so files without a row are looked for first, all of them.
 */
function replayLog(
  transaction: Transaction,
  context: RecoverContext,
  report: ReturnType<typeof emptyReport>,
): { replayed: number; unresolved: number } {
  const { log } = transaction.catalog;
  if (log.isBehind(transaction.state.log)) {
    // Go on from where it ends now: a record behind a gap could never be read again.
    transaction.state.log = endOf(log);
    log.cut(transaction.state.log);
    transaction.raiseDoubt(`${shortLog}: it was cut or restored from an older copy`);
    return { replayed: 0, unresolved: 0 };
  }
  if (!log.isAhead(transaction.state.log)) return { replayed: 0, unresolved: 0 };
  let replayed = 0;
  let unresolved = 0;
  let searched = false;
  const start = transaction.state.log;
  for (const { entry, next } of log.tail(start)) {
    let done = transaction.replay(entry, next);
    if (!done && !searched) {
      searched = true;
      adoptAllFiles(transaction, context, report);
      done = transaction.replay(entry, next);
    }
    replayed++;
    if (!done) unresolved++;
  }
  log.cut(transaction.state.log); // a torn tail
  if (unresolved > 0)
    transaction.raiseDoubt(`roots.log names ${unresolved} blob(s) that are not in the catalog`);
  return { replayed, unresolved };
}

/** The position behind the last whole record. */
function endOf(log: RootLog): LogPosition {
  let end = logStart;
  for (const { next } of log.tail(logStart)) end = next;
  return end;
}

function adoptAllFiles(
  transaction: Transaction,
  context: RecoverContext,
  report: ReturnType<typeof emptyReport>,
): void {
  const intended = transaction.catalog.sql.values(
    'SELECT 1 FROM intents WHERE id = ? AND incarnation = ? UNION ALL SELECT 1 FROM tombstones WHERE id = ? AND incarnation = ?',
  );
  const directories = context.volumes.rows().filter(({ kind }) => kind === 'directory');
  for (const { n: volume } of directories.filter((row) => context.volumes.usable(row))) {
    for (const { name } of context.volumes.directory(volume).parts(0, 255)) {
      if (name === undefined) continue;
      const id = fromHex(name.id)!;
      const mine = intended.get(id, name.incarnation, id, name.incarnation) === undefined;
      if (mine) adoptFile(transaction, context, { volume, name }, report);
    }
  }
}
