/** Where the next bytes go: picks directories and open SQLite volumes, makes new ones, and tells all of them how the group looks. */
import type { StoreParameters } from '../api.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import {
  type Candidate,
  type VolumeRow,
  allocate,
  folderPath,
  groupLayout,
  ownFolder,
  readGroup,
  tempPath,
  writeGroup,
} from '../catalog/group.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import type { DatabaseClass } from '../driver.ts';
import { StoreError, systemCode } from '../errors.ts';
import type { Host } from '../host.ts';
import { sharingCap } from './companion.ts';
import { type LabelPlace, checkLabel, readLabel, writeLabel } from '../volumes/label.ts';
import { SqliteVolume, type SqliteVolumeOptions } from '../volumes/sqlite.ts';

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

/** What choosing asks of the set of volumes it chooses from. */
export interface ChoosableVolumes {
  readonly options: VolumeSetOptions;
  readonly catalog: Catalog;
  row(n: number): VolumeRow;
  rows(): VolumeRow[];
  usable(row: VolumeRow): boolean;
  sqlite(row: VolumeRow): SqliteVolume;
  register(
    transaction: Transaction,
    volume: { readonly id: string; readonly lease: string | null; readonly folder: number | null },
  ): VolumeRow;
  place(row: VolumeRow): LabelPlace;
  identity(row: VolumeRow): {
    readonly storeId: string;
    readonly volumeId: string;
    readonly generation: number;
  };
  sqliteOptions(volumeId: string): SqliteVolumeOptions;
}

/** Members that may take bytes: directories for files, folders for records. */
export interface Wish {
  readonly only?: number | undefined;
  /** Those that hold a copy already. */
  readonly without?: ReadonlySet<number> | undefined;
}

/** What a capped folder must have room for besides the records of a batch: pages that are not full, and those of a new file. */
const overheadBytes = 128 * 1024;

export class VolumeChoice {
  readonly #volumes: ChoosableVolumes;
  /** Label generations that this process wrote, by volume id. */
  readonly #labelled = new Map<string, number>();
  #turn = 0;

  constructor(volumes: ChoosableVolumes) {
    this.#volumes = volumes;
  }

