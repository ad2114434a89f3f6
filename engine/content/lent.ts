/** Blobs that are read from an alternate: what stands for their rows, and their damage told as damage of this store's blob. */
import { borrowedRow } from '../catalog/borrow.ts';
import type { BlobRow } from '../catalog/blob-rows.ts';
import { StoreError } from '../errors.ts';
import type { BlobFile } from './blob-file.ts';
import { damaged, isDamage, mayHaveMoved } from './damage.ts';

/** What is asked of a blob in an alternate (content/reader.ts). */
interface LentCopy {
  readonly reader: { openAny(row: BlobRow): BlobFile };
  readonly row: BlobRow;
  readonly lender: { readonly path: string };
}

/** As if this store had borrowed it: number 0, since no row of it is written, and nothing refers to it. */
export function rowOfLent({ row }: Pick<LentCopy, 'row'>): BlobRow {
  const { kind, size, created, suspect } = row;
  return {
    ...borrowedRow(row.id, { kind, size }),
    n: 0,
    refcount: 0,
    created,
    touched: 0,
    touched_gen: 0,
    zero_since: null,
    zero_gen: null,
    suspect,
  };
}

/**
 * Opens the first copy that can be opened. No place of the lender is told with its errors: numbers of its volumes mean nothing here. `corrupt`
 * when no copy is good, or none is there though all alternates were asked.
 */
export function openLent(row: BlobRow, lent: readonly LentCopy[]): BlobFile {
  let failure: unknown = damaged(row, 'no alternate has it any more');
  for (const copy of lent) {
    const telling = <Result>(read: () => Result): Result => {
      try {
        return read();
      } catch (error) {
        throw told(row, copy, error);
      }
    };
    try {
      const file = telling(() => copy.reader.openAny(copy.row));
      if (file.size !== row.size) {
        file.close();
        throw damaged(row, `in ${copy.lender.path} it has ${file.size} bytes, not ${row.size}`);
      }
      return {
        size: file.size,
        read: (offset, end, scratch) => telling(() => file.read(offset, end, scratch)),
        encoded: (offset, end) => telling(() => file.encoded?.(offset, end)),
        close: () => file.close(),
      };
    } catch (error) {
      if (!mayHaveMoved(error)) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** `corrupt` where no alternate has it, or the one that does believes it damaged. */
export function checkLent(row: BlobRow, [lent]: readonly LentCopy[]): void {
  if (lent === undefined) throw damaged(row, 'no alternate has it any more');
  if (lent.row.suspect !== 0) throw damaged(row, `it is damaged in the alternate ${lent.lender.path}`);
  if (lent.row.size !== row.size) throw damaged(row, 'it has another size in the alternate');
}

function told(row: BlobRow, { lender }: LentCopy, error: unknown): unknown {
  if (!StoreError.is(error)) return error;
  const reason = typeof error.facts['reason'] === 'string' ? error.facts['reason'] : error.message;
  const { code, message } = error;
  if (isDamage(error)) return damaged(row, `in the alternate ${lender.path}: ${reason}`);
  return new StoreError(code, `alternate ${lender.path}: ${message}`, { path: lender.path }, error);
}
