/** What may be said of a transfer, and what is told of it. */
import type { BlobId, Host } from '../engine/index.ts';
import type { Quota } from './receiving.ts';
import type { Allowed } from './sides.ts';

export interface PeerOptions {
  /** The clock; the default is this machine's. */
  readonly host?: Host;
  /** Silence of the peer that is taken for its death, ms; default two minutes. A peer at work says so every 20 seconds. */
  readonly stallMs?: number;
  /** The most that may come in one transfer; default without bounds. */
  readonly quota?: Partial<Quota>;
  readonly signal?: AbortSignal;
  /** Blobs and bytes stored so far. */
  readonly onProgress?: (progress: { readonly blobs: number; readonly bytes: number }) => void;
}

/**
 * `refuse`, the default: a root does not go back. `tampered` where the peer's root log is not any more what it was when this root was
 * last seen there; `conflict` where the root would become what it was here before, and the peer does not show that it went on.
 */
export type Rollback = 'refuse' | 'allow';

/** Who serves does as it is asked. */
interface Naming {
  /**
   * What blobs are called: by `ids`, or by `locators`, which takes stores of one realm and none of its keys. The default is ids, and
   * locators where the store here was opened without its keys. Without keys roots go by the keys that they are found by, see `Store.sealed`.
   */
  readonly by?: 'ids' | 'locators';
}

export interface PullOptions extends PeerOptions, Naming {
  readonly rollback?: Rollback;
  /** Names of the roots to follow; default all that the peer has. */
  readonly roots?: readonly string[];
}

export interface PushOptions extends PeerOptions, Naming {
  /** Names of the roots to send; default all. */
  readonly roots?: readonly string[];
  /** What a root must be at the peer, by name; null: not there. Default: whatever it is when the transfer begins. */
  readonly expect?: Readonly<Record<string, BlobId | null>>;
  /** Whether roots there may go back to what they were; only without `expect`. */
  readonly rollback?: Rollback;
}

export interface ServeOptions extends PeerOptions {
  /** What the peer may do; default both. `append`: push roots of names that are new here, and move none. */
  readonly allow?: Allowed;
  /** Of what is pushed, where the peer does not ask for it itself. */
  readonly rollback?: Rollback;
}

export interface Replicated {
  /** Roots that are now the same on both sides; `changed` where one moved. */
  readonly roots: readonly { readonly name: string; readonly id: BlobId; readonly changed: boolean }[];
  /** Blobs transferred, and their bytes. */
  readonly blobs: number;
  readonly bytes: number;
  /** Bytes on the wire. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Questions and answers that had to wait for each other, counted from hello. Of a serving side: 0. */
  readonly roundTrips: number;
}

/** Two minutes. */
export const defaultStallMs = 120_000;
