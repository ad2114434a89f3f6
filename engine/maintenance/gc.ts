/** Collection: blobs nobody refers to, after their grace, re-derived from the references in the transaction that condemns them. */
import type { GcOptions, GcResult } from '../api.ts';
import { type BlobRow, isPlaced } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { childrenOf } from '../catalog/reference-rows.ts';
import { bucketOf } from '../catalog/row-sums.ts';
import { locatorOf } from '../commit/volume-set.ts';
import { Fall, defaultGraceMs } from '../content/freed.ts';
import type { GivingWay } from '../content/giving-way.ts';
import { StoreError, toStoreError } from '../errors.ts';
import { looksSound, throughout, verifyBucket } from './buckets.ts';
import { type DoubtContext, doubtOf } from './doubts.ts';
import { type Borrowers, everything, markDying, unmarkDying, verifiedBorrowers } from './lent.ts';
import { bury, copiesOf, viewOf } from './placed.ts';
import { removeCondemned } from './tombstones.ts';

/** A write transaction of ours lasts about this long, so that puts of others go on in between. */
const sliceMs = 15;
/** The same while somebody waits; but as long as its commit takes, or most of the time would go there. */
const shortSliceMs = 4;
/** Candidates looked at in one go, about 4 ms; bounds memory, not the work. */
const pageRows = 4_000;
/** The same where others are asked about each. */
const lentRows = 2_000;

/** What is asked of the commit thread. */
export interface GcRequest extends Pick<GcOptions, 'graceMs' | 'dryRun'> {
  /** Memory of the foreground that it gives way to. */
  readonly foreground?: SharedArrayBuffer;
}

export interface GcContext extends DoubtContext {
  /** Between slices. */
  readonly way: GivingWay;
  /** Of this process. */
  readonly lease: string;
  /** Opens the stores that borrow from this one; `unavailable` when one cannot be asked. */
  readonly borrowers: () => Borrowers;
  /** Clears what dead processes left; returns nothing of interest. */
  readonly recover: () => void;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: GcResult) => void;
}

/**
 * Deletes in rounds: deleting a node takes its references back, which may leave its children unreferenced in turn. They count as
 * unreferenced since their parent was (or since their own last put), so a tree goes in one call once its root's grace is over.
 * Any doubt about the references stops it with a reason, and deletes nothing more.
 */
export async function collect(
  context: GcContext,
  options: Pick<GcOptions, 'graceMs' | 'dryRun'>,
): Promise<GcResult> {
  const graceMs = options.graceMs ?? defaultGraceMs;
  context.recover();
  const doubt = await doubtOf(context, graceMs);
  const held = (): number => unreferencedCount(context.catalog);
  if (doubt !== '') return { deleted: 0, freedBytes: 0, held: held(), blocked: doubt };
  let borrowers: Borrowers;
  try {
    borrowers = await verifiedBorrowers(context.borrowers, () => context.host.clock.yield());
  } catch (error) {
    if (!StoreError.is(error)) throw error;
    return { deleted: 0, freedBytes: 0, held: held(), blocked: error.message };
  }
  const run = new Collection(context, graceMs, borrowers);
  try {
    if (options.dryRun === true) return await run.plan();
    await run.deleteAll();
    return {
      deleted: run.deleted,
      freedBytes: run.freedBytes,
      held: held(),
      ...(run.blocked === undefined ? {} : { blocked: run.blocked }),
    };
  } finally {
    run.close();
  }
}

class Collection {
  deleted = 0;
  freedBytes = 0;
  blocked: string | undefined;
  readonly #context: GcContext;
  readonly #graceMs: number;
  #borrowers: Borrowers;
  /** Nothing is borrowed from this store while it collects: nobody did before. */
  #closed = false;
  readonly #sound = new Set<number>();
  /** Rows a slice may take: fewer where the disk has no room for the log of more. */
  #sliceRows = Number.POSITIVE_INFINITY;
  #sliceEndMs = 0;
  /** That of the last slice took so long. */
  #commitMs = 0;

