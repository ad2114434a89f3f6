/** The SQLite volume: small blobs packed as records in extent rows of a size-capped .db file with a rollback journal. */
import { readExtent } from '../codec/record.ts';
import type { Provider } from '../codec/provider.ts';
import { toHex } from '../codec/bytes.ts';
import type { Database, DatabaseClass, Statement } from '../driver.ts';
import { StoreError, systemCode, toStoreError } from '../errors.ts';
import type { ListedPart, Locator, Part, PartName, Volume, VolumeFacts } from '../volume.ts';

/** Large pages: an extent of 64 KiB is four of them, and a record is found by skipping few. Measured in performance.md. */
const pageBytes = 16_384;
/** Pages kept in memory: content is hardly ever asked for again. A commit of more writes the rest as it goes, and needs no sync for that. */
const cacheKiB = -2_000;
/** "HFvo": tells `file(1)` and us whose database this is. */
const applicationId = 0x48_46_76_6f;
const volumeVersion = 0;
/** Extents read in one question. */
const questionBytes = 512 * 1024;
/** What an extent is taken to have at least: small ones may be followed by large ones. */
const commonBytes = 64 * 1024;

export interface Extent {
  readonly extent: number;
  readonly data: Uint8Array;
}

export interface VolumeIdentity {
  readonly storeId: string;
  readonly volumeId: string;
}

export interface SqliteVolumeOptions {
  readonly driver: DatabaseClass;
  readonly provider: Provider;
  readonly identity: VolumeIdentity;
  readonly extentBytes: number;
  readonly durability: 'full' | 'relaxed';
  /**
   * `append` writes. `read` does not, but lets SQLite roll back what a process left half-written when it died; `read-only` touches
   * nothing. Default `append`.
   */
  readonly access?: 'append' | 'read' | 'read-only';
  readonly busyMs?: number;
  readonly platform: string;
}

/**
 * One writer appends; readers read single rows and hold no cursor, because with a rollback journal an open reader makes a COMMIT busy.
 * A rollback journal and not a WAL: appended pages need no journaling, so content is written once.
 */
export class SqliteVolume implements Volume {
  readonly kind = 'sqlite';
  readonly id: string;
  readonly #db: Database;
  readonly #options: SqliteVolumeOptions;
  readonly #insert: Statement | undefined;
  readonly #bump: Statement | undefined;
  readonly #slice: Statement;
  readonly #several: Statement;
  readonly #size: Statement;
  /** Of the extents last read. */
  #largestBytes = commonBytes;

  /** Creates the file of a new volume; the caller makes its name durable and only then tells the catalog. */
  static create(path: string, options: SqliteVolumeOptions, layout = '{}'): void {
    const db = new options.driver(path);
    try {
      db.pragma(`page_size = ${pageBytes}`);
      db.pragma('synchronous = FULL');
      db.exec(`BEGIN IMMEDIATE;
        PRAGMA application_id = ${applicationId};
        PRAGMA user_version = ${volumeVersion};
        CREATE TABLE header (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
        CREATE TABLE extents (n INTEGER PRIMARY KEY, data BLOB NOT NULL);`);
      const set = db.prepare('INSERT INTO header (key, value) VALUES (?, ?)');
      set.run('store', options.identity.storeId);
      set.run('volume', options.identity.volumeId);
      set.run('generation', 0);
      set.run('layout', layout);
      db.exec('COMMIT');
    } finally {
      db.close();
    }
  }

