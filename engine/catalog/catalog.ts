/** The catalog as one process writes it: transactions that keep rows, buckets, counts and the root log in step. */
import type { BlobId, RootLogEntry } from '../api.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import type { Database } from '../driver.ts';
import { StoreError, invariant } from '../errors.ts';
import type { Named } from '../keys/realm.ts';
import type { Clock } from '../host.ts';
import { type BlobRow, BlobWriter } from './blob-rows.ts';
import { type Borrow, borrowedRow, decodeBorrow, encodeBorrow, neverPut } from './borrow.ts';
import { CopyWriter } from './copy-rows.ts';
import { type Owner, ReferenceRows, RootRows, ownerKinds } from './reference-rows.ts';
import { type LogPosition, type RootLog, logStart } from './root-log.ts';
import { Checkpoints } from './checkpoints.ts';
import { Buckets, RowHasher } from './row-sums.ts';
import { Statements } from './statements.ts';
import { SyncLevel } from './sync-level.ts';

/** What every transaction reads first and writes last. */
export interface CatalogState {
  /** Counts committed transactions. */
  generation: number;
  /** The store's clock: never goes back, whatever the wall clock does. */
  clockMs: number;
  log: LogPosition;
  /** Why collection must not run until somebody has looked; empty when nothing is wrong. */
  doubt: string;
  /** Where the clock stood when it was last found to be far ahead of the commit before. Absent where it never was. */
  leaptMs?: number;
}

/** Nobody knows whether a store was not used for so long, or the machine's clock is wrong. */
const leapMs = 30 * 24 * 60 * 60 * 1000;

export class Catalog {
  readonly db: Database;
  readonly sql: Statements;
  readonly hasher: RowHasher;
  readonly buckets: Buckets;
  readonly blobs: BlobWriter;
  readonly copies: CopyWriter;
  readonly refs: ReferenceRows;
  readonly roots: RootRows;
  readonly log: RootLog;
  readonly checkpoints: Checkpoints;
  /** The key in what the root log shows of a name. */
  readonly keyOf: (shown: string) => string;
  readonly #clock: Clock;
  readonly #syncLevel: SyncLevel;
  #transaction: Transaction | undefined;

  constructor(
    db: Database,
    parts: {
      readonly provider: Provider;
      readonly log: RootLog;
      readonly clock: Clock;
      readonly keyOf: (shown: string) => string;
      /** Of the catalog's disk. */
      readonly freeBytes: () => number;
    },
  ) {
    this.db = db;
    this.#syncLevel = new SyncLevel(db);
    this.sql = new Statements(db);
    this.hasher = new RowHasher();
    this.buckets = new Buckets(db);
    this.blobs = new BlobWriter(db, this.hasher, this.buckets);
    this.copies = new CopyWriter(this.sql, this.hasher);
    this.refs = new ReferenceRows(db, this.hasher, this.buckets);
    this.roots = new RootRows(db, this.hasher, this.buckets);
    this.log = parts.log;
    this.checkpoints = new Checkpoints(db, parts.freeBytes);
    this.keyOf = parts.keyOf;
    this.#clock = parts.clock;
  }

  /**
   * Runs `work` under the catalog's write lock and commits, in this order: rows, buckets and state into the transaction; the root
   * log's records appended and synced; COMMIT. A throw rolls everything back, the log too. Nothing changed: nothing is written.
   */
  transaction<Result>(work: (transaction: Transaction) => Result): Result {
    this.#syncLevel.restore();
    return this.#write(work);
  }

  #write<Result>(work: (transaction: Transaction) => Result): Result {
    invariant(this.#transaction === undefined, 'transactions do not nest');
    this.checkpoints.adapt();
    this.db.exec('BEGIN IMMEDIATE');
    let before: LogPosition | undefined;
    try {
      const state = readState(this.sql);
      this.blobs.begin();
      this.copies.begin();
      const nowMs = Math.floor(this.#clock.now());
      const leapt = state.generation > 0 && nowMs - state.clockMs > leapMs;
      const transaction = new Transaction(this, {
        ...state,
        generation: state.generation + 1,
        clockMs: Math.max(state.clockMs, nowMs),
        ...(leapt ? { leaptMs: nowMs } : {}),
      });
      this.#transaction = transaction;
      const result = work(transaction);
      if (!transaction.changed) {
        this.db.exec('ROLLBACK');
        return result;
      }
      if (transaction.entries.length > 0) {
        before = transaction.state.log;
        transaction.state.log = this.log.append(before, transaction.entries);
      }
      this.buckets.flush();
      writeState(this.sql, transaction.state);
      this.db.exec('COMMIT');
      return result;
    } catch (error) {
      this.#rollback(before);
      throw error;
    } finally {
      this.#transaction = undefined;
      this.buckets.drop();
    }
  }

  /**
   * A transaction that is made durable by the next one that is not of this kind, and costs no sync of its own: for what may be lost with the
   * power, since it is found out again. It is atomic, in its order, and outlives the process all the same.
   */
  unsynced<Result>(work: (transaction: Transaction) => Result): Result {
    return this.#syncLevel.lowered(() =>
      this.#write((transaction) => {
        const result = work(transaction);
        invariant(transaction.entries.length === 0, 'the root log is synced before its COMMIT');
        return result;
      }),
    );
  }

  /** Reads what is committed, all of it at one moment, while others write. */
  atOneMoment<Result>(read: () => Result): Result {
    invariant(this.#transaction === undefined, 'transactions do not nest');
    this.db.exec('BEGIN');
    try {
      return read();
    } finally {
      if (this.db.inTransaction) this.db.exec('ROLLBACK');
    }
  }

  /** The state as last committed by anyone. */
  state(): CatalogState {
    return readState(this.sql);
  }

  close(): void {
    this.log.close();
    this.db.close();
  }

  /** Best effort: where the log cannot be cut, the next opener replays what the records say, which nobody was promised. */
  #rollback(before: LogPosition | undefined): void {
    try {
      if (before !== undefined) this.log.cut(before);
    } finally {
      if (this.db.inTransaction) this.db.exec('ROLLBACK');
    }
  }
}

