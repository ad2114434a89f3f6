/** Reading blobs on a worker thread: looks up the row, reads the bytes, verifies every chunk before anything leaves. */
import type { AlternateInfo, BlobId } from '../api.ts';
import {
  BlobReader,
  type BlobRow,
  isBorrowed,
  isChunked,
  isPlaced,
  partNameOf,
} from '../catalog/blob-rows.ts';
import { CopyReader, copyAt } from '../catalog/copy-rows.ts';
import { RowHasher } from '../catalog/row-sums.ts';
import { Statements } from '../catalog/statements.ts';
import { equalBytes, fromHex, toHex } from '../codec/bytes.ts';
import type { EncodedChunk } from '../codec/chunk-run.ts';
import type { Provider } from '../codec/provider.ts';
import { type RecordView, readRecord } from '../codec/record.ts';
import type { Database } from '../driver.ts';
import { type StoreError, invariant } from '../errors.ts';
import type { OpenFile, ReadableFile } from '../host.ts';
import type { Realm } from '../keys/realm.ts';
import type { Ahead } from './ahead.ts';
import { AnyCopy } from './any-copy.ts';
import { BareFile, type BlobFile, Frames, isFramed } from './blob-file.ts';
import { Chunks } from './chunks.ts';
import { Contents, copyOf, revealed } from './contents.ts';
import { blaming, damaged, isDamage, mayHaveMoved } from './damage.ts';
import { loadChunkSums } from './chunk-sums.ts';
import { checkLent, openLent, rowOfLent } from './lent.ts';
import { Places, type PlacesOptions } from './places.ts';
import { ReadAhead } from './read-ahead.ts';

export interface ReaderOptions extends PlacesOptions {
  readonly realm: Realm;
  readonly chunkBytes: number;
  /** Told of copies found damaged by reads that went on in another one. */
  readonly onDamage?: (error: StoreError) => void;
  /** Where to look for what is not here. Absent where the store is itself looked into as an alternate. */
  readonly alternates?: LentSource;
}

/** A blob in an alternate. */
export interface Lent {
  readonly reader: Reader;
  readonly row: BlobRow;
  readonly lender: { readonly storeId: string; readonly path: string };
}

export interface LentSource {
  /** All copies that alternates have, those found damaged last. `unavailable` when there is none, and one of them is away. */
  find(id: Uint8Array): Lent[];
  /** The same of many: whether there is one. */
  has(ids: readonly Uint8Array[]): boolean[];
  list(): AlternateInfo[];
}

export class Reader {
  readonly rows: BlobReader;
  readonly sql: Statements;
  readonly places: Places;
  readonly contents: Contents;
  readonly copies: CopyReader;
  readonly ahead: ReadAhead = new ReadAhead();
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

  get alternates(): LentSource | undefined {
    return this.#options.alternates;
  }

  get chunkBytes(): number {
    return this.#options.chunkBytes;
  }

  get realm(): Realm {
    return this.#options.realm;
  }

  /** Of a blob that is only in an alternate a row as if it were borrowed, with the number 0. */
  row(id: BlobId): BlobRow | undefined {
    const name = fromHex(this.realm.nameOf(id))!;
    return this.rows.byId(name) ?? this.lentCopies({ id: name })[0];
  }

  /** A blob as it is in alternates, as if it were borrowed; nothing where none has it. */
  lentCopies({ id }: Pick<BlobRow, 'id'>): BlobRow[] {
    const [lent] = this.lent(id);
    return lent === undefined ? [] : [rowOfLent(lent)];
  }

  lent(id: Uint8Array): Lent[] {
    return this.#options.alternates?.find(id) ?? [];
  }

  /** Which of these ids are here, or in an alternate. */
  has(ids: readonly BlobId[]): boolean[] {
    const names = ids.map((id) => fromHex(this.realm.nameOf(id))!);
    const here = this.rows.has(names);
    const { alternates } = this.#options;
    if (alternates === undefined || !here.includes(false)) return here;
    const there = alternates.has(names.filter((_, i) => here[i] === false));
    let next = 0;
    return here.map((known) => known || there[next++] === true);
  }

  /** The id of a row's blob as callers know it; where its label does not tell, the blob is looked at. Without keys what it is called on disk. */
  tell(row: BlobRow): BlobId {
    if (this.realm.state !== 'open') return toHex(row.id);
    const facts = revealed(this.realm, row);
    if (facts !== undefined) return facts.id;
    if (isChunked(row)) return this.#chunks.idOf(row);
    const file = this.again(row, (current) => this.open(current)) ?? this.open(row);
    try {
      invariant(file.id !== undefined, 'what was sealed has its id in it');
      return toHex(file.id);
    } finally {
      file.close();
    }
  }