  constructor(path: string, options: SqliteVolumeOptions) {
    this.id = options.identity.volumeId;
    this.#options = options;
    this.#db = this.#told(() => openDatabase(path, options));
    try {
      this.#told(() => this.#checkHeader());
      this.#slice = this.#db.prepare('SELECT substr(data, ?, ?) FROM extents WHERE n = ?').pluck();
      this.#several = this.#db
        .prepare('SELECT n, data FROM extents WHERE n BETWEEN ? AND ? ORDER BY n LIMIT ?')
        .raw();
      this.#size = this.#db.prepare('SELECT length(data) FROM extents WHERE n = ?').pluck();
      if ((options.access ?? 'append') === 'append') {
        this.#insert = this.#db.prepare('INSERT INTO extents (n, data) VALUES (?, ?)');
        this.#bump = this.#db.prepare(`UPDATE header SET value = value + 1 WHERE key = 'generation'`);
      }
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  write(parts: readonly Part[]): Locator[] {
    if (this.#insert === undefined || this.#bump === undefined)
      throw new StoreError('forbidden', 'this volume is open for reading');
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const locators = this.#append(parts, this.#insert, this.#lastExtent());
      this.#bump.run();
      this.#db.exec('COMMIT');
      return locators;
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      throw this.#damageOf(error);
    }
  }

  /** Takes the group's layout over, as JSON; durable when it returns. Returns the new generation. */
  writeLayout(layout: string): number {
    if (this.#bump === undefined) throw new StoreError('forbidden', 'this volume is open for reading');
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      this.#db.prepare(`INSERT OR REPLACE INTO header (key, value) VALUES ('layout', ?)`).run(layout);
      this.#bump.run();
      const { generation } = this.#facts();
      this.#db.exec('COMMIT');
      return generation;
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      throw this.#damageOf(error);
    }
  }

  read(_name: PartName, locator: Locator, offset: number, length: number): Uint8Array | undefined {
    const wanted = Math.min(length, locator.length - offset);
    return blobIn(this.#told(() => this.#slice.get(locator.offset + offset + 1, wanted, locator.extent)));
  }

  /** Bytes of an extent, of records that lie beside each other; fewer where it ends before, undefined where it is not there. */
  span(extent: number, start: number, length: number): Uint8Array | undefined {
    return blobIn(this.#told(() => this.#slice.get(start + 1, length, extent)));
  }

  /** Lets go of the pages in memory: what is asked for next is read from the file. */
  forget(): void {
    this.#told(() => this.#db.pragma('shrink_memory'));
  }

  /** Whether the extent is there and reaches to the end of the part; reads no content. */
  holds(locator: Locator): boolean {
    const size = this.#told(() => this.#size.get(locator.extent)) as number | undefined;
    return size !== undefined && locator.offset + locator.length <= size;
  }

  /** Nothing: space inside an extent comes back when the volume is compacted; that it is free is a fact of the catalog. */
  delete(): boolean {
    return false;
  }

  *parts(fromExtent: number, toExtent: number): Iterable<ListedPart> {
    for (const { extent, data } of this.extents(fromExtent, toExtent)) {
      for (const found of readExtent(this.#options.provider, data)) {
        if ('damage' in found) {
          yield {
            locator: { extent, offset: found.at, length: data.length - found.at },
            damage: found.damage,
          };
          continue;
        }
        const { head, length } = found.record;
        const name = { id: toHex(head.id), incarnation: head.incarnation };
        yield { name, kind: head.kind, locator: { extent, offset: found.at, length } };
      }
    }
  }

  /** Extent rows from..to, in order. None keeps a cursor open. */
  *extents(fromExtent: number, toExtent: number): Generator<Extent> {
    for (let from = fromExtent; from <= toExtent;) {
      const some = this.someExtents(from, toExtent);
      if (some.length === 0) return;
      yield* some;
      from = some.at(-1)!.extent + 1;
    }
  }

  /**
   * The first of them, about half a megabyte as far as the last ones tell: each question takes the file's lock and looks whether others
   * wrote. Where one of some cannot be read they are read one by one, so that those before it are given.
   */
  someExtents(fromExtent: number, toExtent: number): Extent[] {
    const some = Math.max(1, Math.floor(questionBytes / this.#largestBytes));
    const ask = (count: number): Extent[] =>
      (this.#told(() => this.#several.all(fromExtent, toExtent, count)) as [number, unknown][]).map(
        ([extent, data]) => ({ extent, data: blobIn(data) ?? new Uint8Array(0) }),
      );
    let rows: Extent[];
    try {
      rows = ask(some);
    } catch (error) {
      if (some === 1) throw error;
      rows = ask(1);
    }
    // A damaged page may lie about its numbers: who goes on behind the last one would go round in circles.
    if (rows.some(({ extent }, i) => extent < (i === 0 ? fromExtent : rows[i - 1]!.extent + 1)))
      throw new StoreError('corrupt', `volume ${this.id} is damaged: its extents are out of order`, {
        volume: this.id,
      });
    if (rows.length > 0) this.#largestBytes = Math.max(commonBytes, ...rows.map(({ data }) => data.length));
    return rows;
  }

  facts(): VolumeFacts {
    return this.#told(() => this.#facts());
  }

  #facts(): VolumeFacts {
    const pages = this.#db.pragma('page_count', { simple: true }) as number;
    const generation = this.#db
      .prepare(`SELECT value FROM header WHERE key = 'generation'`)
      .pluck()
      .get() as number;
    return { bytes: pages * pageBytes, extents: this.#lastExtent(), generation };
  }

  /** The group's layout as this volume was last told, as JSON. */
  layout(): string {
    const row = this.#told(() =>
      this.#db.prepare(`SELECT value FROM header WHERE key = 'layout'`).pluck().get(),
    );
    return typeof row === 'string' ? row : '{}';
  }

  /**
   * What is wrong with the file as a database, or undefined: SQLite's own check of all pages, and that no extent is missing in the
   * count, since rows that fell off a page are not missed by SQLite. Says nothing of what is in the extents. O(bytes of the file).
   */
  trouble(): string | undefined {
    return this.#told(() => {
      const said = this.#db.pragma('quick_check(1)', { simple: true });
      if (said !== 'ok') return String(said).replaceAll('\n', ' ');
      const extents = this.#db.prepare('SELECT count(*) FROM extents').pluck().get() as number;
      const last = this.#lastExtent();
      return extents === last ? undefined : `it has ${extents} extents of ${last}`;
    });
  }

  /** A volume that went back in time is a restored copy: its newest records are missing, and it must not be taken for whole. */
  expectGeneration(known: number): void {
    const { generation } = this.facts();
    if (generation >= known) return;
    throw new StoreError(
      'unavailable',
      `volume ${this.id} is older (generation ${generation}) than the catalog knows (${known})`,
      { volume: this.id },
    );
  }

  close(): void {
    this.#db.close();
  }

  #append(parts: readonly Part[], insert: Statement, lastExtent: number): Locator[] {
    const locators: Locator[] = [];
    let extent = lastExtent;
    let start = 0;
    while (start < parts.length) {
      let end = start;
      let bytes = 0;
      while (
        end < parts.length &&
        (end === start || bytes + parts[end]!.bytes.length <= this.#options.extentBytes)
      ) {
        bytes += parts[end++]!.bytes.length;
      }
      extent++;
      insert.run(extent, joined(parts.slice(start, end), bytes));
      for (let offset = 0; start < end; start++) {
        const { length } = parts[start]!.bytes;
        locators.push({ extent, offset, length });
        offset += length;
      }
    }
    return locators;
  }

  /** Runs a read; damage that SQLite meets is `corrupt` with the volume's id, and so no trouble of the whole store. */
  #told<Result>(read: () => Result): Result {
    try {
      return read();
    } catch (error) {
      throw this.#damageOf(error);
    }
  }

  #damageOf(error: unknown): unknown {
    const told = toStoreError(error, `volume ${this.id} is damaged`, { volume: this.id });
    return StoreError.is(told, 'corrupt') ? told : error;
  }

  #lastExtent(): number {
    return (this.#db.prepare('SELECT max(n) FROM extents').pluck().get() as number | null) ?? 0;
  }

  #checkHeader(): void {
    const version = this.#db.pragma('user_version', { simple: true }) as number;
    if (version > volumeVersion)
      throw new StoreError('incompatible-format', `volume ${this.id} has format ${version}`);
    // SQLite takes an empty file for an empty database.
    const tables = this.#db.prepare(`SELECT count(*) FROM sqlite_schema WHERE name IN ('header', 'extents')`);
    if (tables.pluck().get() !== 2)
      throw new StoreError('corrupt', `the file of volume ${this.id} is not a volume`, { volume: this.id });
    const header = new Map(
      this.#db.prepare('SELECT key, value FROM header').raw().all() as [string, unknown][],
    );
    const { storeId, volumeId } = this.#options.identity;
    if (header.get('store') !== storeId || header.get('volume') !== volumeId) {
      throw new StoreError(
        'unavailable',
        `the file of volume ${volumeId} belongs to volume ${String(header.get('volume'))} of store ${String(header.get('store'))}`,
        { volume: volumeId, foundStore: String(header.get('store')) },
      );
    }
  }
}

/** The bytes of parts one after another: a view where they lie so in memory already, as the records of one batch do. */
function joined(parts: readonly Part[], bytes: number): Uint8Array {
  const first = parts[0]!.bytes;
  let end = first.byteOffset;
  if (
    parts.every(
      (part) =>
        part.bytes.buffer === first.buffer && part.bytes.byteOffset === end && (end += part.bytes.length) > 0,
    )
  ) {
    return new Uint8Array(first.buffer, first.byteOffset, bytes);
  }
  const data = new Uint8Array(bytes);
  let offset = 0;
  for (const part of parts) {
    data.set(part.bytes, offset);
    offset += part.bytes.length;
  }
  return data;
}

function openDatabase(path: string, options: SqliteVolumeOptions): Database {
  let db: Database;
  try {
    db = new options.driver(path, {
      readonly: options.access === 'read-only',
      fileMustExist: true,
      timeout: options.busyMs ?? 10_000,
    });
  } catch (error) {
    // The driver says TypeError where the folder is missing: a disk that is away.
    const gone = systemCode(error) === 'SQLITE_CANTOPEN' || error instanceof TypeError;
    if (gone)
      throw new StoreError(
        'unavailable',
        `volume ${options.identity.volumeId} cannot be opened: ${path} is missing, or may not be read`,
        { path, volume: options.identity.volumeId },
        error,
      );
    throw error;
  }
  try {
    const synchronous = options.durability === 'full' ? 2 : 1;
    db.pragma('cell_size_check = ON');
    db.pragma('trusted_schema = OFF');
    db.pragma('mmap_size = 0');
    db.pragma(`cache_size = ${cacheKiB}`);
    db.pragma(`synchronous = ${synchronous}`);
    if (options.platform === 'darwin') db.pragma('fullfsync = ON');
    if (options.access !== 'read-only') db.pragma('journal_mode = PERSIST');
    const journal = db.pragma('journal_mode', { simple: true });
    if (
      db.pragma('synchronous', { simple: true }) !== synchronous ||
      (options.access !== 'read-only' && journal !== 'persist')
    ) {
      throw new StoreError(
        'unavailable',
        `SQLite did not take the settings that make volume ${options.identity.volumeId} durable`,
      );
    }
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** A damaged row may hold NULL, a number or a text in place of its bytes, and SQLite says so without a word of damage. */
function blobIn(value: unknown): Uint8Array | undefined {
  return value instanceof Uint8Array ? value : undefined;
}
