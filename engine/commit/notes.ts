/** Operations of a commit that touch no bytes: side tables, blobs that were found damaged, horizons of sessions. */
import type { Transaction } from '../catalog/catalog.ts';
import { fromHex } from '../codec/bytes.ts';
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

/** True when it marked that very copy. */
export function markSuspect(
  transaction: Transaction,
  operation: Extract<Operation, { readonly op: 'suspect' }>,
): boolean {
  const found = transaction.catalog.blobs.inspect(fromHex(operation.id)!);
  if (
    found === undefined ||
    !found.sound ||
    found.row.incarnation !== operation.incarnation ||
    found.row.suspect !== 0
  )
    return false;
  found.row.suspect = 1;
  transaction.saveCounts(found.row);
  return true;
}

/** From when on a lease's sessions hold what they meet; null when they are over. Returns the generation that is being made. */
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
