/** Copies made good, the catalog's side: step by step blobs get those they lack, and lose what is bad or too many. */
import { type BlobRow, isPlaced, partNameOf, storedForms } from '../catalog/blob-rows.ts';
import type { Transaction } from '../catalog/catalog.ts';
import { readGroup } from '../catalog/group.ts';
import { fromHex } from '../codec/bytes.ts';
import { type Afterwards, exchange, markCopy, retireCopy } from '../commit/copies.ts';
import type { FileMove } from '../content/mover.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Part } from '../volume.ts';
import { fanOut } from '../volumes/directory.ts';
import { intendCopy } from './drain.ts';
import type { MirrorContext } from './mirror.ts';
import { type Placed, copiesOf, groupByMembers, readRecordOf, viewOf } from './placed.ts';

/** Records of one transaction: short enough that puts hardly wait. */
const recordsBytes = 1024 * 1024;
const recordsRows = 256;
/** Blobs looked through for such that need something, in one transaction: some 10 ms. */
const pageRows = 4096;

export interface ResyncRequest {
  /** Go on behind this blob number. */
  readonly after: number;
  /** So many files at most. */
  readonly files: number;
  readonly away: readonly number[];
  /** This blob alone. */
  readonly only?: string;
}

export interface ResyncStep {
  /** Copies of records that were made. */
  readonly blobs: number;
  readonly bytes: number;
  /** Files that are to be copied now, each with its intent. */
  readonly files: readonly FileMove[];
  /** Blobs with too few copies for which no member is there, or none has room. */
  readonly lacking: number;
  readonly full: number;
  /** Blobs whose every copy that is not damaged is away. */
  readonly unreachable: number;
  /** Blobs of which no copy is good. */
  readonly damaged: number;
  /** Where to go on; undefined at the end. */
  readonly next?: number;
}

/**
 * Looks at the next blobs and does what each needs. Records are copied here, byte for byte, from a copy that was verified just before:
 * durable in their volume, then in the catalog. Bad copies and those that are away go only when enough good ones are there.
 */
export function resyncStep(context: MirrorContext, request: ResyncRequest): ResyncStep {
  const afterwards: Afterwards = [];
  const step = context.catalog.transaction((transaction) => {
    const looking = { ...context, presence: new Map<number, boolean>() };
    const run = new Step(transaction, looking, { afterwards, filesMax: request.files });
    const page = request.only === undefined ? candidates(context, request) : one(context, request.only);
    let { next } = page;
    for (const n of page.numbers) {
      if (run.isFull) {
        next = n - 1;
        break;
      }
      run.look(n);
    }
    run.copyRecords();
    return { ...run.result(), ...(next === undefined ? {} : { next }) };
  });
  for (const action of afterwards) action();
  return step;
}

/** The copy of a file is durable and verified: from now on it counts. False when it is not wanted any more; then it is removed. */
export function settleCopy(context: MirrorContext, move: FileMove): boolean {
  const { catalog, volumes } = context;
  const afterwards: Afterwards = [];
  const settled = catalog.transaction((transaction) => {
    transaction.changed = true;
    catalog.sql.rows('DELETE FROM intents WHERE n = ?').run(move.intent);
    const row = catalog.blobs.byNumber(move.n);
    const fits =
      row !== undefined && row.stored === move.bytes && (partNameOf(row).framed === true) === move.framed;
    if (!fits || !volumes.isDirectory(row.volume)) return false;
    const { good } = sort(context, row);
    if (good.length >= readGroup(catalog.sql).copies) return false;
    if (good.some((placed) => viewOf(placed).volume === move.to)) return false;
    const place = { extent: fanOut(move.id), start: 0, incarnation: move.incarnation };
    addCopy(transaction, context, { row, volume: move.to, ...place }, afterwards);
    volumes.charge(transaction, move.to, row.stored);
    tidy(transaction, context, row, afterwards);
    return true;
  });
  for (const action of afterwards) action();
  if (!settled) volumes.directory(move.to).delete(move);
  return settled;
}

/** Good copies of a blob that are there, and how many a put must have made. */
export function countCopies(
  context: MirrorContext,
  id: string,
): { readonly copies: number; readonly minCopies: number } {
  return context.catalog.transaction(() => {
    const found = context.catalog.blobs.inspect(fromHex(id)!);
    const { minCopies } = readGroup(context.catalog.sql);
    // Collected at once, nobody misses them.
    const copies = found === undefined ? minCopies : sort(context, found.row).good.length;
    return { copies, minCopies };
  });
}

