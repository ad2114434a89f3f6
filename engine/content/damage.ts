/** Damage as it is told: of which blob, in which copy, why. */
import type { BlobRow } from '../catalog/blob-rows.ts';
import { toHex } from '../codec/bytes.ts';
import { StoreError } from '../errors.ts';

/** What a row points to, found or not: thrown damage says which copy it was. */
export function damaged(row: BlobRow, reason: string): StoreError {
  const id = toHex(row.id);
  return new StoreError('corrupt', `blob ${id} is damaged: ${reason}`, {
    id,
    reason,
    incarnation: row.incarnation,
    references: row.refcount,
  });
}

/** Damage met while reading what a row points to is damage of its blob. */
export function blaming<Result>(row: BlobRow, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (!isDamage(error) || 'id' in error.facts) throw error;
    const told = damaged(row, error.message);
    throw error.code === 'corrupt' ? told : new StoreError(error.code, told.message, told.facts, error);
  }
}

/** Whether a failure says that stored bytes are not what they should be. */
export function isDamage(error: unknown): error is StoreError {
  return StoreError.is(error, 'corrupt') || StoreError.is(error, 'tampered');
}