/** One write transaction: what may be changed, and how the counts follow. */
export class Transaction {
  readonly catalog: Catalog;
  readonly state: CatalogState;
  readonly entries: Omit<RootLogEntry, 'sequence'>[] = [];
  /** Counts changes, so that one can tell whether an operation that failed had begun. */
  writes = 0;

  constructor(catalog: Catalog, state: CatalogState) {
    this.catalog = catalog;
    this.state = state;
  }

  get changed(): boolean {
    return this.writes > 0;
  }

  /** Setting it counts a change; nothing takes one back but the end of the transaction. */
  set changed(on: boolean) {
    if (on) this.writes++;
  }

  /** A new row nobody refers to yet. */
  insert(
    values: Pick<
      BlobRow,
      'id' | 'kind' | 'codec' | 'size' | 'stored' | 'volume' | 'extent' | 'start' | 'incarnation' | 'label'
    >,
    touched: number = this.state.clockMs,
  ): BlobRow {
    this.changed = true;
    const { clockMs, generation } = this.state;
    return this.catalog.blobs.insert({
      ...values,
      refcount: 0,
      created: clockMs,
      touched,
      touched_gen: generation,
      zero_since: clockMs,
      zero_gen: generation,
      suspect: 0,
    });
  }

  /** Counts a put of what is there already: its grace starts anew. */
  touch(row: BlobRow): void {
    if (row.touched_gen === this.state.generation) return;
    row.touched = this.state.clockMs;
    row.touched_gen = this.state.generation;
    if (row.zero_since !== null) {
      row.zero_since = this.state.clockMs;
      row.zero_gen = this.state.generation;
    }
    this.saveCounts(row);
  }

  saveCounts(row: BlobRow): void {
    this.changed = true;
    this.catalog.blobs.updateCounts(row);
  }

  /** False when the owner held it already. */
  reference(row: BlobRow, by: Owner): boolean {
    if (!this.catalog.refs.add(row.n, by)) return false;
    row.refcount++;
    row.zero_since = null;
    row.zero_gen = null;
    this.saveCounts(row);
    return true;
  }

  /** False when the owner did not hold it. `since` is when the loss counts from: now, unless a collected parent says otherwise. */
  unreference(
    row: BlobRow,
    by: Owner,
    since: { readonly ms: number; readonly generation: number } = {
      ms: this.state.clockMs,
      generation: this.state.generation,
    },
  ): boolean {
    if (!this.catalog.refs.remove(row.n, by)) return false;
    // The cached count is never trusted to reach zero: the rows decide.
    row.refcount = row.refcount > 1 ? row.refcount - 1 : this.catalog.refs.count(row.n);
    if (row.refcount === 0) {
      row.zero_since = Math.max(since.ms, row.touched);
      row.zero_gen = Math.max(since.generation, row.touched_gen);
    }
    this.saveCounts(row);
    return true;
  }

  /** The row of a live blob; `not-found` otherwise. */
  live(id: BlobId): BlobRow {
    const row = this.catalog.blobs.byId(fromHex(id)!);
    if (row === undefined) throw new StoreError('not-found', `no blob ${id}`, { id });
    return row;
  }

  /** A row for a blob whose bytes lie in an alternate; nobody refers to it yet. False when there is a row of that id already. */
  borrow(id: BlobId, lent: Borrow): boolean {
    if (!this.borrowAgain(id, lent)) return false;
    this.#note('borrow', encodeBorrow(lent), id);
    return true;
  }

