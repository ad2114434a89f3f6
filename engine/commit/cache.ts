/** What a commit does for caches with a cap: notes that blobs were used, takes references of the cache's owner back. */
import type { Transaction } from '../catalog/catalog.ts';
import type { BlobRow } from '../catalog/blob-rows.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import type { Named } from '../keys/realm.ts';
import type { CommitOperation as Operation } from './operations.ts';

/** A blob that is used all the time is noted once in so long. */
const usedEveryMs = 60_000;

export type CacheOperation = Extract<Operation, { readonly op: 'used' | 'evict' }>;

/** Of an eviction the numbers of the blobs that were released. */
export function tendCache(transaction: Transaction, operation: CacheOperation): number[] {
  if (operation.op === 'evict') return evict(transaction, operation);
  for (const id of operation.ids) noteUsed(transaction, id, operation.owner);
  return [];
}

/** What the owner does not hold is left alone: its grace must not be longer for being looked at. */
function noteUsed(transaction: Transaction, id: string, { key }: Named): void {
  const { blobs, refs } = transaction.catalog;
  const found = blobs.inspect(fromHex(id)!);
  if (found?.sound !== true || !refs.has(found.row.n, { kind: ownerKinds.application, owner: key })) return;
  const { clockMs } = transaction.state;
  if (clockMs - found.row.touched < usedEveryMs) return;
  found.row.touched = clockMs;
  transaction.saveCounts(found.row);
}

/** Chosen a while ago: what others refer to by now, or was used since, stays. */
function evict(
  transaction: Transaction,
  { owner, blobs }: Extract<Operation, { readonly op: 'evict' }>,
): number[] {
  const { catalog } = transaction;
  return blobs
    .filter(({ n, usedMs }) => {
      const row = catalog.sql.rows('SELECT * FROM blobs WHERE n = ?').get(n) as BlobRow | undefined;
      if (row === undefined || !catalog.blobs.holds(row)) return false;
      if (row.touched > usedMs || catalog.refs.count(n) !== 1) return false;
      return transaction.release(toHex(row.id), owner);
    })
    .map(({ n }) => n);
}
