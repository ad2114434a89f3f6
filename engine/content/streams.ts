/** Long reads on a worker thread: whole blobs, streams with an open handle, exports to files; in slices, so that others get their turn. */
import type { ExportTarget } from '../api.ts';
import { type BlobRow, isBorrowed } from '../catalog/blob-rows.ts';
import { equalBytes, fromHex } from '../codec/bytes.ts';
import type { Hasher, Provider } from '../codec/provider.ts';
import { StoreError, systemCode, toStoreError } from '../errors.ts';
import type { Host, OpenFile } from '../host.ts';
import type { BlobFile } from './blob-file.ts';
import { damaged, mayHaveMoved } from './damage.ts';
import type { Reader } from './reader.ts';

const whole = { offset: 0, length: Number.MAX_SAFE_INTEGER } as const;

/** Bytes read between two turns of the event loop. */
const turnBytes = 2 * 1024 * 1024;

/** A blob being read from one end to the other. Checks the id at the end when it began at the start. */
class Cursor {
  readonly row: BlobRow;
  readonly #reader: Reader;
  readonly #end: number;
  readonly #hasher: Hasher | undefined;
  readonly #file: BlobFile | undefined;
  #at: number;

  constructor(
    reader: Reader,
    row: BlobRow,
    range: { readonly offset: number; readonly length: number; readonly provider: Provider },
  ) {
    this.row = row;
    this.#reader = reader;
    if (reader.isFile(row)) this.#file = reader.openFile(row);
    const size = this.#file?.size ?? reader.sizeOf(row);
    this.#at = Math.min(range.offset, size);
    this.#end = Math.min(size, range.offset + range.length);
    const whole = range.offset === 0 && this.#end === size;
    // Of what was sealed each chunk was verified by its tag, and the object by its locator.
    this.#hasher = whole && !reader.contents.sealed ? range.provider.hasher() : undefined;
  }