  /** Bytes of a blob's content. Of a blob whose label is missing its end is read. */
  sizeOf(row: BlobRow): number {
    return this.contents.sizeOf(row, () => this.open(row));
  }

  /** A range of a blob, clamped at its end; undefined when the id is unknown. `whole` also checks the id of a complete read. */
  read(id: BlobId, offset: number, length: number): Uint8Array | undefined {
    const row = this.row(id);
    return row === undefined
      ? undefined
      : this.again(row, (current) => this.readRow(current, offset, length));
  }

  /** Looks things up in one view of the catalog: taking a new one costs more than most lookups. */
  together<Result>(look: () => Result): Result {
    this.#db.exec('BEGIN');
    try {
      return look();
    } finally {
      if (this.#db.inTransaction) this.#db.exec('COMMIT');
    }
  }

  /** Like `readRow` of a row that was looked up a while ago: the blob may have moved since. */
  readAgain(row: BlobRow, offset: number, length: number): Uint8Array {
    const bytes = this.again(row, (current) => this.readRow(current, offset, length));
    if (bytes === undefined) throw damaged(row, 'it was collected while it was read');
    return bytes;
  }

  /** The same of its chunks as they are stored, see `BlobFile.encoded`. */
  encodedAgain(row: BlobRow, offset: number, end: number): readonly EncodedChunk[] | undefined {
    return this.again(row, (current) => {
      const file = this.open(current);
      try {
        return file.encoded?.(offset, end);
      } finally {
        file.close();
      }
    });
  }

  /** Reads what a row points to; `corrupt` when that is not there or not right. */
  readRow(row: BlobRow, offset: number, length: number): Uint8Array {
    if (!this.isFile(row) && !this.contents.sealed) {
      const end = Math.min(row.size, offset + length);
      return this.#record(row, (record) => record.content(offset, Math.max(offset, end)));
    }
    const file = this.open(row);
    try {
      return file.read(offset, Math.min(file.size, offset + length));
    } finally {
      file.close();
    }
  }

  /** The content of any blob. */
  open(row: BlobRow): BlobFile {
    return this.isFile(row) ? this.openFile(row) : this.#content(row, this.#recordFile(row));
  }

  /** What is stored of exactly the copy that a row names: its content, or the object it was sealed into. */
  openStored(row: BlobRow, ahead?: Ahead): BlobFile {
    if (!this.isFile(row)) return this.#recordFile(row);
    const file = this.partFile(row);
    return this.blobFile(row, ahead?.of(file) ?? file, ahead !== undefined && row.suspect === 0);
  }

  /** Verifies exactly the copy that a row names, whatever form it has, as it lies there. Yields bytes read; then more of it may come `ahead`. */
  *verifyCopy(row: BlobRow, scratch?: Uint8Array, ahead?: Ahead): Generator<number> {
    this.#frames.forget(row);
    this.places.refresh(row.volume);
    const stored = this.openStored(row, ahead);
    try {
      stored.verifyRest?.();
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
        encoded: (offset, end) => blaming(row, () => opened.encoded?.(offset, end)),
        close: () => opened.close(),
      };
    } catch (error) {
      stored.close();
      throw error;
    }
  }

  /** Runs a read again before its failure counts: the blob may have moved, a read have glitched. Then from the next copy, if there is one. */
  again<Result>(row: BlobRow, read: (row: BlobRow) => Result): Result | undefined {
    if (isBorrowed(row)) return read(row); // in the alternate it was tried again already
    try {
      return read(row);
    } catch (error) {
      if (!mayHaveMoved(error)) throw error;
      this.places.refresh(row.volume);
      const fresh = this.rows.byNumber(row.n);
      return fresh === undefined ? undefined : this.#anyCopy.read(fresh, read);
    }
  }

  /** Whether a blob is read by `openFile`. */
  isFile(row: BlobRow): boolean {
    return !isPlaced(row) || this.places.isDirectory(row.volume);
  }

  /** The file of a large blob, of the size its row says, or what reads like one. Where one copy fails, reading goes on in the next. */
  openFile(row: BlobRow): BlobFile {
    if (isBorrowed(row)) return openLent(row, this.lent(row.id));
    return isChunked(row) ? this.#openChunked(row) : this.#anyCopy.open(row, (copy) => this.#openCopy(copy));
  }

