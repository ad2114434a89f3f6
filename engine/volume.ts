/** The contract of a physical volume: where the bytes of blobs lie. */
/*
 * A volume keeps parts. A part is written once, never changed, and named by (id, incarnation): a new copy of the same blob is a new
 * incarnation, so that a late delete can never remove a fresh copy. `write` returns when the parts are durable. What a part looks like
 * inside is the volume's business; what it says of itself is enough to find it again without a catalog (`parts`).
 *
 * Missing means missing: `read` returns undefined only when the part is certainly not there. Any doubt (EIO, BUSY, a volume that is
 * not the one expected) is an error. Calls are synchronous and run on worker threads; one writer at a time, readers beside it.
 */
import type { BlobId, BlobKind } from './api.ts';

export type VolumeKind = 'sqlite' | 'directory' | 'memory';

export interface PartName {
  readonly id: BlobId;
  readonly incarnation: number;
  /** A file that is a frame (codec/frame.ts) and not the content itself: a fact of its name, never found out by looking into it. */
  readonly framed?: boolean;
}

/** Where a part lies inside its volume; kept in the catalog, and listed by the volume itself. */
export interface Locator {
  /** SQLite: the extent's row. Directory: the fan-out folder (first byte of the id). */
  readonly extent: number;
  /** Bytes from the start of the extent; 0 in a directory. */
  readonly offset: number;
  /** Stored bytes. */
  readonly length: number;
}

export interface Part {
  readonly name: PartName;
  /** What is stored: a record (SQLite, memory) or the bare bytes of a raw blob (directory). */
  readonly bytes: Uint8Array;
}

/** A part as the volume itself describes it. `damage` says why the bytes there cannot be a part. */
export interface ListedPart {
  readonly name?: PartName;
  readonly kind?: BlobKind;
  readonly locator: Locator;
  readonly damage?: string;
}

export interface VolumeFacts {
  /** Bytes in use, dead ones included. */
  readonly bytes: number;
  readonly extents: number;
  /** Grows with every commit; a volume that comes back with a smaller one was restored from a copy. */
  readonly generation: number;
}

export interface Volume {
  readonly kind: VolumeKind;
  readonly id: string;
  /** Durable when it returns; all of the parts or none. The returned locators are in the order of the parts. */
  write(parts: readonly Part[]): Locator[];
  /** `length` bytes of the part's stored bytes from `offset`; fewer only at its end. */
  read(name: PartName, locator: Locator, offset: number, length: number): Uint8Array | undefined;
  /** Gives the space back now where the volume can (directory, memory); true when it did. Absent parts are fine. */
  delete(name: PartName, locator: Locator): boolean;
  /** All parts of extents from..to (inclusive), in order. */
  parts(fromExtent: number, toExtent: number): Iterable<ListedPart>;
  facts(): VolumeFacts;
  close(): void;
}
