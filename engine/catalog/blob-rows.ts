/** Rows of the blobs table: reading with their checksum verified, writing with buckets and counts kept in step. */
import type { BlobKind } from '../api.ts';
import { equalBytes, fromUpperHex, toHex } from '../codec/bytes.ts';
import type { Database, SqlValue, Statement } from '../driver.ts';
import { StoreError } from '../errors.ts';
import type { PartName } from '../volume.ts';
import type { Buckets, RowHasher } from './row-sums.ts';

const idBytes = 32;

/** A blob as the catalog knows it. Times in milliseconds of the store's clock; generations count catalog commits. */
export interface BlobRow {
  readonly n: number;
  /** In an encrypted store the locator. */
  readonly id: Uint8Array;
  kind: number;
  /** One of `storedForms`. */
  codec: number;
  /** Of its content; in an encrypted store of the sealed object, and 0 of a chunked blob. */
  readonly size: number;
  /** Bytes it takes in its volume. */
  stored: number;
  volume: number;
  extent: number;
  start: number;
  incarnation: number;
  /** A cache of the number of refs rows. */
  refcount: number;
  readonly created: number;
  /** Last put, and the generation it was made in. */
  touched: number;
  touched_gen: number;
  /** Since when nothing refers to it; null while something does. */
  zero_since: number | null;
  zero_gen: number | null;
  /** 1 after a read or scrub found it damaged. */
  suspect: number;
  /** In an encrypted store the sealed id and size, unless it was taken in without keys; else null. */
  label: Uint8Array | null;
}

/** How the bytes of a blob are stored. Values are part of the format. */
export const storedForms = {
  /** A record in a SQLite volume, or a file that is the content. */
  plain: 0,
  /** A framed file (codec/frame.ts). */
  framed: 1,
  /** Chunk blobs by a manifest (codec/manifest.ts), to which the row refers; it has no bytes of its own. */
  chunked: 2,
  /** Bytes that lie in an alternate (alternates.ts); the row stands for them here and counts who refers to them. */
  borrowed: 3,
} as const;

/** The volume of a chunked and of a borrowed blob: none. */
export const noVolume = 0;

export function isChunked(row: BlobRow): boolean {
  return row.codec === storedForms.chunked;
}

export function isBorrowed(row: BlobRow): boolean {
  return row.codec === storedForms.borrowed;
}

/** Whether it has bytes of its own in a volume: neither chunked nor borrowed. */
export function isPlaced(row: BlobRow): boolean {
  return row.codec < storedForms.chunked;
}

/** The name of the copy a row points to. */
export function partNameOf(row: BlobRow): PartName {
  const name = { id: toHex(row.id), incarnation: row.incarnation };
  return row.codec === storedForms.framed ? { ...name, framed: true } : name;
}

type StoredRow = BlobRow & { readonly sum: Uint8Array };
type NewRow = Omit<BlobRow, 'n'>;

const columns = [
  'id',
  'kind',
  'codec',
  'size',
  'stored',
  'volume',
  'extent',
  'start',
  'incarnation',
  'refcount',
  'created',
  'touched',
  'touched_gen',
  'zero_since',
  'zero_gen',
  'suspect',
  'label',
] as const;

/** A row's values: its number, then the columns in order. Written out, because this runs for every row read and written. */
function valuesOf(row: BlobRow): (number | Uint8Array | null)[] {
  return [
    row.n,
    row.id,
    row.kind,
    row.codec,
    row.size,
    row.stored,
    row.volume,
    row.extent,
    row.start,
    row.incarnation,
    row.refcount,
    row.created,
    row.touched,
    row.touched_gen,
    row.zero_since,
    row.zero_gen,
    row.suspect,
    row.label,
  ];
}

/** Those values and the checksum. */
type RowValues = [
  n: number,
  id: Uint8Array,
  ...numbers: number[],
  zeroSince: number | null,
  zeroGen: number | null,
  suspect: number,
  label: Uint8Array | null,
  sum: Uint8Array,
];

function rowOf(values: RowValues): StoredRow {
  const numbers = values as unknown as number[];
  return {
    n: values[0],
    id: values[1],
    kind: numbers[2]!,
    codec: numbers[3]!,
    size: numbers[4]!,
    stored: numbers[5]!,
    volume: numbers[6]!,
    extent: numbers[7]!,
    start: numbers[8]!,
    incarnation: numbers[9]!,
    refcount: numbers[10]!,
    created: numbers[11]!,
    touched: numbers[12]!,
    touched_gen: numbers[13]!,
    zero_since: values[14] as number | null,
    zero_gen: values[15] as number | null,
    suspect: numbers[16]!,
    label: values[17] as Uint8Array | null,
    sum: values[18] as Uint8Array,
  };
}

const countColumns = ['refcount', 'touched', 'touched_gen', 'zero_since', 'zero_gen', 'suspect'] as const;

