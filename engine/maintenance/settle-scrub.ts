/** The catalog's side of a scrub: orphans adopted, damage marked, counts and buckets made right, in short transactions. */
import { noVolume } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import type { CopyRow } from '../catalog/copy-rows.ts';
import { type VolumeRow, readGroup } from '../catalog/group.ts';
import { fromHex } from '../codec/bytes.ts';
import { markCopy } from '../commit/copies.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import type { FoundDamage, VerifyResult } from '../content/findings.ts';
import type { VerifyRange } from '../content/scrub-facts.ts';
import { toStoreError } from '../errors.ts';
import { adoptLostChunked } from './adopt-chunked.ts';
import { type AdoptContext, adoptFile, adoptRecords, emptyReport } from './adopt.ts';
import { storedIn } from './placed.ts';
import { repairRow } from './repair-row.ts';

/** What a range gave, as it was read: what was put later was not verified. */
export interface SettleRequest extends Omit<VerifyResult, 'blobs' | 'bytes'> {
  readonly range: VerifyRange;
}

export interface SettleResult {
  readonly adopted: number;
  readonly repairedRows: number;
  /** Those of the damaged that are still in use in that very copy: the others were healed or collected meanwhile. */
  readonly damaged: readonly FoundDamage[];
}

/** After a range was verified. Everything is looked at again under the write lock: puts and collection went on meanwhile. */
export function settleRange(catalog: Catalog, context: AdoptContext, request: SettleRequest): SettleResult {
  const { unsoundRows, unsoundCopies } = request;
  const repairedRows = unsoundRows.filter((n) => repairRow(catalog, n)).length + unsoundCopies.length;
  return catalog.transaction((transaction) => {
    const damaged = request.damaged.filter((damage) => markCopy(transaction, damage));
    for (const copy of unsoundCopies) dropUnsound(transaction, copy);
    const adopted =
      request.range.volume === noVolume
        ? adoptLostChunked(transaction, context)
        : adoptOrphans(transaction, context, request);
    noteVerified(transaction, request);
    return { adopted, repairedRows, damaged };
  });
}

/** What was found sound, and not put or moved since. Survives whatever ends the scrub. */
function noteVerified(transaction: Transaction, request: SettleRequest): void {
  const { range, generation, reached, unreachable } = request;
  const { sql } = transaction.catalog;
  const { volume, fromExtent, toExtent } = range;
  const only = reached === undefined ? '' : ' AND n = ?';
  const sources = [
    `SELECT n, volume, ? FROM blobs WHERE volume = ? AND extent BETWEEN ? AND ? AND suspect = 0 AND touched_gen <= ?
       AND n NOT IN (SELECT value FROM json_each(?))`,
    `SELECT n, c.volume, ? FROM copies AS c JOIN blobs AS b ON b.n = c.blob
       WHERE c.volume = ? AND c.extent BETWEEN ? AND ? AND c.suspect = 0 AND b.touched_gen <= ?
       AND n NOT IN (SELECT value FROM json_each(?))`,
  ];
  for (const source of sources) {
    const note = sql.rows(`INSERT OR REPLACE INTO verified (blob, volume, at) ${source}${only}`);
    const away = JSON.stringify(unreachable);
    const place = [transaction.state.clockMs, volume, fromExtent, toExtent, generation, away] as const;
    const noted = reached === undefined ? [note.run(...place)] : reached.map((n) => note.run(...place, n));
    transaction.changed ||= noted.some(({ changes }) => changes > 0);
  }
}

/** What the row led to is an orphan from now on, and taken in as the copy that lacks. */
function dropUnsound(transaction: Transaction, copy: Pick<CopyRow, 'blob' | 'volume'>): void {
  const { copies } = transaction.catalog;
  if (copies.of(copy.blob).some(({ volume }) => volume === copy.volume)) return; // written anew meanwhile
  transaction.changed = true;
  copies.delete(copy);
}

