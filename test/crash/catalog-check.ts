// Reads a crashed store's catalog before recovery touches it: every row of a large blob must have its file, whole.
//
// Recovery may put right, and so hide, a catalog that speaks of bytes which are not there ("unlink before catalog"). Opens a copy, never
// the store's own files, and knows nothing of the engine's code, only of its format.
import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

interface Row {
  readonly id: string;
  readonly incarnation: number;
  readonly codec: number;
  readonly stored: number;
  /** Of the directory; null for the store's own. */
  readonly path: string | null;
}
type Sqlite = new (path: string) => {
  prepare(sql: string): { all(): unknown[] };
  close(): void;
};
const Sqlite = createRequire(import.meta.url)('better-sqlite3') as Sqlite;

const largeRows = `SELECT lower(hex(held.id)) AS id, incarnation, codec, stored, path FROM
  (SELECT id, volume, incarnation, codec, stored, suspect FROM blobs
   UNION ALL SELECT blobs.id, copies.volume, copies.incarnation, codec, stored, copies.suspect FROM copies JOIN blobs ON blobs.n = copies.blob) AS held
  JOIN volumes ON volumes.n = held.volume WHERE volumes.kind = 'directory' AND suspect = 0`;
const wrongCounts = `SELECT lower(hex(id)) AS id FROM blobs WHERE suspect = 0 AND refcount != (SELECT count(*) FROM refs WHERE child = n)`;

/** What is wrong with the catalog as it lies there. Nothing, while the store is still being made. */
export function checkCatalog(store: string): string[] {
  const superblock = join(store, 'superblock');
  const index = join(store, 'index.db');
  if (!existsSync(superblock) || !existsSync(index)) return [];
  const copy = mkdtempSync(`${store}-catalog-`);
  const problems: string[] = [];
  try {
    copyFileSync(index, join(copy, 'index.db'));
    if (existsSync(`${index}-wal`)) copyFileSync(`${index}-wal`, join(copy, 'index.db-wal'));
    const db = new Sqlite(join(copy, 'index.db'));
    try {
      for (const { id, incarnation, codec, stored, path: folder } of db.prepare(largeRows).all() as Row[]) {
        const path = join(
          folder ?? join(store, 'blobs'),
          id.slice(0, 2),
          `${id}.${incarnation.toString(16)}${codec === 1 ? '.f' : ''}`,
        );
        const size = existsSync(path) ? statSync(path).size : undefined;
        if (size !== stored)
          problems.push(`before recovery: a row names ${path}, which ${lies(size, stored)}`);
      }
      for (const { id } of db.prepare(wrongCounts).all() as Row[])
        problems.push(`before recovery: the count of ${id.slice(0, 12)} is not its recount`);
    } finally {
      db.close();
    }
  } catch (error) {
    problems.push(
      `before recovery: the catalog cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  return problems;
}

const lies = (size: number | undefined, stored: number): string =>
  size === undefined ? 'is missing' : `has ${size} bytes instead of ${stored}`;