  get remaining(): number {
    return Math.max(0, this.#end - this.#at);
  }

  /** The next bytes, verified; undefined at the end, after the id was checked. In `scratch`, they last until the next call. */
  next(bytesMax: number, scratch?: Uint8Array): Uint8Array | undefined {
    if (this.remaining === 0) {
      this.#checkId();
      return undefined;
    }
    const end = Math.min(this.#end, this.#at + bytesMax);
    const bytes =
      this.#file === undefined
        ? this.#reader.readAgain(this.row, this.#at, end - this.#at)
        : this.#file.read(this.#at, end, scratch);
    this.#hasher?.update(bytes);
    this.#at = end;
    // The last bytes leave only after the id was checked.
    if (this.remaining === 0) this.#checkId();
    return bytes;
  }

  close(): void {
    this.#file?.close();
  }

  #checked = false;

  #checkId(): void {
    if (this.#hasher === undefined || this.#checked) return;
    this.#checked = true;
    if (!equalBytes(this.#hasher.digest(), this.row.id))
      throw damaged(this.row, 'its content does not hash to its id');
  }
}

export class Streams {
  readonly #reader: Reader;
  readonly #host: Host;
  readonly #provider: Provider;
  readonly #open = new Map<number, Cursor>();
  #next = 1;

  constructor(reader: Reader, host: Host, provider: Provider) {
    this.#reader = reader;
    this.#host = host;
    this.#provider = provider;
  }

  get openHandles(): number {
    return this.#open.size;
  }

  /** A whole blob in memory; undefined when unknown. */
  async get(
    id: string,
    limits: { readonly maxBytes: number; readonly signal: AbortSignal },
  ): Promise<Uint8Array | undefined> {
    const row = this.#reader.row(id);
    if (row === undefined) return undefined;
    const size = this.#reader.again(row, (current) => this.#reader.sizeOf(current)) ?? 0;
    if (size > limits.maxBytes) {
      throw new StoreError(
        'limit-exceeded',
        `blob ${id} has ${size} bytes; get returns at most ${limits.maxBytes}: use stream or readRange`,
        { id, size },
      );
    }
    return await this.#twice(row, (current) => this.#getRow(current, limits.signal));
  }

  /** A range; long ones give other calls their turn. */
  async range(
    id: string,
    range: { readonly offset: number; readonly length: number; readonly signal: AbortSignal },
  ): Promise<Uint8Array | undefined> {
    if (range.length <= turnBytes) return this.#reader.read(id, range.offset, range.length);
    const row = this.#reader.row(id);
    if (row === undefined) return undefined;
    return await this.#twice(row, (current) => this.#collect(current, range, range.signal));
  }

  /** Opens a handle; undefined when the id is unknown. `lent`: as it is in an alternate, whatever is here. */
  open(
    { id, lent }: { readonly id: string; readonly lent?: boolean },
    offset: number,
    length: number,
  ): { handle: number } | undefined {
    const row = lent === true ? this.#reader.lentCopies({ id: fromHex(id)! })[0] : this.#reader.row(id);
    if (row === undefined) return undefined;
    const begin = (current: BlobRow): Cursor =>
      new Cursor(this.#reader, current, { offset, length, provider: this.#provider });
    const cursor = this.#reader.again(row, begin);
    if (cursor === undefined) return undefined;
    this.#open.set(this.#next, cursor);
    return { handle: this.#next++ };
  }

  /** The next bytes of a handle; undefined at the end, when the handle is closed already. */
  pull(handle: number, bytesMax: number): Uint8Array | undefined {
    const cursor = this.#open.get(handle);
    if (cursor === undefined) throw new StoreError('closed', 'this stream is closed');
    try {
      const bytes = cursor.next(bytesMax);
      if (bytes === undefined) this.cancel(handle);
      return bytes;
    } catch (error) {
      this.cancel(handle);
      throw error;
    }
  }

  cancel(handle: number): void {
    this.#open.get(handle)?.close();
    this.#open.delete(handle);
  }

  /** Writes a blob to a new file, verified; false when the id is unknown. Leaves no file when it fails. */
  async exportTo(target: ExportTarget, signal: AbortSignal): Promise<boolean> {
    const row = this.#reader.row(target.id);
    if (row === undefined) return false;
    await this.#twice(row, (current) => this.#export(current, target, signal));
    return true;
  }

  close(): void {
    for (const handle of [...this.#open.keys()]) this.cancel(handle);
  }

  async #export(row: BlobRow, target: ExportTarget, signal: AbortSignal): Promise<void> {
    const cursor = new Cursor(this.#reader, row, { ...whole, provider: this.#provider });
    try {
      const file = createTarget(this.#host, target.path);
      try {
        await this.#copy(cursor, signal, (bytes, at) => file.write(bytes, at));
        if (target.mtimeNs !== undefined) file.setTimes(target.mtimeNs);
        if (target.mode !== undefined) file.setMode(target.mode);
        file.close();
      } catch (error) {
        file.close();
        this.#host.files.removeFile(target.path);
        throw toStoreError(error, `writing ${target.path}`, { path: target.path });
      }
    } finally {
      cursor.close();
    }
  }

  #getRow(row: BlobRow, signal: AbortSignal): Promise<Uint8Array> {
    return this.#collect(row, whole, signal);
  }

  async #collect(
    row: BlobRow,
    range: { readonly offset: number; readonly length: number },
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const cursor = new Cursor(this.#reader, row, { ...range, provider: this.#provider });
    try {
      if (cursor.remaining <= turnBytes) return cursor.next(turnBytes) ?? new Uint8Array(0);
      const all = new Uint8Array(cursor.remaining);
      await this.#copy(cursor, signal, (bytes, at) => all.set(bytes, at));
      return all;
    } finally {
      cursor.close();
    }
  }

  async #copy(
    cursor: Cursor,
    signal: AbortSignal,
    take: (bytes: Uint8Array, at: number) => void,
  ): Promise<void> {
    // One memory for the whole copy: fresh memory per slice would be collected too late to bound anything.
    const scratch = new Uint8Array(Math.min(turnBytes, cursor.remaining) + this.#reader.chunkBytes);
    for (let at = 0; ;) {
      signal.throwIfAborted();
      const bytes = cursor.next(turnBytes, scratch);
      if (bytes === undefined) return;
      take(bytes, at);
      at += bytes.length;
      if (cursor.remaining > 0) await this.#host.clock.yield();
    }
  }

  /** Once more with fresh handles and a fresh row before damage is believed. */
  async #twice<Result>(row: BlobRow, read: (row: BlobRow) => Promise<Result>): Promise<Result | undefined> {
    try {
      return await read(row);
    } catch (error) {
      if (!mayHaveMoved(error)) throw error;
      if (isBorrowed(row)) throw error; // in the alternate it was tried again already
      const fresh = this.#reader.rows.byId(row.id);
      return fresh === undefined ? undefined : await read(fresh);
    }
  }
}

function createTarget(host: Host, path: string): OpenFile {
  try {
    return host.files.open(path, 'create');
  } catch (error) {
    if (systemCode(error) === 'EEXIST')
      throw new StoreError('conflict', `${path} exists already`, { path }, error);
    throw toStoreError(error, `creating ${path}`, { path });
  }
}
