/** Records that lie in one extent, fetched together: SQLite reads an extent whole for each record asked of it. */
import type { BlobRow } from '../catalog/blob-rows.ts';
import type { SqliteVolume } from '../volumes/sqlite.ts';

/** Records taken out of one extent at once; a span is bounded by the extent, 64 KiB unless a record alone is larger. */
interface Span {
  readonly rows: BlobRow[];
  start: number;
  end: number;
}

/** Bytes of records by where they lie, each given once: a read that is tried again looks at the volume itself. */
export class ReadAhead {
  readonly #records = new Map<string, Uint8Array>();

  /**
   * Fetches the records of rows that lie in SQLite volumes, where it saves a read. What cannot be read is left out: whoever wants it
   * asks the volume, and is told why. O(extents) reads.
   */
  fill(rows: Iterable<BlobRow>, volumeOf: (n: number) => SqliteVolume): void {
    const spans = new Map<string, Span>();
    for (const row of rows) {
      const key = `${row.volume}/${row.extent}`;
      const span = spans.get(key);
      const end = row.start + row.stored;
      if (span === undefined) spans.set(key, { rows: [row], start: row.start, end });
      else {
        span.rows.push(row);
        span.start = Math.min(span.start, row.start);
        span.end = Math.max(span.end, end);
      }
    }
    for (const span of spans.values()) if (span.rows.length > 1) this.#fetch(span, volumeOf);
  }

  /** The stored bytes of a record, if they were fetched; forgotten with this. */
  take(row: BlobRow): Uint8Array | undefined {
    if (this.#records.size === 0) return undefined;
    const key = keyOf(row);
    const bytes = this.#records.get(key);
    if (bytes !== undefined) this.#records.delete(key);
    return bytes;
  }

  clear(): void {
    this.#records.clear();
  }

  #fetch({ rows, start, end }: Span, volumeOf: (n: number) => SqliteVolume): void {
    const { volume, extent } = rows[0]!;
    let bytes: Uint8Array | undefined;
    try {
      bytes = volumeOf(volume).span(extent, start, end - start);
    } catch {
      return; // told by the read of whoever wants it
    }
    if (bytes === undefined) return;
    for (const row of rows) {
      const at = row.start - start;
      if (at + row.stored <= bytes.length) this.#records.set(keyOf(row), bytes.subarray(at, at + row.stored));
    }
  }
}

function keyOf({ volume, extent, start }: BlobRow): string {
  return `${volume}/${extent}/${start}`;
}
