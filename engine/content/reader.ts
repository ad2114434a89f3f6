/** Reading blobs on a worker thread: looks up the row, reads the bytes, verifies every chunk before anything leaves. */
import type { BlobId } from '../api.ts';
import { BlobReader, type BlobRow, isChunked, partNameOf } from '../catalog/blob-rows.ts';
import { CopyReader, copyAt } from '../catalog/copy-rows.ts';
import { RowHasher } from '../catalog/row-sums.ts';
import { Statements } from '../catalog/statements.ts';
import { equalBytes, fromHex, toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { type RecordView, readRecord } from '../codec/record.ts';
import type { Database } from '../driver.ts';
import { type StoreError, invariant } from '../errors.ts';
import type { OpenFile } from '../host.ts';
import type { Realm } from '../keys/realm.ts';
import { AnyCopy } from './any-copy.ts';
import { BareFile, type BlobFile, Frames, isFramed } from './blob-file.ts';
import { Chunks } from './chunks.ts';
import { Contents, copyOf, revealed } from './contents.ts';
import { blaming, damaged, mayHaveMoved } from './damage.ts';
import { loadChunkSums } from './chunk-sums.ts';
import { Places, type PlacesOptions } from './places.ts';

export interface ReaderOptions extends PlacesOptions {
  readonly realm: Realm;
  readonly chunkBytes: number;
  /** Told of copies found damaged by reads that went on in another one. */
  readonly onDamage?: (error: StoreError) => void;
}

export class Reader {
  readonly rows: BlobReader;
  readonly sql: Statements;
  readonly places: Places;
  readonly contents: Contents;
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
    this.contents = new Contents(options.provider, options.realm);
    this.copies = new CopyReader(this.sql, this.rows.hasher);
    this.#anyCopy = new AnyCopy(this);
    this.#chunks = new Chunks(this);
  }

  get chunkBytes(): number {
    return this.#options.chunkBytes;
  }

  get realm(): Realm {
    return this.#options.realm;
  }

  row(id: BlobId): BlobRow | undefined {
    return this.rows.byId(fromHex(this.realm.nameOf(id))!);
  }

  /** The id of a row's blob as callers know it; where its label does not tell, the blob is looked at. Without keys what it is called on disk. */
  tell(row: BlobRow): BlobId {
    if (this.realm.state !== 'open') return toHex(row.id);
    const facts = revealed(this.realm, row);
    if (facts !== undefined) return facts.id;
    if (isChunked(row)) return this.#chunks.idOf(row);
    const file = this.again(row, (current) => this.#open(current)) ?? this.#open(row);
    try {
      invariant(file.id !== undefined, 'what was sealed has its id in it');
      return toHex(file.id);
    } finally {
      file.close();
    }
  }

  /** Bytes of a blob's content. Of a blob whose label is missing its end is read. */
  sizeOf(row: BlobRow): number {
    return this.contents.sizeOf(row, () => this.#open(row));
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
    if (!this.isFile(row) && !this.contents.sealed) {
      const end = Math.min(row.size, offset + length);
      return this.#record(row, (record) => record.content(offset, Math.max(offset, end)));
    }
    const file = this.#open(row);
    try {
      return file.read(offset, Math.min(file.size, offset + length));
    } finally {
      file.close();
    }
  }

  /** The content of any blob. */
  #open(row: BlobRow): BlobFile {
    return this.isFile(row) ? this.openFile(row) : this.#content(row, this.#recordFile(row));
  }

  /** Verifies exactly the copy that a row names, whatever form it has. Yields bytes read. */
  *verifyCopy(row: BlobRow, scratch?: Uint8Array): Generator<number> {
    const stored = this.isFile(row) ? this.blobFile(row, this.partFile(row)) : this.#recordFile(row);
    try {
      const steps = this.contents.verify(copyOf(row), stored, scratch);
      for (;;) {
        const step = blaming(row, () => steps.next());
        if (step.done === true) return;
        yield step.value;
      }
    } finally {
      stored.close();
    }
  }

  #content(row: BlobRow, stored: BlobFile): BlobFile {
    if (!this.contents.sealed) return stored;
    try {
      const opened = blaming(row, () => this.contents.open(row, stored));
      return {
        ...(opened.id === undefined ? {} : { id: opened.id }),
        size: opened.size,
        read: (offset, end, scratch) => blaming(row, () => opened.read(offset, end, scratch)),
        close: () => opened.close(),
      };
    } catch (error) {
      stored.close();
      throw error;
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
    return isChunked(row) ? this.#chunks.open(row) : this.#anyCopy.open(row, (copy) => this.#openCopy(copy));
  }

  /** The content of exactly the copy that a row names. Damage met in it is damage of its blob. */
  #openCopy(row: BlobRow): BlobFile {
    return this.#content(row, this.blobFile(row, this.partFile(row)));
  }

  /** Damage that a read got around. */
  passedOver(error: StoreError): void {
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

  /** A file of the stored bytes of what a row says, here or elsewhere. Takes it over. */
  blobFile(row: BlobRow, file: OpenFile): BlobFile {
    try {
      const { size } = file.facts();
      if (size !== row.stored) throw damaged(row, `its file has ${size} bytes, not ${row.stored}`);
      const opened = blaming(row, () => this.#openForm(row, file));
      return {
        size: opened.size,
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
    this.contents.close();
    this.places.close();
    this.#db.close();
  }

  #recordFile(row: BlobRow): BlobFile {
    return this.#record(row, recordFile);
  }

  #record<Result>(row: BlobRow, read: (record: RecordView) => Result): Result {
    const bytes = blaming(row, () =>
      this.places
        .sqlite(row.volume)
        .read(partNameOf(row), { extent: row.extent, offset: row.start, length: row.stored }, 0, row.stored),
    );
    if (bytes === undefined || bytes.length < row.stored) throw damaged(row, 'its record is missing');
    return blaming(row, () => read(recordOf(this.#options.provider, row, bytes)));
  }
}

/** Stored content of the record that must be the one a row points to. */
export function recordContent(provider: Provider, row: BlobRow, bytes: Uint8Array): Uint8Array {
  return blaming(row, () => recordOf(provider, row, bytes).content());
}

function recordOf(provider: Provider, row: BlobRow, bytes: Uint8Array): RecordView {
  const record = readRecord(provider, bytes, 0);
  const { head } = record;
  if (!equalBytes(head.id, row.id) || head.incarnation !== row.incarnation)
    throw damaged(row, 'another record lies in its place');
  if (head.size !== row.size || head.contentBytes !== row.size)
    throw damaged(row, `its record has ${head.size} bytes, not ${row.size}`);
  return record;
}

function recordFile(record: RecordView): BlobFile {
  return {
    size: record.head.contentBytes,
    read: (offset, end) => record.content(offset, end),
    close: () => undefined,
  };
}
