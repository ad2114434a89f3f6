/** The contract of roots: names for what is kept, changed by compare-and-swap, remembered in a log, and restored from it. */
/** A blob id, see api.ts. */
type BlobId = string;

export interface RootEntry {
  readonly name: string;
  readonly id: BlobId;
  readonly changedMs: number;
}

/** One line of the root log. */
export interface RootLogEntry {
  readonly sequence: number;
  readonly timeMs: number;
  readonly change: 'set' | 'delete' | 'retain' | 'release' | 'borrow';
  /** Root name or owner; of a borrowed blob its kind, size and the id of the store that has it. */
  readonly name: string;
  readonly id?: BlobId;
}

export interface Roots {
  /** Compare-and-swap: `expect` null = must not exist, an id = must be it, absent = whatever. Fails with `conflict`. */
  set(name: string, id: BlobId, options?: { readonly expect?: BlobId | null }): Promise<void>;
  get(name: string): Promise<BlobId | undefined>;
  list(): Promise<RootEntry[]>;
  /** False when there was none. */
  delete(name: string, options?: { readonly expect?: BlobId }): Promise<boolean>;
  log(options?: { readonly after?: number; readonly limit?: number }): Promise<RootLogEntry[]>;
  /**
   * For each name and id the changes in the root log that set this root to this id, by their sequences, rising. What was gone before the
   * log begins is not known. O(length of the log).
   */
  changes(
    asked: readonly { readonly name: string; readonly id: BlobId }[],
  ): Promise<readonly (readonly number[])[]>;
  /**
   * Deleted roots whose content is all here still, the newest first. What collection may take is promised to nobody: it is kept for the
   * grace, by each collection's own. O(length of the log).
   */
  deleted(): Promise<DeletedRoot[]>;
  /**
   * Sets a deleted root again, `as` another name if that is said, and tells what it points to. `sequence` chooses one of several; else
   * the one deleted last. `not-found` when there is none, or it was collected; `conflict` when there is a root of that name.
   */
  restore(name: string, options?: { readonly sequence?: number; readonly as?: string }): Promise<BlobId>;
}

/** A root that was deleted, as it was then. */
export interface DeletedRoot {
  readonly name: string;
  readonly id: BlobId;
  readonly deletedMs: number;
  /** Of its deletion in the root log. */
  readonly sequence: number;
  /** Until then a collection with the default grace spares it. Absent where something else holds it. */
  readonly keptUntilMs?: number;
}
