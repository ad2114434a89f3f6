/** The contract of collection: what is freed, what would be, what only some roots hold, and what caps do to caches. */

/** A blob of a cache, as a policy sees it. */
export interface CachedBlob {
  /** sha256 of its content, see api.ts. */
  readonly id: string;
  /** That it takes in volumes, all copies; of a chunked one its content. */
  readonly bytes: number;
  /** When it was last put, or read through a store that was opened with the cap; milliseconds since 1970, exact to a minute. */
  readonly usedMs: number;
}

/** The lower, the sooner it goes; undefined: it stays. Asked of each blob once an eviction; must not take long. */
export type EvictionPolicy = (blob: CachedBlob) => number | undefined;

/**
 * A limit on what one owner alone holds: the blobs that it retains and nothing else refers to. What roots, nodes or other owners hold
 * as well costs a cache nothing, so it does not count, and is never released. Nor does what nodes of the cache lead to.
 */
export interface Cap {
  readonly owner: string;
  /** What the blobs may take in volumes, and how many they may be; one of both at least. */
  readonly bytes?: number;
  readonly blobs?: number;
  /**
   * `evict` (default): puts go on, and the owner's references to what was not used for longest are taken back, until it is a tenth below;
   * the space comes back when it is collected. `refuse`: a put of the owner fails with `limit-exceeded`, also where puts that are
   * under way would take the rest. Of a stream or a file it is not known before how large it is, so the last one may pass the cap. Puts
   * of other processes, and what was released, are known a second after it was found reached.
   */
  readonly above?: 'evict' | 'refuse';
  /** What goes first. Default: what was used least recently. */
  readonly policy?: EvictionPolicy;
}

/** What an eviction released, and what the owner alone holds after it: more than the cap only where the policy keeps it. */
export interface Evicted {
  readonly blobs: number;
  readonly bytes: number;
  readonly left: { readonly blobs: number; readonly bytes: number };
}

export interface GcOptions {
  /** Milliseconds since the last loss of reference or last put; default 24 hours. */
  readonly graceMs?: number;
  readonly dryRun?: boolean;
  /** In a dry run: what else would be freed if these roots were deleted, see `GcResult.without`. */
  readonly without?: readonly string[];
  /** First what is above this cap is released; with a grace of 0 it is freed in the same call. Default: the cap the store was opened with, unless that refuses. */
  readonly cap?: Cap;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: GcResult) => void;
}

export interface GcResult {
  readonly deleted: number;
  /** Bytes given back or made reusable; in a dry run, what would be. */
  readonly freedBytes: number;
  /** What the cap released, or in a dry run would: it is not in the other figures then. Absent without a cap. */
  readonly evicted?: Evicted;
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
