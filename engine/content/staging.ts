/** What a large blob is between being taken in and being named: how it is to be stored, and what is known of it then. */
import type { CompressionMode, SourceFacts } from '../api.ts';

/** How a blob is to be stored. */
export interface StageHow {
  /** Other than the store's. */
  readonly compression?: CompressionMode;
  readonly mediaType?: string;
  /** The bytes are a raw object of this locator that was sealed elsewhere. */
  readonly locator?: string;
}

/** A blob in a temp file: written and hashed, not yet durable, not yet named. */
export interface StagedBlob {
  readonly token: string;
  readonly id: string;
  readonly size: number;
  /** What it is called on disk, and the bytes of what its file holds: of the content, or of the object it was sealed into. */
  readonly name: string;
  readonly storedContent: number;
  readonly label: Uint8Array | null;
  readonly framed: boolean;
  /** Bytes of its file. */
  readonly storedSize: number;
  /** Number of the directory volume it was staged for. */
  readonly volume: number;
  readonly source?: SourceFacts;
  /** Of an object that was sealed elsewhere: its sha256, hex. */
  readonly digest?: string;
}

/** Bytes between two turns of the event loop, so that reads on this thread wait a few milliseconds at most. */
export const sliceBytes: number = 1024 * 1024;

export interface StageContext {
  readonly signal: AbortSignal;
  progress(bytes: number): void;
}
