/** The contract with the machine: files, clock, randomness, threads. Everything the engine does to the outside passes here. */

/** What a path is. `other` is a FIFO, socket or device. */
export type FileKind = 'file' | 'folder' | 'link' | 'other';

/** The facts of one file. Times in nanoseconds since 1970, sizes in bytes; identity is (dev, ino). */
export interface FileFacts {
  readonly kind: FileKind;
  readonly size: number;
  /** Permission bits only (0o7777). */
  readonly mode: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly dev: bigint;
  readonly ino: bigint;
  readonly links: number;
}

/**
 * How a file is opened: `read`, `write` (exists already, read and write), `create` (must not exist, read and write).
 * Opening a FIFO does not block. There is no open that truncates: the engine never writes over what is there.
 */
export type OpenMode = 'read' | 'write' | 'create';

/**
 * An open file. All calls are synchronous: they run on worker threads, where a blocking call costs nothing.
 * `read` and `write` go to an absolute position and may be short only at the end of the file (read) or never (write: all or an error).
 */
export interface OpenFile extends ReadableFile {
  write(source: Uint8Array, position: number): void;
  /** Writes one piece after the other while the caller goes on; they are left alone until it resolves; not there where the host has no such way. */
  writeLater?(pieces: readonly Uint8Array[], position: number): Promise<void>;
  truncate(size: number): void;
  /** Makes the content durable (fsync; F_FULLFSYNC on macOS). Does not make the file's name durable. */
  sync(): void;
  setMode(mode: number): void;
  setTimes(mtimeNs: bigint): void;
  /** The same file for `DirectFile`; undefined, as where there is no such method, where the system or the file system has no such way. */
  direct?(): DirectFile | undefined;
}

/** The part of an open file that reading takes. */
export interface ReadableFile {
  read(target: Uint8Array, position: number): number;
  /** The same where all of it is in memory already: a view that holds until something else is asked of the file. */
  view?(position: number, length: number): Uint8Array | undefined;
  facts(): FileFacts;
  /** Closes; an error of close is reported, never swallowed. Closing twice is harmless. */
  close(): void;
}

/**
 * A file read past the machine's cache of files, while the caller goes on: for what is read whole, once, and from the disk itself. It
 * outlives neither its `close` nor that of the file it came from.
 */
export interface DirectFile {
  /** Positions are multiples of this. */
  readonly alignBytes: number;
  /** The bytes at a position, about a MiB, fewer only at the end of the file. Their memory is the caller's until `release`. */
  read(position: number): Promise<Uint8Array>;
  /** Gives the memory of a read back. */
  release(bytes: Uint8Array): void;
  close(): void;
}

/**
 * Files by absolute path. Errors carry the system's `code` (ENOENT, EIO, ENOSPC, …) and pass through untranslated.
 * "Missing" is `undefined` only from `facts` and `linkFacts`; any doubt is an error.
 */
export interface Files {
  open(path: string, mode: OpenMode, permissions?: number): OpenFile;
  facts(path: string): FileFacts | undefined;
  /** Like `facts`, but of a symbolic link itself. */
  linkFacts(path: string | Uint8Array): FileFacts | undefined;
  /** The names in a folder as raw bytes, since a name need not be UTF-8; in no order. */
  list(path: string): Uint8Array[];
  readLink(path: string): Uint8Array;
  makeFolder(path: string, permissions?: number): void;
  makeLink(path: string, target: string): void;
  removeFile(path: string): void;
  removeFolder(path: string): void;
  /** Atomic; the engine only renames to names that do not exist. */
  rename(from: string, to: string): void;
  /** Makes the names in a folder durable. A no-op where the platform has no such call (Windows). */
  syncFolder(path: string): void;
  setMode(path: string, mode: number): void;
  setTimes(path: string, mtimeNs: bigint): void;
  /** Copy-on-write copy to a new file. False, and nothing made, where the file system has none. */
  clone(from: string, to: string): boolean;
  /** The path with links resolved; it must exist. */
  realPath(path: string): string;
  /** Free bytes for an ordinary user on the file system of the path, and the type of that system (statfs magic). */
  space(path: string): { readonly freeBytes: number; readonly type: number };
  join(...parts: readonly string[]): string;
}

/** Wall clock and monotonic clock, milliseconds. Only a hint: safety never depends on the wall clock. */
export interface Clock {
  now(): number;
  monotonic(): number;
  /** Resolves after at least `ms`, or at once when the signal aborts. Does not keep a process alive. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Lets other work of this thread (messages, I/O) run. */
  yield(): Promise<void>;
}

/** A two-way message channel end: structured-cloneable messages, in order. */
export interface Port {
  post(message: unknown, transfer?: readonly object[]): void;
  listen(handler: (message: unknown) => void): void;
  close(): void;
}

/** A started thread. `ended` resolves with an error when the thread died by itself, undefined when it was stopped. */
export interface Thread {
  readonly port: Port;
  readonly ended: Promise<Error | undefined>;
  /** While held (calls are counted) the thread keeps the process alive; a thread without work does not. */
  hold(on: boolean): void;
  stop(): Promise<void>;
}

/** What a thread entry file exports. */
export interface ThreadEntry {
  run(port: Port, host: Host): void;
}

/** Starts thread entries. An inline implementation runs them on the calling thread, for tests and tiny stores. */
export interface Threads {
  start(entry: URL): Promise<Thread>;
  /** A direct channel between two threads: each end is sent to one of them in a message, with itself in `transfer`. Undefined inline. */
  channel(): readonly [object, object] | undefined;
  /** In the thread that received it: the port of a channel's end. */
  join(end: unknown): Port;
  /** How many threads can really run at once. */
  readonly parallelism: number;
}

export interface Host {
  readonly files: Files;
  readonly clock: Clock;
  readonly threads: Threads;
  random(bytes: number): Uint8Array;
  readonly platform: string;
  readonly pid: number;
  /** The start time of this process, as text: with the pid it names a process for good. */
  readonly processStart: string;
}
