/** The contract with what is replicated: a source that roots and blobs are read from, and a sink that takes them in. */
import type { Piece } from './protocol/sender.ts';
import type { RawPiece, ToldRoot } from './protocol/receiver-effects.ts';
import type { Identity } from './protocol/hello.ts';
import type { BlobId, LinkKind, Message } from './protocol/message.ts';
import type { TreeLink } from './protocol/difference.ts';

export type { BlobId, Identity, LinkKind, Message, Piece, RawPiece, ToldRoot, TreeLink };

export interface PeerRoot {
  readonly name: string;
  readonly id: BlobId;
  readonly kind: LinkKind;
}

/** How a transfer ended: with both sides the same, and who the other side was; or not. */
export type Ending =
  | { readonly how: 'done'; readonly peer: string; readonly roots: readonly PeerMark[] }
  /** `cut`: the other side was lost, and may come back. `refused`: it is not to be trusted. */
  | { readonly how: 'cut' | 'refused' };

/** A root that a peer has, or gave. */
export interface PeerMark {
  readonly name: string;
  readonly id: BlobId;
}

/**
 * What a transfer reads from. From `begin` to `end` nothing that its roots reach is collected. Calls may run at once. Missing is
 * undefined; doubt (a bad disk, a volume that is away) is an error.
 */
export interface Source {
  identity(): Promise<Identity>;
  begin(): Promise<void>;
  /** All roots, or those of the names; a name without a root is left out. */
  roots(names?: readonly string[]): Promise<readonly PeerRoot[]>;
  /** The links of nodes, in the order of the ids; undefined for what is not there, or is no node. */
  links(ids: readonly BlobId[]): Promise<readonly (readonly TreeLink[] | undefined)[]>;
  /** The last change that set each root to each id, by its sequence in the root log; 0 where none did. */
  changes(asked: readonly PeerMark[]): Promise<readonly number[]>;
  /**
   * At most `length` bytes of the content, verified; fewer only at the end. With `codecs` it may come in chunks that are compressed by
   * one of them: then their checksums were verified, and it may end earlier, where a chunk does.
   */
  read(id: BlobId, offset: number, length: number, codecs?: readonly number[]): Promise<Piece | undefined>;
  /** By locators: files of keys, so that what is sealed under new ones opens over there. The one in use first. */
  keys?(): Promise<readonly Uint8Array[]>;
  /** By locators: a root's name as it travels, sealed; here it goes by its key. */
  spoken?(name: string): string;
  /** Bookmarks: nodes that peers were known to have under these names, whether or not they are still here. */
  marks(names: readonly string[]): Promise<ReadonlyMap<string, readonly BlobId[]>>;
  /** Remembers what the peer has now. */
  end(ending: Ending): Promise<void>;
}

/** What is left of an earlier transfer, and what may serve as a base. */
export interface SinkState {
  /** What each root is now. */
  readonly current: ReadonlyMap<string, BlobId>;
  /** For roots that are asked for: nodes that are here, whole, and that the peer may know. Empty where an earlier transfer was cut. */
  readonly haves: ReadonlyMap<string, readonly BlobId[]>;
  /** For roots that are asked for: what each is now, then what peers told, and had, under these names. */
  readonly seen: ReadonlyMap<string, readonly BlobId[]>;
  /** Bytes that are here of large blobs whose transfer was cut. */
  readonly partials: ReadonlyMap<BlobId, number>;
}

/**
 * What a transfer writes to. From `begin` to `end` nothing that was taken in, or was seen to be here, is collected. A blob that is
 * acknowledged is durable. Nothing wrong is ever kept: bytes that are not those of their id reject with `corrupt`.
 */
export interface Sink {
  identity(): Promise<Identity>;
  /** `names`: the roots that are to be taken in; undefined for all that the peer has. `marks`: nodes that the peer believes are here. */
  begin(
    names: readonly string[] | undefined,
    marks: ReadonlyMap<string, readonly BlobId[]>,
  ): Promise<SinkState>;
  /**
   * Remembers what a peer tells of its roots, and rejects where a root would go back: `tampered` when the peer is not where it was any
   * more, `conflict` when nothing tells that the peer went on. `rollback` says what is allowed.
   */
  judge(peer: string, roots: readonly ToldRoot[], rollback: 'refuse' | 'allow'): Promise<void>;
  /** Whether each is here. A node is here when all below it is. */
  has(links: readonly TreeLink[]): Promise<boolean[]>;
  /** Takes the pieces of raw blobs, those of one blob in order; resolves when the memory of this piece is free again. */
  write(piece: RawPiece): Promise<void>;
  /**
   * Resolves when the blob whose last piece was written is stored. False when it did not become right with the beginning that was
   * kept of an earlier transfer, which is then forgotten: the blob has to come from its first byte.
   */
  written(id: BlobId): Promise<boolean>;
  /** False when something it links to is not here. */
  putNode(id: BlobId, bytes: Uint8Array): Promise<boolean>;
  /** By locators: the same for a chunked blob, whose manifest's locator these bytes are. */
  putManifest?(id: BlobId, manifest: Uint8Array): Promise<boolean>;
  /** By locators: what a node links to, whose bytes are a sealed object. */
  readonly linksOf?: (bytes: Uint8Array) => readonly TreeLink[];
  /** By locators: a file of keys that the peer has. What is taken in after it waits for it. */
  takeKeys?(file: Uint8Array): Promise<void>;
  /** By locators: roots come with sealed names, and go on under the keys that they are found by. */
  heard?(message: Message): Message;
  /** Compare-and-swap against what the root was at `begin`; `conflict` when it moved. False when the blob is not here. */
  setRoot(name: string, id: BlobId): Promise<boolean>;
  /** `cut` keeps what came of a large blob that was cut, so that the next transfer goes on there. */
  end(ending: Ending): Promise<void>;
}