function adoptOrphans(transaction: Transaction, context: AdoptContext, request: SettleRequest): number {
  if (request.orphans.length === 0) return 0;
  const { volume } = request.range;
  const row = context.volumes.rows().find(({ n }) => n === volume);
  if (row === undefined) return 0; // collected meanwhile
  if (row.kind === 'sqlite') {
    return adoptRecords(transaction, context, {
      row,
      from: request.range.fromExtent,
      to: request.range.toExtent,
    }).adopted;
  }
  const report = emptyReport();
  const intended = transaction.catalog.sql.values('SELECT 1 FROM intents WHERE id = ? AND incarnation = ?');
  const condemned = transaction.catalog.sql.values(
    'SELECT 1 FROM tombstones WHERE id = ? AND incarnation = ?',
  );
  for (const { name } of request.orphans) {
    if (name === undefined) continue;
    const id = fromHex(name.id)!;
    // A put of a living process that has not committed yet, or a delete that is under way.
    if (intended.get(id, name.incarnation) !== undefined || condemned.get(id, name.incarnation) !== undefined)
      continue;
    adoptFile(transaction, context, { volume, name }, report);
  }
  return report.adopted;
}

/** After a scrub that found every bucket as it was written: whatever the doubt was, it is settled, and caps go by what is there. */
export function clearDoubt(catalog: Catalog, volumes: VolumeSet): void {
  catalog.transaction((transaction) => {
    if (transaction.state.doubt === '') return;
    transaction.state.doubt = '';
    transaction.changed = true;
  });
  recountDirectories(catalog, volumes);
}

/** Counts what the files of directories take anew, which is what caps go by. O(blobs in directories). */
export function recountDirectories(catalog: Catalog, volumes: VolumeSet): void {
  for (const row of volumes.rows()) {
    if (row.kind !== 'directory' || storedIn(catalog.sql, row.n) === row.bytes) continue;
    catalog.transaction((transaction) => {
      transaction.changed = true;
      catalog.sql.rows('UPDATE volumes SET bytes = ? WHERE n = ?').run(storedIn(catalog.sql, row.n), row.n);
    });
  }
}

/** Folders of a range, where much lies in them; of a directory with little in it they are more, since a range costs a commit. */
const foldersPerRange = 4;
const rangeBytes = 64 * 1024 * 1024;
/** About 16 MiB at the default extent size: 2,000 small blobs, noted in one transaction of about 10 ms. */
const extentsPerRange = 256;

/**
 * The ranges of one pass over everything stored: small enough to spread over threads and to settle in short transactions. In a mirrored
 * group what is away is passed over: its blobs have other copies, and what has none is told when those are counted.
 */
export function scrubRanges(volumes: VolumeSet): VerifyRange[] {
  const ranges: VerifyRange[] = [];
  const mirrored = readGroup(volumes.catalog.sql).copies > 1;
  for (const row of volumes.rows()) {
    if (row.kind === 'folder') continue;
    if (mirrored && isAway(volumes, row)) continue;
    if (row.kind === 'directory') {
      const parts = Math.min(256 / foldersPerRange, Math.max(1, Math.ceil(row.bytes / rangeBytes)));
      for (let part = 0; part < parts; part++) {
        const [from, next] = [part, part + 1].map((at) => Math.round((256 * at) / parts)) as [number, number];
        ranges.push({ volume: row.n, fromExtent: from, toExtent: next - 1 });
      }
      continue;
    }
    for (let from = 1; from <= row.extents; from += extentsPerRange) {
      ranges.push({
        volume: row.n,
        fromExtent: from,
        toExtent: Math.min(row.extents, from + extentsPerRange - 1),
      });
    }
  }
  return ranges;
}

function isAway(volumes: VolumeSet, row: VolumeRow): boolean {
  try {
    return !volumes.isPresent(row.n) && volumes.trouble(row) !== undefined;
  } catch (error) {
    throw toStoreError(error, `looking at volume ${row.id}`, { volume: row.id });
  }
}
