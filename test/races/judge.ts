/** Judges a store from outside when a schedule is over: what is held is readable, counts are recounts, rows and files fit. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Store } from '../../engine/index.ts';
import { type Blob, closure } from './universe.ts';
import { must } from './process.ts';

interface Row {
  readonly id: string;
  readonly incarnation: number;
  readonly codec: number;
  readonly stored: number;
  readonly place: string | null;
  readonly suspect: number;
}
type Sqlite = new (
  path: string,
  options: { readonly readonly: boolean },
) => { prepare(sql: string): { all(): unknown[] }; close(): void };
const Sqlite = createRequire(import.meta.url)('better-sqlite3') as Sqlite;

const files = `SELECT lower(hex(b.id)) AS id, b.incarnation, b.codec, b.stored, v.path AS place, b.suspect FROM blobs AS b
    JOIN volumes AS v ON v.n = b.volume WHERE v.kind = 'directory'
  UNION ALL SELECT lower(hex(b.id)), c.incarnation, b.codec, b.stored, v.path, c.suspect FROM copies AS c
    JOIN blobs AS b ON b.n = c.blob JOIN volumes AS v ON v.n = c.volume WHERE v.kind = 'directory'`;
/** Rows that must not be there when nobody is at work. */
const wrong: Readonly<Record<string, string>> = {
  'a count that is not its recount': `SELECT n FROM blobs WHERE refcount != (SELECT count(*) FROM refs WHERE child = n)`,
  'a reference to nothing': 'SELECT child FROM refs WHERE child NOT IN (SELECT n FROM blobs)',
  'an intent of a file that nobody is writing': 'SELECT n FROM intents',
  'a tombstone whose file stays': 'SELECT n FROM tombstones',
  'a blob that is said to be damaged': 'SELECT n FROM blobs WHERE suspect != 0',
  'a copy that is said to be damaged': 'SELECT blob FROM copies WHERE suspect != 0',
  'a horizon of nobody': 'SELECT uuid FROM leases WHERE horizon IS NOT NULL',
  'a blob in no volume': `SELECT n FROM blobs WHERE codec != 2 AND volume NOT IN (SELECT n FROM volumes WHERE state != 'dropped')`,
};

/** Looks at the catalog and the folders without the engine's code. `settled`: all steps are over, and all of them went well. */
export function judgeFolder(folder: string): void {
  const db = new Sqlite(join(folder, 'index.db'), { readonly: true });
  try {
    for (const [what, sql] of Object.entries(wrong)) {
      const found = db.prepare(sql).all();
      must(found.length === 0, `${what}: ${JSON.stringify(found.slice(0, 3))}`);
    }
    const expected = new Map<string, number>();
    for (const { id, incarnation, codec, stored, place } of db.prepare(files).all() as Row[]) {
      const name = `${id}.${incarnation.toString(16)}${codec === 1 ? '.f' : ''}`;
      expected.set(join(place ?? join(folder, 'blobs'), id.slice(0, 2), name), stored);
    }
    for (const [path, stored] of expected) {
      must(existsSync(path), `a row names ${path}, which is missing`);
      must(statSync(path).size === stored, `${path} has another size than its row says`);
    }
    const places = db.prepare(`SELECT path FROM volumes WHERE kind = 'directory'`).all() as {
      path: string | null;
    }[];
    for (const { path } of places)
      for (const file of filesIn(path ?? join(folder, 'blobs')))
        must(expected.has(file), `${file} lies there, and no row names it`);
  } finally {
    db.close();
  }
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^[0-9a-f]{2}$/.test(entry.name))
    .flatMap((entry) => readdirSync(join(folder, entry.name)).map((name) => join(folder, entry.name, name)));
}

/** All that is held is read back; `deep` also collects, and then exactly that is there and a scrub finds nothing to mend. */
export async function judgeStore(
  store: Store,
  held: { readonly blobs: readonly Blob[]; readonly mask: number },
  deep: boolean,
): Promise<void> {
  const live = closure(held.blobs, held.mask);
  for (const n of live) {
    const { id, bytes } = held.blobs[n]!;
    const got = await store.get(id);
    must(got !== undefined, `acknowledged, held, and gone: blob ${n}`);
    must(Buffer.compare(got!, bytes) === 0, `wrong bytes of blob ${n}`);
  }
  if (!deep) return;
  const { blocked, held: left } = await store.gc({ graceMs: 0 });
  must(blocked === undefined && left === 0, `nobody is at work, and collection leaves ${left}: ${blocked}`);
  const here = await store.hasMany(held.blobs.map(({ id }) => id));
  held.blobs.forEach(({ id }, n) =>
    must(
      here.has(id) === live.has(n),
      `blob ${n} is ${live.has(n) ? 'held and not there' : 'not held and there'}`,
    ),
  );
  const { damaged, recounted, badRows, adopted } = await store.scrub();
  must(
    damaged.length + recounted + badRows + adopted === 0,
    `nobody is at work, and a scrub finds ${JSON.stringify({ damaged, recounted, badRows, adopted })}`,
  );
}
