/** An attacker with the disk and without keys: changes stored objects and rows, and makes every checksum fit again. */
import { createRequire } from 'node:module';
import { chmodSync, cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BlobRow, BlobReader, isChunked, partNameOf } from '../../../engine/catalog/blob-rows.ts';
import { type RootRow, ownerKinds } from '../../../engine/catalog/reference-rows.ts';
import { type HashedTable, RowHasher, xorInto } from '../../../engine/catalog/row-sums.ts';
import { toHex } from '../../../engine/codec/bytes.ts';
import { Frame, FrameWriter } from '../../../engine/codec/frame.ts';
import { readRecord, recordOverhead, writeRecord } from '../../../engine/codec/record.ts';
import type { Database, DatabaseClass } from '../../../engine/driver.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { partFile } from '../../../engine/volumes/directory.ts';

const Driver = createRequire(import.meta.url)('better-sqlite3') as DatabaseClass;
const tables = { blobs: 1, refs: 2, roots: 3 } as const;

/** One stored copy: what its record or frame holds, and as what. */
export interface Forged {
  readonly content: Uint8Array;
  readonly kind?: 'raw' | 'node';
  /** Says that it is sealed. */
  readonly sealed?: boolean;
}

/** Works on a store that nobody has open. */
export class Forger {
  readonly #root: string;
  readonly #db: Database;
  readonly #hasher = new RowHasher();
  readonly #rows: BlobReader;

  constructor(root: string) {
    this.#root = root;
    this.#db = new Driver(join(root, 'index.db'), {});
    this.#rows = new BlobReader(this.#db, this.#hasher);
  }

  /** Makes the buckets fit the rows, and leaves. */
  close(): void {
    for (const [table, number] of Object.entries(tables)) {
      const hash = new Uint8Array(16);
      const sums = this.#db.prepare(`SELECT sum FROM ${table}`).pluck().all() as Uint8Array[];
      for (const sum of sums) xorInto(hash, sum);
      this.#db
        .prepare('INSERT OR REPLACE INTO buckets (kind, bucket, count, hash) VALUES (?, 0, ?, ?)')
        .run(number, sums.length, hash);
    }
    this.#db.close();
  }

  row(name: string): BlobRow {
    return this.#rows.byId(Buffer.from(name, 'hex'))!;
  }

  /** Rows of blobs that have bytes of their own. */
  rows(): BlobRow[] {
    const all = this.#db.prepare('SELECT * FROM blobs ORDER BY n').all() as unknown as BlobRow[];
    return all.filter((row) => !isChunked(row));
  }

  roots(): RootRow[] {
    return this.#db.prepare('SELECT * FROM roots ORDER BY name').all() as unknown as RootRow[];
  }