  /** The same of what stands in the log already. */
  borrowAgain(id: BlobId, lent: Borrow): boolean {
    const bytes = fromHex(id)!;
    if (this.catalog.blobs.numberOf(bytes) !== undefined) return false;
    this.insert(borrowedRow(bytes, lent), neverPut);
    return true;
  }

  retain(id: BlobId, owner: Named): boolean {
    if (!this.reference(this.live(id), { kind: ownerKinds.application, owner: owner.key })) return false;
    this.#note('retain', owner.shown, id);
    return true;
  }

  release(id: BlobId, owner: Named): boolean {
    const row = this.catalog.blobs.byId(fromHex(id)!);
    const by = { kind: ownerKinds.application, owner: owner.key } as const;
    if (row === undefined || !this.unreference(row, by)) return false;
    this.#note('release', owner.shown, id);
    return true;
  }

  setRoot({ key: name, shown }: Named, id: BlobId, expect?: BlobId | null): void {
    this.expectRoot(name, expect);
    const row = this.live(id);
    const before = this.catalog.roots.get(name);
    if (before?.blob === row.n) return;
    const owner = { kind: ownerKinds.root, owner: name } as const;
    const old = before === undefined ? undefined : this.catalog.blobs.byNumber(before.blob);
    this.reference(row, owner);
    if (old !== undefined) this.unreference(old, owner);
    this.catalog.roots.put({
      name,
      blob: row.n,
      changed: this.state.clockMs,
      sequence: this.state.generation,
      shown,
    });
    this.#note('set', shown, id);
  }

  deleteRoot({ key: name, shown }: Named, expect?: BlobId): boolean {
    this.expectRoot(name, expect);
    const before = this.catalog.roots.get(name);
    if (before === undefined) return false;
    this.catalog.roots.delete(before);
    this.changed = true;
    const row = this.catalog.blobs.byNumber(before.blob);
    if (row !== undefined) this.unreference(row, { kind: ownerKinds.root, owner: name });
    this.#note('delete', shown);
    return true;
  }

  /** Compare of compare-and-swap: null = must not exist, undefined = whatever. */
  expectRoot(name: string, expect: BlobId | null | undefined): void {
    if (expect === undefined) return;
    const found = this.rootId(name);
    if (found === (expect ?? undefined)) return;
    const is = expect === null ? `there already, as ${found!}` : `${found ?? 'not set'}, not ${expect}`;
    throw new StoreError('conflict', `root ${name} is ${is}`, {
      root: name,
      ...(found === undefined ? {} : { found }),
    });
  }

  rootId(name: string): BlobId | undefined {
    const root = this.catalog.roots.get(name);
    if (root === undefined) return undefined;
    const row = this.catalog.blobs.byNumber(root.blob);
    return row === undefined ? undefined : toHex(row.id);
  }

  /** Applies a log record that the catalog does not have. False when it names a blob that is not here. */
  replay(entry: RootLogEntry, next: LogPosition): boolean {
    const before = this.entries.length;
    let done = true;
    const name = { key: this.catalog.keyOf(entry.name), shown: entry.name };
    try {
      if (entry.change === 'borrow') this.borrowAgain(entry.id!, decodeBorrow(entry.name));
      else if (entry.change === 'set') this.setRoot(name, entry.id!);
      else if (entry.change === 'delete') this.deleteRoot(name);
      else if (entry.change === 'retain') this.retain(entry.id!, name);
      else this.release(entry.id!, name);
    } catch (error) {
      if (!StoreError.is(error, 'not-found')) throw error;
      done = false;
    }
    this.entries.length = before; // it stands in the log already
    this.state.log = next;
    this.changed = true;
    return done;
  }

  /** Collection stops until a scrub has cleared this. */
  raiseDoubt(why: string): void {
    this.state.doubt = why;
    this.changed = true;
  }

  #note(change: RootLogEntry['change'], name: string, id?: BlobId): void {
    this.changed = true;
    this.entries.push({ timeMs: this.state.clockMs, change, name, ...(id === undefined ? {} : { id }) });
  }
}

interface StoredState {
  readonly generation: number;
  readonly clockMs: number;
  readonly log: { readonly offset: number; readonly sequence: number; readonly hash: string };
  readonly doubt: string;
}

export function readState(sql: Statements): CatalogState {
  const text = sql.values(`SELECT value FROM meta WHERE key = 'state'`).get() as string | undefined;
  if (text === undefined) return { generation: 0, clockMs: 0, log: logStart, doubt: '' };
  const stored = JSON.parse(text) as StoredState;
  return { ...stored, log: { ...stored.log, hash: fromHex(stored.log.hash)! } };
}

function writeState(sql: Statements, state: CatalogState): void {
  const stored: StoredState = { ...state, log: { ...state.log, hash: toHex(state.log.hash) } };
  sql.rows(`INSERT OR REPLACE INTO meta (key, value) VALUES ('state', ?)`).run(JSON.stringify(stored));
}
