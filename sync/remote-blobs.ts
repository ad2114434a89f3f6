/** Blobs of a peer by their ids: asked for as a transfer of no roots, judged as they come, and had again over a new connection when one is cut. */
import { toHex } from '../engine/codec/bytes.ts';
import { type EncodedChunk, decodeRun } from '../engine/codec/chunk-run.ts';
import {
  type BlobId,
  type BlobKind,
  type BlobSource,
  type Store,
  StoreError,
  decodeNode,
  nodeProvider,
} from '../engine/index.ts';
import { type AskingOptions, Asking, isTold, notHad, unwanted } from './asking.ts';
import { type Connection, spokenForms } from './connection.ts';
import type { Identity } from './peer.ts';
import { Notes } from './peers/notes.ts';
import { refused } from './protocol/arrivals.ts';
import { nodeBytesMax } from './protocol/limits.ts';
import type { Transport } from './transport.ts';

/** Blobs asked for ahead of what is needed; a window bounds their bytes. */
const aheadMax = 64;

/** A blob that is arriving, as far as it has come. */
interface Open {
  readonly id: BlobId;
  readonly size: number;
  /** All of it, verified, where it is small enough to be a node. */
  readonly whole: Uint8Array | undefined;
  /** What has come of a larger one and was not handed on. */
  first: Uint8Array | undefined;
}

/** One question at a time. Connects when first asked. */
export class RemoteBlobs implements BlobSource {
  readonly #store: Store;
  readonly #asking: Asking;
  /** In the order of their answers. */
  #asked: BlobId[] = [];
  #expected: readonly BlobId[] = [];
  /** Grows with each answer that was expected: what is asked for in vain is passed over. */
  #ahead = 1;
  /** Where the answer that is due begins: after a cut, where that was. */
  #from = 0;
  #open: Open | undefined;
  readonly #counts = { blobs: 0, bytes: 0 };

  constructor(store: Store, connect: () => Promise<Transport>, options: AskingOptions) {
    this.#store = store;
    const identity = (): Promise<Identity> => new Notes(store).identity();
    const decode = (chunks: readonly EncodedChunk[]): Uint8Array => decodeRun(nodeProvider, chunks);
    this.#asking = new Asking({ connect, identity, forms: spokenForms, decode }, options);
  }

  get failure(): Error | undefined {
    return this.#asking.failure;
  }

  get sentBytes(): number {
    return this.#asking.sentBytes;
  }

  get receivedBytes(): number {
    return this.#asking.receivedBytes;
  }

  expect(ids: readonly BlobId[]): void {
    this.#expected = ids;
  }

  /** The protocol does not tell: what it is here counts, and where that is not known, whether the bytes are a node's. */
  async kindOf(id: BlobId): Promise<BlobKind | undefined> {
    const known = await this.#known(id);
    const open = await this.#begin(id, known?.size);
    if (open === undefined) return undefined;
    if (known !== undefined) return known.kind;
    return open.whole !== undefined && isNode(open.whole) ? 'node' : 'raw';
  }

