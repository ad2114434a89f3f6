/** The volumes of a store as the commit thread sees them: directories and SQLite volumes by number, each opened once and checked. */
import { type BlobRow, isBorrowed, isChunked, partNameOf } from '../catalog/blob-rows.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import {
  type VolumeRow,
  copyOf,
  directoryNumber,
  folderPath,
  memberOf,
  sqlitePath,
  tempPath,
  volumeRow,
  volumeRows,
} from '../catalog/group.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Locator, Part } from '../volume.ts';
import { DirectoryVolume } from '../volumes/directory.ts';
import { type LabelPlace, checkLabel } from '../volumes/label.ts';
import { SqliteVolume, type SqliteVolumeOptions } from '../volumes/sqlite.ts';
import { removeVolumeFiles } from './remove-volume.ts';
import { type ChoosableVolumes, VolumeChoice, type VolumeSetOptions, type Wish } from './volume-choice.ts';

/** Records that are durable in a volume, in the order they were given. */
export interface PlacedRecords {
  readonly volume: number;
  readonly locators: readonly Locator[];
}

export class VolumeSet implements ChoosableVolumes {
  readonly options: VolumeSetOptions;
  readonly catalog: Catalog;
  readonly #choice: VolumeChoice;
  /** By id: a number given in a transaction that failed may be given again. */
  readonly #open = new Map<string, SqliteVolume>();
  readonly #directories = new Map<string, DirectoryVolume>();

  constructor(catalog: Catalog, options: VolumeSetOptions) {
    this.catalog = catalog;
    this.options = options;
    this.#choice = new VolumeChoice(this);
  }

  row(n: number): VolumeRow {
    return volumeRow(this.catalog.sql, n);
  }

  rows(): VolumeRow[] {
    return volumeRows(this.catalog.sql);
  }

  isDirectory(n: number): boolean {
    return n === directoryNumber || this.row(n).kind === 'directory';
  }

  /** A directory volume that is there and is the one it should be; `unavailable` otherwise. */
  directory(n: number): DirectoryVolume {
    const row = this.row(n);
    let volume = this.#directories.get(row.id);
    if (volume === undefined) {
      checkLabel(this.place(row), this.identity(row));
      const { files } = this.options.host;
      const temp = tempPath(files, this.options.layout, row, this.options.lease);
      volume = new DirectoryVolume(files, row.id, { root: this.place(row).folder, temp });
      this.#directories.set(row.id, volume);
    }
    return volume;
  }

  /** An open volume; opened read-write, so that a hot journal of a dead process is rolled back. */
  sqlite(row: VolumeRow): SqliteVolume {
    let volume = this.#open.get(row.id);
    if (volume === undefined) {
      volume = this.#opened(row);
      this.#open.set(row.id, volume);
    }
    return volume;
  }

  /** Whether a volume is there and is the one it should be. */
  usable(row: VolumeRow): boolean {
    try {
      if (row.kind === 'sqlite') this.sqlite(row);
      else checkLabel(this.place(row), this.identity(row));
      return true;
    } catch (error) {
      // A disk that does not answer is as good as away, and no reason to stop writing to the others.
      const told = toStoreError(error, `looking at volume ${row.id}`);
      const codes = ['unavailable', 'corrupt', 'incompatible-format'];
      if (StoreError.is(told) && codes.includes(told.code)) return false;
      throw error;
    }
  }

  /** The same by number; one that is not in the catalog any more is not usable. */
  usableNumber(n: number): boolean {
    const row = this.rows().find((volume) => volume.n === n);
    return row !== undefined && this.usable(row);
  }

