/** Harm to the bytes of a store behind its back: every second file, and all records of its SQLite volumes. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { StoreFolder } from './store-folder.ts';

export type Harm = (bytes: Buffer, at: number, length: number) => Buffer;

/** What becomes of a copy. `at` and `length` are where it lies in its file. */
export const harms: Readonly<Record<string, Harm>> = {
  'a flipped bit': (bytes, at, length) => {
    bytes[at + (length >> 1)]! ^= 1;
    return bytes;
  },
  '4 KiB of zeros': (bytes, at, length) => bytes.fill(0, at, at + Math.min(4096, length)),
  'an end cut off': (bytes, at, length) => bytes.subarray(0, at + (length >> 1)),
};

/** Harms every second file, and every second record in the SQLite volumes. Nothing may have the store open. */
export function harmHalf(folder: StoreFolder, harm: Harm | 'removed'): void {
  for (const [i, path] of folder.files('blobs').entries()) {
    if (i % 2 === 1) continue;
    if (harm === 'removed') rmSync(path);
    else {
      const bytes = readFileSync(path);
      const changed = harm(Buffer.from(bytes), 0, bytes.length);
      rmSync(path);
      writeFileSync(path, changed);
    }
  }
  for (const path of folder.files('volumes').filter((name) => name.endsWith('.db'))) {
    const db = new Database(path);
    for (const { n, data } of db.prepare('SELECT n, data FROM extents').all() as {
      n: number;
      data: Buffer;
    }[]) {
      if (harm === 'removed') db.prepare('DELETE FROM extents WHERE n = ?').run(n);
      else db.prepare('UPDATE extents SET data = ? WHERE n = ?').run(harm(data, 0, data.length), n);
    }
    db.close();
  }
}
