/** What a put is answered once it stands, and is retained for its owner if it has one. */
import type { Transaction } from '../catalog/catalog.ts';
import { type BlobRow, isBorrowed, isChunked } from '../catalog/blob-rows.ts';
import { readGroup } from '../catalog/group.ts';
import type { Named } from '../keys/realm.ts';
import type { PutOutcome } from './operations.ts';

interface Put {
  readonly id: string;
  readonly owner?: Named;
}

/** `row` is as it was before the owner held it; `copies` only where they are known. */
interface Standing {
  readonly row: BlobRow;
  readonly deduplicated: boolean;
  readonly healed?: boolean;
  readonly copies?: number | undefined;
}

export function outcomeOf(transaction: Transaction, put: Put, standing: Standing): PutOutcome {
  const { row, deduplicated, healed = false } = standing;
  const isNew = put.owner !== undefined && transaction.retain(put.id, put.owner);
  return {
    storedSize: row.stored,
    deduplicated,
    ...(healed && { healed }),
    ...(isNew && row.refcount === 0 && { gained: costOf(transaction, standing) }),
  };
}

/** As caps count it. Of a large one the further copies are made after the commit. */
function costOf({ catalog }: Transaction, { row, copies }: Standing): number | 'content' {
  if (isBorrowed(row)) return 0;
  if (isChunked(row)) return 'content';
  return (
    row.stored * (copies ?? Math.max(1 + catalog.copies.of(row.n).length, readGroup(catalog.sql).copies))
  );
}
