/** The contract of collection: what is freed, what would be, and what only some roots hold. */

export interface GcOptions {
  /** Milliseconds since the last loss of reference or last put; default 24 hours. */
  readonly graceMs?: number;
  readonly dryRun?: boolean;
  /** In a dry run: what else would be freed if these roots were deleted, see `GcResult.without`. */
  readonly without?: readonly string[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: GcResult) => void;
}

export interface GcResult {
  readonly deleted: number;
  /** Bytes given back or made reusable; in a dry run, what would be. */
  readonly freedBytes: number;
  /** Unreferenced but still inside the grace, or held by somebody's horizon. */
  readonly held: number;
  /** In a dry run: what goes later, because it is inside the grace or held. Absent where nothing does. */
  readonly later?: {
    readonly blobs: number;
    readonly bytes: number;
    /** Milliseconds since 1970, with this grace: when the first and the last of it may go, unless a session still holds it then. */
    readonly firstMs: number;
    readonly lastMs: number;
  };
  /** What the roots of `GcOptions.without` hold alone; it would go when the grace is over after they were deleted. */
  readonly without?: HeldAlone;
  /** Why nothing (more) was deleted: any doubt stops collection. Absent when there was none. */
  readonly blocked?: string;
}

/** As this store knows it: what other stores borrow from it counts like the rest, and is spared by collection. */
export interface HeldAlone {
  readonly blobs: number;
  /** That all their copies take in volumes. */
  readonly bytes: number;
}
