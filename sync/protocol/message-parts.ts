/** What messages are made of: roots that are asked for, offered and found, wants, and the hello. */
import type { BlobId, LinkKind } from './fields.ts';

/**
 * How the bytes of a blob travel: as its content, or as a run of chunks, of which those that are compressed are so by this codec. In the
 * place of a chunked blob, which has no sealed object, the locator of its `manifest`.
 */
export type BlobForm = 'content' | 'deflate' | 'zstd' | 'manifest';
/** What blobs are named by: their sha256, or locators within one realm. Only `ids` is spoken in version 1. */
export type Namespace = 'ids' | 'locators';

/** A root that is asked for, and the nodes a receiver can name that the sender may know too. */
export interface AskedRoot {
  readonly name: string;
  readonly haves: readonly BlobId[];
  /** To be looked for in the sender's history: what the root is at the receiver, then what peers told, and had, under this name. */
  readonly seen?: readonly BlobId[];
}

/** A root that is offered. `expect`: what it must be at the receiver; undefined = whatever it is when the offer comes, null = not there. */
export interface OfferedRoot {
  readonly name: string;
  readonly id: BlobId;
  readonly expect?: BlobId | null;
  /** It may also go back to what it was. Not together with `expect`. */
  readonly force?: true;
  /** Nodes the sender believes the receiver had. */
  readonly marks: readonly BlobId[];
}

/** What the sender's root log tells of a root. Sequences count its records from 1; 0 is for what it does not know. */
export interface RootHistory {
  /** Of the change that made the root what it is. */
  readonly sequence: number;
  /** Of the last change that made it what it was seen to be, for each of `seen` in the question. */
  readonly seen: readonly number[];
}

/** What a sender has under a name that was asked for. With `base`, all that is not in the closure of `base` follows unasked. */
export interface FoundRoot {
  readonly name: string;
  /** null: there is no such root. */
  readonly id: BlobId | null;
  /** Whether the root is to be walked as a node, or is a blob of bytes. */
  readonly kind: LinkKind;
  readonly base: BlobId | null;
}

export interface Want {
  readonly kind: LinkKind;
  readonly id: BlobId;
  /** Bytes that the receiver has already. */
  readonly from: number;
}

export interface HelloMessage {
  readonly type: 'hello';
  readonly versions: { readonly min: number; readonly max: number };
  readonly storeId: string;
  readonly namespace: Namespace;
  /** Whose keys locators are made with; empty for none. */
  readonly realm: Uint8Array;
  readonly payloadBytes: number;
  readonly windowBytes: number;
  readonly forms: readonly number[];
}