  /** Of one that was found damaged the alternates are asked first: what is wrong with it may lie behind its beginning. */
  #openChunked(row: BlobRow): BlobFile {
    if (row.suspect === 0) {
      try {
        return this.#chunks.open(row);
      } catch (error) {
        if (!isDamage(error)) throw error;
        const lent = this.lent(row.id);
        if (lent.length === 0) throw error;
        this.passedOver(error);
        return openLent(row, lent);
      }
    }
    const lent = this.lent(row.id);
    return lent.length > 0 ? openLent(row, lent) : this.#chunks.open(row);
  }

  /** The content of any blob that has a row here, to be read by ranges. */
  openAny(row: BlobRow): BlobFile {
    if (this.isFile(row)) return this.openFile(row);
    const { size } = row;
    const read = (offset: number, end: number): Uint8Array => this.readAgain(row, offset, end - offset);
    const encoded: BlobFile['encoded'] = (offset, end) => this.encodedAgain(row, offset, end);
    return { size, read, encoded, close: () => undefined };
  }

  /** The content of exactly the copy that a row names. Damage met in it is damage of its blob. */
  #openCopy(row: BlobRow): BlobFile {
    if (isBorrowed(row)) return openLent(row, this.lent(row.id));
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

  /**
   * Whether a chunked blob is whole, as far as that shows without reading its chunks, and whether an alternate has a borrowed one; `corrupt`
   * otherwise. Yields now and then.
   */
  *verifyChunked(row: BlobRow): Generator<void> {
    if (isBorrowed(row)) checkLent(row, this.lent(row.id));
    else yield* this.#chunks.verify(row);
  }

  /** The stored bytes of a large blob, whatever their form. */
  partFile(row: BlobRow): OpenFile {
    const open = (): OpenFile | undefined =>
      blaming(row, () => this.places.directory(row.volume).open(partNameOf(row)));
    const file = open() ?? (this.places.isWhereItWas(row.volume) ? undefined : open());
    if (file !== undefined) return file;
    throw damaged(row, 'its file is missing');
  }

  /** A file of the stored bytes of what a row says, here or elsewhere. Takes it over. `proven`: see BareFile. */
  blobFile(row: BlobRow, file: ReadableFile, proven = false): BlobFile {
    try {
      const { size } = file.facts();
      if (size !== row.stored) throw damaged(row, `its file has ${size} bytes, not ${row.stored}`);
      const opened = blaming(row, () => this.#openForm(row, file, proven));
      return {
        size: opened.size,
        read: (offset, end, scratch) => blaming(row, () => opened.read(offset, end, scratch)),
        bare: (offset, end) => blaming(row, () => opened.bare?.(offset, end)),
        encoded: (offset, end) => blaming(row, () => opened.encoded?.(offset, end)),
        verifyRest: () => blaming(row, () => opened.verifyRest?.()),
        close: () => opened.close(),
      };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #openForm(row: BlobRow, file: ReadableFile, proven: boolean): BlobFile {
    if (isFramed(row)) return this.#frames.open(row, file);
    const { provider, chunkBytes } = this.#options;
    const sums = loadChunkSums(this.sql, this.rows, row);
    return new BareFile(file, row.size, { sums, provider, chunkBytes, proven });
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
    const bytes = this.ahead.take(row) ?? this.#stored(row);
    if (bytes === undefined || bytes.length < row.stored) throw damaged(row, 'its record is missing');
    return blaming(row, () => read(recordOf(this.#options.provider, row, bytes)));
  }

  #stored(row: BlobRow): Uint8Array | undefined {
    const place = { extent: row.extent, offset: row.start, length: row.stored };
    return blaming(row, () => this.places.sqlite(row.volume).read(partNameOf(row), place, 0, row.stored));
  }
}

/** Stored content of the record that must be the one a row points to. */
export function recordContent(provider: Provider, row: BlobRow, bytes: Uint8Array): Uint8Array {
  return blaming(row, () => recordOf(provider, row, bytes).content());
}

/** The record at the beginning of these bytes, which must be the one a row points to. What it holds is verified when it is read. */
export function recordOf(provider: Provider, row: BlobRow, bytes: Uint8Array): RecordView {
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
    encoded: (offset, end) => record.encoded(offset, end),
    close: () => undefined,
  };
}
