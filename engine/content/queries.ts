/** Questions to the catalog that a worker answers: existence, facts, lists, roots, statistics. */
import type {
  BlobStat,
  DeletedRoot,
  HeldAlone,
  RootEntry,
  RootLogEntry,
  ScrubRecord,
  StoreHealth,
  StoreStats,
  Touched,
  VolumeInfo,
  VolumeStats,
} from '../api.ts';
import {
  type BlobRow,
  isBorrowed,
  isChunked,
  isPlaced,
  kindName,
  partNameOf,
  prefixOf,
  storedForms,
} from '../catalog/blob-rows.ts';
import { readState } from '../catalog/catalog.ts';
import { type VolumeRow, volumeRows } from '../catalog/group.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { type LogLook, type LogSlice, lookAtLog, shortLog } from '../catalog/log-damage.ts';
import { logStart } from '../catalog/root-log.ts';
import { type ScheduleState, readSchedule } from '../catalog/schedule-row.ts';
import { equalBytes, fromHex, toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError, invariant } from '../errors.ts';
import type { Host } from '../host.ts';
import type { Realm } from '../keys/realm.ts';
import { isFramed } from './blob-file.ts';
import { goodCopies, mirrorFacts, scrubWork } from './copy-facts.ts';
import { isDamage } from './damage.ts';
import { heldAlone } from './freed.ts';
import { health, unusable } from './health.ts';
import { type HeldPage, heldBy } from './held.ts';
import { LentQueries } from './lent-queries.ts';
import { ObjectQueries } from './objects.ts';
import type { Reader } from './reader.ts';
import { type StoredRoot, namedRoots, rootEntry, toldEntry, unopenedRoots } from './named-roots.ts';
import { type AskedChange, type LogPlace, deletedRoots, logEntries, rootChanges } from './root-history.ts';
import { type VerifyRange, scrubRecords, waitingCopies, waitingSince } from './scrub-facts.ts';
import { touchedBy } from './touched.ts';

/** What an entry of a side table is found by. Names hold no NUL, so no two entries are found by one key. */
export function sideKey(realm: Realm, table: string, key: string): string {
  return realm.state === 'plain' ? key : realm.find('side', `${table}\0${key}`);
}

/** Of the root log, read in one answer. */
const logSliceBytes = 64 * 1024;
/** Rows of a list in one answer. */
export const listRows = 500;

export class Queries {
  readonly #reader: Reader;
  readonly #host: Host;
  readonly #layout: StoreLayout;
  readonly #lent: LentQueries;
  readonly #objects: ObjectQueries;
  readonly #provider: Provider;

  constructor(
    reader: Reader,
    parts: { readonly host: Host; readonly provider: Provider; readonly layout: StoreLayout },
  ) {
    this.#reader = reader;
    this.#host = parts.host;
    this.#provider = parts.provider;
    this.#layout = parts.layout;
    this.#lent = new LentQueries(reader, parts, (row) => this.#told(row));
    this.#objects = new ObjectQueries(reader, parts);
  }