function countsOf(row: BlobRow): (number | null)[] {
  return [row.refcount, row.touched, row.touched_gen, row.zero_since, row.zero_gen, row.suspect];
}

function updateOf(changing: readonly string[]): string {
  return `UPDATE blobs SET ${changing.map((column) => `${column} = ?`).join(', ')}, sum = ? WHERE n = ?`;
}

export function kindName(kind: number): BlobKind {
  return kind === 1 ? 'node' : 'raw';
}

/** The first 48 bits of an id, the key of the index by id. */
export function prefixOf(id: Uint8Array): number {
  return ((id[0]! << 16) | (id[1]! << 8) | id[2]!) * 0x100_0000 + ((id[3]! << 16) | (id[4]! << 8) | id[5]!);
}

/**
 * A byte string as digits, for who reads many rows: the driver makes text in a sixth of the time. What is something else, as in a damaged
 * row, stays what it is.
 */
export function digitsOf(column: string): string {
  return `iif(typeof(${column}) = 'blob', hex(${column}), ${column})`;
}

/** And back. */
export function bytesOf(value: unknown): Uint8Array {
  return ((typeof value === 'string' ? fromUpperHex(value) : undefined) ?? value) as Uint8Array;
}

/** Reading, for any connection. */
export class BlobReader {
  readonly hasher: RowHasher;
  readonly #byId: Statement;
  readonly #byNumber: Statement;
  readonly #numberOf: Statement;
  readonly #byIds: Statement;
  readonly #idsOf: Statement;
  readonly #within: Statement;
  readonly #placed: Statement;

  constructor(db: Database, hasher: RowHasher) {
    this.hasher = hasher;
    // As arrays: they cost half of what objects do, and each link of each new node reads a row.
    const all = `SELECT n, ${columns.join(', ')}, sum FROM blobs`;
    this.#byId = db.prepare(`${all} WHERE prefix = ? AND id = ?`).raw();
    this.#byNumber = db.prepare(`${all} WHERE n = ?`).raw();
    this.#numberOf = db.prepare('SELECT n FROM blobs WHERE prefix = ? AND id = ?').pluck();
    // Two byte strings in one: to get one costs as much as all the numbers.
    this.#byIds = db
      .prepare(
        `SELECT n, NULL, ${columns.slice(1).join(', ')}, CAST(blobs.id || sum AS BLOB), key
         FROM json_each(?) CROSS JOIN blobs ON prefix = value`,
      )
      .raw();
    this.#idsOf = db
      .prepare('SELECT key, blobs.id FROM json_each(?) CROSS JOIN blobs ON prefix = value')
      .raw();
    const many = `SELECT n, ${digitsOf('id')}, ${columns.slice(1).join(', ')}, ${digitsOf('sum')} FROM blobs`;
    this.#within = db.prepare(`${many} WHERE n BETWEEN ? AND ?`).raw();
    this.#placed = db
      .prepare(`${many} WHERE volume = ? AND extent BETWEEN ? AND ? ORDER BY extent, start`)
      .raw();
  }

  /** `corrupt` when the row's checksum does not hold. */
  byId(id: Uint8Array): BlobRow | undefined {
    return this.#checked(this.#byId.get(prefixOf(id), id) as RowValues | undefined);
  }

  /** The same of many, in their order, as one question. */
  byIds(ids: readonly Uint8Array[]): (BlobRow | undefined)[] {
    const rows = ids.map((): BlobRow | undefined => undefined);
    for (const values of this.#byIds.all(JSON.stringify(ids.map(prefixOf))) as unknown[][]) {
      const i = values.pop() as number;
      const both = values.pop() as Uint8Array;
      const id = new Uint8Array(both.buffer, both.byteOffset, idBytes);
      if (!equalBytes(id, ids[i]!)) continue; // another one that begins alike
      values[1] = id;
      values.push(both.subarray(idBytes));
      rows[i] = this.#checked(values as unknown as RowValues);
    }
    return rows;
  }

  byNumber(n: number): BlobRow | undefined {
    return this.#checked(this.#byNumber.get(n) as RowValues | undefined);
  }

  /** The row without its checksum verified, and whether it holds: for scrub and healing. */
  inspect(id: Uint8Array): { row: BlobRow; sound: boolean } | undefined {
    const values = this.#byId.get(prefixOf(id), id) as RowValues | undefined;
    if (values === undefined) return undefined;
    const row = rowOf(values);
    return { row, sound: this.holds(row) };
  }

  numberOf(id: Uint8Array): number | undefined {
    return this.#numberOf.get(prefixOf(id), id) as number | undefined;
  }

