/** What the receiver's machine asks of whoever runs it, and what it says in the end. */
import type { TreeLink } from './difference.ts';
import type { BlobId, Message } from './message.ts';

/** What the machine asks of whoever runs it, in this order; each but `send` is answered by a call of the same name. */
export type ReceiverEffect =
  | { readonly do: 'send'; readonly message: Message }
  /** Which of these are here, nodes with all that is below them. Answer: `checked`. */
  | { readonly do: 'check'; readonly links: readonly TreeLink[] }
  /** A piece of a raw blob; pieces of one blob follow each other. Answers: `taken` for each piece, `stored` or `unfit` after the last. */
  | { readonly do: 'write'; readonly piece: RawPiece }
  /** A node whose links are all here, or come before it among these effects. Answer: `stored`; `refused` when one of them is not here after all. */
  | { readonly do: 'store-node'; readonly link: TreeLink; readonly bytes: Uint8Array }
  /** What the peer tells of its roots, before any of them moves. Answer: `judged`; a refusal ends the transfer. */
  | { readonly do: 'judge'; readonly roots: readonly ToldRoot[] }
  /** The closure of the root is here and durable. Answer: `rootSet`, or `refused` when its blob was collected meanwhile. */
  | { readonly do: 'set-root'; readonly root: number; readonly target: RootTarget }
  | { readonly do: 'finish'; readonly counts: ReceiveCounts };

/** A root as a peer tells it. */
export interface ToldRoot extends RootTarget {
  /** Of the change in the peer's root log that made it so; 0 where the peer does not tell. */
  readonly sequence: number;
  /** What it was seen to be, with the last change in the peer's log that made it so; 0 where none did. */
  readonly seen: ReadonlyMap<BlobId, number>;
}

export interface RawPiece {
  readonly id: BlobId;
  readonly size: number;
  readonly offset: number;
  /** Where the peer was asked to begin: the bytes before are here already. */
  readonly from: number;
  readonly bytes: Uint8Array;
  /** How its chunks are compressed, by number; 0: it is content. */
  readonly codec: number;
  /** Bytes of content that they stand for. */
  readonly length: number;
}

export interface RootTarget {
  readonly name: string;
  readonly id: BlobId;
}

export interface ReceiveCounts {
  readonly roots: readonly (RootTarget & { readonly changed: boolean })[];
  /** Blobs that came and were stored. */
  readonly blobs: number;
  /** Their bytes. */
  readonly bytes: number;
  /** Blobs that came although they were here. */
  readonly redundant: number;
  /** Questions that had to wait for the answer to another one: the longest chain. */
  readonly rounds: number;
}