  run(name: string, args: readonly unknown[]): unknown {
    const target = [this, this.#lent].find((one) => name in one) ?? this.#objects;
    const query = (target as unknown as Record<string, unknown>)[name] as (...args: unknown[]) => unknown;
    invariant(typeof query === 'function', `no query ${name}`);
    return query.apply(target, [...args]);
  }

  heldBy(owner: string, page: Parameters<typeof heldBy>[2]): HeldPage {
    return heldBy(this.#reader, owner, page);
  }

  hasMany(ids: readonly string[]): boolean[] {
    return this.#reader.has(ids);
  }

  stat(id: string): BlobStat | undefined {
    const row = this.#reader.row(id);
    return row && this.#stat(row, this.#reader.realm.state === 'locked' ? undefined : id);
  }

  pathOf(id: string): string | undefined {
    const row = this.#reader.row(id);
    if (row === undefined || row.suspect !== 0) return undefined;
    const copies = [row, ...this.#reader.copiesOf(row)].filter(({ suspect }) => suspect === 0);
    const there = copies.length > 1 ? copies.find((copy) => this.#isThere(copy)) : undefined;
    return this.#pathOf(there ?? row).path;
  }

  /** Blobs behind `after` whose ids begin with `prefix`, in id order; in an encrypted store in the order of their names on disk. */
  list(after: string, prefix: string): BlobStat[] {
    if (!this.#reader.contents.sealed) return this.#names(after, prefix).map((row) => this.#stat(row));
    const { realm, rows: blobs } = this.#reader;
    // What was told before may be what it is called on disk: without keys, and where nothing tells the id.
    const isName = after === '' || realm.state === 'locked' || blobs.numberOf(fromHex(after)!) !== undefined;
    for (let name = isName ? after : realm.nameOf(after); ;) {
      const rows = this.#names(name, '');
      const found = rows.map((row) => this.#stat(row)).filter(({ id }) => id.startsWith(prefix));
      if (found.length > 0 || rows.length === 0) return found;
      name = toHex(rows.at(-1)!.id);
    }
  }

  #names(after: string, prefix: string): BlobRow[] {
    const low = fromHex((after > prefix ? after : prefix).padEnd(64, '0'))!;
    const high = fromHex(prefix.padEnd(64, 'f'))!;
    const rows = this.#reader.sql
      .rows(
        'SELECT * FROM blobs WHERE prefix BETWEEN ? AND ? AND id BETWEEN ? AND ? ORDER BY prefix, id LIMIT ?',
      )
      .all(prefixOf(low), prefixOf(high), low, high, listRows + 1) as BlobRow[];
    return rows.filter((row) => toHex(row.id) !== after).slice(0, listRows);
  }

  root(name: string): string | undefined {
    const key = this.#reader.realm.find('root', name);
    const row = this.#reader.sql.rows('SELECT * FROM roots WHERE name = ?').get(key) as
      StoredRoot | undefined;
    return row && rootEntry(this.#reader, row, (blob) => this.#reader.tell(blob)).id;
  }

  /** By name. One whose name does not open is left out: `health` tells of it. */
  roots(): RootEntry[] {
    const entries = namedRoots(this.#reader, (row) => this.#told(row));
    return this.#reader.contents.sealed ? entries.sort((a, b) => (a.name < b.name ? -1 : 1)) : entries;
  }

  /** Committed records of the root log with a sequence above `after`. O(length of the log). */
  rootLog(after: number, limit: number): RootLogEntry[] {
    const entries: RootLogEntry[] = [];
    for (const entry of logEntries(this.#reader, this.#log())) {
      if (entries.length >= limit) break;
      if (entry.sequence > after) entries.push(toldEntry(this.#reader, entry));
    }
    return entries;
  }

  rootChanges(asked: readonly AskedChange[]): number[][] {
    return rootChanges(this.#reader, this.#log(), asked);
  }

  /** Newest first. O(length of the log). */
  deletedRoots(): DeletedRoot[] {
    return deletedRoots(this.#reader, this.#log());
  }

  /** A slice of a look at the root log, about 5 ms; without a look to go on with the first one. */
  logLook(look: LogLook = { at: logStart, end: readState(this.#reader.sql).log }): LogSlice {
    const slice = lookAtLog(this.#log(), look, logSliceBytes);
    const { doubt } = readState(this.#reader.sql);
    return slice.next === undefined && doubt.startsWith(shortLog) ? { problem: doubt, ...slice } : slice;
  }

  #log(): LogPlace {
    return { files: this.#host.files, provider: this.#provider, path: this.#layout.rootLog };
  }

  /** What nothing but these roots holds. */
  heldAlone(names: readonly string[]): Promise<HeldAlone> {
    const { realm, sql } = this.#reader;
    // Each once, whatever it is called.
    const keys = new Map(names.map((name) => [realm.find('root', name), name]));
    const blobs = [...keys].map(([key, root]) => {
      const n = sql.values('SELECT blob FROM roots WHERE name = ?').get(key) as number | undefined;
      if (n === undefined)
        throw new StoreError('not-found', `there is no root ${JSON.stringify(root)}`, { root });
      return n;
    });
    return heldAlone(sql, this.#host.clock, blobs);
  }

  side(table: string, texts: readonly string[]): (Uint8Array | undefined)[] {
    const { realm, rows, sql } = this.#reader;
    const get = sql.arrays('SELECT value, sum FROM side WHERE name = ? AND key = ?');
    const name = realm.find('side', table);
    return texts.map((text) => {
      const key = sideKey(realm, table, text);
      const row = get.get(name, key) as [Uint8Array, Uint8Array] | undefined;
      // It is droppable: a damaged entry is as good as none.
      if (row === undefined || !equalBytes(rows.hasher.sum('side', [name, key, row[0]]), row[1]))
        return undefined;
      try {
        return new Uint8Array(realm.openSide(name + key, row[0]));
      } catch (error) {
        // Also one that a process wrote that has newer keys.
        if (StoreError.is(error)) return undefined;
        throw error;
      }
    });
  }

  /** What a scrub has to verify: copies, and their content bytes. */
  work(): { readonly blobs: number; readonly bytes: number } {
    return scrubWork(this.#reader.sql);
  }

  /** Since when the longest waiting copy of each range waits to be verified. */
  waitingSince(ranges: readonly VerifyRange[]): number[] {
    return waitingSince(this.#reader.sql, ranges);
  }

  /** Blobs with fewer good copies than wanted. O(blobs) where mirrored. */
  lackingCopies(): number {
    return mirrorFacts(this.#reader.sql).missing;
  }

  /** Whether every copy was verified since then, or stored, no blob is known to be damaged, and none lacks copies. O(blobs). */
  areSoundSince(ms: number): boolean {
    const { sql } = this.#reader;
    const damaged = sql.values('SELECT 1 FROM blobs WHERE suspect != 0 LIMIT 1').get();
    return damaged === undefined && waitingCopies(sql, ms).overdue.blobs === 0 && this.lackingCopies() === 0;
  }

  lastScrub(): ScrubRecord | undefined {
    return scrubRecords(this.#reader.sql, 1)[0];
  }

  /** Of the catalog's write-ahead log. */
  walBytes(): number {
    return this.#host.files.facts(`${this.#layout.index}-wal`)?.size ?? 0;
  }

  schedule(): ScheduleState | undefined {
    return readSchedule(this.#reader.sql);
  }

  /** Who needs the blobs that are called so on disk. */
  touched(names: readonly string[]): Touched[] {
    return names.map((name) => {
      const found = this.#reader.rows.inspect(fromHex(name)!);
      return found === undefined
        ? { roots: [], owners: [], more: false }
        : touchedBy(this.#reader, found.row.n);
    });
  }

  health(days: number | undefined): Omit<StoreHealth, 'putsWaiting'> {
    const alternates = this.#lent.alternates();
    const parts = { host: this.#host, layout: this.#layout, volumes: this.volumes(), alternates };
    return health(this.#reader.sql, { ...parts, unopenedRoots: unopenedRoots(this.#reader) }, days);
  }

  unusable(): string[] {
    return unusable(this.volumes(), this.#lent.alternates());
  }

  stats(storeId: string, format: number): Omit<StoreStats, 'openHandles'> {
    const { sql } = this.#reader;
    const totals = sql
      .arrays(
        'SELECT count(*), coalesce(sum(kind), 0), coalesce(sum(iif(codec >= ?, 0, size)), 0), coalesce(sum(stored), 0), coalesce(sum(suspect), 0) FROM blobs',
      )
      .get(storedForms.chunked) as number[];
    const [blobs, nodes, bytes, storedBytes, suspect] = totals as [number, number, number, number, number];
    const mirrors = mirrorFacts(sql);
    const [unreferenced, unreferencedBytes] = sql
      .arrays(
        'SELECT count(*), coalesce(sum(stored), 0) FROM blobs WHERE zero_since IS NOT NULL AND codec != ?',
      )
      .get(storedForms.borrowed) as [number, number];
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

  #stat(row: BlobRow, id: string = this.#told(row)): BlobStat {
    const volume = this.#reader.sql.values('SELECT id FROM volumes WHERE n = ?').get(row.volume) as
      string | undefined;
    const verifiedMs = this.#reader.sql
      .values('SELECT at FROM verified WHERE blob = ? AND volume = ?')
      .get(row.n, row.volume) as number | undefined;
    return {
      id,
      kind: kindName(row.kind),
      size: this.#sizeOf(row),
      storedSize: row.stored,
      references: row.refcount,
      createdMs: row.created,
      ...(verifiedMs === undefined ? {} : { verifiedMs }),
      suspect: row.suspect !== 0,
      volume: isBorrowed(row) ? 'alternate' : isChunked(row) ? 'chunks' : (volume ?? String(row.volume)),
      ...(isBorrowed(row) ? { borrowed: true } : {}),
      copies: goodCopies(this.#reader.sql, row),
      ...this.#pathOf(row),
    };
  }

  /** Its id. One blob that is lost or damaged and has no label that tells it keeps nobody from listing the others: what it is called on disk. */
  #told(row: BlobRow): string {
    try {
      return this.#reader.tell(row);
    } catch (error) {
      if (isDamage(error)) return toHex(row.id);
      throw error;
    }
  }

  /** Of a blob that cannot be looked at, its label missing and its bytes away or without keys, what is stored of it. */
  #sizeOf(row: BlobRow): number {
    try {
      return this.#reader.sizeOf(row);
    } catch (error) {
      if (isDamage(error) || StoreError.is(error, 'unavailable') || StoreError.is(error, 'wrong-key'))
        return row.size;
      throw error;
    }
  }

  #isThere(row: BlobRow): boolean {
    const { path } = this.#pathOf(row);
    return path !== undefined && this.#host.files.facts(path) !== undefined;
  }

  /** Without looking whether the volume is there: facts of a blob can be told while its bytes are away. */
  #pathOf(row: BlobRow): { readonly path?: string } {
    const { places } = this.#reader;
    if (!isPlaced(row)) return {};
    const plain = places.isDirectory(row.volume) && !isFramed(row);
    return plain ? { path: places.pathOf(row.volume, partNameOf(row)) } : {};
  }
}