  /** Whether the bytes of a row are where it says, as far as names and sizes tell. */
  holds(row: BlobRow): boolean {
    if (isBorrowed(row)) return false; // its bytes are elsewhere
    if (isChunked(row)) {
      const { refs, blobs } = this.catalog;
      const manifests = refs.childrenOf(row.n, ownerKinds.chunked);
      return manifests.some((n) => blobs.byNumber(n) !== undefined);
    }
    const volume = this.row(row.volume);
    if (volume.kind === 'sqlite') return this.sqlite(volume).holds(locatorOf(row));
    if (this.directory(row.volume).size(partNameOf(row)) === row.stored) return true;
    // Missing, or is the whole volume away since it was looked at?
    checkLabel(this.place(volume), this.identity(volume));
    return false;
  }

  /** Appends records, durable when it returns; volume rows of the catalog are updated in its running transaction. */
  append(transaction: Transaction, parts: readonly Part[], wish: Wish = {}): PlacedRecords {
    const { row, volume, locators } = this.#write(transaction, parts, wish);
    const facts = volume.facts();
    const full = facts.bytes >= this.options.parameters.volumeBytesMax;
    this.catalog.sql
      .rows('UPDATE volumes SET bytes = ?, extents = ?, generation = ?, state = ?, lease = ? WHERE n = ?')
      .run(
        facts.bytes,
        facts.extents,
        facts.generation,
        full ? 'sealed' : 'open',
        full ? null : this.options.lease,
        row.n,
      );
    transaction.changed = true;
    return { volume: row.n, locators };
  }

  /** The member of the group a volume belongs to. */
  member(n: number): number {
    return n === directoryNumber ? n : memberOf(this.row(n));
  }

  /** Whether what lies in a volume can be read now, as far as that shows without reading it. Keeps nothing open. */
  isPresent(n: number): boolean {
    const row = this.catalog.sql.rows(`SELECT * FROM volumes WHERE n = ? AND state != 'dropped'`).get(n) as
      VolumeRow | undefined;
    if (row === undefined) return false;
    if (row.kind !== 'sqlite') return this.usable(row);
    // One that is open here may have lost its disk since.
    const folder = row.folder === null ? undefined : this.row(row.folder);
    if (folder !== undefined && !this.usable(folder)) return false;
    if (this.options.host.files.facts(this.path(row)) === undefined) return false;
    const open = this.#open.has(row.id);
    const usable = this.usable(row);
    if (usable && !open) this.#close(row.id);
    return usable;
  }

