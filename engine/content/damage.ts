/** Damage as it is told: of which blob, in which copy, why. */
import type { BlobRow } from '../catalog/blob-rows.ts';
import { toHex } from '../codec/bytes.ts';
import { StoreError, toStoreError } from '../errors.ts';

/** What a row points to, found or not: thrown damage says which copy it was. */
export function damaged(row: BlobRow, reason: string): StoreError {
  const id = toHex(row.id);
  return new StoreError('corrupt', `blob ${id} is damaged: ${reason}`, {
    id,
    reason,
    incarnation: row.incarnation,
    volumeNumber: row.volume,
    references: row.refcount,
  });
}

/** Damage met while reading what a row points to is damage of its blob; a disk that does not answer makes that copy unavailable. */
export function blaming<Result>(row: BlobRow, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (!StoreError.is(error)) throw toStoreError(error, `reading blob ${toHex(row.id)}`);
    if (!isDamage(error) || 'id' in error.facts) throw error;
    const told = damaged(row, error.message);
    throw error.code === 'corrupt' ? told : new StoreError(error.code, told.message, told.facts, error);
  }
}

/** Whether a failure says that stored bytes are not what they should be. */
export function isDamage(error: unknown): error is StoreError {
  return StoreError.is(error, 'corrupt') || StoreError.is(error, 'tampered');
}

/** Failures that a fresh look at the row may mend: what is missing or wrong where it was may lie somewhere else by now. */
export function mayHaveMoved(error: unknown): boolean {
  return isDamage(error) || StoreError.is(error, 'unavailable');
}

/** A disk that cannot read this place: of a blob with other copies, as good as damage of this one. */
export function isUnreadable(error: unknown): error is StoreError {
  if (!StoreError.is(error, 'unavailable')) return false;
  const { system } = error.facts;
  return typeof system === 'string' && (system === 'EIO' || system.startsWith('SQLITE_IOERR'));
}

/** A file that this process may not read: the work of a chmod, which the blob itself is not to blame for. */
export function isBarred(error: unknown): error is StoreError {
  if (!StoreError.is(error, 'forbidden')) return false;
  const { system } = error.facts;
  return system === 'EACCES' || system === 'EPERM';
}
