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
  /** As if it were borrowed, where an alternate has it; `unavailable` where one is away and none has. */
  lentCopies(row: BlobRow): BlobRow[];
  passedOver(error: StoreError): void;
}

/** A copy that could not be read. */
interface Failure {
  readonly copy: BlobRow;
  readonly error: StoreError;
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
      return this.#elsewhere(row, { copy: row, error: error as StoreError }, read);
    }
  }

  /** A file that is read on in the next copy where one fails: chunk by chunk, since each may be damaged somewhere else. */
  open(row: BlobRow, open: (copy: BlobRow) => BlobFile): BlobFile {
    let { copy, file } = this.read(row, (one) => ({ copy: one, file: open(one) }));
    const other = (offset: number, end: number, error: unknown): Uint8Array => {
      if (!mayHaveMoved(error)) throw error;
      return this.#elsewhere(row, { copy, error: error as StoreError }, (next) => {
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
      encoded: (offset, end) => {
        try {
          return file.encoded?.(offset, end);
        } catch (error) {
          if (!mayHaveMoved(error)) throw error;
          return undefined; // `read` looks for another copy
        }
      },
      close: () => file.close(),
    };
  }

  /**
   * Reads the copies that were not tried yet, those that came to be meanwhile too. Where none is left, a copy that is away counts for more
   * than a damaged one: it may hold the right bytes. Damage that was passed over is told, but not of a place that the blob has left.
   */
  #elsewhere<Result>(row: BlobRow, failed: Failure, read: (copy: BlobRow) => Result): Result {
    const failures = [failed];
    let lent: readonly BlobRow[] | undefined;
    for (;;) {
      const isNew = (one: BlobRow): boolean => !failures.some(({ copy }) => samePlace(copy, one));
      const own = this.#inUse(row).find(isNew);
      if (own === undefined) lent ??= this.#lent(row, failures);
      const next = own ?? lent?.find(isNew);
      if (next === undefined) break;
      try {
        const result = read(next);
        this.#tell(row, failures);
        return result;
      } catch (error) {
        if (!mayHaveMoved(error)) throw error;
        failures.push({ copy: next, error: error as StoreError });
      }
    }
    const told = failures.find(({ error }) => StoreError.is(error, 'unavailable')) ?? failed;
    this.#tell(
      row,
      failures.filter((failure) => failure !== told),
    );
    throw told.error;
  }

  #lent(row: BlobRow, failures: Failure[]): readonly BlobRow[] {
    try {
      return this.#source.lentCopies(row);
    } catch (error) {
      if (!mayHaveMoved(error)) throw error;
      failures.push({ copy: row, error: error as StoreError });
      return [];
    }
  }

  #inUse(row: BlobRow): BlobRow[] {
    const fresh = this.#source.rows.byNumber(row.n);
    return fresh === undefined ? [] : [fresh, ...this.#source.copiesOf(fresh)];
  }

  #tell(row: BlobRow, failures: readonly Failure[]): void {
    const damage = failures.filter(({ error }) => isDamage(error));
    if (damage.length === 0) return;
    const inUse = this.#inUse(row);
    for (const { copy, error } of damage)
      if (inUse.some((one) => samePlace(one, copy))) this.#source.passedOver(error);
  }
}
