/** Verifies a bucket of catalog rows against its count and set hash: a changed row and a lost row are both seen. */
import { type BlobReader, bytesOf, digitsOf } from '../catalog/blob-rows.ts';
import type { ReferenceRows, RootRow, RootRows } from '../catalog/reference-rows.ts';
import type { Statements } from '../catalog/statements.ts';
import { type Buckets, type SummedTable, bucketRows, sumBytes, xorInto } from '../catalog/row-sums.ts';
import { equalBytes } from '../codec/bytes.ts';
import type { GivingWay } from '../content/giving-way.ts';

/** A catalog as far as buckets need it: through the connection that commits, or one that reads. */
export interface BucketSource {
  readonly sql: Statements;
  readonly buckets: Pick<Buckets, 'stored'>;
  readonly blobs: Pick<BlobReader, 'sums'>;
  readonly refs: Pick<ReferenceRows, 'sum'>;
  readonly roots: Pick<RootRows, 'sum'>;
}

/** What a bucket really holds. */
export interface BucketContent {
  readonly count: number;
  readonly hash: Uint8Array;
  /** Rows whose own checksum does not hold. */
  readonly badRows: number;
}

/** A sentence about what is wrong, or undefined. O(rows of the bucket), about 10 ms. */
export function verifyBucket(catalog: BucketSource, table: SummedTable, bucket: number): string | undefined {
  const content = readBucket(catalog, table, bucket);
  if (content.badRows > 0) return `${content.badRows} row(s) of ${table} in bucket ${bucket} are damaged`;
  const stored = catalog.buckets.stored(table, bucket);
  if (stored.count !== content.count)
    return `table ${table} has ${content.count} rows in bucket ${bucket}, not ${stored.count}`;
  if (!equalBytes(stored.hash, content.hash))
    return `rows of ${table} in bucket ${bucket} are not the ones that were written`;
  const dangling = table === 'refs' ? danglingRefs(catalog, numbersOf(bucket)) : 0;
  return dangling === 0
    ? undefined
    : `${dangling} blob(s) of bucket ${bucket} are referenced but have no row`;
}

/** Blob numbers of one slice, about 2 ms. */
const sliceRows = 512;

/**
 * Whether the bucket is right, looked at in slices between which others may write. It is, when this says so; when not, it was changed
 * meanwhile or is wrong, which takes `verifyBucket` to tell.
 */
export function* looksSound(
  catalog: BucketSource,
  table: SummedTable,
  bucket: number,
): Generator<void, boolean> {
  const hash = new Uint8Array(sumBytes);
  let count = 0;
  for (const part of slicesOf(bucket)) {
    for (const { sum, sound } of sumsOf(catalog, table, part)) {
      if (!sound) return false;
      count++;
      xorInto(hash, sum);
    }
    if (table === 'refs' && danglingRefs(catalog, part) > 0) return false;
    yield;
  }
  // What changed behind us changed this.
  const stored = catalog.buckets.stored(table, bucket);
  return stored.count === count && equalBytes(stored.hash, hash);
}

/** Goes through with turns for others. */
export async function throughout<Result>(steps: Generator<void, Result>, way: GivingWay): Promise<Result> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await way.turn();
  }
}

/** Numbers of neighbouring blobs. */
export interface NumberRange {
  readonly from: number;
  readonly to: number;
}

export function numbersOf(bucket: number): NumberRange {
  return { from: bucket * bucketRows, to: (bucket + 1) * bucketRows - 1 };
}

export function* slicesOf(bucket: number): Generator<NumberRange> {
  const { from: first, to: last } = numbersOf(bucket);
  for (let from = first; from <= last; from += sliceRows)
    yield { from, to: Math.min(last, from + sliceRows - 1) };
}

function danglingRefs(catalog: BucketSource, { from, to }: NumberRange): number {
  return catalog.sql
    .values(
      'SELECT count(DISTINCT child) FROM refs WHERE child BETWEEN ? AND ? AND NOT EXISTS (SELECT 1 FROM blobs WHERE n = child)',
    )
    .get(from, to) as number;
}

export function readBucket(catalog: BucketSource, table: SummedTable, bucket: number): BucketContent {
  const hash = new Uint8Array(sumBytes);
  let count = 0;
  let badRows = 0;
  for (const { sum, sound } of sumsOf(catalog, table, numbersOf(bucket))) {
    count++;
    if (!sound) badRows++;
    xorInto(hash, sum);
  }
  return { count, hash, badRows };
}

function* sumsOf(
  catalog: BucketSource,
  table: SummedTable,
  { from, to }: NumberRange,
): Iterable<{ sum: Uint8Array; sound: boolean }> {
  if (table === 'blobs') {
    yield* catalog.blobs.sums(from, to);
  } else if (table === 'refs') {
    const rows = catalog.sql
      .arrays(`SELECT child, kind, owner, ${digitsOf('sum')} FROM refs WHERE child BETWEEN ? AND ?`)
      .all(from, to);
    for (const [child, kind, owner, digits] of rows as [number, number, string | number, unknown][]) {
      const sum = bytesOf(digits);
      yield { sum, sound: equalBytes(catalog.refs.sum(child, kind, owner), sum) };
    }
  } else if (from === 0) {
    for (const row of catalog.sql.rows('SELECT * FROM roots').all() as (RootRow & { sum: Uint8Array })[]) {
      yield { sum: row.sum, sound: equalBytes(catalog.roots.sum(row), row.sum) };
    }
  }
}
