/** Operations of a commit that touch no bytes: side tables, horizons, and the reference of a blob that is chunked no more. */
import type { Transaction } from '../catalog/catalog.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import type { CommitOperation as Operation } from './operations.ts';

export function setSide(
  transaction: Transaction,
  operation: Extract<Operation, { readonly op: 'side-set' }>,
): void {
  transaction.changed = true;
  const { sql, hasher } = transaction.catalog;
  const put = sql.rows('INSERT OR REPLACE INTO side (name, key, value, sum) VALUES (?, ?, ?, ?)');
  const drop = sql.rows('DELETE FROM side WHERE name = ? AND key = ?');
  for (const [key, value] of operation.entries) {
    if (value === undefined) drop.run(operation.name, key);
    else put.run(operation.name, key, value, hasher.sum('side', [operation.name, key, value]));
  }
}

/** Publishes from when on a lease's unfinished work must not be collected. Returns the generation. */
export function setHorizon(
  transaction: Transaction,
  lease: string,
  generation: number | 'now' | null,
): number {
  transaction.changed = true;
  const value = generation === 'now' ? transaction.state.generation : generation;
  transaction.catalog.sql.rows('UPDATE leases SET horizon = ? WHERE uuid = ?').run(value, lease);
  return transaction.state.generation;
}

/** Whatever the row was, it is not made of the chunks it had. */
export function unchunk(transaction: Transaction, n: number): void {
  const { blobs, refs } = transaction.catalog;
  for (const child of refs.childrenOf(n, ownerKinds.chunked)) {
    const by = { kind: ownerKinds.chunked, owner: n } as const;
    const manifest = blobs.byNumber(child);
    if (manifest !== undefined) transaction.unreference(manifest, by);
    else refs.remove(child, by);
  }
}