function candidates(
  { catalog }: MirrorContext,
  { after, away }: ResyncRequest,
): { readonly numbers: number[]; readonly next?: number } {
  const { copies } = readGroup(catalog.sql);
  const last = (catalog.sql.values('SELECT max(n) FROM blobs').get() as number | null) ?? 0;
  const to = after + pageRows;
  const numbers = catalog.sql
    .values(
      `WITH away(volume) AS (SELECT value FROM json_each(?))
       SELECT n FROM blobs AS b WHERE n > ? AND n <= ? AND codec < ? AND (suspect != 0 OR volume IN away
         OR (SELECT count(*) FROM copies WHERE blob = b.n AND suspect = 0 AND volume NOT IN away) != ?
         OR EXISTS (SELECT 1 FROM copies WHERE blob = b.n AND (suspect != 0 OR volume IN away)))
       ORDER BY n`,
    )
    .all(JSON.stringify(away), after, to, storedForms.chunked, copies - 1) as number[];
  return { numbers, ...(to < last ? { next: to } : {}) };
}

function one({ catalog }: MirrorContext, id: string): { readonly numbers: number[]; readonly next?: number } {
  const found = catalog.blobs.inspect(fromHex(id)!);
  return { numbers: found === undefined || !isPlaced(found.row) ? [] : [found.row.n] };
}

interface LookContext extends MirrorContext {
  /** Whether volumes are there, looked up once in a step: that takes reading their labels. */
  readonly presence?: Map<number, boolean>;
}

function isPresent({ volumes, presence }: LookContext, volume: number): boolean {
  const known = presence?.get(volume);
  if (known !== undefined) return known;
  const found = volumes.isPresent(volume);
  presence?.set(volume, found);
  return found;
}

/** Copies that are there and not known to be bad, one on each member; and the others. */
function sort(
  context: LookContext,
  row: BlobRow,
): { readonly good: Placed[]; readonly rest: Placed[]; readonly members: Set<number> } {
  const good: Placed[] = [];
  const rest: Placed[] = [];
  const members = new Set<number>();
  for (const placed of copiesOf(context.catalog, row)) {
    const { suspect, volume } = viewOf(placed);
    const member = context.volumes.member(volume);
    const fine = suspect === 0 && isPresent(context, volume) && !members.has(member);
    if (fine) members.add(member);
    (fine ? good : rest).push(placed);
  }
  return { good, rest, members };
}

/** A new copy takes the place of what is bad on its member. */
function addCopy(
  transaction: Transaction,
  context: MirrorContext,
  added: {
    readonly row: BlobRow;
    readonly volume: number;
    readonly extent: number;
    readonly start: number;
    readonly incarnation: number;
  },
  afterwards: Afterwards,
): void {
  const { row, ...place } = added;
  const { catalog } = transaction;
  const member = context.volumes.member(place.volume);
  for (const copy of catalog.copies.of(row.n))
    if (context.volumes.member(copy.volume) === member)
      retireCopy(transaction, context, { row, copy }, afterwards);
  transaction.changed = true;
  catalog.copies.put({ blob: row.n, ...place, suspect: 0 });
  // Its bytes were read back before it counts.
  catalog.sql
    .rows('INSERT OR REPLACE INTO verified (blob, volume, at) VALUES (?, ?, ?)')
    .run(row.n, place.volume, transaction.state.clockMs);
}

/** A good copy becomes the first, which reads try first; with enough of them, all others go. */
function tidy(transaction: Transaction, context: LookContext, row: BlobRow, afterwards: Afterwards): void {
  const first = sort(context, row).good[0]?.copy;
  if (first !== undefined) exchange(transaction, row, first);
  const { good, rest } = sort(context, row);
  const { copies } = readGroup(transaction.catalog.sql);
  if (good.length < copies) return;
  for (const { copy } of [...rest, ...good.slice(copies)])
    if (copy !== undefined) retireCopy(transaction, context, { row, copy }, afterwards);
}

interface RecordToCopy {
  readonly row: BlobRow;
  readonly bytes: Uint8Array;
  readonly members: Set<number>;
  need: number;
}

class Step {
  readonly #transaction: Transaction;
  readonly #context: LookContext;
  readonly #afterwards: Afterwards;
  readonly #filesMax: number;
  readonly #wanted: number;
  readonly #files: FileMove[] = [];
  #records: RecordToCopy[] = [];
  #pending = 0;
  #blobs = 0;
  #bytes = 0;
  #lacking = 0;
  #full = 0;
  #unreachable = 0;
  #damaged = 0;

  constructor(
    transaction: Transaction,
    context: LookContext,
    how: { readonly afterwards: Afterwards; readonly filesMax: number },
  ) {
    this.#transaction = transaction;
    this.#context = context;
    this.#afterwards = how.afterwards;
    this.#filesMax = how.filesMax;
    this.#wanted = readGroup(transaction.catalog.sql).copies;
  }

  get isFull(): boolean {
    return (
      this.#pending >= recordsBytes ||
      this.#records.length >= recordsRows ||
      this.#files.length >= this.#filesMax ||
      this.#afterwards.length >= recordsRows
    );
  }

