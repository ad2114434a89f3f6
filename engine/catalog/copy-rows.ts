/** Rows of the copies table: where the further copies of the blobs of a mirrored group lie, beside the first one in the blob's own row. */
import { equalBytes } from '../codec/bytes.ts';
import type { BlobRow } from './blob-rows.ts';
import type { RowHasher } from './row-sums.ts';
import type { Statements } from './statements.ts';

/** Where a copy lies. All copies of a blob are stored in the same form and length, which its row tells. */
export interface Place {
  readonly volume: number;
  readonly extent: number;
  readonly start: number;
  readonly incarnation: number;
}

export interface CopyRow extends Place {
  /** Number of the blob. */
  readonly blob: number;
  /** 1 after a read or scrub found this copy damaged. */
  readonly suspect: number;
}

type StoredRow = CopyRow & { readonly sum: Uint8Array };

/** A copy of a blob as if it were the only one: what reads the first copy reads any. Never written to the catalog. */
export function copyAt(row: BlobRow, { volume, extent, start, incarnation, suspect }: CopyRow): BlobRow {
  return { ...row, volume, extent, start, incarnation, suspect };
}

export function samePlace(a: Place, b: Place): boolean {
  return (
    a.volume === b.volume && a.extent === b.extent && a.start === b.start && a.incarnation === b.incarnation
  );
}

/** Reading, for any connection. A row whose checksum does not hold is as good as none: its bytes are an orphan, which a scrub takes in. */
export class CopyReader {
  readonly #sql: Statements;
  readonly #hasher: RowHasher;

  constructor(sql: Statements, hasher: RowHasher) {
    this.#sql = sql;
    this.#hasher = hasher;
  }

  /** The further copies of a blob, those found damaged last. */
  of(blob: number): CopyRow[] {
    return this.sound(
      this.#sql.rows('SELECT * FROM copies WHERE blob = ? ORDER BY suspect, volume').all(blob),
    );
  }

  /** Copies in a part of a volume, by place. */
  within(volume: number, fromExtent: number, toExtent: number): { sound: CopyRow[]; unsound: CopyRow[] } {
    const rows = this.#sql
      .rows('SELECT * FROM copies WHERE volume = ? AND extent BETWEEN ? AND ? ORDER BY extent, start')
      .all(volume, fromExtent, toExtent) as CopyRow[];
    const sound = this.sound(rows);
    return { sound, unsound: rows.filter((row) => !sound.includes(row)) };
  }

  /** Those of the rows whose checksum holds. */
  sound(rows: readonly unknown[]): CopyRow[] {
    return (rows as StoredRow[]).filter((row) => equalBytes(this.sum(row), row.sum));
  }

  sum({ blob, volume, extent, start, incarnation, suspect }: CopyRow): Uint8Array {
    return this.#hasher.sum('copies', [blob, volume, extent, start, incarnation, suspect]);
  }
}

/** Writing, for the one connection that commits. */
export class CopyWriter extends CopyReader {
  readonly #sql: Statements;
  /** Whether there are any at all, once it was asked for in this transaction: without mirrors nothing is looked up. */
  #any: boolean | undefined;

  constructor(sql: Statements, hasher: RowHasher) {
    super(sql, hasher);
    this.#sql = sql;
  }

  /** Call at the start of each transaction: another process may have made the first one. */
  begin(): void {
    this.#any = undefined;
  }

  get any(): boolean {
    this.#any ??= this.#sql.values('SELECT EXISTS (SELECT 1 FROM copies)').get() === 1;
    return this.#any;
  }

  override of(blob: number): CopyRow[] {
    return this.any ? super.of(blob) : [];
  }

  /** In a running transaction, like all that follow. A row of the same blob in the same volume is replaced. */
  put(row: CopyRow): void {
    const { blob, volume, extent, start, incarnation, suspect } = row;
    this.#any = true;
    this.#sql
      .rows(
        'INSERT OR REPLACE INTO copies (blob, volume, extent, start, incarnation, suspect, sum) VALUES (?, ?, ?, ?, ?, ?, ?)',
      )
      .run(blob, volume, extent, start, incarnation, suspect, this.sum(row));
  }

  delete({ blob, volume }: Pick<CopyRow, 'blob' | 'volume'>): void {
    this.#sql.rows('DELETE FROM copies WHERE blob = ? AND volume = ?').run(blob, volume);
  }

  /** All rows of a blob, sound or not. */
  deleteAll(blob: number): void {
    if (this.any) this.#sql.rows('DELETE FROM copies WHERE blob = ?').run(blob);
  }
}
