/** Mends a blob row whose checksum does not hold although it leads to the right bytes, where its bucket proves what it was. */
import type { BlobRow } from '../catalog/blob-rows.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { bucketOf, xorInto } from '../catalog/row-sums.ts';
import { equalBytes } from '../codec/bytes.ts';
import { readBucket } from './buckets.ts';

/**
 * Either the row's values were hit, and the stored checksum is still the one its bucket counts, or the checksum was, and the bucket
 * counts the one the values give. If neither fits, more is wrong in this bucket, and nothing is laundered. In a transaction of its
 * own, since a bucket is compared with what is committed. True when it was mended.
 */
export function repairRow(catalog: Catalog, n: number): boolean {
  return catalog.transaction((transaction) => {
    const row = catalog.sql.rows('SELECT * FROM blobs WHERE n = ?').get(n) as
      (BlobRow & { readonly sum: Uint8Array }) | undefined;
    if (row === undefined || catalog.blobs.holds(row)) return false;
    const bucket = bucketOf(n);
    const stored = catalog.buckets.stored('blobs', bucket);
    const content = readBucket(catalog, 'blobs', bucket);
    const counted = [row.sum, catalog.blobs.sum(row)].find((sum) => {
      const hash = content.hash.slice();
      xorInto(hash, row.sum);
      xorInto(hash, sum);
      return content.count === stored.count && equalBytes(hash, stored.hash);
    });
    if (counted === undefined) return false;
    const mended = catalog.blobs.resum(row, catalog.refs.count(n));
    catalog.buckets.replace('blobs', n, counted, mended);
    transaction.changed = true;
    return true;
  });
}
