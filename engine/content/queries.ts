/** Questions to the catalog that a worker answers: existence, facts, lists, roots, statistics. */
import type { BlobStat, RootEntry, RootLogEntry, StoreStats, VolumeInfo, VolumeStats } from '../api.ts';
import {
  type BlobRow,
  isChunked,
  kindName,
  partNameOf,
  prefixOf,
  storedForms,
} from '../catalog/blob-rows.ts';
import { type VolumeRow, volumeRows } from '../catalog/group.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { readState } from '../catalog/catalog.ts';
import { equalBytes, fromHex, toHex } from '../codec/bytes.ts';
import { chainBytes, decodeLogRecord, logHeadBytes } from '../codec/root-record.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError, invariant } from '../errors.ts';
import type { Host } from '../host.ts';
import { isFramed } from './blob-file.ts';
import { goodCopies, mirrorFacts, scrubWork } from './copy-facts.ts';
import type { Reader } from './reader.ts';

/** Rows of a list in one answer. */
export const listRows = 500;

export class Queries {
  readonly #reader: Reader;
  readonly #host: Host;
  readonly #layout: StoreLayout;
  readonly #provider: Provider;

  constructor(
    reader: Reader,
    parts: { readonly host: Host; readonly provider: Provider; readonly layout: StoreLayout },
  ) {
    this.#reader = reader;
    this.#host = parts.host;
    this.#provider = parts.provider;
    this.#layout = parts.layout;
  }

  run(name: keyof Queries, args: readonly unknown[]): unknown {
    const query = this[name] as (...args: unknown[]) => unknown;
    invariant(typeof query === 'function', `no query ${name}`);
    return query.apply(this, [...args]);
  }