  /** Into the first volume that takes them; one that turns out damaged is sealed, so that nothing more is trusted to it. */
  #write(
    transaction: Transaction,
    parts: readonly Part[],
    wish: Wish,
  ): { row: VolumeRow; volume: SqliteVolume; locators: Locator[] } {
    const bytes = parts.reduce((sum, part) => sum + part.bytes.length, 0);
    for (let sealed = 0; ; sealed++) {
      const row = this.#choice.forRecords(transaction, bytes, wish);
      const volume = this.sqlite(row);
      try {
        return { row, volume, locators: volume.write(parts) };
      } catch (error) {
        if (!StoreError.is(error, 'corrupt') || sealed === 3) throw error;
        this.catalog.sql.rows(`UPDATE volumes SET state = 'sealed', lease = NULL WHERE n = ?`).run(row.n);
        transaction.changed = true;
      }
    }
  }

  /** The directory for a file that is about to appear; `preferred` is where it was staged. */
  forFile(transaction: Transaction, bytes: number, preferred: number | undefined): number {
    return this.#choice.forFile(transaction, bytes, { preferred });
  }

  /** The directory for a file that is copied to another one. */
  forCopiedFile(transaction: Transaction, bytes: number, wish: Wish): number {
    return this.#choice.forFile(transaction, bytes, wish);
  }

  /** Tells the volumes how the group looks now. */
  publish(transaction: Transaction): void {
    this.#choice.publish(transaction);
  }

  /** Writes the next label of a directory or folder. */
  label(transaction: Transaction, row: VolumeRow): void {
    this.#choice.label(transaction, row);
  }

  /** `not-found` for an id that no volume of this store has. */
  byId(id: string): VolumeRow {
    const row = this.rows().find((volume) => volume.id === id);
    if (row === undefined) throw new StoreError('not-found', `no volume ${id} in this store`, { volume: id });
    return row;
  }

  /** Records in extents the catalog does not know of yet. */
  unseen(row: VolumeRow): { volume: SqliteVolume; from: number; to: number } | undefined {
    const volume = this.sqlite(row);
    const facts = volume.facts();
    return facts.extents > row.extents ? { volume, from: row.extents + 1, to: facts.extents } : undefined;
  }

  /** Takes the facts of a volume over into its row: after recovery has dealt with what was unseen. */
  refresh(transaction: Transaction, row: VolumeRow): void {
    const facts = this.sqlite(row).facts();
    transaction.changed = true;
    this.catalog.sql
      .rows('UPDATE volumes SET bytes = ?, extents = ?, generation = ? WHERE n = ?')
      .run(facts.bytes, facts.extents, facts.generation, row.n);
  }

  /** Registers a volume file, new or found without a row. `folder`: null is DIR/volumes. */
  register(
    transaction: Transaction,
    volume: { readonly id: string; readonly lease: string | null; readonly folder: number | null },
  ): VolumeRow {
    transaction.changed = true;
    this.catalog.sql
      .rows(
        `INSERT INTO volumes (id, kind, state, lease, bytes, dead, extents, generation, folder) VALUES (?, 'sqlite', 'open', ?, 0, 0, 0, 0, ?)`,
      )
      .run(volume.id, volume.lease, volume.folder);
    return this.catalog.sql.rows('SELECT * FROM volumes WHERE id = ?').get(volume.id) as VolumeRow;
  }

  /** Condemns a volume in which nothing lives any more: its file goes after the commit (`removeDropped`), its row last of all. */
  drop(transaction: Transaction, row: VolumeRow): void {
    transaction.changed = true;
    this.catalog.sql
      .rows(`UPDATE volumes SET state = 'dropped', lease = NULL, goal = NULL, target = NULL WHERE n = ?`)
      .run(row.n);
    this.catalog.sql.rows('DELETE FROM freed WHERE volume = ?').run(row.n);
  }

  /** Removes the files of dropped volumes, then their rows: a file without a row would be taken for one whose row was lost. */
  removeDropped(): void {
    const dropped = this.catalog.sql
      .rows(`SELECT * FROM volumes WHERE state = 'dropped' ORDER BY kind = 'folder'`)
      .all() as VolumeRow[];
    if (dropped.length === 0) return;
    for (const row of dropped) {
      this.#close(row.id);
      this.#directories.delete(row.id);
      // One that is away, or taken by another, is forgotten; what lies there is nobody's any more.
      if (row.kind === 'sqlite' || this.usable(row))
        removeVolumeFiles(this.options.host.files, this.catalog.sql, this.options, row);
    }
    this.catalog.transaction((transaction) => {
      transaction.changed = true;
      for (const row of dropped) this.catalog.sql.rows('DELETE FROM volumes WHERE n = ?').run(row.n);
    });
  }

  /**
   * Why a volume cannot be relied on: its file or folder is missing, is another one, or is older than the catalog knows. Undefined when
   * it is as it should be. While one is away, nothing is known about what it holds.
   */
  trouble(row: VolumeRow): string | undefined {
    try {
      if (row.kind !== 'sqlite') checkLabel(this.place(row), this.identity(row));
      else if (this.options.host.files.facts(this.path(row)) === undefined)
        return `volume ${row.id} is not there`;
      else if (!this.#open.has(row.id)) this.#opened(row).close();
      const { options, catalog } = this;
      const copy = copyOf(options.host.files, catalog.sql, options.layout, row);
      return copy === undefined
        ? undefined
        : `volume ${row.id} is there twice: ${this.path(row)} and ${copy}`;
    } catch (error) {
      if (StoreError.is(error, 'unavailable')) return error.message;
      // Damage of a volume is damage of its blobs, and is judged there.
      if (StoreError.is(error)) return undefined;
      // Another process may have removed it while it was looked at, and what SQLite says of that is a failing disk.
      if (this.options.host.files.facts(this.path(row)) === undefined)
        return `volume ${row.id} is not there any more`;
      throw error;
    }
  }

  /** Whether another lease appends to it. */
  isForeign(row: VolumeRow): boolean {
    return row.lease !== null && row.lease !== this.options.lease;
  }

  /** Volume files without a row. */
  strays(): { readonly id: string; readonly folder: number | null }[] {
    const known = new Set(this.catalog.sql.values('SELECT id FROM volumes').all() as string[]);
    const folders = this.rows().filter((row) => row.kind === 'folder' && this.usable(row));
    return [undefined, ...folders].flatMap((folder) =>
      this.options.host.files
        .list(folderPath(this.options.layout, folder))
        .map((name) => new TextDecoder().decode(name))
        .filter((name) => name.endsWith('.db') && !known.has(name.slice(0, -3)))
        .map((name) => ({ id: name.slice(0, -3), folder: folder?.n ?? null })),
    );
  }

  /** A record is dead: its space comes back with compaction or with the whole volume. */
  free(transaction: Transaction, volume: number, locator: Locator): void {
    transaction.changed = true;
    const { sql } = this.catalog;
    sql
      .rows('INSERT OR REPLACE INTO freed (volume, extent, start, length) VALUES (?, ?, ?, ?)')
      .run(volume, locator.extent, locator.offset, locator.length);
    sql.rows('UPDATE volumes SET dead = dead + ? WHERE n = ?').run(locator.length, volume);
  }

  /** Keeps count of what the files of a directory take, for its cap. */
  charge(transaction: Transaction, n: number, bytes: number): void {
    transaction.changed = true;
    this.catalog.sql.rows('UPDATE volumes SET bytes = max(0, bytes + ?) WHERE n = ?').run(bytes, n);
  }

  /** What is open of a directory, or of the volumes in a folder, is closed: it is opened anew where its row says. */
  letGo({ id, n }: VolumeRow): void {
    this.#directories.delete(id);
    for (const row of this.rows()) if (row.folder === n) this.#close(row.id);
  }

  close(): void {
    for (const volume of this.#open.values()) volume.close();
    this.#open.clear();
    this.#directories.clear();
  }

  place(row: VolumeRow): LabelPlace {
    const { host, provider, layout } = this.options;
    return { files: host.files, provider, folder: folderPath(layout, row) };
  }

  identity(row: VolumeRow): {
    readonly storeId: string;
    readonly volumeId: string;
    readonly generation: number;
  } {
    return { storeId: this.options.storeId, volumeId: row.id, generation: row.generation };
  }

  path(row: VolumeRow): string {
    return sqlitePath(this.options.host.files, this.catalog.sql, this.options.layout, row);
  }

  sqliteOptions(volumeId: string): SqliteVolumeOptions {
    const { driver, provider, storeId, parameters, durability, host } = this.options;
    return {
      driver,
      provider,
      identity: { storeId, volumeId },
      extentBytes: parameters.extentBytes,
      durability,
      platform: host.platform,
    };
  }

  #close(id: string): void {
    this.#open.get(id)?.close();
    this.#open.delete(id);
  }

  #opened(row: VolumeRow): SqliteVolume {
    const volume = new SqliteVolume(this.path(row), this.sqliteOptions(row.id));
    try {
      volume.expectGeneration(row.generation);
      return volume;
    } catch (error) {
      volume.close();
      throw error;
    }
  }
}

export function locatorOf(row: Pick<BlobRow, 'extent' | 'start' | 'stored'>): Locator {
  return { extent: row.extent, offset: row.start, length: row.stored };
}
