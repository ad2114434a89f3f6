/** A large blob on its way into the store: pieces are queued, and handed on; when it is cut, what came is kept as a blob of its own. */
import { type EncodedPiece, type PutResult, type Store, StoreError } from '../../engine/index.ts';
import type { BlobId } from '../peer.ts';
import type { Partial } from './notes.ts';

export interface InflowBlob {
  readonly id: BlobId;
  readonly size: number;
  /** The beginning, that is here from an earlier transfer. */
  readonly prefix: Partial | undefined;
}

/** Less than this is not worth keeping when it is cut. */
const keepFrom = 256 * 1024;

export class Inflow {
  readonly #store: Store;
  readonly blob: InflowBlob;
  #queue: { readonly piece: EncodedPiece; readonly taken: () => void }[] = [];
  #arrived: (() => void) | undefined;
  /** Lets go whoever wrote the piece that the store has in hand. */
  #taken: (() => void) | undefined;
  #have: number;
  #closed = false;
  #keep = false;
  wasCut = false;
  /** Some of it came in chunks. */
  isEncoded = false;
  storedAs: PutResult | undefined;

  constructor(store: Store, blob: InflowBlob) {
    this.#store = store;
    this.blob = blob;
    this.#have = blob.prefix?.bytes ?? 0;
  }

  /** All of it has come. */
  get isWhole(): boolean {
    return this.#have >= this.blob.size;
  }

  /** Resolves when the store has taken the bytes. */
  write(piece: EncodedPiece): Promise<void> {
    if (this.#closed) return Promise.resolve(); // the put failed, and says so itself
    return new Promise((resolve) => {
      this.#queue.push({ piece, taken: resolve });
      this.#arrived?.();
    });
  }

  /** Nothing more comes. */
  cut(how: 'keep' | 'drop'): void {
    this.wasCut = true;
    this.#keep = how === 'keep';
    this.#arrived?.();
  }

  /** The put is over, however it ended: nobody waits for it to take more. A put that failed need not have returned its source. */
  close(): void {
    this.#closed = true;
    this.#taken?.();
    for (const { taken } of this.#queue.splice(0)) taken();
  }

  /** The blob, as it comes. Ends early when it was cut: then what the store takes in is the beginning, under an id of its own. */
  async *pieces(): AsyncGenerator<EncodedPiece, void, void> {
    yield* this.#pieces();
    if (this.#have < this.blob.size && !(this.#keep && this.#have >= keepFrom))
      throw new StoreError('unavailable', 'a blob was cut', { id: this.blob.id });
  }

  async *#pieces(): AsyncGenerator<EncodedPiece, void, void> {
    const { id, size, prefix } = this.blob;
    if (prefix !== undefined) {
      const stream = await this.#store.stream(prefix.prefix);
      if (stream === undefined) throw new StoreError('not-found', 'the beginning of a blob is gone', { id });
      for await (const bytes of stream) yield { bytes, codec: 0, length: bytes.length };
    }
    while (this.#have < size) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        this.#have += next.piece.length;
        this.isEncoded ||= next.piece.codec !== 0;
        this.#taken = next.taken;
        yield next.piece;
        next.taken();
      } else if (this.wasCut) return;
      else await new Promise<void>((resolve) => (this.#arrived = resolve));
    }
  }
}