  hasMany(ids: readonly string[]): boolean[] {
    return ids.map((id) => this.#reader.rows.numberOf(fromHex(id)!) !== undefined);
  }

  stat(id: string): BlobStat | undefined {
    const row = this.#reader.row(id);
    return row === undefined ? undefined : this.#stat(row);
  }

  pathOf(id: string): string | undefined {
    const row = this.#reader.row(id);
    if (row === undefined || row.suspect !== 0) return undefined;
    const copies = [row, ...this.#reader.copiesOf(row)].filter(({ suspect }) => suspect === 0);
    const there = copies.length > 1 ? copies.find((copy) => this.#isThere(copy)) : undefined;
    return this.#pathOf(there ?? row).path;
  }

  /** Rows with ids above `after` that begin with `prefix`, in id order. */
  list(after: string, prefix: string): BlobStat[] {
    const low = fromHex((after > prefix ? after : prefix).padEnd(64, '0'))!;
    const high = fromHex(prefix.padEnd(64, 'f'))!;
    const rows = this.#reader.sql
      .rows(
        'SELECT * FROM blobs WHERE prefix BETWEEN ? AND ? AND id BETWEEN ? AND ? ORDER BY prefix, id LIMIT ?',
      )
      .all(prefixOf(low), prefixOf(high), low, high, listRows + 1) as BlobRow[];
    const wanted = rows.filter((row) => toHex(row.id) !== after).slice(0, listRows);
    return wanted.map((row) => this.#stat(row));
  }

  root(name: string): string | undefined {
    const id = this.#reader.sql
      .values('SELECT b.id FROM roots r JOIN blobs b ON b.n = r.blob WHERE r.name = ?')
      .get(name) as Uint8Array | undefined;
    return id === undefined ? undefined : toHex(id);
  }

  roots(): RootEntry[] {
    const rows = this.#reader.sql
      .arrays('SELECT r.name, b.id, r.changed FROM roots r JOIN blobs b ON b.n = r.blob ORDER BY r.name')
      .all();
    return (rows as [string, Uint8Array, number][]).map(([name, id, changedMs]) => ({
      name,
      id: toHex(id),
      changedMs,
    }));
  }

  /** Committed records of the root log with a sequence above `after`. O(length of the log). */
  rootLog(after: number, limit: number): RootLogEntry[] {
    const end = readState(this.#reader.sql).log.offset;
    const bytes = new Uint8Array(Math.max(0, end - logHeadBytes));
    const file = this.#host.files.open(this.#layout.rootLog, 'read');
    try {
      file.read(bytes, logHeadBytes);
    } finally {
      file.close();
    }
    const entries: RootLogEntry[] = [];
    let hash: Uint8Array = new Uint8Array(chainBytes);
    for (let at = 0; at < bytes.length && entries.length < limit;) {
      const record = decodeLogRecord(this.#provider, bytes, at, hash);
      if (record === undefined)
        throw new StoreError('corrupt', `roots.log is damaged at byte ${logHeadBytes + at}`, {
          path: this.#layout.rootLog,
        });
      at += record.length;
      hash = record.hash;
      if (record.entry.sequence > after) entries.push(record.entry);
    }
    return entries;
  }

  side(name: string, keys: readonly string[]): (Uint8Array | undefined)[] {
    const get = this.#reader.sql.arrays('SELECT value, sum FROM side WHERE name = ? AND key = ?');
    return keys.map((key) => {
      const row = get.get(name, key) as [Uint8Array, Uint8Array] | undefined;
      // It is droppable: a damaged entry is as good as none.
      if (row === undefined || !equalBytes(this.#reader.rows.hasher.sum('side', [name, key, row[0]]), row[1]))
        return undefined;
      return new Uint8Array(row[0]);
    });
  }

  /** What a scrub has to verify: copies, and their content bytes. */
  work(): { readonly blobs: number; readonly bytes: number } {
    return scrubWork(this.#reader.sql);
  }

  stats(storeId: string, format: number): Omit<StoreStats, 'openHandles'> {
    const { sql } = this.#reader;
    const totals = sql
      .arrays(
        'SELECT count(*), coalesce(sum(kind), 0), coalesce(sum(iif(codec = ?, 0, size)), 0), coalesce(sum(stored), 0), coalesce(sum(suspect), 0) FROM blobs',
      )
      .get(storedForms.chunked) as number[];
    const [blobs, nodes, bytes, storedBytes, suspect] = totals as [number, number, number, number, number];
    const mirrors = mirrorFacts(sql);
    const [unreferenced, unreferencedBytes] = sql
      .arrays('SELECT count(*), coalesce(sum(stored), 0) FROM blobs WHERE zero_since IS NOT NULL')
      .get() as [number, number];
    return {
      storeId,
      format,
      blobs,
      nodes,
      bytes,
      storedBytes: storedBytes + mirrors.storedBytes,
      copies: mirrors.copies,
      missingCopies: mirrors.missing,
      unreferenced,
      unreferencedBytes,
      suspect,
      roots: sql.values('SELECT count(*) FROM roots').get() as number,
      volumes: this.#volumes(),
      catalogBytes:
        (sql.values('PRAGMA page_count').get() as number) * (sql.values('PRAGMA page_size').get() as number),
      freeBytes: this.#host.files.space(this.#layout.root).freeBytes,
    };
  }

  /** The group, each member looked at. */
  volumes(): VolumeInfo[] {
    const { sql, places } = this.#reader;
    const rows = volumeRows(sql);
    const count = sql.values(
      'SELECT (SELECT count(*) FROM blobs WHERE volume = ?) + (SELECT count(*) FROM copies WHERE volume = ?)',
    );
    return rows.map((row): VolumeInfo => {
      const within = rows.filter(({ folder }) => folder === row.n);
      const sum = (of: (one: VolumeRow) => number): number =>
        within.reduce((total, one) => total + of(one), of(row));
      const problem = places.problem(row);
      const folder = row.folder === null ? undefined : rows.find(({ n }) => n === row.folder)?.id;
      return {
        id: row.id,
        kind: row.kind,
        state: row.state as VolumeInfo['state'],
        path: places.path(row),
        ...(folder === undefined ? {} : { folder }),
        ...(row.cap === null ? {} : { cap: row.cap }),
        bytes: sum(({ bytes }) => bytes),
        deadBytes: sum(({ dead }) => dead),
        blobs: sum(({ n }) => count.get(n, n) as number),
        ...(problem === undefined
          ? { freeBytes: this.#host.files.space(places.path(row)).freeBytes }
          : { problem }),
      };
    });
  }

  #volumes(): VolumeStats[] {
    const rows = this.#reader.sql
      .arrays(
        `SELECT id, kind, state, bytes, dead FROM volumes WHERE state != 'dropped' AND kind != 'folder' ORDER BY n`,
      )
      .all() as [string, 'sqlite' | 'directory', VolumeStats['state'], number, number][];
    return rows.map(([id, kind, state, bytes, deadBytes]) => ({ id, kind, state, bytes, deadBytes }));
  }

  #stat(row: BlobRow): BlobStat {
    const volume = this.#reader.sql.values('SELECT id FROM volumes WHERE n = ?').get(row.volume) as
      string | undefined;
    const verifiedMs = this.#reader.sql.values('SELECT at FROM verified WHERE blob = ?').get(row.n) as
      number | undefined;
    return {
      id: toHex(row.id),
      kind: kindName(row.kind),
      size: row.size,
      storedSize: row.stored,
      references: row.refcount,
      createdMs: row.created,
      ...(verifiedMs === undefined ? {} : { verifiedMs }),
      suspect: row.suspect !== 0,
      volume: isChunked(row) ? 'chunks' : (volume ?? String(row.volume)),
      copies: goodCopies(this.#reader.sql, row),
      ...this.#pathOf(row),
    };
  }

  #isThere(row: BlobRow): boolean {
    const { path } = this.#pathOf(row);
    return path !== undefined && this.#host.files.facts(path) !== undefined;
  }

  /** Without looking whether the volume is there: facts of a blob can be told while its bytes are away. */
  #pathOf(row: BlobRow): { readonly path?: string } {
    const { places } = this.#reader;
    if (isChunked(row)) return {};
    const plain = places.isDirectory(row.volume) && !isFramed(row);
    return plain ? { path: places.pathOf(row.volume, partNameOf(row)) } : {};
  }
}
