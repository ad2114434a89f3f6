/** What is remembered of scrubs: a row for each, begun and ended. */
import type { ScrubRecord } from '../api.ts';
import type { Catalog } from '../catalog/catalog.ts';

/** Enough for years of daily ones. */
const rowsMax = 1_000;

export interface ScrubEnd extends Omit<ScrubRecord, 'begunMs' | 'endedMs'> {
  /** From beginScrub. */
  readonly n: number;
}

/** Returns its number. */
export function beginScrub(catalog: Catalog): number {
  return catalog.transaction((transaction) => {
    transaction.changed = true;
    const { sql } = catalog;
    const { lastInsertRowid } = sql
      .rows(
        'INSERT INTO scrubs (begun, blobs, bytes, damaged, healed, complete, elapsed) VALUES (?, 0, 0, 0, 0, 0, 0)',
      )
      .run(transaction.state.clockMs);
    sql.rows('DELETE FROM scrubs WHERE n <= ?').run(Number(lastInsertRowid) - rowsMax);
    return Number(lastInsertRowid);
  });
}

export function endScrub(catalog: Catalog, end: ScrubEnd): void {
  const { n, blobs, bytes, damaged, healed, complete, milliseconds } = end;
  catalog.transaction((transaction) => {
    transaction.changed = true;
    catalog.sql
      .rows(
        'UPDATE scrubs SET ended = ?, blobs = ?, bytes = ?, damaged = ?, healed = ?, complete = ?, elapsed = ? WHERE n = ?',
      )
      .run(
        transaction.state.clockMs,
        blobs,
        bytes,
        damaged,
        healed,
        Number(complete),
        Math.round(milliseconds),
        n,
      );
  });
}
