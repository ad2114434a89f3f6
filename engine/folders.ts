/** The contract of real folders: what importing and restoring see of them, and do in them, in bulk. */

/** The facts of a source file, as they were before and after it was read. */
export interface SourceFacts {
  readonly size: number;
  readonly mode: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Columns of a folder listing, sorted by name bytes; made on a worker thread, a few machine words per entry. */
export interface FolderListing {
  /** Names joined, each followed by a 0 byte. */
  readonly names: Uint8Array;
  readonly count: number;
  /** `count` records of `listingRecordBytes`, see codec/listing.ts. */
  readonly records: Uint8Array;
  /** Names that are not valid UTF-8, escaped for people. They are in no record. */
  readonly badNames: readonly string[];
}

/** One step of laying out folders and links on disk; see FileWork.run. */
export type FileStep =
  | { readonly step: 'make-folder'; readonly path: string }
  | { readonly step: 'make-link'; readonly path: string; readonly target: string; readonly mtimeNs: bigint }
  | { readonly step: 'set-facts'; readonly path: string; readonly mode: number; readonly mtimeNs: bigint }
  | { readonly step: 'sync-folder'; readonly path: string };

/** Real folders, seen from worker threads: what importing and restoring need, in bulk. */
export interface FileWork {
  list(path: string): Promise<FolderListing>;
  facts(
    path: string,
  ): Promise<(SourceFacts & { readonly kind: 'file' | 'folder' | 'link' | 'other' }) | undefined>;
  readLink(path: string): Promise<Uint8Array>;
  realPath(path: string): Promise<string>;
  /** Runs the steps in order; stops at the first failure. */
  run(steps: readonly FileStep[]): Promise<void>;
}

export interface ExportTarget {
  /** Of a blob. */
  readonly id: string;
  /** Must not exist. */
  readonly path: string;
  readonly mode?: number;
  readonly mtimeNs?: bigint;
}