  /** Which of these have a row. */
  has(ids: readonly Uint8Array[]): boolean[] {
    const here = ids.map(() => false);
    const found = this.#idsOf.all(JSON.stringify(ids.map(prefixOf))) as [number, Uint8Array][];
    for (const [i, id] of found) here[i] ||= equalBytes(id, ids[i]!);
    return here;
  }

  /** Whether the checksum of a row that was read with it holds. */
  holds(row: BlobRow): boolean {
    return equalBytes(this.sum(row), (row as StoredRow).sum);
  }

  sum(row: BlobRow): Uint8Array {
    return this.hasher.sum('blobs', valuesOf(row));
  }

  /** The rows of a part of a volume, by place, their checksums not verified. Thousands: as arrays they cost half of what objects do. */
  placed(volume: number, fromExtent: number, toExtent: number): BlobRow[] {
    const rows = this.#placed.all(volume, fromExtent, toExtent) as RowValues[];
    return rows.map((values) => {
      const row = rowOf(values) as { id: Uint8Array; sum: Uint8Array } & StoredRow;
      row.id = bytesOf(row.id);
      row.sum = bytesOf(row.sum);
      return row;
    });
  }

  /** The checksums of the rows from..to, by number, and whether they hold: cheaper than the rows. */
  *sums(from: number, to: number): Generator<{ sum: Uint8Array; sound: boolean }> {
    for (const row of this.#within.all(from, to) as (number | Uint8Array | null)[][]) {
      const sum = bytesOf(row.pop());
      row[1] = bytesOf(row[1]);
      yield { sum, sound: equalBytes(this.hasher.sum('blobs', row), sum) };
    }
  }

  #checked(values: RowValues | undefined): BlobRow | undefined {
    if (values === undefined) return undefined;
    const row = rowOf(values);
    if (this.holds(row)) return row;
    throw new StoreError('corrupt', 'a catalog row of this blob is damaged', { id: toHex(row.id) });
  }
}

/** Writing, for the one connection that commits. */
export class BlobWriter extends BlobReader {
  readonly #buckets: Buckets;
  readonly #insert: Statement;
  readonly #update: Statement;
  readonly #updateCounts: Statement;
  readonly #delete: Statement;
  readonly #nextNumber: Statement;
  #next = 0;

  constructor(db: Database, hasher: RowHasher, buckets: Buckets) {
    super(db, hasher);
    this.#buckets = buckets;
    this.#insert = db.prepare(
      `INSERT INTO blobs (n, prefix, ${columns.join(', ')}, sum) VALUES (?, ?, ${columns.map(() => '?').join(', ')}, ?)`,
    );
    this.#update = db.prepare(updateOf(columns.slice(1)));
    this.#updateCounts = db.prepare(updateOf(countColumns));
    this.#delete = db.prepare('DELETE FROM blobs WHERE n = ?');
    this.#nextNumber = db.prepare(`SELECT seq FROM sqlite_sequence WHERE name = 'blobs'`).pluck();
  }

  /** Call at the start of each transaction: another process may have taken numbers. */
  begin(): void {
    this.#next = ((this.#nextNumber.get() as number | undefined) ?? 0) + 1;
  }

  insert(fresh: NewRow): BlobRow {
    const row: BlobRow & { sum?: Uint8Array } = { n: this.#next++, ...fresh };
    const sum = this.sum(row);
    row.sum = sum;
    const [n, ...values] = valuesOf(row);
    this.#insert.run(n!, prefixOf(row.id), ...values, sum);
    this.#buckets.note('blobs', row.n, sum, 1);
    return row;
  }

  /** Writes a row that was read in this transaction and got another place or kind. */
  update(row: BlobRow): void {
    this.#write(row, this.#update, valuesOf(row).slice(2));
  }

  /** Writes a row of which only counts, times and marks changed; leaves the index by place alone. */
  updateCounts(row: BlobRow): void {
    this.#write(row, this.#updateCounts, countsOf(row));
  }

  delete(row: BlobRow): void {
    this.#delete.run(row.n);
    this.#buckets.note('blobs', row.n, (row as StoredRow).sum, -1);
  }

  /** After a repair: the count is set and the checksum, which is returned, made to fit; the caller corrects the bucket. */
  resum(row: BlobRow, refcount: number): Uint8Array {
    row.refcount = refcount;
    if (refcount > 0) row.zero_since = row.zero_gen = null;
    else {
      row.zero_since ??= row.touched;
      row.zero_gen ??= row.touched_gen;
    }
    const sum = this.sum(row);
    this.#updateCounts.run(...countsOf(row), sum, row.n);
    return sum;
  }

  #write(row: BlobRow, statement: Statement, values: readonly SqlValue[]): void {
    const before = (row as StoredRow).sum;
    const after = this.sum(row);
    statement.run(...values, after, row.n);
    this.#buckets.replace('blobs', row.n, before, after);
    (row as { sum?: Uint8Array }).sum = after;
  }
}