  constructor(context: GcContext, graceMs: number, borrowers: Borrowers) {
    this.#context = context;
    this.#borrowers = borrowers;
    this.#graceMs = graceMs;
  }

  async deleteAll(): Promise<void> {
    for (let progress = true; progress && this.blocked === undefined;) {
      progress = false;
      for (let after: Candidate = { ms: 0, n: 0 }; ;) {
        const found = this.#candidates(after);
        if (found.length === 0) break;
        after = found.at(-1)!;
        // Rows and references of neighbours lie together.
        const page = found.map(({ n }) => n).toSorted((a, b) => a - b);
        this.#closeToNew();
        if (this.blocked !== undefined) break;
        if (this.#borrowers.count === 0) progress = (await this.#deletePage(page)) || progress;
        else progress = (await this.#deleteUnlent(page)) || progress;
        if (this.blocked !== undefined) break;
      }
    }
    await this.#dropDeadVolumes();
  }

  /** What a run would do, and later ones, without writing. */
  async plan(): Promise<GcResult> {
    const { catalog, host } = this.#context;
    const limits = this.#limits();
    const now = { deleted: 0, freedBytes: 0 };
    const later = { blobs: 0, bytes: 0, firstMs: Number.POSITIVE_INFINITY, lastMs: 0 };
    let held = 0;
    const isLent = (n: number): boolean => {
      const lent = this.#borrowers.count > 0 && this.#isLent(n);
      if (lent) held++;
      return lent;
    };
    await new Fall(catalog.sql, host.clock, isLent).unreferenced(
      ({ ms, generation, bytes, isUnreferenced }) => {
        const goesNow = isUnreferenced || limits.horizon === noHorizon;
        if (goesNow && this.#mayGo({ zero_since: ms, zero_gen: generation }, limits)) {
          now.deleted++;
          now.freedBytes += bytes;
          return;
        }
        if (isUnreferenced) held++;
        later.blobs++;
        later.bytes += bytes;
        later.firstMs = Math.min(later.firstMs, ms + this.#graceMs);
        later.lastMs = Math.max(later.lastMs, ms + this.#graceMs);
      },
    );
    return { ...now, held, ...(later.blobs === 0 ? {} : { later }) };
  }

  #isLent(n: number): boolean {
    const row = this.#context.catalog.blobs.byNumber(n);
    return row !== undefined && this.#borrowers.isBorrowed(row.id);
  }

  close(): void {
    this.#borrowers.close();
    const { catalog, lease } = this.#context;
    if (this.#closed) catalog.transaction((transaction) => unmarkDying(transaction, lease));
  }

  /** Where nobody borrows, one mark for everything keeps it so. Who registered just before it was made is seen after. */
  #closeToNew(): void {
    if (this.#closed || this.#borrowers.count > 0) return;
    const { catalog, lease, borrowers } = this.#context;
    catalog.transaction((transaction) => markDying(transaction, lease, [everything]));
    this.#closed = true;
    try {
      this.#borrowers = borrowers();
    } catch (error) {
      if (!StoreError.is(error)) throw error;
      this.blocked = error.message;
    }
  }

  /** The same where other stores borrow: what they have is left. They are opened anew, so that one that came since is asked as well. */
  async #deleteUnlent(page: readonly number[]): Promise<boolean> {
    const { catalog, lease, host } = this.#context;
    catalog.transaction((transaction) => markDying(transaction, lease, page));
    let borrowers: Borrowers | undefined;
    try {
      borrowers = this.#context.borrowers();
      const unlent: number[] = [];
      let since = host.clock.monotonic();
      for (const n of page) {
        const row = catalog.blobs.byNumber(n);
        if (row !== undefined && !borrowers.isBorrowed(row.id)) unlent.push(n);
        if (host.clock.monotonic() - since < sliceMs) continue;
        await host.clock.yield();
        since = host.clock.monotonic();
      }
      return await this.#deletePage(unlent);
    } catch (error) {
      if (!StoreError.is(error, 'unavailable') && !StoreError.is(error, 'corrupt')) throw error;
      this.blocked = error.message;
      return false;
    } finally {
      borrowers?.close();
      catalog.transaction((transaction) => unmarkDying(transaction, lease));
    }
  }

  /** One page in slices; true when something was deleted. */
  async #deletePage(page: readonly number[]): Promise<boolean> {
    const { catalog, volumes, host, way, signal } = this.#context;
    const before = this.deleted;
    for (let at = 0; at < page.length && this.blocked === undefined;) {
      signal.throwIfAborted();
      const { deleted, freedBytes } = this;
      try {
        if (!(await this.#isSound(bucketOf(page[at]!)))) break;
        at = catalog.transaction((transaction) => this.#slice(transaction, page, at));
        this.#commitMs = host.clock.monotonic() - this.#sliceEndMs;
      } catch (error) {
        // Rolled back, and with it what was counted.
        Object.assign(this, { deleted, freedBytes });
        if (StoreError.is(error, 'corrupt')) this.blocked = error.message;
        else if (!this.#makeDoWithLess(error, page.length - at)) throw error;
      }
      // Only now, with the tombstones committed, do files go.
      removeCondemned(catalog, volumes);
      this.#context.onProgress({ deleted: this.deleted, freedBytes: this.freedBytes, held: 0 });
      await way.turn();
    }
    return this.deleted > before;
  }

  /** On a full disk: room as far as there is any, and smaller transactions, down to a single row. */
  #makeDoWithLess(error: unknown, rows: number): boolean {
    const before = Math.min(this.#sliceRows, rows);
    if (!StoreError.is(toStoreError(error, 'collecting'), 'no-space') || before === 1) return false;
    this.#sliceRows = Math.max(1, before >> 3);
    this.#context.catalog.checkpoints.truncate();
    return true;
  }

  #slice(transaction: Transaction, page: readonly number[], from: number): number {
    const { host, way } = this.#context;
    const mostMs = way.isWanted ? Math.min(sliceMs, Math.max(shortSliceMs, this.#commitMs)) : sliceMs;
    const limits = this.#limits(transaction);
    const start = host.clock.monotonic();
    let at = from;
    let deleted = 0;
    let freedBytes = 0;
    const end = Math.min(page.length, from + this.#sliceRows);
    for (; at < end && host.clock.monotonic() - start < mostMs; at++) {
      if (!this.#sound.has(bucketOf(page[at]!))) break;
      const row = transaction.catalog.blobs.byNumber(page[at]!);
      if (row === undefined || !this.#mayGo(row, limits)) continue;
      // The count said zero; the references decide.
      if (transaction.catalog.refs.any(row.n)) {
        this.#recount(transaction, row);
        continue;
      }
      deleted++;
      freedBytes += this.#condemn(transaction, row, limits);
    }
    this.deleted += deleted;
    this.freedBytes += freedBytes;
    this.#sliceEndMs = host.clock.monotonic();
    return at;
  }

  /**
   * Whether the rows a decision relies on are all there and unchanged. A bucket is checked once a run, table by table, in slices and
   * without the write lock, so that puts go on. What seems wrong is looked at again at one moment, and then under the lock.
   */
  async #isSound(bucket: number): Promise<boolean> {
    if (this.#sound.has(bucket)) return true;
    const { catalog, way } = this.#context;
    for (const table of ['refs', 'blobs'] as const) {
      if (
        !(await throughout(looksSound(catalog, table, bucket), way)) &&
        catalog.atOneMoment(() => verifyBucket(catalog, table, bucket)) !== undefined
      ) {
        this.blocked = catalog.transaction((transaction) => {
          const bad = verifyBucket(catalog, table, bucket);
          if (bad !== undefined) transaction.raiseDoubt(bad);
          return bad;
        });
        if (this.blocked !== undefined) return false;
      }
      await way.turn();
    }
    this.#sound.add(bucket);
    return true;
  }

  #mayGo(
    since: { readonly zero_since: number | null; readonly zero_gen: number | null },
    limits: Limits,
  ): boolean {
    return (
      since.zero_since !== null && since.zero_since <= limits.cutoffMs && since.zero_gen! < limits.horizon
    );
  }

  /** Row and references go, a tombstone or a free entry comes; returns the bytes it gives back. */
  #condemn(transaction: Transaction, row: BlobRow, { horizon }: Limits): number {
    const { catalog } = transaction;
    const { sql } = catalog;
    // Of what is referenced, a put in a session may have taken no note: it is held from when the reference goes, and that is now.
    const generation = horizon === noHorizon ? row.zero_gen! : transaction.state.generation;
    const since = { ms: row.zero_since!, generation };
    for (const { by, children } of childrenOf(catalog.refs, row)) {
      for (const n of children) {
        const child = catalog.blobs.byNumber(n);
        if (child !== undefined) transaction.unreference(child, by, since);
      }
    }
    const copies = copiesOf(catalog, row);
    catalog.blobs.delete(row);
    catalog.copies.deleteAll(row.n);
    sql.rows('DELETE FROM chunk_sums WHERE blob = ?').run(row.n);
    sql.rows('DELETE FROM verified WHERE blob = ?').run(row.n);
    transaction.changed = true;
    if (!isPlaced(row)) return row.stored;
    const { volumes } = this.#context;
    for (const view of copies.map(viewOf)) {
      if (volumes.isDirectory(view.volume)) bury(transaction, volumes, view);
      else volumes.free(transaction, view.volume, locatorOf(view));
    }
    return row.stored * copies.length;
  }

  #recount(transaction: Transaction, row: BlobRow): void {
    row.refcount = transaction.catalog.refs.count(row.n);
    row.zero_since = null;
    row.zero_gen = null;
    transaction.saveCounts(row);
  }

  /** By the index of what is unreferenced: however much is referenced, it is not looked at. */
  #candidates({ ms, n }: Candidate): Candidate[] {
    return this.#context.catalog.sql
      .rows(
        `SELECT zero_since AS ms, n FROM blobs INDEXED BY blobs_unreferenced
           WHERE zero_since <= ? AND (zero_since, n) > (?, ?) ORDER BY zero_since, n LIMIT ?`,
      )
      .all(this.#limits().cutoffMs, ms, n, this.#borrowers.count === 0 ? pageRows : lentRows) as Candidate[];
  }

  #limits(transaction?: Transaction): Limits {
    const { catalog, host } = this.#context;
    const clockMs =
      transaction?.state.clockMs ?? Math.max(catalog.state().clockMs, Math.floor(host.clock.now()));
    const horizon = catalog.sql.values('SELECT min(horizon) FROM leases').get() as number | null;
    return { cutoffMs: clockMs - this.#graceMs, horizon: horizon ?? noHorizon };
  }

  /** A volume in which no row lies any more is forgotten, then its file removed. */
  async #dropDeadVolumes(): Promise<void> {
    const { catalog, volumes, host } = this.#context;
    const lives = catalog.sql.values(
      'SELECT 1 FROM blobs WHERE volume = ? UNION ALL SELECT 1 FROM copies WHERE volume = ? LIMIT 1',
    );
    for (const row of volumes.rows()) {
      if (row.kind !== 'sqlite' || row.dead === 0) continue;
      catalog.transaction((transaction) => {
        const current = volumes.rows().find(({ n }) => n === row.n);
        if (current === undefined || lives.get(row.n, row.n) !== undefined || volumes.isForeign(current))
          return;
        volumes.drop(transaction, current);
        // So that whoever rebuilds a lost catalog does not miss it.
        volumes.publish(transaction);
      });
      await host.clock.yield();
    }
    volumes.removeDropped();
  }
}

/** An unreferenced blob, and since when it is. */
interface Candidate {
  readonly ms: number;
  readonly n: number;
}

interface Limits {
  readonly cutoffMs: number;
  /** Generation at which the oldest open session of anybody began. */
  readonly horizon: number;
}

/** Nobody has a session open. */
const noHorizon = Number.POSITIVE_INFINITY;

function unreferencedCount(catalog: Catalog): number {
  return catalog.sql.values('SELECT count(*) FROM blobs WHERE zero_since IS NOT NULL').get() as number;
}
