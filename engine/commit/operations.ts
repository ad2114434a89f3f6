/** What the calling thread asks the commit thread for: operations that share one transaction, and their answers. */
import type { BlobId, BlobKind, Link } from '../api.ts';

export type Operation =
  | SmallPut
  | LargeProbe
  | LargePut
  | ChunkedPut
  | { readonly op: 'retain' | 'release'; readonly id: BlobId; readonly owner: string }
  | {
      readonly op: 'set-root';
      readonly name: string;
      readonly id: BlobId;
      readonly expect: BlobId | null | undefined;
    }
  | { readonly op: 'delete-root'; readonly name: string; readonly expect: BlobId | undefined }
  | { readonly op: 'horizon'; readonly generation: number | 'now' | null }
  | {
      readonly op: 'side-set';
      readonly name: string;
      readonly entries: readonly (readonly [key: string, value: Uint8Array | undefined])[];
    }
  | { readonly op: 'suspect'; readonly id: BlobId; readonly incarnation: number; readonly volume: number }
  | { readonly op: 'drop-intent'; readonly intent: number };

/** A blob as an encoded record, for a SQLite volume. */
export interface SmallPut {
  readonly op: 'put-small';
  readonly id: BlobId;
  readonly size: number;
  readonly kind: BlobKind;
  readonly incarnation: number;
  readonly record: Uint8Array;
  /** Links of a node, to be checked and referenced. */
  readonly links?: readonly Link[];
  readonly owner?: string;
  /** Part of a chunked blob, put in a session: where it is here and referred to, nothing is to be written. */
  readonly part?: true;
}

/** Is this large blob here already? If not, an intent is written so that recovery knows whose file it will be. */
export interface LargeProbe {
  readonly op: 'probe-large';
  readonly id: BlobId;
  readonly size: number;
  /** Number of the directory volume it was staged for. */
  readonly staged: number;
  /** Bytes of its file. */
  readonly storedSize: number;
  readonly incarnation: number;
  readonly framed: boolean;
  readonly owner?: string;
}

/** The file is in its place and durable. */
export interface LargePut {
  readonly op: 'put-large';
  readonly id: BlobId;
  readonly size: number;
  readonly incarnation: number;
  readonly intent: number;
  /** Number of the directory volume. */
  readonly volume: number;
  readonly framed: boolean;
  /** Bytes of the file. */
  readonly storedSize: number;
  /** CRC-32 of each chunk, little-endian; of a frame none, since it holds them itself. */
  readonly sums: Uint8Array;
  readonly owner?: string;
}

/** Chunks and manifest were put before. */
export interface ChunkedPut {
  readonly op: 'put-chunked';
  readonly id: BlobId;
  readonly size: number;
  readonly incarnation: number;
  /** The manifest's root. */
  readonly manifest: BlobId;
  readonly owner?: string;
}

/** Answer to a put: where it stands now. */
export interface PutOutcome {
  readonly storedSize: number;
  readonly deduplicated: boolean;
  readonly healed?: boolean;
  /** In a mirrored group: it has fewer copies than are wanted. Only of large ones, whose further copies are made after their commit. */
  readonly incomplete?: true;
}

/** `volume` is where the file has to go, which is not always where it was staged. */
export type ProbeOutcome =
  { readonly have: PutOutcome } | { readonly intent: number; readonly volume: number };
