/** Counts against references and buckets against their checksums: looked at by workers, mended by the commit thread where something is wrong. */
import { type BlobRow, BlobReader } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { ReferenceRows, RootRows } from '../catalog/reference-rows.ts';
import { Buckets, RowHasher, type SummedTable, bucketOf } from '../catalog/row-sums.ts';
import { Statements } from '../catalog/statements.ts';
import type { GivingWay } from '../content/giving-way.ts';
import type { Database } from '../driver.ts';
import {
  type BucketSource,
  type NumberRange,
  looksSound,
  numbersOf,
  slicesOf,
  throughout,
  verifyBucket,
} from './buckets.ts';

/** A bucket to be looked at. */
export interface BucketLook {
  readonly bucket: number;
  /** Memory of the foreground that it gives way to. */
  readonly foreground?: SharedArrayBuffer;
}

export interface RecountResult {
  readonly recounted: number;
  /** Tables whose bucket is not what was written. */
  readonly badRows: number;
}

/** Looks at buckets through a connection that reads. */
export class Recounter {
  readonly #db: Database;
  #made: BucketSource | undefined;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Not before it is asked for: few stores that are opened are recounted. */
  get #source(): BucketSource {
    return (this.#made ??= this.#make());
  }

  #make(): BucketSource {
    const db = this.#db;
    const hasher = new RowHasher();
    const buckets = new Buckets(db);
    return {
      sql: new Statements(db),
      buckets,
      blobs: new BlobReader(db, hasher),
      refs: new ReferenceRows(db, hasher, buckets),
      roots: new RootRows(db, hasher, buckets),
    };
  }

  /** Of the youngest blob. */
  lastBucket(): number {
    const last = this.#source.sql.values('SELECT max(n) FROM blobs').get() as number | null;
    return last === null ? 0 : bucketOf(last);
  }

  /**
   * Whether nothing is wrong: in slices, or at one moment where something seems to be, since others write meanwhile. O(rows of the bucket),
   * about 50 ms.
   */
  async isSound({ bucket }: BucketLook, way: GivingWay): Promise<boolean> {
    if (await throughout(this.#looksSound(bucket), way)) return true;
    return this.#atOneMoment(
      () =>
        doubtsOf(this.#source, bucket).length === 0 &&
        wrongCounts(this.#source, numbersOf(bucket)).length === 0,
    );
  }

  *#looksSound(bucket: number): Generator<void, boolean> {
    for (const table of tablesOf(bucket)) {
      if (!(yield* looksSound(this.#source, table, bucket))) return false;
    }
    for (const part of slicesOf(bucket)) {
      if (this.#atOneMoment(() => wrongCounts(this.#source, part)).length > 0) return false;
      yield;
    }
    return true;
  }

  #atOneMoment<Result>(look: () => Result): Result {
    this.#db.exec('BEGIN');
    try {
      return look();
    } finally {
      this.#db.exec('ROLLBACK');
    }
  }
}

/** The same under the write lock, raising doubt, and making counts right. */
export function recountBucket(catalog: Catalog, bucket: number): RecountResult {
  return catalog.transaction((transaction) => {
    const doubts = doubtsOf(catalog, bucket);
    for (const doubt of doubts) if (transaction.state.doubt === '') transaction.raiseDoubt(doubt);
    return { recounted: recount(transaction, bucket), badRows: doubts.length };
  });
}

/** Roots have one bucket. */
function tablesOf(bucket: number): readonly SummedTable[] {
  return bucket === 0 ? ['blobs', 'refs', 'roots'] : ['blobs', 'refs'];
}

function doubtsOf(source: BucketSource, bucket: number): string[] {
  return tablesOf(bucket).flatMap((table) => verifyBucket(source, table, bucket) ?? []);
}

interface WrongCount {
  readonly n: number;
  readonly counted: number;
}

function wrongCounts({ sql }: BucketSource, { from, to }: NumberRange): WrongCount[] {
  const counts = new Map(
    sql
      .arrays('SELECT child, count(*) FROM refs WHERE child BETWEEN ? AND ? GROUP BY child')
      .all(from, to) as [number, number][],
  );
  const rows = sql
    .arrays('SELECT n, refcount, zero_since IS NULL FROM blobs WHERE n BETWEEN ? AND ?')
    .all(from, to) as [number, number, number][];
  return rows.flatMap(([n, refcount, referenced]) => {
    const counted = counts.get(n) ?? 0;
    return refcount !== counted || (referenced === 1) !== counts.has(n) ? [{ n, counted }] : [];
  });
}

function recount(transaction: Transaction, bucket: number): number {
  const { catalog } = transaction;
  let fixed = 0;
  for (const { n, counted } of wrongCounts(catalog, numbersOf(bucket))) {
    const row = catalog.sql.rows('SELECT * FROM blobs WHERE n = ?').get(n) as BlobRow;
    if (!catalog.blobs.holds(row)) continue; // counted as a bad row
    row.refcount = counted;
    row.zero_since = counted === 0 ? (row.zero_since ?? transaction.state.clockMs) : null;
    row.zero_gen = counted === 0 ? (row.zero_gen ?? transaction.state.generation) : null;
    transaction.saveCounts(row);
    fixed++;
  }
  return fixed;
}
