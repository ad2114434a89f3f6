/** Reading blobs on a worker thread: looks up the row, reads the bytes, verifies every chunk before anything leaves. */
import type { BlobId } from '../api.ts';
import { BlobReader, type BlobRow, partNameOf } from '../catalog/blob-rows.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { volumePath } from '../catalog/layout.ts';
import { RowHasher } from '../catalog/row-sums.ts';
import { Statements } from '../catalog/statements.ts';
import { equalBytes, fromHex, toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { readRecord } from '../codec/record.ts';
import type { Database, DatabaseClass } from '../driver.ts';
import { StoreError } from '../errors.ts';
import type { Host, OpenFile } from '../host.ts';
import { DirectoryVolume } from '../volumes/directory.ts';
import { SqliteVolume } from '../volumes/sqlite.ts';
import { BareFile, type BlobFile, Frames, isFramed } from './blob-file.ts';
import { loadChunkSums } from './chunk-sums.ts';

export interface ReaderOptions {
  readonly host: Host;
  readonly driver: DatabaseClass;
  readonly provider: Provider;
  readonly layout: StoreLayout;
  readonly storeId: string;
  readonly chunkBytes: number;
  /** How volumes are opened: `read-only` in a store that is open for reading only. */
  readonly access: 'read' | 'read-only';
}

/** The directory volume's number in every store. */
const directoryNumber = 1;

/** What a row points to, found or not: thrown damage says which copy it was. */
export function damaged(row: BlobRow, reason: string): StoreError {
  const id = toHex(row.id);
  return new StoreError('corrupt', `blob ${id} is damaged: ${reason}`, {
    id,
    reason,
    incarnation: row.incarnation,
    references: row.refcount,
  });
}

export class Reader {
  readonly rows: BlobReader;
  readonly sql: Statements;
  readonly directory: DirectoryVolume;
  readonly #db: Database;
  readonly #options: ReaderOptions;
  readonly #volumes = new Map<number, SqliteVolume>();
  readonly #frames: Frames;

  /** Takes over the connection. */
  constructor(db: Database, options: ReaderOptions) {
    this.#db = db;
    this.#options = options;
    this.#frames = new Frames(options.provider);
    this.sql = new Statements(db);
    this.rows = new BlobReader(db, new RowHasher());
    this.directory = new DirectoryVolume(options.host.files, 'blobs', {
      root: options.layout.blobs,
      temp: options.layout.temps,
    });
  }

  get chunkBytes(): number {
    return this.#options.chunkBytes;
  }

  row(id: BlobId): BlobRow | undefined {
    return this.rows.byId(fromHex(id)!);
  }

  /** A range of a blob, clamped at its end; undefined when the id is unknown. `whole` also checks the id of a complete read. */
  read(id: BlobId, offset: number, length: number): Uint8Array | undefined {
    const row = this.row(id);
    return row === undefined
      ? undefined
      : this.#again(row, (current) => this.readRow(current, offset, length));
  }

  /** Reads what a row points to; `corrupt` when that is not there or not right. */
  readRow(row: BlobRow, offset: number, length: number): Uint8Array {
    const end = Math.min(row.size, offset + length);
    if (row.volume !== directoryNumber) return this.#record(row, offset, Math.max(offset, end));
    const file = this.openFile(row);
    try {
      return file.read(offset, end);
    } finally {
      file.close();
    }
  }

  /** Runs a read again, with fresh handles and a fresh row, before its failure counts: the blob may have moved, a read may have glitched. */
  #again<Result>(row: BlobRow, read: (row: BlobRow) => Result): Result | undefined {
    try {
      return read(row);
    } catch (error) {
      if (!StoreError.is(error, 'corrupt')) throw error;
      const fresh = this.rows.byNumber(row.n);
      return fresh === undefined ? undefined : read(fresh);
    }
  }

  /** The file of a large blob, of the size its row says. Damage met in it is damage of its blob. */
  openFile(row: BlobRow): BlobFile {
    const file = this.directory.open(partNameOf(row));
    if (file === undefined) throw damaged(row, 'its file is missing');
    try {
      const { size } = file.facts();
      if (size !== row.stored) throw damaged(row, `its file has ${size} bytes, not ${row.stored}`);
      const opened = blaming(row, () => this.#openForm(row, file));
      return {
        read: (offset, end, scratch) => blaming(row, () => opened.read(offset, end, scratch)),
        close: () => opened.close(),
      };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #openForm(row: BlobRow, file: OpenFile): BlobFile {
    if (isFramed(row)) return this.#frames.open(row, file);
    const { provider, chunkBytes } = this.#options;
    return new BareFile(file, row.size, {
      sums: loadChunkSums(this.sql, this.rows, row),
      provider,
      chunkBytes,
    });
  }

  /** The volume of a small blob, open for reading. */
  volume(n: number): SqliteVolume {
    let volume = this.#volumes.get(n);
    if (volume === undefined) {
      const id = this.sql.values('SELECT id FROM volumes WHERE n = ?').get(n) as string | undefined;
      if (id === undefined) throw new StoreError('unavailable', `volume ${n} is not in the catalog`);
      const { driver, provider, host, layout, storeId } = this.#options;
      volume = new SqliteVolume(volumePath(host.files, layout, id), {
        driver,
        provider,
        identity: { storeId, volumeId: id },
        extentBytes: 0,
        durability: 'full',
        access: this.#options.access,
        platform: host.platform,
      });
      this.#volumes.set(n, volume);
    }
    return volume;
  }

  /** Lets go of volumes, so that removed ones do not stay open. */
  closeVolumes(): void {
    for (const volume of this.#volumes.values()) volume.close();
    this.#volumes.clear();
  }

  close(): void {
    this.closeVolumes();
    this.#db.close();
  }

  #record(row: BlobRow, from: number, to: number): Uint8Array {
    const bytes = blaming(row, () =>
      this.volume(row.volume).read(
        partNameOf(row),
        { extent: row.extent, offset: row.start, length: row.stored },
        0,
        row.stored,
      ),
    );
    if (bytes === undefined || bytes.length < row.stored) throw damaged(row, 'its record is missing');
    return recordContent(this.#options.provider, row, bytes, { from, to });
  }
}

/** Content of the record that must be the one a row points to. */
export function recordContent(
  provider: Provider,
  row: BlobRow,
  bytes: Uint8Array,
  range: { readonly from: number; readonly to: number } = { from: 0, to: row.size },
): Uint8Array {
  return blaming(row, () => {
    const record = readRecord(provider, bytes, 0);
    const { head } = record;
    if (!equalBytes(head.id, row.id) || head.incarnation !== row.incarnation)
      throw damaged(row, 'another record lies in its place');
    if (head.size !== row.size || head.contentBytes !== row.size)
      throw damaged(row, `its record has ${head.size} bytes, not ${row.size}`);
    return record.content(range.from, range.to);
  });
}

/** Damage met while reading what a row points to is damage of its blob. */
function blaming<Result>(row: BlobRow, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (!StoreError.is(error, 'corrupt') || 'id' in error.facts) throw error;
    throw damaged(row, error.message);
  }
}
