/** The contract of alternates: stores that are searched after this one, what is borrowed from them, and what holds it there. */
import type { LogDamage } from './scrubbing.ts';
import type { ObjectSource } from './sealed.ts';

/** A blob id, see api.ts. */
type BlobId = string;
type BlobKind = 'raw' | 'node';

export interface AlternateOptions {
  /**
   * Nothing is ever deleted from it: it is not told what is borrowed, and need not be writable. Whoever collects there breaks what is
   * borrowed here, and nobody is warned. Default false.
   */
  readonly immutable?: boolean;
}

/** A store that is searched, in the order of search: alternates of alternates come right behind them. */
export interface AlternateInfo {
  /** Its store id. */
  readonly id: string;
  readonly path: string;
  readonly immutable: boolean;
  /** Found in the alternates of this one; absent where it was added here. */
  readonly through?: string;
  /** Why it cannot be searched now. While there is one, ids that are nowhere else are `unavailable`. */
  readonly problem?: string;
}

/** A store that may borrow from this one: collection here asks it what. */
export interface BorrowerInfo {
  readonly id: string;
  readonly path: string;
}

export interface DissociateResult {
  /** What was copied in. */
  readonly blobs: number;
  readonly bytes: number;
}

export interface DissociateOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (copied: DissociateResult) => void;
}

/**
 * Reads go on in the alternates where this store does not have a blob, or has no good copy. A put of what one of them has stores nothing
 * and borrows; so does whatever refers to such a blob. A borrowed node's links are the lender's matter. `list` tells what this store has
 * or borrows, not what else there is to be found in alternates. At most 8 stores, however they hang together. Only between stores that
 * are not encrypted.
 */
export interface Alternates {
  /**
   * From now on, for every process. The other store is told first, durably, unless it is immutable; where it lies is remembered as an
   * absolute path. Added again from another path, that is where it is. `conflict` for this store itself and for one that has it among
   * its alternates; `limit-exceeded`, `incompatible-format`, `wrong-key` (one of the two is encrypted), `not-a-store`, `forbidden` (it
   * cannot be told).
   */
  add(path: string, options?: AlternateOptions): Promise<AlternateInfo>;
  list(): Promise<AlternateInfo[]>;
  /** `conflict` while something is borrowed that no other alternate has. */
  remove(path: string): Promise<void>;
  /** Stores that registered here. Reads nothing of them. */
  borrowers(): Promise<BorrowerInfo[]>;
  /**
   * Of a borrower that is gone for good, or lies elsewhere now: it is asked no more, and what it borrowed may be collected. Without a
   * path wherever it lay. How many registrations that were.
   */
  forget(borrower: string, path?: string): Promise<number>;
}

/** Somewhere else that blobs are had from, one after the other, by their ids. Whoever asks verifies what comes. */
export interface BlobSource {
  /** What it is there; undefined when it is not there. */
  kindOf(id: BlobId): Promise<BlobKind | undefined>;
  /** Its content from the first byte to the last; undefined when it is not there. */
  stream(id: BlobId, signal: AbortSignal | undefined): Promise<ReadableStream<Uint8Array> | undefined>;
  /** What will be asked for next, in this order, unless it is had elsewhere: a source that is far away sends for it at once. */
  expect?(ids: readonly BlobId[]): void;
}

export interface RepairOptions<Source> {
  /**
   * What is asked for that no alternate has: another store, open or by its folder (then it is opened for reading, without keys), or
   * whatever gives blobs by their ids, or sealed objects by their locators. Where one of two stores of a realm is open without its keys,
   * objects go by locators: with keys each is opened and hashed, without its form and length are all that is looked at.
   */
  readonly from?: Source | BlobSource | ObjectSource | string;
  /** False: only what is known to be damaged already, without a scrub first. Default true. */
  readonly verify?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (healed: number) => void;
}

export interface RepairResult {
  /** Blobs that were damaged or lost, and are whole again. */
  readonly healed: number;
  /** Of those: from other copies of this store, from its alternates, from the other store. */
  readonly sources: { readonly mirrors: number; readonly alternates: number; readonly from: number };
  /** What is so still, and why it could not be had. */
  readonly remaining: readonly { readonly id: BlobId; readonly reason: string }[];
  /** Blobs of which nothing can be said: their volume or alternate is away, or the disk cannot read them. */
  readonly unreachable: number;
  /** What the scrub found of the root log; absent where that is sound, or nothing was scrubbed. */
  readonly rootLog?: LogDamage;
}
