/** The volumes of a store as a worker thread sees them: opened when they are first read, each checked to be the one the catalog means. */
import {
  type VolumeRow,
  allocate,
  copyOf,
  directoryNumber,
  folderPath,
  readGroup,
  sqlitePath,
  tempPath,
  volumeRow,
} from '../catalog/group.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import type { Statements } from '../catalog/statements.ts';
import type { Provider } from '../codec/provider.ts';
import type { DatabaseClass } from '../driver.ts';
import { StoreError, systemCode, toStoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import type { PartName } from '../volume.ts';
import { DirectoryVolume } from '../volumes/directory.ts';
import { checkLabel } from '../volumes/label.ts';
import { type Extent, SqliteVolume } from '../volumes/sqlite.ts';

export interface PlacesOptions {
  readonly host: Host;
  readonly driver: DatabaseClass;
  readonly provider: Provider;
  readonly layout: StoreLayout;
  readonly storeId: string;
  /** How SQLite volumes are opened: `read-only` in a store that is open for reading only. */
  readonly access: 'read' | 'read-only';
}

/** Where a large blob is staged: beside the place it is to be renamed to. */
export interface StagingPlace {
  readonly volume: number;
  readonly directory: DirectoryVolume;
  /** The lease's folder of temps; it is there. */
  readonly temps: string;
}

export class Places {
  readonly #sql: Statements;
  readonly #options: PlacesOptions;
  readonly #sqlite = new Map<number, SqliteVolume>();
  readonly #directories = new Map<number, DirectoryVolume>();
  /** Whether a number is a directory's; a committed number is never another's. */
  readonly #kinds = new Map<number, boolean>([[directoryNumber, true]]);
  #turn = 0;

  constructor(sql: Statements, options: PlacesOptions) {
    this.#sql = sql;
    this.#options = options;
  }

  isDirectory(n: number): boolean {
    let known = this.#kinds.get(n);
    if (known === undefined) this.#kinds.set(n, (known = volumeRow(this.#sql, n).kind === 'directory'));
    return known;
  }

  /** `unavailable` when it is not there, or is not the one it should be. */
  directory(n: number): DirectoryVolume {
    let volume = this.#directories.get(n);
    if (volume === undefined) {
      const row = volumeRow(this.#sql, n);
      this.#check(row);
      const { host, layout } = this.#options;
      const place = { root: folderPath(layout, row), temp: layout.temps };
      volume = new DirectoryVolume(host.files, row.id, place);
      this.#directories.set(n, volume);
    }
    return volume;
  }

  /** Where the file of a part lies, whether it is there or not. */
  pathOf(n: number, name: PartName): string {
    const known = this.#directories.get(n);
    if (known !== undefined) return known.path(name);
    const { host, layout } = this.#options;
    const place = { root: folderPath(layout, volumeRow(this.#sql, n)), temp: layout.temps };
    return new DirectoryVolume(host.files, '', place).path(name);
  }

  /**
   * A file of a directory is missing. `unavailable` when the whole directory is: then nothing can be said of the file. False when the
   * directory lies elsewhere than it did, so that the file is to be looked for there: this thread may be told of that later than it reads.
   */
  isWhereItWas(n: number): boolean {
    const row = volumeRow(this.#sql, n);
    this.#check(row);
    if (this.#directories.get(n)?.root === folderPath(this.#options.layout, row)) return true;
    this.#directories.delete(n);
    return false;
  }

  /** `unavailable` when it is not there, is not the one it should be, or is older. */
  sqlite(n: number): SqliteVolume {
    let volume = this.#sqlite.get(n);
    if (volume === undefined) {
      volume = this.#openSqlite(volumeRow(this.#sql, n));
      this.#sqlite.set(n, volume);
    }
    return volume;
  }

  /** What is read next of a volume is read from its file. */
  refresh(n: number): void {
    this.#sqlite.get(n)?.forget();
  }

  /**
   * Extents of a SQLite volume, in order, read from its file. Between two questions it may be let go of, and is opened anew; so it may be
   * `unavailable`.
   */
  *extents(n: number, fromExtent: number, toExtent: number): Generator<Extent> {
    for (let from = fromExtent; from <= toExtent;) {
      this.refresh(n);
      const some = this.sqlite(n).someExtents(from, toExtent);
      if (some.length === 0) return;
      yield* some;
      from = some.at(-1)!.extent + 1;
    }
  }

  /**
   * Where to stage a file: a guess, since the commit thread decides, but one that is nearly always right. `bytes` is 0 while nobody
   * knows. An extended volume that is away is passed over.
   */
  staging(bytes: number, lease: string): StagingPlace {
    const rows = this.#sql
      .rows(`SELECT * FROM volumes WHERE kind = 'directory' AND state = 'open' ORDER BY n`)
      .all() as VolumeRow[];
    const there = rows.length === 1 ? rows : rows.filter((row) => this.#isThere(row));
    const { host, layout } = this.#options;
    const candidates = there.map((row) => ({
      n: row.n,
      freeBytes: host.files.space(folderPath(layout, row)).freeBytes,
      roomBytes: row.cap === null ? Number.POSITIVE_INFINITY : row.cap - row.bytes,
    }));
    const { allocation } = readGroup(this.#sql);
    const chosen = allocate(candidates, bytes, { allocation, turn: this.#turn++ });
    if (chosen !== undefined) return this.stagingIn(chosen.n, lease);
    if (there.length > 0)
      throw new StoreError('no-space', `no directory volume has room for ${bytes} bytes`, { bytes });
    throw new StoreError('unavailable', 'no directory volume is there');
  }

  stagingIn(n: number, lease: string): StagingPlace {
    const { host, layout } = this.#options;
    const row = volumeRow(this.#sql, n);
    const temps = tempPath(host.files, layout, row, lease);
    if (row.path !== null && host.files.facts(temps) === undefined) {
      try {
        host.files.makeFolder(temps);
      } catch (error) {
        // Another thread of ours made it. Missing folders above are of a disk that is away: they are not made on its mount point.
        if (systemCode(error) !== 'EEXIST')
          throw toStoreError(error, `volume ${row.id} is not there`, { volume: row.id });
      }
    }
    return { volume: n, directory: this.directory(n), temps };
  }

  path(row: VolumeRow): string {
    const { host, layout } = this.#options;
    return row.kind === 'sqlite' ? sqlitePath(host.files, this.#sql, layout, row) : folderPath(layout, row);
  }

  /** Why a volume cannot be relied on, in words; undefined when it is as it should be. A fresh look, which keeps nothing open. */
  problem(row: VolumeRow): string | undefined {
    try {
      if (row.kind === 'sqlite') this.#openSqlite(row).close();
      else this.#check(row);
      const { host, layout } = this.#options;
      const copy = copyOf(host.files, this.#sql, layout, row);
      return copy === undefined ? undefined : `there twice: also ${copy}`;
    } catch (error) {
      const told = toStoreError(error, `looking at volume ${row.id}`);
      // It is told of the volume by name: once is enough.
      if (StoreError.is(told)) return told.message.replace(`volume ${row.id} `, '').replace(/^is /, '');
      throw error;
    }
  }

  /** Lets go of volumes, so that removed ones do not stay open. */
  close(): void {
    for (const volume of this.#sqlite.values()) volume.close();
    this.#sqlite.clear();
    this.#directories.clear();
  }

  #isThere(row: VolumeRow): boolean {
    try {
      this.directory(row.n);
      return true;
    } catch (error) {
      if (StoreError.is(error, 'unavailable')) return false;
      throw error;
    }
  }

  #openSqlite(row: VolumeRow): SqliteVolume {
    const { driver, provider, host, storeId, access } = this.#options;
    const volume = new SqliteVolume(this.path(row), {
      driver,
      provider,
      identity: { storeId, volumeId: row.id },
      extentBytes: 0,
      durability: 'full',
      access,
      platform: host.platform,
    });
    try {
      volume.expectGeneration(row.generation);
      return volume;
    } catch (error) {
      volume.close();
      throw error;
    }
  }

  #check(row: VolumeRow): void {
    const { host, provider, layout, storeId } = this.#options;
    checkLabel(
      { files: host.files, provider, folder: folderPath(layout, row) },
      { storeId, volumeId: row.id, generation: row.generation },
    );
  }
}
