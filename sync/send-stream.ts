/** The offline stream, written: a root with all it reaches as frames in one direction, in parts that are sealed with a digest. */
import { type BlobId, type Store, StoreError, decodeNode, nodeProvider } from '../engine/index.ts';
import { concatBytes, fromHex, toHex } from '../engine/codec/bytes.ts';
import { decodeRun, readRun } from '../engine/codec/chunk-run.ts';
import type { Identity, PeerRoot, Source, TreeLink } from './peer.ts';
import { StoreSource } from './peers/store-source.ts';
import { Descent } from './protocol/arrivals.ts';
import { FrameWriter } from './protocol/frame.ts';
import { helloOf } from './protocol/hello.ts';
import { partBytes as defaultPartBytes, payloadBytes } from './protocol/limits.ts';
import { type BlobForm, type Message, encodeMessage, formNumbers, forms } from './protocol/message.ts';
import { type Piece, firstPieceBytes, lengthOf } from './protocol/sender.ts';
import { streamPlan } from './stream-plan.ts';

export interface SendStreamOptions {
  /** The id of a snapshot that the receiver has: only what it has not is sent. It must be here as a whole. */
  readonly since?: BlobId;
  /** Bytes of blobs after which a part ends, where a receiver may go on after a cut; default 64 MiB. */
  readonly partBytes?: number;
  /** Compressed as it is stored: `receiveStream` takes that in where its runtime has the store's codec. Default false. */
  readonly compressed?: boolean;
  readonly signal?: AbortSignal;
  /** Blobs sent so far, and their bytes. */
  readonly onProgress?: (progress: { readonly blobs: number; readonly bytes: number }) => void;
}

export interface SentStream {
  readonly name: string;
  readonly id: BlobId;
  readonly base: BlobId | null;
  readonly blobs: number;
  /** Of blobs, and of the whole stream. */
  readonly bytes: number;
  readonly streamBytes: number;
  readonly parts: number;
}

/** Blobs read ahead of what is written: with the first piece of each this bounds the memory. */
const readsAhead = 64;
/** Small frames are handed on together. */
const batchBytes = 256 * 1024;
const noDigest = '0'.repeat(64);

/**
 * The bytes of a stream that `receiveStream` takes in: one root, and all it reaches or all that `since` has not. Nothing is read
 * before it is asked for, and memory is bounded. The content is in it, and is not encrypted. Nothing that the
 * root reaches is collected until the end. `not-found` where the root or the base is not here.
 */
export async function* sendStream(
  store: Store,
  name: string,
  options: SendStreamOptions = {},
): AsyncGenerator<Uint8Array, SentStream, void> {
  const { since, partBytes = defaultPartBytes } = options;
  if (!(Number.isSafeInteger(partBytes) && partBytes > 0))
    throw new StoreError('invalid-argument', 'partBytes must be a whole number from 1');
  const source = new StoreSource(store);
  const identity = await source.identity();
  await source.begin();
  try {
    const [root] = await source.roots([name]);
    if (root === undefined)
      throw new StoreError('not-found', `there is no root ${JSON.stringify(name)}`, { root: name });
    if (root.kind === 'raw' && since !== undefined)
      throw new StoreError('invalid-argument', `root ${JSON.stringify(name)} is a blob: it has no base`);
    const forms: readonly BlobForm[] =
      options.compressed === true ? ['content', store.parameters.compression.codec] : ['content'];
    return yield* new Streaming(source, { identity, root, since, partBytes, forms, options }).run();
  } finally {
    await source.end({ how: 'cut' });
  }
}

interface Plan {
  readonly identity: Identity;
  readonly root: PeerRoot;
  readonly since: BlobId | undefined;
  readonly partBytes: number;
  /** How blobs are in it. */
  readonly forms: readonly BlobForm[];
  readonly options: SendStreamOptions;
}

class Streaming {
  readonly #source: Source;
  readonly #plan: Plan;
  readonly #writer = new FrameWriter(nodeProvider);
  readonly #descent: Descent;
  readonly #codecs: readonly number[];
  #hasher = nodeProvider.hasher();
  #digest = noDigest;
  #parts = 0;
  #partBytes = 0;
  readonly #counts = { blobs: 0, bytes: 0 };
  #streamBytes = 0;
  #out: Uint8Array[] = [];
  #outBytes = 0;

  constructor(source: Source, plan: Plan) {
    this.#source = source;
    this.#plan = plan;
    this.#descent = new Descent(plan.root);
    this.#codecs = plan.forms.map((form) => formNumbers[form]).filter((codec) => codec !== 0);
  }

