/** What the hand-written rivals do, each in the plainest way that an application would do it without us. */

/** A place in the large file. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Synchronous calls of node:fs and node:crypto. What it stores is on disk when a call returns: by one `sync` at the end. */
export interface Naive {
  /** Reads, hashes and writes one file in pieces of 1 MiB. Returns its bytes. */
  readonly copyFile: (source: string, target: string) => number;
  /** Reads, hashes and writes each file under its sha256, in 256 folders. */
  readonly storeFiles: (sources: readonly string[], folder: string) => number;
  readonly hashFiles: (paths: readonly string[]) => number;
  readonly readRanges: (path: string, ranges: readonly Range[]) => number;
  readonly readFiles: (paths: readonly string[]) => number;
  /** Writes down size, mtime and inode of every file below a folder, and its sha256. */
  readonly takeNotes: (folder: string, notes: string) => void;
  /** Goes through the folder and compares; files that differ are hashed. Returns how many files there are. */
  readonly checkNotes: (folder: string, notes: string) => number;
}

/**
 * A SQLite table `id BLOB PRIMARY KEY, bytes BLOB` in WAL mode with synchronous=FULL, 1,000 rows a transaction. For the large
 * file a second table with a row for every 64 KiB.
 */
export interface Table {
  putFiles(paths: readonly string[]): number;
  putObjects(count: number, make: (index: number) => Uint8Array): void;
  /** One row in a transaction of its own. */
  putOne(bytes: Uint8Array): void;
  putChunks(path: string): void;
  /** 1,000 rows a transaction. Returns how many there were. */
  deleteRows(ids: readonly Uint8Array[]): number;
  /** Length of the blob; 0 when it is not there. */
  get(id: Uint8Array): number;
  has(id: Uint8Array): boolean;
  readRange(range: Range): number;
  /** All ids, in no order that anybody chose. */
  ids(): Uint8Array[];
  close(): void;
}

export interface SqliteTable {
  /** `durable: false` for preparing: no sync at all. */
  readonly openTable: (path: string, options?: { readonly durable?: boolean }) => Table;
}

export interface Compressed {
  bytes: number;
  stored: number;
}

export interface Codec {
  /** Compresses the files in chunks, on all cores; tells their bytes, and what the chunks would take. */
  readonly compressFiles: (paths: readonly string[]) => Promise<Compressed>;
}

/** Threads that wait to be told. */
export interface CoreThreads {
  /** Resolves with the bytes of all files. */
  run(): Promise<number>;
  stop(): Promise<void>;
}

export interface Cores {
  /** On all cores: reads the files in turn, or hashes as many bytes of memory. */
  readonly startCores: (files: readonly string[], what: 'read' | 'hash') => Promise<CoreThreads>;
}

/** The rivals are loaded by address: the rules of our house do not look into their folder. */
export async function loadNaive(): Promise<Naive> {
  return (await import(new URL('./rivals/naive.ts', import.meta.url).href)) as Naive;
}

export async function loadSqliteTable(): Promise<SqliteTable> {
  return (await import(new URL('./rivals/sqlite-table.ts', import.meta.url).href)) as SqliteTable;
}

export async function loadCores(): Promise<Cores> {
  return (await import(new URL('./rivals/cores.ts', import.meta.url).href)) as Cores;
}

export async function loadCodec(): Promise<Codec> {
  return (await import(new URL('./rivals/codec.ts', import.meta.url).href)) as Codec;
}
