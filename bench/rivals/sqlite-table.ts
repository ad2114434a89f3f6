/** The SQLite rival: one table of blobs by sha256, as many an application has it. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { Range, SqliteTable, Table } from '../rival.ts';

const rowsPerTransaction = 1000;
const chunkBytes = 64 * 1024;

export const openTable: SqliteTable['openTable'] = (path, { durable = true } = {}) =>
  new BlobTable(path, durable);

class BlobTable implements Table {
  readonly #db: Database.Database;
  readonly #insert: Database.Statement;
  readonly #get: Database.Statement;
  readonly #has: Database.Statement;
  readonly #chunk: Database.Statement;

  constructor(path: string, durable: boolean) {
    this.#db = new Database(path);
    this.#db.pragma('journal_mode = WAL');
    this.#db.pragma(`synchronous = ${durable ? 'FULL' : 'OFF'}`);
    this.#db.exec('CREATE TABLE IF NOT EXISTS blobs (id BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT');
    this.#db.exec('CREATE TABLE IF NOT EXISTS chunks (n INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT');
    this.#insert = this.#db.prepare('INSERT OR IGNORE INTO blobs (id, bytes) VALUES (?, ?)');
    this.#get = this.#db.prepare('SELECT bytes FROM blobs WHERE id = ?').pluck();
    this.#has = this.#db.prepare('SELECT 1 FROM blobs WHERE id = ?').pluck();
    this.#chunk = this.#db.prepare('SELECT bytes FROM chunks WHERE n = ?').pluck();
  }

  putFiles(paths: readonly string[]): number {
    let total = 0;
    for (let at = 0; at < paths.length; at += rowsPerTransaction) {
      this.#transaction(() => {
        for (const path of paths.slice(at, at + rowsPerTransaction)) {
          const bytes = readFileSync(path);
          this.#insert.run(sha256(bytes), bytes);
          total += bytes.length;
        }
      });
    }
    return total;
  }

  putObjects(count: number, make: (index: number) => Uint8Array): void {
    for (let at = 0; at < count; at += rowsPerTransaction) {
      this.#transaction(() => {
        for (let i = at; i < Math.min(count, at + rowsPerTransaction); i++) {
          const bytes = make(i);
          this.#insert.run(sha256(bytes), bytes);
        }
      });
    }
  }

  putOne(bytes: Uint8Array): void {
    this.#insert.run(sha256(bytes), bytes);
  }

  putChunks(path: string): void {
    const insert = this.#db.prepare('INSERT INTO chunks (n, bytes) VALUES (?, ?)');
    const file = openSync(path, 'r');
    this.#transaction(() => {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      for (let n = 0; ; n++) {
        const count = readSync(file, chunk);
        if (count === 0) break;
        insert.run(n, chunk.subarray(0, count));
      }
    });
    closeSync(file);
  }

  deleteRows(ids: readonly Uint8Array[]): number {
    const drop = this.#db.prepare('DELETE FROM blobs WHERE id = ?');
    let deleted = 0;
    for (let at = 0; at < ids.length; at += rowsPerTransaction)
      this.#transaction(() => {
        for (const id of ids.slice(at, at + rowsPerTransaction)) deleted += drop.run(id).changes;
      });
    return deleted;
  }

  get(id: Uint8Array): number {
    return (this.#get.get(id) as Buffer | undefined)?.length ?? 0;
  }

  has(id: Uint8Array): boolean {
    return this.#has.get(id) !== undefined;
  }

  readRange({ offset, length }: Range): number {
    const parts: Buffer[] = [];
    for (let n = Math.floor(offset / chunkBytes); n * chunkBytes < offset + length; n++) {
      const chunk = this.#chunk.get(n) as Buffer | undefined;
      if (chunk === undefined) break;
      parts.push(chunk.subarray(Math.max(0, offset - n * chunkBytes), offset + length - n * chunkBytes));
    }
    return Buffer.concat(parts).length;
  }

  ids(): Uint8Array[] {
    return this.#db.prepare('SELECT id FROM blobs').pluck().all() as Uint8Array[];
  }

  close(): void {
    this.#db.close();
  }

  #transaction(work: () => void): void {
    this.#db.exec('BEGIN IMMEDIATE');
    work();
    this.#db.exec('COMMIT');
  }
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
