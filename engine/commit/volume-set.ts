/** The volumes of a store as the commit thread sees them: one directory, SQLite volumes by number, the one this lease appends to. */
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { type StoreLayout, volumePath } from '../catalog/layout.ts';
import { type BlobRow, partNameOf } from '../catalog/blob-rows.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import type { DatabaseClass } from '../driver.ts';
import { removeIfThere } from './create.ts';
import { StoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import type { StoreParameters } from '../api.ts';
import type { Locator, Part, Volume, VolumeFacts } from '../volume.ts';
import { DirectoryVolume } from '../volumes/directory.ts';
import { SqliteVolume } from '../volumes/sqlite.ts';

export interface VolumeRow {
  readonly n: number;
  readonly id: string;
  readonly kind: 'sqlite' | 'directory';
  readonly state: 'open' | 'sealed' | 'dropped';
  readonly lease: string | null;
  readonly bytes: number;
  readonly dead: number;
  /** Highest extent the catalog knows of: what lies behind it was written by a process that died before its COMMIT. */
  readonly extents: number;
  readonly generation: number;
}

/** The directory volume is the first of every store. */
export const directoryNumber = 1;

export interface VolumeSetOptions {
  readonly host: Host;
  readonly driver: DatabaseClass;
  readonly provider: Provider;
  readonly layout: StoreLayout;
  readonly storeId: string;
  readonly parameters: StoreParameters;
  readonly durability: 'full' | 'relaxed';
  readonly lease: string;
}

export class VolumeSet {
  readonly directory: DirectoryVolume;
  readonly #options: VolumeSetOptions;
  readonly #catalog: Catalog;
  /** By id: a number given in a transaction that failed may be given again. */
  readonly #open = new Map<string, SqliteVolume>();

  constructor(catalog: Catalog, options: VolumeSetOptions) {
    this.#catalog = catalog;
    this.#options = options;
    const { files } = options.host;
    const place = { root: options.layout.blobs, temp: files.join(options.layout.temps, options.lease) };
    this.directory = new DirectoryVolume(files, 'blobs', place);
  }

  row(n: number): VolumeRow {
    const row = this.#catalog.sql.rows('SELECT * FROM volumes WHERE n = ?').get(n) as VolumeRow | undefined;
    if (row === undefined) throw new StoreError('unavailable', `volume ${n} is not in the catalog`);
    return row;
  }

  rows(): VolumeRow[] {
    return this.#catalog.sql
      .rows(`SELECT * FROM volumes WHERE state != 'dropped' ORDER BY n`)
      .all() as VolumeRow[];
  }

  at(n: number): Volume {
    return n === directoryNumber ? this.directory : this.sqlite(this.row(n));
  }

  /** An open volume; opened read-write, so that a hot journal of a dead process is rolled back. */
  sqlite(row: VolumeRow): SqliteVolume {
    let volume = this.#open.get(row.id);
    if (volume === undefined) {
      volume = new SqliteVolume(this.#path(row.id), this.#sqliteOptions(row.id));
      this.#checkGeneration(volume, row);
      this.#open.set(row.id, volume);
    }
    return volume;
  }

  /** Whether a volume is there and is the one it should be. */
  usable(row: VolumeRow): boolean {
    try {
      this.sqlite(row);
      return true;
    } catch (error) {
      const codes = ['unavailable', 'corrupt', 'incompatible-format'];
      if (StoreError.is(error) && codes.includes(error.code)) return false;
      throw error;
    }
  }

  /** Whether the bytes of a row are where it says, as far as names and sizes tell. */
  holds(row: BlobRow): boolean {
    if (row.volume === directoryNumber) return this.directory.size(partNameOf(row)) === row.stored;
    return this.sqlite(this.row(row.volume)).holds(locatorOf(row));
  }

  /** Appends records, durable when it returns; volume rows of the catalog are updated in its running transaction. */
  append(transaction: Transaction, parts: readonly Part[]): { volume: number; locators: Locator[] } {
    const { row, volume, locators } = this.#write(transaction, parts);
    const facts = volume.facts();
    const full = facts.bytes >= this.#options.parameters.volumeBytesMax;
    this.#catalog.sql
      .rows('UPDATE volumes SET bytes = ?, extents = ?, generation = ?, state = ?, lease = ? WHERE n = ?')
      .run(
        facts.bytes,
        facts.extents,
        facts.generation,
        full ? 'sealed' : 'open',
        full ? null : this.#options.lease,
        row.n,
      );
    transaction.changed = true;
    return { volume: row.n, locators };
  }

  /** Into the first volume that takes them; one that turns out damaged is sealed, so that nothing more is trusted to it. */
  #write(
    transaction: Transaction,
    parts: readonly Part[],
  ): { row: VolumeRow; volume: SqliteVolume; locators: Locator[] } {
    for (let sealed = 0; ; sealed++) {
      const row = this.#chooseOpen(transaction);
      const volume = this.sqlite(row);
      try {
        return { row, volume, locators: volume.write(parts) };
      } catch (error) {
        if (!StoreError.is(error, 'corrupt') || sealed === 3) throw error;
        this.#catalog.sql.rows(`UPDATE volumes SET state = 'sealed', lease = NULL WHERE n = ?`).run(row.n);
        transaction.changed = true;
      }
    }
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
    this.#catalog.sql
      .rows('UPDATE volumes SET bytes = ?, extents = ?, generation = ? WHERE n = ?')
      .run(facts.bytes, facts.extents, facts.generation, row.n);
  }

  /** Registers a volume file, new or found without a row. */
  register(transaction: Transaction, volumeId: string, lease: string | null): VolumeRow {
    transaction.changed = true;
    this.#catalog.sql
      .rows(
        `INSERT INTO volumes (id, kind, state, lease, bytes, dead, extents, generation) VALUES (?, 'sqlite', 'open', ?, 0, 0, 0, 0)`,
      )
      .run(volumeId, lease);
    return this.#catalog.sql.rows('SELECT * FROM volumes WHERE id = ?').get(volumeId) as VolumeRow;
  }

  /** Condemns a volume in which nothing lives any more: its file goes after the commit (`removeDropped`), its row last of all. */
  drop(transaction: Transaction, row: VolumeRow): void {
    transaction.changed = true;
    this.#catalog.sql.rows(`UPDATE volumes SET state = 'dropped', lease = NULL WHERE n = ?`).run(row.n);
    this.#catalog.sql.rows('DELETE FROM freed WHERE volume = ?').run(row.n);
  }

  /** Removes the files of dropped volumes, then their rows: a file without a row would be taken for one whose row was lost. */
  removeDropped(): void {
    const dropped = this.#catalog.sql
      .rows(`SELECT * FROM volumes WHERE state = 'dropped'`)
      .all() as VolumeRow[];
    if (dropped.length === 0) return;
    for (const row of dropped) this.#removeFile(row);
    this.#catalog.transaction((transaction) => {
      transaction.changed = true;
      for (const row of dropped) this.#catalog.sql.rows('DELETE FROM volumes WHERE n = ?').run(row.n);
    });
  }

  #removeFile(row: VolumeRow): void {
    this.#open.get(row.id)?.close();
    this.#open.delete(row.id);
    const { files } = this.#options.host;
    for (const path of [this.#path(row.id), `${this.#path(row.id)}-journal`]) {
      removeIfThere(files, path);
    }
  }

  /** The first volume whose file is not there: while one is away, nothing is known about what it holds. */
  missing(): VolumeRow | undefined {
    const { files } = this.#options.host;
    return this.rows().find(
      (row) =>
        files.facts(row.n === directoryNumber ? this.#options.layout.blobs : this.#path(row.id)) ===
        undefined,
    );
  }

  /** Whether another lease appends to it. */
  isForeign(row: VolumeRow): boolean {
    return row.lease !== null && row.lease !== this.#options.lease;
  }

  /** Volume files without a row. */
  strays(): string[] {
    const known = new Set(this.#catalog.sql.values('SELECT id FROM volumes').all() as string[]);
    const names = this.#options.host.files
      .list(this.#options.layout.volumes)
      .map((name) => new TextDecoder().decode(name));
    return names
      .filter((name) => name.endsWith('.db'))
      .map((name) => name.slice(0, -3))
      .filter((id) => !known.has(id));
  }

  /** A record is dead: its space comes back with compaction or with the whole volume. */
  free(transaction: Transaction, volume: number, locator: Locator): void {
    transaction.changed = true;
    const { sql } = this.#catalog;
    sql
      .rows('INSERT OR REPLACE INTO freed (volume, extent, start, length) VALUES (?, ?, ?, ?)')
      .run(volume, locator.extent, locator.offset, locator.length);
    sql.rows('UPDATE volumes SET dead = dead + ? WHERE n = ?').run(locator.length, volume);
  }

  close(): void {
    for (const volume of this.#open.values()) volume.close();
    this.#open.clear();
  }

  #chooseOpen(transaction: Transaction): VolumeRow {
    // Asked anew each time, our own first: what an earlier transaction chose may have been rolled back with it.
    const open = this.#catalog.sql
      .rows(
        `SELECT * FROM volumes WHERE kind = 'sqlite' AND state = 'open' AND (lease IS NULL OR lease = ?) ORDER BY lease IS NULL, n`,
      )
      .all(this.#options.lease) as VolumeRow[];
    return open.find((row) => this.usable(row)) ?? this.#create(transaction);
  }

  #create(transaction: Transaction): VolumeRow {
    const { host, layout, lease } = this.#options;
    const id = toHex(host.random(16));
    this.#makeFile(id);
    host.files.syncFolder(layout.volumes);
    return this.register(transaction, id, lease);
  }

  #makeFile(id: string): void {
    // Under a temp name first: a file in volumes/ is a whole volume, whenever one looks.
    const { files } = this.#options.host;
    const temp = files.join(this.#options.layout.temps, this.#options.lease, `${id}.db`);
    SqliteVolume.create(temp, this.#sqliteOptions(id));
    files.rename(temp, this.#path(id));
  }

  /** A volume that went back in time is a restored copy: its newest records are missing, and it must not be taken for whole. */
  #checkGeneration(volume: SqliteVolume, row: VolumeRow): void {
    const { generation } = factsOrClose(volume);
    if (generation >= row.generation) return;
    volume.close();
    throw new StoreError(
      'unavailable',
      `volume ${row.id} is older (generation ${generation}) than the catalog knows (${row.generation})`,
      { volume: row.id },
    );
  }

  #path(id: string): string {
    return volumePath(this.#options.host.files, this.#options.layout, id);
  }

  #sqliteOptions(volumeId: string): ConstructorParameters<typeof SqliteVolume>[1] {
    const { driver, provider, storeId, parameters, durability, host } = this.#options;
    return {
      driver,
      provider,
      identity: { storeId, volumeId },
      extentBytes: parameters.extentBytes,
      durability,
      platform: host.platform,
    };
  }
}

/** The first look at what lies in a volume: where even that fails, it does not stay open. */
function factsOrClose(volume: SqliteVolume): VolumeFacts {
  try {
    return volume.facts();
  } catch (error) {
    volume.close();
    throw error;
  }
}

export function locatorOf(row: BlobRow): Locator {
  return { extent: row.extent, offset: row.start, length: row.stored };
}
