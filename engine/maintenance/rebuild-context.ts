/** What the steps of a rebuild share: the catalog that is being made, its volumes, tables to work with, and what is reported. */
import type { RebuildResult } from '../api.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { prefixOf } from '../catalog/blob-rows.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import type { Superblock } from '../codec/superblock.ts';
import type { Provider } from '../codec/provider.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import type { Contents } from '../content/contents.ts';
import type { DatabaseClass } from '../driver.ts';
import type { Host } from '../host.ts';

/** What one is given to rebuild with, whatever the store. */
export interface RebuildTools {
  readonly host: Host;
  readonly driver: DatabaseClass;
  readonly provider: Provider;
  readonly layout: StoreLayout;
  readonly superblock: Superblock;
  readonly contents: Contents;
  readonly signal: AbortSignal;
  readonly progress: (progress: { readonly blobs: number; readonly bytes: number }) => void;
}

export interface RebuildContext extends RebuildTools {
  readonly catalog: Catalog;
  readonly volumes: VolumeSet;
  readonly report: Report;
}

/** Entries of a list in the report; beyond them only the count rises. */
const listMax = 1000;

/** Gathers what is to be told. */
export class Report {
  readonly damaged: RebuildResult['damaged'][number][] = [];
  readonly missing: RebuildResult['missing'][number][] = [];
  readonly lost: RebuildResult['lost'][number][] = [];
  /** SQLite volumes that a layout names and that are not there: lost, or removed since. */
  readonly absent: RebuildResult['missing'][number][] = [];
  damagedCopies = 0;
  lostBlobs = 0;
  salvaged = 0;

  damage(entry: RebuildResult['damaged'][number]): void {
    if (this.damagedCopies++ < listMax) this.damaged.push(entry);
  }

  /** What led to a blob that is lost; several may lead to one. */
  lose(entry: RebuildResult['lost'][number]): void {
    if (this.lost.length < listMax) this.lost.push(entry);
  }

  /** Whether the store is known to hold all it should: then what does not fit was dead. */
  get isWhole(): boolean {
    return this.damagedCopies === 0 && this.missing.length === 0 && this.absent.length === 0;
  }
}

/**
 * Tables to work with, in a file of their own that is thrown away: as large as the links and the log's names, and none of it in memory.
 * `links`: of nodes, to names on disk, `n` where the child has a row. `raws`: copies without links of blobs that are nodes. `manifests`:
 * roots of manifests. `roots`, `owners`: what the log comes to, by keys. `borrowed`: what it
 * says was borrowed, at any time. `made`: blobs that became nodes because their bytes look like one.
 */
export function attachWork(catalog: Catalog, path: string): void {
  catalog.db.exec(`
    PRAGMA temp_store = FILE;
    ATTACH '${path.replaceAll("'", "''")}' AS work;
    PRAGMA work.journal_mode = TRUNCATE;
    PRAGMA work.synchronous = OFF;
    CREATE TABLE work.links (parent INTEGER, child BLOB, prefix INTEGER NOT NULL, kind INTEGER NOT NULL, n INTEGER, PRIMARY KEY (parent, child)) WITHOUT ROWID;
    CREATE TABLE work.raws (n INTEGER, volume INTEGER, extent INTEGER, start INTEGER, incarnation INTEGER, codec INTEGER, size INTEGER, stored INTEGER, label BLOB, sums BLOB, PRIMARY KEY (n, volume, extent, start, incarnation)) WITHOUT ROWID;
    CREATE TABLE work.manifests (n INTEGER PRIMARY KEY);
    CREATE TABLE work.roots (name TEXT PRIMARY KEY, shown TEXT NOT NULL, id BLOB NOT NULL, prefix INTEGER NOT NULL, time INTEGER NOT NULL, n INTEGER) WITHOUT ROWID;
    CREATE TABLE work.owners (name TEXT, id BLOB, shown TEXT NOT NULL, prefix INTEGER NOT NULL, n INTEGER, PRIMARY KEY (name, id)) WITHOUT ROWID;
    CREATE TABLE work.borrowed (id BLOB PRIMARY KEY, borrow TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE work.bad (n INTEGER PRIMARY KEY, round INTEGER NOT NULL);
    CREATE TABLE work.made (n INTEGER PRIMARY KEY);
    CREATE TABLE work.live (n INTEGER PRIMARY KEY, round INTEGER NOT NULL);
  `);
}

/** Fills in which row each id of these tables has by now. */
export function resolve(catalog: Catalog, table: 'links' | 'roots' | 'owners'): void {
  const id = table === 'links' ? 'child' : 'id';
  catalog.db.exec(
    `UPDATE work.${table} SET n = (SELECT b.n FROM main.blobs b WHERE b.prefix = ${table}.prefix AND b.id = ${table}.${id}) WHERE n IS NULL`,
  );
}

export function addLink(
  catalog: Catalog,
  link: { readonly parent: number; readonly child: Uint8Array; readonly kind: number },
): void {
  catalog.sql
    .rows(
      'INSERT INTO work.links (parent, child, prefix, kind) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET kind = max(kind, excluded.kind)',
    )
    .run(link.parent, link.child, prefixOf(link.child), link.kind);
}

/** A transaction takes about this long, or this many items. */
const sliceMs = 100;
const sliceItems = 4096;

/** Works on items in one transaction after another, with turns for others, and for the signal, in between. */
export async function inSlices<Item>(
  context: RebuildContext,
  items: Iterable<Item>,
  work: (transaction: Transaction, item: Item) => void,
): Promise<void> {
  const { catalog, host, signal } = context;
  const iterator = items[Symbol.iterator]();
  /** True when there are more. */
  const slice = (transaction: Transaction): boolean => {
    const start = host.clock.monotonic();
    transaction.changed = true;
    for (let i = 0; i < sliceItems && host.clock.monotonic() - start < sliceMs; i++) {
      const next = iterator.next();
      if (next.done === true) return false;
      work(transaction, next.value);
    }
    return true;
  };
  for (let more = true; more;) {
    signal.throwIfAborted();
    more = catalog.transaction(slice);
    await host.clock.yield();
  }
}

/** Rows of a query page by page: `page` is given the last row and answers those behind it. */
export function* paged<Row>(page: (last: Row | undefined) => readonly Row[]): Generator<Row> {
  for (let last: Row | undefined; ;) {
    const rows = page(last);
    if (rows.length === 0) return;
    yield* rows;
    last = rows.at(-1);
  }
}