  result(): ResyncStep {
    return {
      blobs: this.#blobs,
      bytes: this.#bytes,
      files: this.#files,
      lacking: this.#lacking,
      full: this.#full,
      unreachable: this.#unreachable,
      damaged: this.#damaged,
    };
  }

  look(n: number): void {
    const { blobs } = this.#context.catalog;
    const found = this.#context.catalog.sql.rows('SELECT * FROM blobs WHERE n = ?').get(n) as
      BlobRow | undefined;
    // A row that is damaged is mended by the scrub that found it, or put anew.
    if (found === undefined || !blobs.holds(found)) return;
    const before = sort(this.#context, found);
    if (before.good.length === 0) {
      const away = before.rest.some((one) => viewOf(one).suspect === 0);
      if (away) this.#unreachable++;
      else if (before.rest.length > 1 && this.#context.volumes.isDirectory(found.volume))
        // Of several damaged files a whole one may be put together.
        this.#pickFiles(before.rest[0]!, new Set(), 1);
      else this.#damaged++;
      return;
    }
    tidy(this.#transaction, this.#context, found, this.#afterwards);
    const { good, members } = sort(this.#context, found);
    if (good.length >= this.#wanted) return;
    const need = this.#wanted - good.length;
    if (this.#context.volumes.isDirectory(found.volume)) this.#pickFiles(good[0]!, members, need);
    else this.#readRecord(found, { good, members, need });
  }

  copyRecords(): void {
    for (let left = this.#records; left.length > 0; left = left.filter(({ need }) => need > 0)) {
      for (const { without, items } of groupByMembers(left, ({ members }) => members))
        this.#append(items, without);
    }
    for (const { row } of this.#records) tidy(this.#transaction, this.#context, row, this.#afterwards);
    this.#records = [];
  }

  #pickFiles(placed: Placed, members: Set<number>, need: number): void {
    const { volumes } = this.#context;
    for (let i = 0; i < need; i++) {
      const to = this.#finding(() =>
        volumes.forCopiedFile(this.#transaction, placed.row.stored, { without: members }),
      );
      if (typeof to !== 'number') return this.#miss(to, 1);
      members.add(to);
      this.#files.push(intendCopy(this.#transaction, this.#context, { placed, to }));
    }
  }

  #readRecord(
    row: BlobRow,
    {
      good,
      members,
      need,
    }: { readonly good: Placed[]; readonly members: Set<number>; readonly need: number },
  ): void {
    const bad: Placed[] = [];
    let bytes: Uint8Array | undefined;
    try {
      const record = readRecordOf(this.#context, good);
      ({ bytes } = record);
      bad.push(...record.bad);
    } catch (error) {
      if (!StoreError.is(error)) throw error;
      if (error.code === 'corrupt') {
        bad.push(...good);
        this.#damaged++;
      } else this.#unreachable++;
    }
    for (const one of bad) {
      const { id } = partNameOf(row);
      const { volume, incarnation } = viewOf(one);
      markCopy(this.#transaction, { id, volume, incarnation });
    }
    // What was taken for good is not: with one copy less the blob is looked at anew.
    if (bad.length > 0 && bytes !== undefined) return this.look(row.n);
    if (bytes === undefined) return;
    this.#pending += bytes.length * need;
    this.#records.push({ row, bytes, members, need });
  }

  #append(items: readonly RecordToCopy[], without: ReadonlySet<number>): void {
    const { volumes } = this.#context;
    const parts = items.map(({ row, bytes }): Part => ({ name: partNameOf(row), bytes }));
    const placed = this.#finding(() => volumes.append(this.#transaction, parts, { without }));
    if (typeof placed === 'string') {
      for (const item of items) item.need = 0;
      return this.#miss(placed, items.length);
    }
    const member = volumes.member(placed.volume);
    items.forEach((item, i) => {
      const { extent, offset: start } = placed.locators[i]!;
      const { row } = item;
      const { volume } = placed;
      addCopy(
        this.#transaction,
        this.#context,
        { row, volume, extent, start, incarnation: row.incarnation },
        this.#afterwards,
      );
      item.members.add(member);
      item.need--;
      this.#blobs++;
      this.#bytes += row.stored;
    });
  }

  /** Where no member can take it, why: the others are away, or there is no room. */
  #finding<Result>(find: () => Result): Result | 'lacking' | 'full' {
    try {
      return find();
    } catch (error) {
      const told = toStoreError(error, 'copying');
      if (StoreError.is(told, 'unavailable') && StoreError.is(error)) return 'lacking';
      if (StoreError.is(told, 'no-space')) return 'full';
      throw error;
    }
  }

  #miss(why: 'lacking' | 'full', blobs: number): void {
    if (why === 'full') this.#full += blobs;
    else this.#lacking += blobs;
  }
}
