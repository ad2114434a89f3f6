// A small store with the engine's write order, and switches that break it: the self-test of the crash tools.
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoreUnderTest } from './store-under-test.ts';

export type Flaw =
  | 'no file fsync'
  | 'no folder fsync'
  | 'synchronous=NORMAL'
  | 'catalog before bytes'
  | 'unlink before catalog'
  | 'ack before commit';
export const flaws: readonly Flaw[] = [
  'no file fsync',
  'no folder fsync',
  'synchronous=NORMAL',
  'catalog before bytes',
  'unlink before catalog',
  'ack before commit',
];

interface Statement {
  run(...values: unknown[]): { changes: number };
  get(...values: unknown[]): unknown;
  all(...values: unknown[]): unknown[];
}
interface Database {
  prepare(sql: string): Statement;
  pragma(sql: string): unknown;
  exec(sql: string): void;
  transaction<T>(work: () => T): { immediate(): T };
  close(): void;
}
const Sqlite = createRequire(import.meta.url)('better-sqlite3') as new (path: string) => Database;

const smallMax = 256 * 1024;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export async function openStandIn(dir: string, broken: ReadonlySet<Flaw>): Promise<StoreUnderTest> {
  const syncFolder = (path: string): void => {
    if (broken.has('no folder fsync')) return;
    const fd = openSync(path, 'r');
    fsyncSync(fd);
    closeSync(fd);
  };
  const makeFolder = (path: string): void => {
    if (!existsSync(path)) mkdirSync(path);
    syncFolder(dirname(path));
  };
  makeFolder(dir);
  for (const name of ['blobs', 'tmp', 'volumes']) makeFolder(join(dir, name));

  const index = openDatabase(join(dir, 'index.db'), 'WAL', broken);
  index.exec(`create table if not exists blobs(id text primary key, inc text, small int, size int) without rowid;
    create table if not exists refs(owner text, id text, primary key(owner, id)) without rowid;
    create table if not exists roots(name text primary key, id text) without rowid;
    create table if not exists tombstones(id text, inc text, small int, primary key(id, inc)) without rowid`);
  const volume = openDatabase(join(dir, 'volumes', 'v1.db'), 'TRUNCATE', broken);
  volume.exec('create table if not exists parts(id text, inc text, bytes blob, primary key(id, inc))');
  syncFolder(join(dir, 'volumes'));
  syncFolder(dir);

  type Row = { id: string; inc: string; small: number; size: number };
  const rowOf = index.prepare('select * from blobs where id = ?');
  const row = (id: string): Row | undefined => rowOf.get(id) as Row | undefined;
  const pathOf = (id: string, inc: string): string => join(dir, 'blobs', id.slice(0, 2), `${id}.${inc}`);

  const writeSmall = (id: string, inc: string, bytes: Uint8Array): void => {
    volume.prepare('insert into parts values(?, ?, ?)').run(id, inc, bytes);
  };
  const writeLarge = async (id: string, inc: string, bytes: Uint8Array): Promise<void> => {
    const temp = join(dir, 'tmp', inc);
    const file = await open(temp, 'wx');
    await file.writeFile(bytes);
    if (!broken.has('no file fsync')) await file.sync();
    await file.close();
    const path = pathOf(id, inc);
    makeFolder(dirname(path));
    await rename(temp, path);
    syncFolder(dirname(path));
  };
  const removeBytes = async (r: { id: string; inc: string; small: number }): Promise<void> => {
    if (r.small) volume.prepare('delete from parts where id = ? and inc = ?').run(r.id, r.inc);
    else {
      await rm(pathOf(r.id, r.inc), { force: true });
      syncFolder(dirname(pathOf(r.id, r.inc)));
    }
  };
  const buryAll = async (): Promise<void> => {
    for (const r of index.prepare('select * from tombstones').all() as Row[]) {
      await removeBytes(r);
      index.prepare('delete from tombstones where id = ? and inc = ?').run(r.id, r.inc);
    }
  };
  const unreferenced = `select * from blobs b where not exists (select 1 from refs where refs.id = b.id)
    and not exists (select 1 from roots where roots.id = b.id)`;

  // Recovery: temps, half-done removals, bytes without a row.
  for (const name of readdirSync(join(dir, 'tmp'))) rmSync(join(dir, 'tmp', name));
  await buryAll();
  for (const part of volume.prepare('select id, inc from parts').all() as Row[])
    if (row(part.id)?.inc !== part.inc) await removeBytes({ ...part, small: 1 });
  for (const fan of readdirSync(join(dir, 'blobs')))
    for (const name of readdirSync(join(dir, 'blobs', fan))) {
      const [id = '', inc = ''] = name.split('.');
      if (row(id)?.inc !== inc) await removeBytes({ id, inc, small: 0 });
    }

  const lateCommits = new Set<Promise<void>>();
  const store: StoreUnderTest = {
    async put(source, options = {}) {
      const bytes = await bytesOf(source);
      const id = sha256(bytes);
      const small = bytes.length <= smallMax;
      const inc = randomBytes(8).toString('hex');
      const hold = (insert: boolean): boolean =>
        index
          .transaction(() => {
            const known = row(id) !== undefined;
            if (!known && !insert) return false;
            if (!known)
              index.prepare('insert into blobs values(?, ?, ?, ?)').run(id, inc, Number(small), bytes.length);
            if (options.owner !== undefined)
              index.prepare('insert or ignore into refs values(?, ?)').run(options.owner, id);
            return row(id)?.inc === inc;
          })
          .immediate();
      const write = async (): Promise<void> => {
        if (small) writeSmall(id, inc, bytes);
        else await writeLarge(id, inc, bytes);
      };
      if (row(id) !== undefined) {
        hold(false);
        if (row(id) !== undefined) return { id, size: bytes.length };
      }
      if (broken.has('catalog before bytes')) {
        if (hold(true)) await write();
      } else if (broken.has('ack before commit')) {
        await write();
        const late = sleep(5).then(() => void hold(true));
        lateCommits.add(late);
        void late.finally(() => lateCommits.delete(late));
      } else {
        await write();
        if (!hold(true)) await removeBytes({ id, inc, small: Number(small) });
      }
      return { id, size: bytes.length };
    },
    async get(id) {
      const r = row(id);
      if (r === undefined) return undefined;
      if (!r.small) return readFile(pathOf(id, r.inc));
      const part = volume.prepare('select bytes from parts where id = ? and inc = ?').get(id, r.inc);
      if (part === undefined) throw new Error('bytes missing');
      return (part as { bytes: Uint8Array }).bytes;
    },
    has: async (id) => row(id) !== undefined,
    async retain(id, owner) {
      if (row(id) === undefined) throw new Error('not-found');
      index.prepare('insert or ignore into refs values(?, ?)').run(owner, id);
    },
    release: async (id, owner) =>
      index.prepare('delete from refs where id = ? and owner = ?').run(id, owner).changes > 0,
    roots: {
      async set(name, id) {
        if (row(id) === undefined) throw new Error('not-found');
        index.prepare('insert or replace into roots values(?, ?)').run(name, id);
      },
      async get(name) {
        return (index.prepare('select id from roots where name = ?').get(name) as { id: string } | undefined)
          ?.id;
      },
      async delete(name) {
        index.prepare('delete from roots where name = ?').run(name);
      },
    },
    async gc() {
      if (broken.has('unlink before catalog')) {
        const dead = index.prepare(unreferenced).all() as Row[];
        for (const r of dead) await removeBytes(r);
        for (const r of dead) index.prepare('delete from blobs where id = ? and inc = ?').run(r.id, r.inc);
        return { deleted: dead.length, freedBytes: 0 };
      }
      const dead = index
        .transaction(() => {
          const rows = index.prepare(unreferenced).all() as Row[];
          for (const r of rows) {
            index.prepare('delete from blobs where id = ?').run(r.id);
            index.prepare('insert into tombstones values(?, ?, ?)').run(r.id, r.inc, r.small);
          }
          return rows;
        })
        .immediate();
      await buryAll();
      return { deleted: dead.length, freedBytes: dead.reduce((sum, r) => sum + r.size, 0) };
    },
    async scrub() {
      const damaged: { id: string; reason: string }[] = [];
      let bytes = 0;
      const rows = index.prepare('select * from blobs').all() as Row[];
      for (const r of rows) {
        const got = await store.get(r.id).catch(() => undefined);
        if (got === undefined) damaged.push({ id: r.id, reason: 'missing' });
        else if (sha256(got) !== r.id) damaged.push({ id: r.id, reason: 'wrong bytes' });
        bytes += r.size;
      }
      for (const r of index.prepare('select * from refs').all() as Row[])
        if (row(r.id) === undefined) damaged.push({ id: r.id, reason: 'a reference without a blob' });
      return { blobs: rows.length, bytes, damaged };
    },
    async *list() {
      for (const r of index.prepare('select * from blobs order by id').all() as Row[]) yield r;
    },
    async close() {
      await Promise.all(lateCommits);
      index.close();
      volume.close();
    },
  };
  return store;
}

function openDatabase(path: string, journal: 'WAL' | 'TRUNCATE', broken: ReadonlySet<Flaw>): Database {
  const db = new Sqlite(path);
  db.pragma('busy_timeout = 5000');
  db.pragma(`journal_mode = ${journal}`);
  db.pragma(`synchronous = ${broken.has('synchronous=NORMAL') ? 'NORMAL' : 'FULL'}`);
  return db;
}

async function bytesOf(source: Parameters<StoreUnderTest['put']>[0]): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source;
  if ('path' in source) return readFileSync(source.path);
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}