  /** The SQLite volume that takes the next records; a new one where there is none that is open. */
  forRecords(transaction: Transaction, bytes: number, wish: Wish): VolumeRow {
    const folder = this.#folder(bytes, wish);
    // Asked anew each time, our own first: what an earlier transaction chose may have been rolled back with it.
    const open = this.#volumes.catalog.sql
      .rows(
        `SELECT * FROM volumes WHERE kind = 'sqlite' AND state = 'open' AND folder IS ? AND (lease IS NULL OR lease = ?) ORDER BY lease IS NULL, n`,
      )
      .all(folder === ownFolder ? null : folder, this.#volumes.options.lease) as VolumeRow[];
    return open.find((row) => this.#volumes.usable(row)) ?? this.#create(transaction, folder);
  }

  /**
   * The directory for a file of so many bytes: where it was staged, if that has room and it is its turn, or else another; `no-space`
   * when all caps are reached. Its label is raised when this process puts there first, so that an older copy of it is known for one.
   */
  forFile(
    transaction: Transaction,
    bytes: number,
    wish: Wish & { readonly preferred?: number | undefined },
  ): number {
    const { sql } = this.#volumes.catalog;
    const open = sql
      .rows(`SELECT * FROM volumes WHERE kind = 'directory' AND state = 'open' ORDER BY n`)
      .all() as VolumeRow[];
    const rows = open.filter((row) => isWished(row.n, wish));
    const usable = open.length === 1 ? rows : rows.filter((row) => this.#volumes.usable(row));
    const candidates = usable.map((row) => this.#candidate(row));
    const allocation = readGroup(sql).allocation;
    const preferred = candidates.find(({ n }) => n === wish.preferred);
    const striped = allocation === 'striped' && preferred !== undefined && preferred.roomBytes >= bytes;
    const chosen = striped ? preferred : allocate(candidates, bytes, { allocation, turn: this.#turn++ });
    if (chosen === undefined) {
      if (usable.length === 0) throw nowhere(rows[0]);
      throw new StoreError('no-space', `no directory volume has room for ${bytes} bytes`, { bytes });
    }
    this.#raise(
      transaction,
      usable.find(({ n }) => n === chosen.n)!,
    );
    return chosen.n;
  }

  /**
   * A change of the group: it gets the next sequence number, and the labels tell. What cannot be written is passed over: an older layout
   * has a smaller number, and the catalog is what counts. Sealed volumes keep the layout they were sealed with.
   */
  publish(transaction: Transaction): void {
    const { sql } = this.#volumes.catalog;
    const group = readGroup(sql);
    transaction.changed = true;
    writeGroup(sql, { ...group, sequence: group.sequence + 1 });
    for (const row of this.#volumes.rows()) {
      try {
        if (row.kind === 'sqlite') this.#publishInto(row);
        else if (row.generation > 0) this.label(transaction, row);
      } catch (error) {
        if (!StoreError.is(error) && systemCode(error) === undefined) throw error;
      }
    }
  }

  /** Durable when it returns. */
  label(transaction: Transaction, row: VolumeRow): void {
    const { catalog, options } = this.#volumes;
    const place = this.#volumes.place(row);
    checkLabel(place, this.#volumes.identity(row));
    const generation = Math.max(row.generation, readLabel(place)?.generation ?? 0) + 1;
    const layout = groupLayout(catalog.sql);
    writeLabel(place, { storeId: options.storeId, volumeId: row.id, generation, layout });
    transaction.changed = true;
    catalog.sql.rows('UPDATE volumes SET generation = ? WHERE n = ?').run(generation, row.n);
    this.#labelled.set(row.id, generation);
  }

  /** The folder for records: DIR/volumes, which has no cap, or one of the group's. */
  #folder(bytes: number, wish: Wish): number {
    const { catalog, options } = this.#volumes;
    const rows = catalog.sql
      .rows(`SELECT * FROM volumes WHERE kind = 'folder' AND state = 'open' ORDER BY n`)
      .all() as VolumeRow[];
    if (rows.length === 0 && isWished(ownFolder, wish)) return ownFolder;
    const own = { n: ownFolder, roomBytes: Number.POSITIVE_INFINITY, freeBytes: 0 };
    own.freeBytes = options.host.files.space(options.layout.volumes).freeBytes;
    const candidates = rows.filter((row) => this.#volumes.usable(row)).map((row) => this.#candidate(row));
    const allowed = [own, ...candidates].filter(({ n }) => isWished(n, wish));
    if (allowed.length === 0) throw nowhere(rows.find(({ n }) => isWished(n, wish)));
    const wanted = Math.ceil(bytes * 1.5) + overheadBytes;
    const { allocation } = readGroup(catalog.sql);
    const chosen = allocate(allowed, wanted, { allocation, turn: this.#turn++ });
    if (chosen !== undefined) return chosen.n;
    throw new StoreError('no-space', `the folder of volumes has no room for ${bytes} bytes`, { bytes });
  }

  #candidate(row: VolumeRow): Candidate {
    const { freeBytes } = this.#volumes.options.host.files.space(this.#volumes.place(row).folder);
    return { n: row.n, freeBytes, roomBytes: this.#roomOf(row) };
  }

  /** What a cap leaves, for the member and its companion together. */
  #roomOf(row: VolumeRow): number {
    if (row.cap === null) return Number.POSITIVE_INFINITY;
    const members = [row, ...sharingCap(this.#volumes, row)];
    return members.reduce((room, member) => room - this.#bytesOf(member), row.cap);
  }

  #bytesOf(row: VolumeRow): number {
    if (row.kind === 'directory') return row.bytes + intendedBytes(this.#volumes, row.n);
    return this.#volumes.catalog.sql
      .values('SELECT coalesce(sum(bytes), 0) FROM volumes WHERE folder = ?')
      .get(row.n) as number;
  }

  #create(transaction: Transaction, folder: number): VolumeRow {
    const { options, catalog } = this.#volumes;
    const { files } = options.host;
    const id = toHex(options.host.random(16));
    const where = folder === ownFolder ? undefined : this.#volumes.row(folder);
    const row = this.#volumes.register(transaction, { id, lease: options.lease, folder: where?.n ?? null });
    this.publish(transaction);
    const path = folderPath(options.layout, where);
    const temps =
      where === undefined
        ? files.join(options.layout.temps, options.lease)
        : tempPath(files, options.layout, where, options.lease);
    if (files.facts(temps) === undefined) files.makeFolder(temps);
    // Under a temp name first: a file in volumes/ is a whole volume, whenever one looks.
    const temp = files.join(temps, `${id}.db`);
    const layout = JSON.stringify(groupLayout(catalog.sql));
    SqliteVolume.create(temp, this.#volumes.sqliteOptions(id), layout);
    files.rename(temp, files.join(path, `${id}.db`));
    files.syncFolder(path);
    return row;
  }

  /** Open ones that are open here anyway: nobody else writes to a volume while we have the catalog's write lock. */
  #publishInto(row: VolumeRow): void {
    if (row.state !== 'open' || row.lease !== this.#volumes.options.lease || row.generation === 0) return;
    const { sql } = this.#volumes.catalog;
    const generation = this.#volumes.sqlite(row).writeLayout(JSON.stringify(groupLayout(sql)));
    sql.rows('UPDATE volumes SET generation = ? WHERE n = ?').run(generation, row.n);
  }

  #raise(transaction: Transaction, row: VolumeRow): void {
    const written = this.#labelled.get(row.id);
    // Rolled back, the catalog does not know of it: once more.
    if (written === undefined || row.generation < written) this.label(transaction, row);
  }
}

function isWished(member: number, { only, without }: Wish): boolean {
  return (only === undefined || member === only) && without?.has(member) !== true;
}

function nowhere(away: VolumeRow | undefined): StoreError {
  return away === undefined
    ? new StoreError('unavailable', 'there is no other volume to put this on')
    : new StoreError('unavailable', `volume ${away.id} is not there`, { volume: away.id });
}

/** Of files that are on their way into a directory, of all leases. */
function intendedBytes({ catalog }: ChoosableVolumes, n: number): number {
  return catalog.sql.values('SELECT coalesce(sum(bytes), 0) FROM intents WHERE volume = ?').get(n) as number;
}
