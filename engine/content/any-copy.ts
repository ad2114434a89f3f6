/** Reads a blob from whichever of its copies is good: where one is damaged, missing or away, the same read goes on in the next. */
import type { BlobReader, BlobRow } from '../catalog/blob-rows.ts';
import { samePlace } from '../catalog/copy-rows.ts';
import { StoreError } from '../errors.ts';
import type { BlobFile } from './blob-file.ts';
import { mayHaveMoved } from './damage.ts';

/** What is asked of the reader whose copies these are. */
export interface CopySource {
  readonly rows: Pick<BlobReader, 'byNumber'>;
  copiesOf(row: BlobRow): BlobRow[];
  tell(error: StoreError): void;
}

export class AnyCopy {
  readonly #source: CopySource;

  constructor(source: CopySource) {
    this.#source = source;
  }

  /** Reads the first copy, or the next. */
  read<Result>(row: BlobRow, read: (copy: BlobRow) => Result): Result {
    try {
      return read(row);
    } catch (error) {
      if (!mayHaveMoved(error)) throw error;
      return this.elsewhere({ row, tried: [row], error: error as StoreError }, read);
    }
  }

  /** A file that is read on in the next copy where one fails. */
  open(row: BlobRow, open: (copy: BlobRow) => BlobFile): BlobFile {
    const opened = this.read(row, (copy) => ({ copy, file: open(copy) }));
    const tried = [row, opened.copy];
    let { file } = opened;
    return {
      read: (offset, end, scratch) => {
        try {
          return file.read(offset, end, scratch);
        } catch (error) {
          if (!mayHaveMoved(error)) throw error;
          return this.elsewhere({ row, tried, error: error as StoreError }, (copy) => {
            const next = open(copy);
            let bytes: Uint8Array;
            try {
              bytes = next.read(offset, end, scratch);
            } catch (failure) {
              next.close();
              throw failure;
            }
            file.close();
            file = next;
            return bytes;
          });
        }
      },
      close: () => file.close(),
    };
  }

  /**
   * Reads the copies that were not tried yet. Where none is left, a copy that is away counts for more than a damaged one: it may hold the
   * right bytes. Damage that was passed over is told.
   */
  elsewhere<Result>(
    failed: { readonly row: BlobRow; readonly tried: BlobRow[]; readonly error: StoreError },
    read: (copy: BlobRow) => Result,
  ): Result {
    const { row, tried } = failed;
    const fresh = this.#source.rows.byNumber(row.n);
    const all = fresh === undefined ? [] : [fresh, ...this.#source.copiesOf(fresh)];
    const errors = [failed.error];
    for (const copy of all) {
      if (tried.some((one) => samePlace(one, copy))) continue;
      tried.push(copy);
      try {
        const result = read(copy);
        this.#tell(errors);
        return result;
      } catch (error) {
        if (!mayHaveMoved(error)) throw error;
        errors.push(error as StoreError);
      }
    }
    const told = errors.find((error) => StoreError.is(error, 'unavailable')) ?? failed.error;
    this.#tell(errors.filter((error) => error !== told));
    throw told;
  }

  #tell(errors: readonly StoreError[]): void {
    for (const error of errors) if (StoreError.is(error, 'corrupt')) this.#source.tell(error);
  }
}
