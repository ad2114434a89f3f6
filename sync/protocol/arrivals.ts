/** Judges the blobs that arrive: only what was asked for, or what lies on the way down a tree that is being streamed. */
import { type EncodedChunk, contentOf, receivedRun } from '../../engine/codec/chunk-run.ts';
import { decodeNode } from '../../engine/codec/node.ts';
import { StoreError } from '../../engine/errors.ts';
import { type TreeLink, keyOf } from './difference.ts';
import { depthMax, nodeBytesMax } from './limits.ts';
import { type BlobForm, type BlobId, type Message, formNumbers } from './message.ts';

export type BlobMessage = Extract<Message, { readonly type: 'blob' }>;

/** A blob of which pieces are arriving: its pieces come in order, and no other's between them. */
export interface Arrival {
  readonly key: string;
  readonly blob: BlobMessage;
  readonly from: number;
  /** Where the next piece begins. */
  next: number;
  /**
   * The bytes of a node, in memory of its own: a piece as it came may be a view of far more, which it would keep, and pieces may be of
   * a byte each. A raw blob's pieces are passed on.
   */
  readonly node: Uint8Array | undefined;
}

export interface ArrivalOptions {
  /** Whether a form was agreed. */
  readonly takes: (form: BlobForm) => boolean;
  /** The content of chunks; `corrupt` for what does not give what it says. */
  readonly decode: (chunks: readonly EncodedChunk[]) => Uint8Array;
  /** Nodes that come as sealed objects are larger. */
  readonly nodeBytesMax?: number;
}

/** A piece that may come. */
export interface Taken {
  readonly arrival: Arrival;
  /** Where it comes as chunks: those, views of the payload. */
  readonly chunks: readonly EncodedChunk[] | undefined;
  /** How those are compressed; 0: it comes as content. */
  readonly codec: number;
  /** Bytes of content that it stands for. */
  readonly length: number;
  readonly last: boolean;
}

/** Puts the pieces of blobs together and refuses whatever does not fit. */
export class Assembly {
  readonly #options: ArrivalOptions;
  #open: Arrival | undefined;

  constructor(options: ArrivalOptions) {
    this.#options = options;
  }

  /** The blob of which pieces are still to come. */
  get open(): Arrival | undefined {
    return this.#open;
  }

  /** Takes a piece. `from` is asked where a blob begins: which offset was agreed for it. */
  take(blob: BlobMessage, payload: Uint8Array, from: () => number): Taken {
    if (!this.#options.takes(blob.form))
      throw refused('incompatible-format', 'a blob comes in a form that was not agreed', blob.id);
    const isChunks = blob.form === 'deflate' || blob.form === 'zstd';
    const chunks = isChunks ? chunksOf(blob, payload) : undefined;
    if (blob.form === 'manifest' && (blob.kind !== 'raw' || blob.size !== 32 || payload.length !== 32))
      throw refused('corrupt', 'the locator of a manifest has 32 bytes', blob.id);
    const length = chunks === undefined ? payload.length : contentOf(chunks);
    const key = keyOf(blob);
    if (this.#open !== undefined && (this.#open.key !== key || this.#open.blob.size !== blob.size))
      throw refused('corrupt', 'a blob begins before the one before it ends', blob.id);
    const arrival = this.#open ?? this.#begin(blob, key, from());
    if (blob.offset !== arrival.next)
      throw refused('corrupt', `a piece begins at ${blob.offset}, not at ${arrival.next}`, blob.id);
    const end = blob.offset + length;
    if (end > blob.size)
      throw refused('corrupt', `a blob goes on after its ${blob.size} declared bytes`, blob.id);
    if (length === 0 && end < blob.size) throw refused('corrupt', 'a piece is empty', blob.id);
    arrival.next = end;
    if (arrival.node !== undefined)
      arrival.node.set(chunks === undefined ? payload : this.decode(blob.id, chunks), blob.offset);
    const last = end === blob.size;
    this.#open = last ? undefined : arrival;
    return { arrival, chunks, codec: formNumbers[blob.form], length, last };
  }

  /** The content of chunks that came. */
  decode(id: BlobId, chunks: readonly EncodedChunk[]): Uint8Array {
    try {
      return this.#options.decode(chunks);
    } catch (error) {
      if (!StoreError.is(error, 'corrupt')) throw error;
      throw refused('corrupt', 'a chunk does not decode to what it says', id);
    }
  }

  #begin(blob: BlobMessage, key: string, from: number): Arrival {
    if (blob.kind === 'node' && blob.size > (this.#options.nodeBytesMax ?? nodeBytesMax))
      throw refused('limit-exceeded', `a node is said to have ${blob.size} bytes`, blob.id);
    return {
      key,
      blob,
      from,
      next: from,
      node: blob.kind === 'node' ? new Uint8Array(blob.size) : undefined,
    };
  }
}

/**
 * The way down a tree that comes unasked, parents before children: each blob must be a link of a node on the way, after the links that
 * were used before. So nothing comes twice, nothing comes that no node named, and what is remembered is one path.
 */
export class Descent {
  readonly #path: { readonly id: BlobId; readonly links: readonly TreeLink[]; next: number }[];

  constructor(root: TreeLink) {
    this.#path = [{ id: '', links: [root], next: 0 }];
  }

  /** Nodes above the blob that came last. */
  get depth(): number {
    return this.#path.length - 1;
  }

  /** The nodes above the blob that came last, from the root down. */
  get nodes(): BlobId[] {
    return this.#path.slice(1).map(({ id }) => id);
  }

  accept(blob: TreeLink): void {
    for (let top = this.#path.at(-1); top !== undefined; top = this.#path.at(-1)) {
      for (let i = top.next; i < top.links.length; i++) {
        const link = top.links[i]!;
        if (link.id !== blob.id || link.kind !== blob.kind) continue;
        top.next = i + 1;
        return;
      }
      this.#path.pop();
    }
    throw refused('forbidden', 'a blob comes that nothing asked for', blob.id);
  }

  /** The node accepted last is entered. */
  enter(id: BlobId, links: readonly TreeLink[]): void {
    if (this.#path.length > depthMax)
      throw refused('limit-exceeded', `a tree is deeper than ${depthMax} nodes`, id);
    this.#path.push({ id, links, next: 0 });
  }
}

function chunksOf({ id, form }: BlobMessage, payload: Uint8Array): EncodedChunk[] {
  try {
    return receivedRun(payload, formNumbers[form]);
  } catch (error) {
    if (!StoreError.is(error, 'corrupt') && !StoreError.is(error, 'limit-exceeded')) throw error;
    throw refused(error.code as 'corrupt', error.message, id);
  }
}

/** What a node links to, whose bytes are those of its id; as a sealed object it is known by what `linksOf` finds. */
export function linksOfNode(
  id: BlobId,
  bytes: Uint8Array,
  how: {
    readonly sha256Hex: (bytes: Uint8Array) => string;
    readonly linksOf?: ((bytes: Uint8Array) => readonly TreeLink[]) | undefined;
  },
): readonly TreeLink[] {
  if (how.linksOf !== undefined) return how.linksOf(bytes);
  if (how.sha256Hex(bytes) !== id)
    throw refused('corrupt', 'the bytes of a node are not those of its id', id);
  return decodeNode(bytes).links;
}

export function refused(
  code: 'corrupt' | 'forbidden' | 'limit-exceeded' | 'incompatible-format',
  what: string,
  id: BlobId,
): StoreError {
  return new StoreError(code, `the peer is refused: ${what}`, { id });
}
