/** The contract of scrubs and health: what is verified, what is told of damage, and when the promise is kept. */
/** A blob id, see api.ts. */
type BlobId = string;

export interface Damage {
  readonly id: BlobId;
  readonly reason: string;
  readonly references: number;
}

/** A root from which a damaged blob is reached. */
export interface TouchedRoot {
  /** Its name; in an encrypted store that was opened without keys, the key it is found by. */
  readonly name: string;
  /** A shortest way of links: first the blob that the root points to, last the damaged one. */
  readonly chain: readonly BlobId[];
}

/** Who needs a damaged blob. Told from the catalog alone: nothing is read, so it is told also where nodes are damaged. */
export interface Touched {
  /** At most 16, one way for each. */
  readonly roots: readonly TouchedRoot[];
  /** Owners that retain it or what leads to it, at most 16; in an encrypted store the keys they are found by. */
  readonly owners: readonly string[];
  /** There is more than is told: further roots or owners, more than 10,000 blobs above it, or a way longer than 128. */
  readonly more: boolean;
}

export interface DamageFound extends Damage {
  readonly touches: Touched;
}

export interface ScrubProgress {
  readonly blobs: number;
  readonly bytes: number;
  readonly totalBlobs: number;
  readonly totalBytes: number;
  /** Since the scrub began. */
  readonly bytesPerSecond: number;
  /** Milliseconds until everything is verified, at that rate. Absent before anything was. */
  readonly leftMs?: number;
}

export interface ScrubOptions {
  /**
   * Rejects with its reason when it aborts. What was verified until then counts, blob by blob, and the next scrub begins with what was
   * not: to pause is to abort, to resume is to scrub again.
   */
  readonly signal?: AbortSignal;
  /** Bytes a second that all threads together read; held over any few seconds. Default: as fast as they can. At least 1,024. */
  readonly rate?: number;
  /** Milliseconds after which it ends by itself, with `complete: false` unless it was through. */
  readonly timeBoxMs?: number;
  readonly onProgress?: (progress: ScrubProgress) => void;
}

export interface ScrubResult {
  /** In a mirrored group every copy counts. */
  readonly blobs: number;
  /** Content bytes verified. */
  readonly bytes: number;
  /** False where the time box ended it. Then neither references were counted nor doubts settled; the next one that is through does. */
  readonly complete: boolean;
  /** What was not reached; zeros where it is complete. */
  readonly left: { readonly blobs: number; readonly bytes: number };
  /** What was found damaged and is so still. */
  readonly damaged: readonly DamageFound[];
  /** Copies of a mirrored group that were damaged, lost or never made, and were made from another one. */
  readonly healed: number;
  /** Blobs that have fewer good copies than the group wants, when the scrub had made those it could. */
  readonly missingCopies: number;
  /** Blobs of which nothing can be said: their volume or alternate is away, or the disk cannot read them. All others were verified. */
  readonly unreachable: number;
  /**
   * Those of them that the disk answered with an error for, as after a bad sector, the first 1,000: why, and who needs them. They are not
   * marked: such a disk may read them the next time.
   */
  readonly unreadable: readonly DamageFound[];
  /** Where blobs are unreachable or lack copies: the volumes and alternates that cannot be used, by name and why, in words. */
  readonly away: readonly string[];
  /** Stored copies without a catalog row, taken back in as unreferenced. */
  readonly adopted: number;
  /** Rows whose reference count was wrong, and is right now. */
  readonly recounted: number;
  /** Catalog rows or row buckets whose checksum does not hold. */
  readonly badRows: number;
  /** Absent where the root log is as it was written, and where the scrub did not come to its end: it is read last. */
  readonly rootLog?: LogDamage;
  readonly milliseconds: number;
}

/** Damage of the root log. What the catalog says of roots and owners is not touched by it. */
export interface LogDamage {
  /** In words. */
  readonly problem: string;
  /** It was written anew: what could be read of it, and what the catalog knows besides; the old one lies in `quarantine/`. */
  readonly mended: boolean;
}

/** One scrub, as it is remembered. The newest 1,000 are. */
export interface ScrubRecord {
  /** Milliseconds since 1970. */
  readonly begunMs: number;
  /** Absent while it runs, and for ever where the process died: what it verified counts all the same. */
  readonly endedMs?: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: number;
  readonly healed: number;
  /** Everything was verified: neither stopped nor out of time. */
  readonly complete: boolean;
  readonly milliseconds: number;
}

export interface HealthOptions {
  /** The promise: every copy was verified, or stored, within so many days. Default: those of the scheduled scrub, else 30. */
  readonly days?: number;
}

/**
 * The worst that is the case. `broken`: some copy was not verified for longer than promised, blobs lack copies, a root has no name that opens, or a volume or an
 * alternate cannot be used. `at-risk`: the promise ends before two full scrubs would be through, or within a tenth of the days; or the store's clock is ahead. `damage`: blobs are known
 * to be damaged, or the catalog is in doubt.
 */
export type HealthState = 'fine' | 'at-risk' | 'broken' | 'damage';

export interface StoreHealth {
  readonly state: HealthState;
  /** What is wrong, for people; empty when the state is fine. */
  readonly reasons: readonly string[];
  readonly promise: {
    readonly days: number;
    readonly kept: boolean;
    /** When it ends, if nothing is verified until then. Absent in an empty store. Copies known to be damaged do not count. */
    readonly untilMs?: number;
    /** When the copy that waits longest was last verified, or stored if it never was. */
    readonly oldestMs?: number;
    /** Copies that waited longer than promised, and their bytes. */
    readonly overdue: { readonly blobs: number; readonly bytes: number };
    /** Milliseconds a scrub of everything takes, at the rate of the last one. Absent before the first. */
    readonly fullScrubMs?: number;
  };
  /** Newest first, at most 10. */
  readonly scrubs: readonly ScrubRecord[];
  readonly suspect: number;
  /** Roots that `roots.list` leaves out, as their names do not open: somebody pushed them. 0 without keys. See `Store.sealed.roots`. */
  readonly unopenedRoots: number;
  /** On how many members each blob is to be kept: 1 unless the group is mirrored. Scrubs count each. */
  readonly copies: number;
  /** Blobs that have fewer good copies than the group wants. Copies in volumes that cannot be used now are none. */
  readonly missingCopies: number;
  /** Why collection stands still until somebody has looked. */
  readonly doubt?: string;
  /**
   * Milliseconds that the store's clock, which never goes back, is ahead of the machine's; absent below a day. A clock ran ahead once: what
   * loses its references now is kept until the machine's clock is there, and copies seem verified later than they were.
   */
  readonly clockAheadMs?: number;
  /** Volumes that cannot be used now, and of how many blobs a copy lies there. */
  readonly volumes: readonly { readonly id: string; readonly problem: string; readonly blobs: number }[];
  /** Bytes of the catalog's write-ahead log. */
  readonly walBytes: number;
  /** Files that puts under way, or dead processes, have in the folder of temps, and their bytes. */
  readonly temporary: { readonly files: number; readonly bytes: number };
  /** Large puts of this process that run or wait. */
  readonly putsWaiting: number;
  readonly freeBytes: number;
}
