/** Checksums of catalog rows, and per bucket of rows a count and a set hash, so that a changed and a lost row are both seen. */
import type { Provider } from '../codec/provider.ts';
import type { Database, Statement } from '../driver.ts';

/** Bytes of a row's checksum: sha256 of its canonical encoding, cut. */
export const sumBytes = 16;
/** Rows are grouped by blob number: 4,096 neighbours share a bucket, so a batch of new rows touches one or two, and one verifies in about 10 ms. */
const bucketShift = 12;
export const bucketRows = 2 ** bucketShift;

export type SummedTable = 'blobs' | 'refs' | 'roots';
const tableNumbers: Record<SummedTable, number> = { blobs: 1, refs: 2, roots: 3 };

export function bucketOf(n: number): number {
  return Math.floor(n / bucketRows);
}

/** Encodes values one after another, each with its type and length, so that no two rows encode alike; then hashes. */
export class RowHasher {
  readonly #provider: Provider;
  #buffer = Buffer.alloc(512);
  #at = 0;

  constructor(provider: Provider) {
    this.#provider = provider;
  }

  /** The checksum of a row given as its values in column order, starting with a word for the table. */
  sum(table: string, values: readonly (number | string | Uint8Array | null)[]): Uint8Array {
    this.#at = 0;
    this.#text(table);
    for (const value of values) {
      if (typeof value === 'number') this.#number(value);
      else if (typeof value === 'string') this.#text(value);
      else if (value === null) this.#room(1).writeUInt8(0, this.#at++);
      else this.#bytes(value);
    }
    return this.#provider.sha256(this.#buffer.subarray(0, this.#at)).subarray(0, sumBytes);
  }

  #number(value: number): void {
    const buffer = this.#room(9);
    buffer.writeUInt8(1, this.#at);
    buffer.writeDoubleLE(value, this.#at + 1);
    this.#at += 9;
  }

  #text(value: string): void {
    const length = Buffer.byteLength(value);
    const buffer = this.#room(5 + length);
    buffer.writeUInt8(2, this.#at);
    buffer.writeUInt32LE(length, this.#at + 1);
    buffer.write(value, this.#at + 5);
    this.#at += 5 + length;
  }

  #bytes(value: Uint8Array): void {
    const buffer = this.#room(5 + value.length);
    buffer.writeUInt8(3, this.#at);
    buffer.writeUInt32LE(value.length, this.#at + 1);
    buffer.set(value, this.#at + 5);
    this.#at += 5 + value.length;
  }

  #room(bytes: number): Buffer {
    if (this.#at + bytes > this.#buffer.length) {
      const grown = Buffer.alloc((this.#at + bytes) * 2);
      this.#buffer.copy(grown, 0, 0, this.#at);
      this.#buffer = grown;
    }
    return this.#buffer;
  }
}

interface Change {
  readonly table: SummedTable;
  readonly bucket: number;
  count: number;
  readonly hash: Buffer;
}

/**
 * Keeps the buckets in step with the rows: changes gather in memory during a transaction and are written at its end (`flush`), or
 * forgotten with it (`drop`). The set hash is the XOR of the row checksums.
 */
export class Buckets {
  readonly #changes = new Map<string, Change>();
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
      const stored = this.#get.get(tableNumbers[table], bucket) as [number, Buffer] | undefined;
      if (stored !== undefined) xorInto(hash, stored[1]);
      this.#put.run(tableNumbers[table], bucket, count + (stored?.[0] ?? 0), hash);
    }
    this.#changes.clear();
  }

  drop(): void {
    this.#changes.clear();
  }

  /** What the bucket should hold; only between transactions, or before the first change of one. */
  stored(table: SummedTable, bucket: number): { count: number; hash: Uint8Array } {
    const row = this.#get.get(tableNumbers[table], bucket) as [number, Buffer] | undefined;
    return row === undefined ? { count: 0, hash: new Uint8Array(sumBytes) } : { count: row[0], hash: row[1] };
  }

  /** Writes what the bucket really holds, after a repair. */
  reset(table: SummedTable, bucket: number, count: number, hash: Uint8Array): void {
    this.#put.run(tableNumbers[table], bucket, count, hash);
  }

  #changeOf(table: SummedTable, bucket: number): Change {
    const key = `${table}${bucket}`;
    let change = this.#changes.get(key);
    if (change === undefined) {
      change = { table, bucket, count: 0, hash: Buffer.alloc(sumBytes) };
      this.#changes.set(key, change);
    }
    return change;
  }
}

export function xorInto(target: Uint8Array, other: Uint8Array): void {
  for (let i = 0; i < sumBytes; i++) target[i]! ^= other[i]!;
}
