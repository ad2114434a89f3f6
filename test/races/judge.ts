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
) => { prepare(sql: string): Query; close(): void };
interface Query {
  all(): unknown[];
}
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
  'a blob in no volume': `SELECT n FROM blobs WHERE codec NOT IN (2, 3) AND volume NOT IN (SELECT n FROM volumes WHERE state != 'dropped')`,
};

/** Looks at the catalog and the folders without the engine's code, each time that all steps are over and all of them went well. */
export class FolderJudge {
  readonly #folder: string;
  readonly #db: InstanceType<typeof Sqlite>;
  readonly #wrong: readonly (readonly [string, Query])[];
  readonly #files: Query;
  readonly #places: Query;
  readonly #ids: Query;
  readonly #borrowed: Query;

  constructor(folder: string) {
    this.#folder = folder;
    this.#db = new Sqlite(join(folder, 'index.db'), { readonly: true });
    this.#wrong = Object.entries(wrong).map(([what, sql]) => [what, this.#db.prepare(sql)]);
    this.#files = this.#db.prepare(files);
    this.#ids = this.#db.prepare('SELECT lower(hex(id)) AS id FROM blobs');
    this.#borrowed = this.#db.prepare('SELECT lower(hex(id)) AS id FROM blobs WHERE codec = 3');
    this.#places = this.#db.prepare(`SELECT path FROM volumes WHERE kind = 'directory'`);
  }

  judge(): void {
    for (const [what, query] of this.#wrong) {
      const found = query.all();
      must(found.length === 0, `${what}: ${JSON.stringify(found.slice(0, 3))}`);
    }
    const expected = new Map<string, number>();
    for (const { id, incarnation, codec, stored, place } of this.#files.all() as Row[]) {
      const name = `${id}.${incarnation.toString(16)}${codec === 1 ? '.f' : ''}`;
      expected.set(join(place ?? join(this.#folder, 'blobs'), id.slice(0, 2), name), stored);
    }
    for (const [path, stored] of expected) {
      must(existsSync(path), `a row names ${path}, which is missing`);
      must(statSync(path).size === stored, `${path} has another size than its row says`);
    }
    for (const { path } of this.#places.all() as { path: string | null }[])
      for (const file of filesIn(path ?? join(this.#folder, 'blobs')))
        must(expected.has(file), `${file} lies there, and no row names it`);
  }

  /** Nothing is borrowed here that the base does not have. */
  judgeBorrowed(base: FolderJudge): void {
    const has = new Set(base.#ids.all().map((row) => (row as { id: string }).id));
    for (const { id } of this.#borrowed.all() as { id: string }[])
      must(has.has(id), `${id.slice(0, 8)} is borrowed, and the base does not have it`);
  }

  close(): void {
    this.#db.close();
  }
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^[0-9a-f]{2}$/.test(entry.name))
    .flatMap((entry) => readdirSync(join(folder, entry.name)).map((name) => join(folder, entry.name, name)));
}

/** What is held of a store; `alsoHere`: what may be there besides, for others hold it. */
export interface Held {
  readonly blobs: readonly Blob[];
  readonly mask: number;
  readonly alsoHere?: number;
}

/** All that is held is read back. */
export async function judgeHeld(store: Store, { blobs, mask }: Held): Promise<void> {
  for (const n of closure(blobs, mask)) {
    const { id, bytes } = blobs[n]!;
    const got = await store.get(id);
    must(got !== undefined, `acknowledged, held, and gone: blob ${n}`);
    must(Buffer.compare(got!, bytes) === 0, `wrong bytes of blob ${n}`);
  }
}

/** Collects, and then exactly what is held is there, and a scrub finds nothing to mend. */
export async function judgeAll(store: Store, { blobs, mask, alsoHere = 0 }: Held): Promise<void> {
  const [live, also] = [closure(blobs, mask), closure(blobs, alsoHere)];
  const { blocked, held: left } = await store.gc({ graceMs: 0 });
  must(
    blocked === undefined && (left === 0 || also.size > 0),
    `nobody is at work, and collection leaves ${left}: ${blocked}`,
  );
  const here = await store.hasMany(blobs.map(({ id }) => id));
  for (const [n, { id }] of blobs.entries()) {
    must(here.has(id) || !live.has(n), `blob ${n} is held and not there`);
    must(!here.has(id) || live.has(n) || also.has(n), `blob ${n} is not held and there`);
  }
  const { damaged, recounted, badRows, adopted } = await store.scrub();
  must(
    damaged.length + recounted + badRows + adopted === 0,
    `nobody is at work, and a scrub finds ${JSON.stringify({ damaged, recounted, badRows, adopted })}`,
  );
}
