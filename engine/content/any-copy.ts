/** Reads a blob from whichever of its copies is good: where one is damaged, missing or away, the same read goes on in the next. */
import type { BlobReader, BlobRow } from '../catalog/blob-rows.ts';
import { samePlace } from '../catalog/copy-rows.ts';
import { StoreError } from '../errors.ts';
import type { BlobFile } from './blob-file.ts';
import { isDamage, mayHaveMoved } from './damage.ts';

/** What is asked of the reader whose copies these are. */
export interface CopySource {
  readonly rows: Pick<BlobReader, 'byNumber'>;
  readonly chunkBytes: number;
  copiesOf(row: BlobRow): BlobRow[];
  /** As if it were borrowed, where an alternate has it. */
  lentCopies(row: BlobRow): BlobRow[];
  passedOver(error: StoreError): void;
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

  /** A file that is read on in the next copy where one fails: chunk by chunk, since each may be damaged somewhere else. */
  open(row: BlobRow, open: (copy: BlobRow) => BlobFile): BlobFile {
    let { copy, file } = this.read(row, (one) => ({ copy: one, file: open(one) }));
    const other = (offset: number, end: number, error: unknown): Uint8Array => {
      if (!mayHaveMoved(error)) throw error;
      return this.elsewhere({ row, tried: [copy], error: error as StoreError }, (next) => {
        const opened = open(next);
        try {
          const bytes = opened.read(offset, end);
          file.close();
          ({ copy, file } = { copy: next, file: opened });
          return bytes;
        } catch (failure) {
          opened.close();
          throw failure;
        }
      });
    };
    const chunkBytes = this.#source.chunkBytes;
    return {
      ...(file.id === undefined ? {} : { id: file.id }),
      size: file.size,
      read: (offset, end, scratch) => {
        try {
          return file.read(offset, end, scratch);
        } catch (error) {
          if (end - offset <= chunkBytes) return other(offset, end, error);
          if (!mayHaveMoved(error)) throw error;
        }
        const all = new Uint8Array(end - offset);
        for (let at = offset; at < end;) {
          const stop = Math.min(end, at - (at % chunkBytes) + chunkBytes);
          let bytes: Uint8Array;
          try {
            bytes = file.read(at, stop);
          } catch (error) {
            bytes = other(at, stop, error);
          }
          all.set(bytes, at - offset);
          at = stop;
        }
        return all;
      },
      close: () => file.close(),
    };
  }

  /**
   * Reads the copies that were not tried yet. Where none is left, a copy that is away counts for more than a damaged one: it may hold the
   * right bytes. Damage that was passed over is told.
   */
  elsewhere<Result>(
    failed: { readonly row: BlobRow; readonly tried: readonly BlobRow[]; readonly error: StoreError },
    read: (copy: BlobRow) => Result,
  ): Result {
    const { row } = failed;
    const tried = [...failed.tried];
    const fresh = this.#source.rows.byNumber(row.n);
    const all = fresh === undefined ? [] : [fresh, ...this.#source.copiesOf(fresh)];
    const errors = [failed.error];
    for (const copies of [() => all, () => this.#source.lentCopies(row)]) {
      let next: readonly BlobRow[] = [];
      try {
        next = copies();
      } catch (error) {
        if (!mayHaveMoved(error)) throw error;
        errors.push(error as StoreError);
      }
      for (const copy of next) {
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
    }
    const told = errors.find((error) => StoreError.is(error, 'unavailable')) ?? failed.error;
    this.#tell(errors.filter((error) => error !== told));
    throw told;
  }

  #tell(errors: readonly StoreError[]): void {
    for (const error of errors) if (isDamage(error)) this.#source.passedOver(error);
  }
}