  /** Changes columns of a row of `blobs`; its checksum fits again. */
  setBlob(row: BlobRow, values: Partial<BlobRow>): void {
    const changed = { ...row, ...values };
    const names = Object.keys(values) as (keyof BlobRow)[];
    this.#db
      .prepare(`UPDATE blobs SET ${names.map((name) => `${name} = ?`).join(', ')}, sum = ? WHERE n = ?`)
      .run(...names.map((name) => changed[name]!), this.#rows.sum(changed), row.n);
  }

  setRoot(root: RootRow, values: Partial<RootRow>): void {
    const { name, blob, changed, sequence, shown } = { ...root, ...values };
    const sum = this.#hasher.sum('roots', [name, blob, changed, sequence, shown]);
    this.#db
      .prepare('UPDATE roots SET blob = ?, changed = ?, sequence = ?, shown = ?, sum = ? WHERE name = ?')
      .run(blob, changed, sequence, shown, sum, name);
    this.refer(blob, ownerKinds.root, name);
  }

  refer(child: number, kind: number, owner: string | number): void {
    const sum = this.#hasher.sum('refs', [child, kind, owner]);
    this.#db.prepare('DELETE FROM refs WHERE kind = ? AND owner = ?').run(kind, owner);
    this.#db
      .prepare('INSERT INTO refs (child, kind, owner, sum) VALUES (?, ?, ?, ?)')
      .run(child, kind, owner, sum);
    this.#db.prepare('UPDATE blobs SET refcount = (SELECT count(*) FROM refs WHERE child = n)').run();
    for (const row of this.#db.prepare('SELECT * FROM blobs').all() as unknown as BlobRow[])
      this.setBlob(row, { refcount: row.refcount });
  }

  /** As if the catalog had lost the rows of all blobs that nobody holds. */
  loseUnreferenced(): void {
    this.#db.prepare('DELETE FROM blobs WHERE zero_since IS NOT NULL').run();
  }

  /** The number of the manifest that a chunked blob refers to. */
  manifestOf(n: number): number {
    return this.#db
      .prepare('SELECT child FROM refs WHERE kind = ? AND owner = ?')
      .pluck()
      .get(ownerKinds.chunked, n) as number;
  }

  side(): { name: string; key: string; value: Uint8Array }[] {
    return this.#db.prepare('SELECT name, key, value FROM side ORDER BY key').all() as never;
  }

  setSide(name: string, key: string, value: Uint8Array): void {
    const sum = this.#hasher.sum('side' satisfies HashedTable, [name, key, value]);
    this.#db
      .prepare('UPDATE side SET value = ?, sum = ? WHERE name = ? AND key = ?')
      .run(value, sum, name, key);
  }

  /** The bytes that are stored of a blob: a sealed object. */
  stored(row: BlobRow): Uint8Array {
    if (this.#isFile(row)) {
      const bytes = new Uint8Array(readFileSync(this.#path(row)));
      const read = (at: number, length: number): Uint8Array => bytes.subarray(at, at + length);
      const content = new Uint8Array(row.size);
      const frame = new Frame(nodeProvider, read, bytes.length);
      if (row.size > 0) frame.read(read, 0, row.size, content);
      return content;
    }
    return this.#inVolume(row, (volume) => {
      const data = volume
        .prepare('SELECT data FROM extents WHERE n = ?')
        .pluck()
        .get(row.extent) as Uint8Array;
      return readRecord(nodeProvider, data, row.start).content().slice();
    });
  }

  /** Writes another copy in the place of a row's, with checksums that hold, and lets the row point to it. */
  replace(row: BlobRow, forged: Forged): void {
    const { content, kind = row.kind === 1 ? 'node' : 'raw', sealed = true } = forged;
    if (this.#isFile(row)) return this.#replaceFile(row, content, sealed);
    const chunkLog2 = 12;
    const chunks = cut(content).map((bytes) => ({ codec: 0, bytes }) as const);
    const bytes = new Uint8Array(recordOverhead(content.length, chunkLog2) + content.length);
    const { length } = content;
    const place = { part: 0, offset: 0, last: true, chunkLog2, size: length, contentBytes: length };
    const head = { kind, sealed, id: row.id, incarnation: row.incarnation, ...place };
    writeRecord(nodeProvider, bytes, 0, { head, chunks });
    const extent = this.#inVolume(row, (volume) => {
      const next = (volume.prepare('SELECT max(n) FROM extents').pluck().get() as number) + 1;
      volume.prepare('INSERT INTO extents (n, data) VALUES (?, ?)').run(next, bytes);
      return next;
    });
    this.#db.prepare('UPDATE volumes SET extents = ? WHERE n = ?').run(extent, row.volume);
    this.setBlob(row, { extent, start: 0, stored: bytes.length, size: length });
  }

  #replaceFile(row: BlobRow, content: Uint8Array, sealed: boolean): void {
    const frame = new FrameWriter(nodeProvider, 12, sealed);
    const pieces = [frame.head()];
    for (const bytes of cut(content)) pieces.push(...frame.add({ codec: 0, bytes }));
    pieces.push(...frame.finish(row.id, content.length));
    const bytes = Buffer.concat(pieces);
    this.writeFile(row, bytes);
    this.setBlob(row, { stored: bytes.length, size: content.length });
  }

  writeFile(row: BlobRow, bytes: Uint8Array): void {
    chmodSync(this.#path(row), 0o644);
    writeFileSync(this.#path(row), bytes);
  }

  #path(row: BlobRow): string {
    return join(this.#root, 'blobs', toHex(row.id).slice(0, 2), partFile(partNameOf(row)));
  }

  #isFile(row: BlobRow): boolean {
    return (
      this.#db.prepare(`SELECT kind = 'directory' FROM volumes WHERE n = ?`).pluck().get(row.volume) === 1
    );
  }

  #inVolume<Result>(row: BlobRow, work: (volume: Database) => Result): Result {
    const id = this.#db.prepare('SELECT id FROM volumes WHERE n = ?').pluck().get(row.volume) as string;
    const volume = new Driver(join(this.#root, 'volumes', `${id}.db`), {});
    try {
      return work(volume);
    } finally {
      volume.close();
    }
  }
}

function cut(content: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < content.length; at += 4096) pieces.push(content.subarray(at, at + 4096));
  return pieces;
}

/** Copies a closed store, so that each attack has one of its own. */
export function copyStore(from: string, to: string): void {
  cpSync(from, to, { recursive: true });
}

/** Every file of a folder, by its path in it. */
export function filesOf(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}
