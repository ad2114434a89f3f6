/** The root log (roots.log): every change of roots and owners, on disk before the catalog commits it. */
import type { RootLogEntry } from '../api.ts';
import { equalBytes } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import {
  chainBytes,
  decodeLogHead,
  decodeLogRecord,
  encodeLogHead,
  encodeLogRecord,
  logHeadBytes,
} from '../codec/root-record.ts';
import { StoreError, systemCode } from '../errors.ts';
import type { Files, OpenFile } from '../host.ts';

/** How far the catalog has taken the log in: it commits this with the rows the records describe. */
export interface LogPosition {
  readonly offset: number;
  readonly sequence: number;
  readonly hash: Uint8Array;
}

export const logStart: LogPosition = { offset: logHeadBytes, sequence: 0, hash: new Uint8Array(chainBytes) };

/** Creates the log of a new store; the caller makes its name durable. */
export function createRootLog(files: Files, path: string, storeId: Uint8Array): void {
  const file = files.open(path, 'create');
  try {
    file.write(encodeLogHead(storeId), 0);
    file.sync();
  } finally {
    file.close();
  }
}

/**
 * Appending happens under the catalog's write lock only, so there is one writer at a time in all processes, and the position comes out
 * of the catalog: bytes behind it are of a process that died between its append and its COMMIT.
 */
export class RootLog {
  readonly #file: OpenFile;
  readonly #provider: Provider;
  readonly #durable: boolean;
  readonly #files: Files;
  readonly #storeId: Uint8Array;

  constructor(
    files: Files,
    provider: Provider,
    place: { readonly path: string; readonly storeId: Uint8Array; readonly durable: boolean },
  ) {
    this.#provider = provider;
    this.#durable = place.durable;
    this.#files = files;
    this.#storeId = place.storeId;
    this.#file = openLog(files, place.path);
    const head = new Uint8Array(logHeadBytes);
    this.#file.read(head, 0);
    const storeId = decodeLogHead(head);
    if (storeId === undefined || !equalBytes(storeId, place.storeId)) {
      this.#file.close();
      throw new StoreError('needs-rebuild', 'roots.log is damaged or of another store', { path: place.path });
    }
  }

  /** Appends and syncs. Anything behind `position` is overwritten: call `tail` first. */
  append(position: LogPosition, entries: readonly Omit<RootLogEntry, 'sequence'>[]): LogPosition {
    const parts: Uint8Array[] = [];
    let { offset, sequence, hash } = position;
    for (const entry of entries) {
      const record = encodeLogRecord(this.#provider, { ...entry, sequence: ++sequence }, hash);
      parts.push(record.bytes);
      hash = record.hash;
      offset += record.bytes.length;
    }
    this.#file.write(Buffer.concat(parts), position.offset);
    if (this.#durable) this.#file.sync();
    return { offset, sequence, hash };
  }

  /** Takes an append back after the transaction it belonged to failed. */
  cut(position: LogPosition): void {
    if (this.#file.facts().size > position.offset) this.#file.truncate(position.offset);
  }

  /** Whether there are bytes behind the position. */
  isAhead(position: LogPosition): boolean {
    return this.#file.facts().size > position.offset;
  }

  /** Whether the log is shorter than the catalog remembers: it was cut or restored from an older copy. */
  isBehind(position: LogPosition): boolean {
    return this.#file.facts().size < position.offset;
  }

  /** Whole records behind the position, up to the first torn or damaged one. */
  tail(position: LogPosition): Generator<{ entry: RootLogEntry; next: LogPosition }> {
    return recordsIn(this.#file, this.#provider, position);
  }

  /** Whether the file under this path is the one that is appended to. */
  isAt(path: string): boolean {
    const [mine, there] = [this.#file.facts(), this.#files.facts(path)];
    return there !== undefined && there.ino === mine.ino && there.dev === mine.dev;
  }

  /**
   * Writes a damaged log anew, in its own file, since other processes have it open, too: a head, and then what the draft holds. Whoever dies
   * on the way leaves a damaged log, which it was before.
   */
  overwrite(draft: OpenFile): void {
    this.#file.write(encodeLogHead(this.#storeId), 0);
    const buffer = new Uint8Array(windowBytes);
    let at = logHeadBytes;
    for (let read = 0; (read = draft.read(buffer, at - logHeadBytes)) > 0; at += read)
      this.#file.write(buffer.subarray(0, read), at);
    this.#file.truncate(at);
    if (this.#durable) this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }
}

/** Far larger than any record. */
const windowBytes = 1024 * 1024;

/** Whole records of a log behind the position, up to the first torn or damaged one. */
export function* recordsIn(
  file: OpenFile,
  provider: Provider,
  position: LogPosition,
): Generator<{ entry: RootLogEntry; next: LogPosition }> {
  let { offset, hash } = position;
  const end = file.facts().size;
  let window: Uint8Array = new Uint8Array(0);
  let at = 0;
  for (;;) {
    let record = decodeLogRecord(provider, window, at, hash);
    if (record === undefined) {
      window = new Uint8Array(Math.max(0, Math.min(windowBytes, end - offset)));
      file.read(window, offset);
      at = 0;
      record = decodeLogRecord(provider, window, at, hash);
      if (record === undefined) return;
    }
    at += record.length;
    offset += record.length;
    hash = record.hash;
    yield { entry: record.entry, next: { offset, sequence: record.entry.sequence, hash } };
  }
}

function openLog(files: Files, path: string): OpenFile {
  try {
    return files.open(path, 'write');
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    throw new StoreError('needs-rebuild', 'roots.log is gone', { path }, error);
  }
}
