/** The catalog's side of a scrub: orphans adopted, damage marked, counts and buckets made right, in short transactions. */
import { noVolume } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import type { CopyRow } from '../catalog/copy-rows.ts';
import { type VolumeRow, readGroup } from '../catalog/group.ts';
import { fromHex } from '../codec/bytes.ts';
import { markCopy } from '../commit/copies.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import type { FoundDamage, VerifyResult } from '../content/findings.ts';
import { GivingWay } from '../content/giving-way.ts';
import type { VerifyRange } from '../content/scrub-facts.ts';
import { toStoreError } from '../errors.ts';
import type { Clock, Host } from '../host.ts';
import { adoptLostChunked } from './adopt-chunked.ts';
import { type AdoptContext, adoptFile, adoptRecords, emptyReport } from './adopt.ts';
import { storedIn } from './placed.ts';
import { repairRow } from './repair-row.ts';

/** What a range gave, as it was read: what was put later was not verified. */
export interface SettleRequest extends Omit<VerifyResult, 'blobs' | 'bytes' | 'unreadable'> {
  readonly range: VerifyRange;
  /** Memory of the foreground that settling gives way to. */
  readonly foreground?: SharedArrayBuffer;
}

export interface SettleResult {
  readonly adopted: number;
  readonly repairedRows: number;
  /** Those of the damaged that are still in use in that very copy: the others were healed or collected meanwhile. */
  readonly damaged: readonly FoundDamage[];
}

interface SettleContext extends AdoptContext {
  readonly catalog: Catalog;
  readonly host: Host;
  /** Runs each transaction, and judges what it throws. */
  readonly write: <Result>(work: () => Result) => Result;
}

/** Settles one range after the other, so that there is one slice between two puts, however many ranges wait. */
export class Settling {
  #last: Promise<unknown> = Promise.resolve();

  settle(request: SettleRequest, context: SettleContext): Promise<SettleResult> {
    const settled = this.#last.then(() => settleInTurns(request, context));
    this.#last = settled.catch(() => undefined);
    return settled;
  }
}

async function settleInTurns(request: SettleRequest, context: SettleContext): Promise<SettleResult> {
  const { catalog, host, write } = context;
  const way = new GivingWay(host.clock, request.foreground);
  await way.turn();
  const settled = write(() => settleRange(catalog, context, request));
  const notes = noteVerified(catalog, host.clock, request);
  for (let more = true; more; more = write(() => notes.next().done !== true)) await way.turn();
  return settled;
}

/**
 * After a range was verified: what is wrong with it, before `noteVerified`. Everything is looked at again under the write lock: puts and
 * collection went on meanwhile.
 */
function settleRange(catalog: Catalog, context: AdoptContext, request: SettleRequest): SettleResult {
  const { unsoundRows, unsoundCopies } = request;
  const repairedRows = unsoundRows.filter((n) => repairRow(catalog, n)).length + unsoundCopies.length;
  return catalog.transaction((transaction) => {
    const damaged = request.damaged.filter((damage) => markCopy(transaction, damage));
    for (const copy of unsoundCopies) dropUnsound(transaction, copy);
    const adopted =
      request.range.volume === noVolume
        ? adoptLostChunked(transaction, context)
        : adoptOrphans(transaction, context, request);
    return { adopted, repairedRows, damaged };
  });
}

/** Milliseconds a slice of notes is to take: a put that comes in the midst of one waits no longer. */
const noteMs = 4;
/** Extents, or blobs, of the first slice; those after it follow what this one took. */
const notesFirst = 32;

/**
 * Then, what was found sound, and not put or moved since: each step notes a slice in a transaction of its own, so that puts go on between
 * them. Nobody was promised a note: they are synced with the commits of others. Survives whatever ends the scrub.
 */
export function* noteVerified(catalog: Catalog, clock: Clock, request: SettleRequest): Generator<void> {
  const { range, reached } = request;
  const { fromExtent, toExtent } = range;
  const end = reached?.length ?? toExtent - fromExtent + 1;
  for (let at = 0, count = notesFirst; at < end;) {
    const next = Math.min(end, at + count);
    const since = clock.monotonic();
    const slice: SettleRequest =
      reached === undefined
        ? { ...request, range: { ...range, fromExtent: fromExtent + at, toExtent: fromExtent + next - 1 } }
        : { ...request, reached: reached.slice(at, next) };
    catalog.unsynced((transaction) => noteSlice(transaction, slice));
    const took = clock.monotonic() - since;
    count = took > noteMs ? Math.max(1, Math.floor((count * noteMs) / took)) : 2 * count;
    at = next;
    yield;
  }
}

function noteSlice(transaction: Transaction, request: SettleRequest): void {
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
/** Of chunked blobs. */
const chunkedRangesMax = 16;
const chunkedPerRange = 64;

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
      const parts = Math.min(256 / foldersPerRange, Math.ceil(row.bytes / rangeBytes));
      for (const range of inParts(row.n, parts)) ranges.push({ ...range, files: true });
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
  return [...ranges, ...chunkedRanges(volumes)];
}

/** Chunked blobs lie in no volume; in the catalog they are spread over 256 numbers, as files are over folders. */
function chunkedRanges({ catalog }: VolumeSet): VerifyRange[] {
  const enough = chunkedRangesMax * chunkedPerRange;
  const count = catalog.sql
    .values('SELECT count(*) FROM (SELECT 1 FROM blobs WHERE volume = ? LIMIT ?)')
    .get(noVolume, enough) as number;
  return inParts(noVolume, Math.ceil(count / chunkedPerRange));
}

/** What is spread over 256 numbers, cut evenly into so many parts, one at least. */
function inParts(volume: number, count: number): VerifyRange[] {
  const parts = Math.max(1, count);
  return Array.from({ length: parts }, (_, part) => {
    const [from, next] = [part, part + 1].map((at) => Math.round((256 * at) / parts)) as [number, number];
    return { volume, fromExtent: from, toExtent: next - 1 };
  });
}

function isAway(volumes: VolumeSet, row: VolumeRow): boolean {
  try {
    return !volumes.isPresent(row.n) && volumes.trouble(row) !== undefined;
  } catch (error) {
    throw toStoreError(error, `looking at volume ${row.id}`, { volume: row.id });
  }
}