  async stream(id: BlobId, signal: AbortSignal | undefined): Promise<ReadableStream<Uint8Array> | undefined> {
    const open = await this.#begin(id, (await this.#known(id))?.size);
    if (open === undefined) return undefined;
    // What is given away may be gone: who asks again has it again.
    if (open.whole !== undefined) this.#open = undefined;
    const pieces = open.whole === undefined ? this.#pieces(open) : once(open.whole);
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          signal?.throwIfAborted();
          const { done, value } = await pieces.next();
          if (done === true) controller.close();
          else controller.enqueue(value);
        },
        cancel: async () => void (await pieces.return()),
      },
      { highWaterMark: 0 },
    );
  }

  /** Ends the connection, if there is one. */
  async end(error?: unknown): Promise<void> {
    const { connection } = this.#asking;
    if (connection === undefined) return;
    try {
      if (error !== undefined) return await this.#drop(error);
      // What was asked for ahead and not needed: the peer is in the middle of it.
      while (this.#asked.length > 0) await this.#pass(connection);
    } catch (failure) {
      return await this.#drop(failure);
    }
    this.#reset();
    await this.#asking.leave(this.#counts);
  }

  /** What it is here. Undefined where nobody knows: it was lost with the catalog, or has no row. */
  async #known(id: BlobId): Promise<{ readonly kind: BlobKind; readonly size: number } | undefined> {
    try {
      const stat = await this.#store.stat(id);
      return stat === undefined || stat.size === 0 ? undefined : stat;
    } catch (error) {
      if (StoreError.is(error, 'corrupt')) return undefined; // a damaged row
      throw error;
    }
  }

  /** The beginning of a blob, from a connection that works. Undefined when the peer does not have it. */
  async #begin(id: BlobId, size: number | undefined): Promise<Open | undefined> {
    if (this.#open?.id === id) return this.#open;
    for (;;) {
      if (this.failure !== undefined) throw notHad(this.failure);
      try {
        const connection = await this.#asking.meet();
        this.#ask(connection, id);
        while (this.#asked[0] !== id) await this.#pass(connection);
        return await this.#take(connection, size);
      } catch (error) {
        // With nothing else asked for, it is this blob that cannot be had.
        const alone = this.#asked.length <= 1;
        await this.#broken(error);
        if (alone) throw notHad(error);
      }
    }
  }

  async #broken(error: unknown): Promise<void> {
    this.#reset();
    await this.#asking.broken(error);
  }

  async #drop(error: unknown): Promise<void> {
    this.#reset();
    await this.#asking.drop(error);
  }

  /** What was asked over a connection goes with it. */
  #reset(): void {
    this.#asked = [];
    this.#open = undefined;
    this.#ahead = 1;
    this.#from = 0;
  }

  /** Asks for a blob, if it was not asked for yet, and for some of those that come after it. */
  #ask(connection: Connection, id: BlobId): void {
    const isAsked = this.#asked.includes(id);
    const at = this.#expected.indexOf(id);
    if (at < 0) this.#ahead = 1;
    const wanted = isAsked ? [] : [id];
    if (this.#asked.length * 2 <= this.#ahead)
      for (const next of at < 0 ? [] : this.#expected.slice(at + 1)) {
        if (this.#asked.length + wanted.length >= this.#ahead) break;
        if (!this.#asked.includes(next)) wanted.push(next);
      }
    if (wanted.length === 0) return;
    connection.send({ type: 'want', wants: wanted.map((one) => ({ kind: 'raw', id: one, from: 0 })) });
    this.#asked.push(...wanted);
  }

  /** Takes the answer that comes next, and lets it go. */
  async #pass(connection: Connection): Promise<void> {
    this.#open = undefined;
    const left = this.#asked.length;
    while (this.#asked.length === left) await this.#piece(connection);
  }

  async #take(connection: Connection, known: number | undefined): Promise<Open | undefined> {
    const id = this.#asked[0]!;
    const first = await this.#piece(connection);
    if (first === undefined) return undefined;
    const { size } = first;
    if (known !== undefined && size !== known)
      throw refused('corrupt', `a blob of ${known} bytes is said to have ${size}`, id);
    if (size > nodeBytesMax) return (this.#open = { id, size, whole: undefined, first: first.bytes });
    // In memory of its own: pieces may be of a byte each.
    const whole = new Uint8Array(size);
    whole.set(first.bytes);
    for (let have = first.bytes.length; have < size;) {
      const { bytes } = (await this.#piece(connection))!;
      whole.set(bytes, have);
      have += bytes.length;
    }
    if (nodeProvider.sha256Hex(whole) !== id) throw wrongBytes(id);
    return (this.#open = { id, size, whole, first: undefined });
  }

  /** Whoever stops half way has the connection ended: the rest would have to come all the same. After a cut it goes on where it was. */
  async *#pieces(open: Open): AsyncGenerator<Uint8Array, void, void> {
    const { id, size, first } = open;
    let { connection } = this.#asking;
    if (this.#open !== open || connection === undefined || first === undefined)
      throw new Error('holdfast bug: a blob of a peer is read twice');
    this.#open = undefined;
    const hasher = nodeProvider.hasher();
    let isRead = false;
    try {
      hasher.update(first);
      yield first;
      for (let have = first.length; have < size;) {
        let bytes: Uint8Array;
        try {
          connection ??= await this.#goOn(id, have);
          bytes = await this.#more(connection, { id, size });
        } catch (error) {
          connection = undefined;
          await this.#broken(error);
          if (this.failure !== undefined || isTold(error)) throw notHad(error);
          continue;
        }
        have += bytes.length;
        hasher.update(bytes);
        // The last piece only when the whole is right.
        if (have === size && toHex(hasher.digest()) !== id) {
          await this.#broken(wrongBytes(id));
          throw notHad(wrongBytes(id));
        }
        isRead = have === size;
        yield bytes;
      }
    } finally {
      if (!isRead) await this.#drop(unwanted());
    }
  }

  /** Asks for the rest of a blob over a new connection. */
  async #goOn(id: BlobId, from: number): Promise<Connection> {
    const connection = await this.#asking.meet();
    connection.send({ type: 'want', wants: [{ kind: 'raw', id, from }] });
    this.#asked.push(id);
    this.#from = from;
    return connection;
  }

  async #more(
    connection: Connection,
    { id, size }: { readonly id: BlobId; readonly size: number },
  ): Promise<Uint8Array> {
    const piece = await this.#piece(connection);
    if (piece === undefined)
      throw new StoreError('unavailable', `the peer does not have blob ${id} any more`, { peer: true });
    if (piece.size !== size)
      throw refused('corrupt', `a blob of ${size} bytes is said to have ${piece.size}`, id);
    return piece.bytes;
  }

  /** The next piece of the answer that is due; undefined when the peer does not have the blob. */
  async #piece(
    connection: Connection,
  ): Promise<{ readonly bytes: Uint8Array; readonly size: number } | undefined> {
    const id = this.#asked[0]!;
    const piece = await this.#asking.piece(connection, id, this.#from);
    if (piece === undefined || piece.last) {
      this.#asked.shift();
      this.#from = 0;
    }
    if (piece === undefined) return undefined;
    const { chunks, payload, message } = piece;
    const { size } = message;
    if (piece.last) {
      this.#ahead = Math.min(this.#ahead * 2, aheadMax);
      this.#counts.blobs++;
      this.#counts.bytes += size;
    }
    return { bytes: chunks === undefined ? payload : this.#asking.assembly!.decode(id, chunks), size };
  }
}

function wrongBytes(id: BlobId): StoreError {
  return refused('corrupt', 'the bytes of a blob are not those of its id', id);
}

function isNode(bytes: Uint8Array): boolean {
  try {
    decodeNode(bytes);
    return true;
  } catch (error) {
    if (StoreError.is(error)) return false;
    throw error;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}
