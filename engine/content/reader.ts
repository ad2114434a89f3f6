/** Reading blobs on a worker thread: looks up the row, reads the bytes, verifies every chunk before anything leaves. */
import type { BlobId } from '../api.ts';
import { BlobReader, type BlobRow, isChunked, partNameOf } from '../catalog/blob-rows.ts';
import { CopyReader, copyAt } from '../catalog/copy-rows.ts';
import { RowHasher } from '../catalog/row-sums.ts';
import { Statements } from '../catalog/statements.ts';
import { equalBytes, fromHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { readRecord } from '../codec/record.ts';
import type { Database } from '../driver.ts';
import type { StoreError } from '../errors.ts';
import type { OpenFile } from '../host.ts';
import { AnyCopy } from './any-copy.ts';
import { BareFile, type BlobFile, Frames, isFramed } from './blob-file.ts';
import { Chunks } from './chunks.ts';
import { blaming, damaged, mayHaveMoved } from './damage.ts';
import { loadChunkSums } from './chunk-sums.ts';
import { Places, type PlacesOptions } from './places.ts';

export interface ReaderOptions extends PlacesOptions {
  readonly chunkBytes: number;
  /** Told of copies found damaged by reads that went on in another one. */
  readonly onDamage?: (error: StoreError) => void;
}

export class Reader {
  readonly rows: BlobReader;
  readonly sql: Statements;
  readonly places: Places;
  readonly copies: CopyReader;
  readonly #db: Database;
  readonly #options: ReaderOptions;
  readonly #frames: Frames;
  readonly #chunks: Chunks;
  readonly #anyCopy: AnyCopy;

  /** Takes over the connection. */
  constructor(db: Database, options: ReaderOptions) {
    this.#db = db;
    this.#options = options;
    this.#frames = new Frames(options.provider);
    this.sql = new Statements(db);
    this.rows = new BlobReader(db, new RowHasher());
    this.places = new Places(this.sql, options);
    this.copies = new CopyReader(this.sql, this.rows.hasher);
    this.#anyCopy = new AnyCopy(this);
    this.#chunks = new Chunks(this);
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
      : this.again(row, (current) => this.readRow(current, offset, length));
  }

  /** Like `readRow` of a row that was looked up a while ago: the blob may have moved since. */
  readAgain(row: BlobRow, offset: number, length: number): Uint8Array {
    const bytes = this.again(row, (current) => this.readRow(current, offset, length));
    if (bytes === undefined) throw damaged(row, 'it was collected while it was read');
    return bytes;
  }

  /** Reads what a row points to; `corrupt` when that is not there or not right. */
  readRow(row: BlobRow, offset: number, length: number): Uint8Array {
    const end = Math.min(row.size, offset + length);
    if (!this.isFile(row)) return this.#record(row, offset, Math.max(offset, end));
    const file = this.openFile(row);
    try {
      return file.read(offset, end);
    } finally {
      file.close();
    }
  }

  /**
   * Runs a read again, with fresh handles and a fresh row, before its failure counts: the blob may have moved, a read may have glitched.
   * Then it is read from the next copy, if there is one.
   */
  again<Result>(row: BlobRow, read: (row: BlobRow) => Result): Result | undefined {
    try {
      return read(row);
    } catch (error) {
      if (!mayHaveMoved(error)) throw error;
      const fresh = this.rows.byNumber(row.n);
      return fresh === undefined ? undefined : this.#anyCopy.read(fresh, read);
    }
  }

  /** Whether a blob is read by `openFile`. */
  isFile(row: BlobRow): boolean {
    return isChunked(row) || this.places.isDirectory(row.volume);
  }

  /** The file of a large blob, of the size its row says, or what reads like one. Where one copy fails, reading goes on in the next. */
  openFile(row: BlobRow): BlobFile {
    return isChunked(row) ? this.#chunks.open(row) : this.#anyCopy.open(row, (copy) => this.openCopy(copy));
  }

  /** The file of exactly the copy that a row names. Damage met in it is damage of its blob. */
  openCopy(row: BlobRow): BlobFile {
    return this.blobFile(row, this.partFile(row));
  }

  /** Damage that a read got around. */
  tell(error: StoreError): void {
    this.#options.onDamage?.(error);
  }

  /** The further copies of a blob; those found damaged last. */
  copiesOf(row: BlobRow): BlobRow[] {
    return this.copies.of(row.n).map((copy) => copyAt(row, copy));
  }

  /** Whether a chunked blob is whole, as far as that shows without reading its chunks; `corrupt` otherwise. Yields now and then. */
  verifyChunked(row: BlobRow): Generator<void> {
    return this.#chunks.verify(row);
  }

  /** The stored bytes of a large blob, whatever their form. */
  partFile(row: BlobRow): OpenFile {
    const file = blaming(row, () => this.places.directory(row.volume).open(partNameOf(row)));
    if (file !== undefined) return file;
    this.places.recheck(row.volume);
    throw damaged(row, 'its file is missing');
  }

  /** A file that must hold what a row says, here or elsewhere. Takes it over. */
  blobFile(row: BlobRow, file: OpenFile): BlobFile {
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

  close(): void {
    this.places.close();
    this.#db.close();
  }

  #record(row: BlobRow, from: number, to: number): Uint8Array {
    const bytes = blaming(row, () =>
      this.places
        .sqlite(row.volume)
        .read(partNameOf(row), { extent: row.extent, offset: row.start, length: row.stored }, 0, row.stored),
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
