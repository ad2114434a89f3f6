/** Rows of the refs table, the truth about who refers to what, and of the roots table. */
import type { Database, Statement } from '../driver.ts';
import { type BlobRow, isChunked } from './blob-rows.ts';
import type { Buckets, RowHasher } from './row-sums.ts';

/** Who holds a reference: a root by name, an application by owner name, a node by its blob number, a chunked blob its manifest. */
export const ownerKinds = { root: 1, application: 2, node: 3, chunked: 4 } as const;

export type Owner =
  | { readonly kind: typeof ownerKinds.root | typeof ownerKinds.application; readonly owner: string }
  | { readonly kind: typeof ownerKinds.node | typeof ownerKinds.chunked; readonly owner: number };

export class ReferenceRows {
  readonly #hasher: RowHasher;
  readonly #buckets: Buckets;
  readonly #insert: Statement;
  readonly #delete: Statement;
  readonly #has: Statement;
  readonly #any: Statement;
  readonly #count: Statement;
  readonly #childrenOf: Statement;

  constructor(db: Database, hasher: RowHasher, buckets: Buckets) {
    this.#hasher = hasher;
    this.#buckets = buckets;
    this.#insert = db.prepare('INSERT OR IGNORE INTO refs (child, kind, owner, sum) VALUES (?, ?, ?, ?)');
    this.#delete = db.prepare('DELETE FROM refs WHERE child = ? AND kind = ? AND owner = ?');
    this.#has = db.prepare('SELECT 1 FROM refs WHERE child = ? AND kind = ? AND owner = ?').pluck();
    this.#any = db.prepare('SELECT 1 FROM refs WHERE child = ? LIMIT 1').pluck();
    this.#count = db.prepare('SELECT count(*) FROM refs WHERE child = ?').pluck();
    this.#childrenOf = db.prepare('SELECT child FROM refs WHERE kind = ? AND owner = ?').pluck();
  }

  /** False when it was there already: references are a set. */
  add(child: number, by: Owner): boolean {
    const sum = this.sum(child, by.kind, by.owner);
    if (this.#insert.run(child, by.kind, by.owner, sum).changes === 0) return false;
    this.#buckets.note('refs', child, sum, 1);
    return true;
  }

  /** False when it was not there. */
  remove(child: number, by: Owner): boolean {
    if (this.#delete.run(child, by.kind, by.owner).changes === 0) return false;
    this.#buckets.note('refs', child, this.sum(child, by.kind, by.owner), -1);
    return true;
  }

  has(child: number, { kind, owner }: Owner): boolean {
    return this.#has.get(child, kind, owner) !== undefined;
  }

  any(child: number): boolean {
    return this.#any.get(child) !== undefined;
  }

  count(child: number): number {
    return this.#count.get(child) as number;
  }

  /** Blob numbers a node refers to, or (the one) a chunked blob does. */
  childrenOf(blob: number, as: typeof ownerKinds.node | typeof ownerKinds.chunked): number[] {
    return this.#childrenOf.all(as, blob) as number[];
  }

  sum(child: number, kind: number, owner: string | number): Uint8Array {
    return this.#hasher.sum('refs', [child, kind, owner]);
  }
}

/** Blobs that a blob refers to, and as what: the links of a node, the manifest of a chunked blob. */
export function childrenOf(
  refs: ReferenceRows,
  row: BlobRow,
): { readonly by: Owner; readonly children: readonly number[] }[] {
  const kinds = [
    ...(row.kind === 1 ? [ownerKinds.node] : []),
    ...(isChunked(row) ? [ownerKinds.chunked] : []),
  ];
  return kinds.map((kind) => ({ by: { kind, owner: row.n }, children: refs.childrenOf(row.n, kind) }));
}

/**
 * Whether all that is known of a blob is who refers to it: its copies were lost, and a rebuild gave it the row of a chunked blob
 * without a manifest. It reads as damaged, and is whole again once its bytes are put, or a copy turns up.
 */
export function isLost(refs: ReferenceRows, row: BlobRow): boolean {
  return row.suspect !== 0 && isChunked(row) && refs.childrenOf(row.n, ownerKinds.chunked).length === 0;
}

export interface RootRow {
  /** The key it is found by; in a store without encryption its name. */
  readonly name: string;
  /** Number of the blob it points to. */
  readonly blob: number;
  readonly changed: number;
  readonly sequence: number;
  /** What its name can be told from. */
  readonly shown: string;
}

export class RootRows {
  readonly #hasher: RowHasher;
  readonly #buckets: Buckets;
  readonly #get: Statement;
  readonly #all: Statement;
  readonly #put: Statement;
  readonly #delete: Statement;

  constructor(db: Database, hasher: RowHasher, buckets: Buckets) {
    this.#hasher = hasher;
    this.#buckets = buckets;
    this.#get = db.prepare('SELECT name, blob, changed, sequence, shown FROM roots WHERE name = ?');
    this.#all = db.prepare('SELECT name, blob, changed, sequence, shown FROM roots ORDER BY name');
    this.#put = db.prepare(
      'INSERT OR REPLACE INTO roots (name, blob, changed, sequence, shown, sum) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#delete = db.prepare('DELETE FROM roots WHERE name = ?');
  }

  get(name: string): RootRow | undefined {
    return this.#get.get(name) as RootRow | undefined;
  }

  all(): RootRow[] {
    return this.#all.all() as RootRow[];
  }

  put(row: RootRow): void {
    const before = this.get(row.name);
    const sum = this.sum(row);
    this.#put.run(row.name, row.blob, row.changed, row.sequence, row.shown, sum);
    if (before === undefined) this.#buckets.note('roots', 0, sum, 1);
    else this.#buckets.replace('roots', 0, this.sum(before), sum);
  }

  delete(row: RootRow): void {
    this.#delete.run(row.name);
    this.#buckets.note('roots', 0, this.sum(row), -1);
  }

  sum(row: RootRow): Uint8Array {
    return this.#hasher.sum('roots', [row.name, row.blob, row.changed, row.sequence, row.shown]);
  }
}