  async *run(): AsyncGenerator<Uint8Array, SentStream, void> {
    const { root, since, partBytes, options } = this.#plan;
    // The base is looked for before a byte is written.
    const items = this.#readAhead(streamPlan(this.#source, root, since));
    let next = await items.next();
    this.#beginPart([]);
    try {
      for (; next.done !== true; next = await items.next()) {
        options.signal?.throwIfAborted();
        const { item, first } = next.value;
        this.#descent.accept(item);
        if (this.#partBytes >= partBytes) {
          this.#seal('part');
          this.#beginPart(await Promise.all(this.#descent.nodes.map((id) => this.#node(id))));
        }
        yield* this.#blob(item, await first);
        options.onProgress?.({ ...this.#counts });
      }
      this.#seal('stream');
      yield* this.#flush(0);
    } finally {
      await items.return();
    }
    const { name, id } = root;
    const [streamBytes, parts] = [this.#streamBytes, this.#parts];
    return { name, id, base: since ?? null, ...this.#counts, streamBytes, parts };
  }

  /** Blobs with the reading of their first piece, which began some blobs before. */
  async *#readAhead(plan: AsyncGenerator<TreeLink, void, void>): AsyncGenerator<Reading, void, void> {
    const reading: Reading[] = [];
    try {
      for await (const item of plan) {
        const first = this.#source.read(item.id, 0, firstPieceBytes, this.#codecs);
        first.catch(() => undefined); // told when its turn comes
        reading.push({ item, first });
        if (reading.length > readsAhead) yield reading.shift()!;
      }
      while (reading.length > 0) yield reading.shift()!;
    } finally {
      await Promise.allSettled(reading.map(({ first }) => first));
    }
  }

  async *#blob(item: TreeLink, first: Piece | undefined): AsyncGenerator<Uint8Array, void, void> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this.#pieces(item.id, first, this.#codecs)) {
      const { bytes, size, offset, codec = 0 } = piece;
      this.#frame({ type: 'blob', ...item, form: forms[codec]!, size, offset }, bytes);
      if (item.kind === 'node') pieces.push(codec === 0 ? bytes : decodeRun(nodeProvider, readRun(bytes)));
      this.#partBytes += bytes.length;
      this.#counts.bytes += lengthOf(piece);
      yield* this.#flush(batchBytes);
    }
    this.#counts.blobs++;
    if (item.kind === 'node') this.#descent.enter(item.id, decodeNode(concatBytes(...pieces)).links);
  }

  /** A blob's bytes, the next piece read while one is written. */
  async *#pieces(
    id: BlobId,
    first: Piece | undefined,
    codecs: readonly number[],
  ): AsyncGenerator<Piece & { readonly offset: number }, void, void> {
    let piece = first;
    for (let offset = 0; ;) {
      if (piece === undefined || (lengthOf(piece) === 0 && offset < piece.size))
        throw new StoreError('not-found', `blob ${id} is not in the store`, { id });
      const here = { ...piece, offset };
      offset += lengthOf(piece);
      const next = offset < piece.size ? this.#source.read(id, offset, payloadBytes, codecs) : undefined;
      next?.catch(() => undefined); // told below
      yield here;
      if (next === undefined) return;
      piece = await next;
    }
  }

  async #node(id: BlobId): Promise<RepeatedNode> {
    const pieces: Uint8Array[] = [];
    for await (const { bytes } of this.#pieces(id, await this.#source.read(id, 0, payloadBytes), []))
      pieces.push(bytes);
    return { id, pieces };
  }

  #beginPart(repeated: readonly RepeatedNode[]): void {
    const { identity, root, since } = this.#plan;
    const { name, id, kind } = root;
    this.#hasher = nodeProvider.hasher();
    this.#hasher.update(fromHex(this.#digest)!);
    this.#partBytes = 0;
    this.#frame(helloOf(identity, this.#plan.forms));
    const frames = repeated.reduce((sum, { pieces }) => sum + pieces.length, 0);
    this.#frame({ type: 'part', number: this.#parts, digest: this.#digest, repeated: frames });
    this.#frame({ type: 'roots', roots: [{ name, id, kind, base: since ?? null }] });
    for (const node of repeated) {
      const size = node.pieces.reduce((sum, { length }) => sum + length, 0);
      let offset = 0;
      for (const bytes of node.pieces) {
        this.#frame({ type: 'blob', kind: 'node', id: node.id, form: 'content', size, offset }, bytes);
        offset += bytes.length;
      }
    }
    this.#parts++;
  }

  #seal(what: 'part' | 'stream'): void {
    this.#digest = toHex(this.#hasher.digest());
    this.#frame({ type: 'seal', last: what === 'stream', digest: this.#digest });
  }

  #frame(message: Message, payload: Uint8Array = new Uint8Array(0)): void {
    const head = this.#writer.head(encodeMessage(message), payload.length);
    for (const bytes of [head, payload]) {
      if (bytes.length === 0) continue;
      if (message.type !== 'seal') this.#hasher.update(bytes);
      this.#out.push(bytes);
      this.#outBytes += bytes.length;
    }
  }

  /** Hands on what was written, when it is as much. */
  *#flush(least: number): Generator<Uint8Array, void, void> {
    if (this.#outBytes < least || this.#outBytes === 0) return;
    const bytes = concatBytes(...this.#out);
    this.#out = [];
    this.#outBytes = 0;
    this.#streamBytes += bytes.length;
    yield bytes;
  }
}

interface Reading {
  readonly item: TreeLink;
  readonly first: Promise<Piece | undefined>;
}

interface RepeatedNode {
  readonly id: BlobId;
  readonly pieces: readonly Uint8Array[];
}
