/** What the calling thread asks the commit thread for: operations that share one transaction, and their answers. */
import type { BlobId, BlobKind } from '../api.ts';
import type { Named, StoredLink } from '../keys/realm.ts';

/*
 * Callers say ids and names. In an encrypted store the commit thread makes locators and keyed hashes of them (threads/naming.ts) before
 * an operation gets here; of what comes from a worker that has been done already. So in what is committed every `id` is what the blob
 * is called on disk, and every name a `Named`.
 */

/** `Name` is what the names of roots and owners are: texts as callers say them, `Named` when they are committed. */
export type Operation<Name = string> =
  | SmallPut<Name>
  | LargeProbe<Name>
  | LargePut<Name>
  | ChunkedPut<Name>
  | { readonly op: 'retain' | 'release'; readonly id: BlobId; readonly owner: Name }
  | {
      readonly op: 'set-root';
      readonly name: Name;
      readonly id: BlobId;
      readonly expect: BlobId | null | undefined;
      /** Name and blobs are said as they stand on disk. */
      readonly sealed?: true;
    }
  | {
      readonly op: 'delete-root';
      readonly name: Name;
      readonly expect: BlobId | undefined;
      readonly sealed?: true;
    }
  | { readonly op: 'horizon'; readonly generation: number | 'now' | null }
  | {
      readonly op: 'side-set';
      readonly name: string;
      readonly entries: readonly (readonly [key: string, value: Uint8Array | undefined])[];
    }
  | { readonly op: 'suspect'; readonly id: BlobId; readonly incarnation: number; readonly volume: number }
  | { readonly op: 'used'; readonly owner: Name; readonly ids: readonly BlobId[] }
  | {
      readonly op: 'evict';
      readonly owner: Name;
      /** By number, and when each was used last as it was chosen. */
      readonly blobs: readonly { readonly n: number; readonly usedMs: number }[];
    }
  | { readonly op: 'drop-intent'; readonly intent: number };

export type CommitOperation = Operation<Named>;

/** What a put says of the blob it brings: its name on disk, and in an encrypted store the label that tells its id. */
interface Brought<Name> {
  readonly id: BlobId;
  readonly label: Uint8Array | null;
  readonly owner?: Name;
}

/** A blob as an encoded record, for a SQLite volume. */
export interface SmallPut<Name = string> extends Brought<Name> {
  readonly op: 'put-small';
  readonly size: number;
  readonly kind: BlobKind;
  readonly incarnation: number;
  readonly record: Uint8Array;
  /** Links of a node, to be checked and referenced. */
  readonly links?: readonly StoredLink[];
  /** Part of a chunked blob, put in a session: where it is here and referred to, nothing is to be written. */
  readonly part?: true;
  /** Whatever is here under this name and whole stays, a raw blob in the place of a node too. */
  readonly keep?: true;
  readonly instead?: Instead;
}

/** The incarnation of the copy that is to be replaced by this one of the same blob. Where that is not in use any more, nothing is done. */
export type Instead = number;

/** Is this large blob here already? If not, an intent is written so that recovery knows whose file it will be. */
export interface LargeProbe<Name = string> extends Brought<Name> {
  readonly op: 'probe-large';
  readonly size: number;
  /** Number of the directory volume it was staged for. */
  readonly staged: number;
  /** Bytes of its file. */
  readonly storedSize: number;
  readonly incarnation: number;
  readonly framed: boolean;
  readonly instead?: Instead;
}

/** The file is in its place and durable. */
export interface LargePut<Name = string> extends Brought<Name> {
  readonly op: 'put-large';
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
  readonly instead?: Instead;
}

/** Chunks and manifest were put before. */
export interface ChunkedPut<Name = string> extends Brought<Name> {
  readonly op: 'put-chunked';
  readonly size: number;
  readonly incarnation: number;
  /** The manifest's root. */
  readonly manifest: BlobId;
}

/** Answer to a put: where it stands now. */
export interface PutOutcome {
  readonly storedSize: number;
  readonly deduplicated: boolean;
  readonly healed?: boolean;
  /** In a mirrored group: it has fewer copies than are wanted. Only of large ones, whose further copies are made after their commit. */
  readonly incomplete?: true;
  /**
   * Of a put for an owner who alone holds it by that, and did not before: bytes that it takes, as caps count them; `content` where they are
   * those of its content.
   */
  readonly gained?: number | 'content';
}

/** `volume` is where the file has to go, which is not always where it was staged. */
export type ProbeOutcome =
  { readonly have: PutOutcome } | { readonly intent: number; readonly volume: number };
