/** Checksums of catalog rows, and per bucket of rows a count and a set hash, so that a changed and a lost row are both seen. */
import { murmur128 } from '../codec/murmur.ts';
import type { Database, Statement } from '../driver.ts';

/** Bytes of a row's checksum: MurmurHash3 x86_128 of its canonical encoding. It finds accidents; a keyed one comes with encryption. */
export const sumBytes: number = 16;
/** Rows are grouped by blob number: 4,096 neighbours share a bucket, so a batch of new rows touches one or two, and one verifies in about 10 ms. */
const bucketShift = 12;
export const bucketRows: number = 2 ** bucketShift;

export type SummedTable = 'blobs' | 'refs' | 'roots';
const tableNumbers: Record<SummedTable, number> = { blobs: 1, refs: 2, roots: 3 };

export function bucketOf(n: number): number {
  return Math.floor(n / bucketRows);
}

/** Encodes values one after another, each with its type and length, so that no two rows encode alike; then hashes. */
export class RowHasher {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /** The checksum of a row given as its values in column order. The table is the seed, so rows of two tables never sum alike. */
  sum(table: HashedTable, values: readonly (number | string | Uint8Array | null)[]): Uint8Array {
    this.#at = 0;
    for (const value of values) {
      if (typeof value === 'number') this.#number(value);
      else if (typeof value === 'string') this.#text(value);
      else if (value === null) this.#head(0, 0);
      else this.#blob(value);
    }
    const length = this.#at;
    this.#head(0, 15);
    // The hash reads its last block whole.
    this.#bytes.fill(0, length, length + 15);
    return murmur128(this.#view, length, seeds[table]);
  }

  #number(value: number): void {
    this.#head(1, 8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  #text(value: string): void {
    this.#blob(encoder.encode(value), 2);
  }

  #blob(value: Uint8Array, type = 3): void {
    this.#head(type, 4 + value.length);
    this.#view.setUint32(this.#at, value.length, true);
    this.#bytes.set(value, this.#at + 4);
    this.#at += 4 + value.length;
  }

  /** Writes a value's type and makes room for the rest of it. */
  #head(type: number, bytes: number): void {
    if (this.#at + 1 + bytes > this.#bytes.length) {
      const grown = new Uint8Array((this.#at + 1 + bytes) * 2);
      grown.set(this.#bytes.subarray(0, this.#at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#bytes[this.#at++] = type;
  }
}

const encoder = new TextEncoder();

export type HashedTable = 'blobs' | 'refs' | 'roots' | 'chunk_sums' | 'side' | 'copies';
const seeds: Record<HashedTable, number> = {
  blobs: 1,
  refs: 2,
  roots: 3,
  chunk_sums: 4,
  side: 5,
  copies: 6,
};

interface Change {
  readonly table: SummedTable;
  readonly bucket: number;
  count: number;
  readonly hash: Uint8Array;
}

/**
 * Keeps the buckets in step with the rows: changes gather in memory during a transaction and are written at its end (`flush`), or
 * forgotten with it (`drop`). The set hash is the XOR of the row checksums.
 */
export class Buckets {
  readonly #changes = new Map<number, Change>();
  #last: Change | undefined;
  readonly #get: Statement;
  readonly #put: Statement;

  constructor(db: Database) {
    this.#get = db.prepare('SELECT count, hash FROM buckets WHERE kind = ? AND bucket = ?').raw();
    this.#put = db.prepare('INSERT OR REPLACE INTO buckets (kind, bucket, count, hash) VALUES (?, ?, ?, ?)');
  }

  /** A row came (+1) or went (−1). */
  note(table: SummedTable, n: number, sum: Uint8Array, sign: 1 | -1): void {
    const change = this.#changeOf(table, bucketOf(n));
    change.count += sign;
    xorInto(change.hash, sum);
  }

  /** A row changed its values. */
  replace(table: SummedTable, n: number, before: Uint8Array, after: Uint8Array): void {
    const change = this.#changeOf(table, bucketOf(n));
    xorInto(change.hash, before);
    xorInto(change.hash, after);
  }

  flush(): void {
    for (const { table, bucket, count, hash } of this.#changes.values()) {
      const stored = this.#get.get(tableNumbers[table], bucket) as [number, Uint8Array] | undefined;
      if (stored !== undefined) xorInto(hash, stored[1]);
      this.#put.run(tableNumbers[table], bucket, count + (stored?.[0] ?? 0), hash);
    }
    this.drop();
  }

  drop(): void {
    this.#changes.clear();
    this.#last = undefined;
  }

  /** What the bucket should hold; only between transactions, or before the first change of one. */
  stored(table: SummedTable, bucket: number): { count: number; hash: Uint8Array } {
    const row = this.#get.get(tableNumbers[table], bucket) as [number, Uint8Array] | undefined;
    return row === undefined ? { count: 0, hash: new Uint8Array(sumBytes) } : { count: row[0], hash: row[1] };
  }

  /** Writes what the bucket really holds, after a repair. */
  reset(table: SummedTable, bucket: number, count: number, hash: Uint8Array): void {
    this.#put.run(tableNumbers[table], bucket, count, hash);
  }

  #changeOf(table: SummedTable, bucket: number): Change {
    // Neighbours change together.
    if (this.#last?.table === table && this.#last.bucket === bucket) return this.#last;
    const key = 4 * bucket + tableNumbers[table];
    let change = this.#changes.get(key);
    if (change === undefined) {
      change = { table, bucket, count: 0, hash: new Uint8Array(sumBytes) };
      this.#changes.set(key, change);
    }
    this.#last = change;
    return change;
  }
}

export function xorInto(target: Uint8Array, other: Uint8Array): void {
  for (let i = 0; i < sumBytes; i++) target[i]! ^= other[i]!;
}
