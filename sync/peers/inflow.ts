/** A large blob on its way into the store: pieces are queued, hashed, and handed on; when it is cut, what came is kept as a blob of its own. */
import { type PutResult, type Store, StoreError, nodeProvider } from '../../engine/index.ts';
import type { BlobId } from '../peer.ts';
import { toHex } from '../../engine/codec/bytes.ts';
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
  #queue: { readonly bytes: Uint8Array; readonly taken: () => void }[] = [];
  #arrived: (() => void) | undefined;
  #have: number;
  #closed = false;
  #keep = false;
  wasCut = false;
  storedAs: PutResult | undefined;

  constructor(store: Store, blob: InflowBlob) {
    this.#store = store;
    this.blob = blob;
    this.#have = blob.prefix?.bytes ?? 0;
  }

  /** Resolves when the store has taken the bytes. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#closed) return Promise.resolve(); // the put failed, and says so itself
    return new Promise((resolve) => {
      this.#queue.push({ bytes, taken: resolve });
      this.#arrived?.();
    });
  }

  /** Nothing more comes. */
  cut(how: 'keep' | 'drop'): void {
    this.wasCut = true;
    this.#keep = how === 'keep';
    this.#arrived?.();
  }

  /**
   * The blob's bytes. Ends early when it was cut: then what the store takes in is the beginning, under an id of its own. Throws
   * instead of ending where the whole is not what its id says, so that nothing wrong is stored.
   */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    const { id } = this.blob;
    const hasher = nodeProvider.hasher();
    try {
      for await (const bytes of this.#pieces()) {
        hasher.update(bytes);
        yield bytes;
      }
      if (this.#have < this.blob.size) {
        if (this.#keep && this.#have >= keepFrom) return;
        throw new StoreError('unavailable', 'a blob was cut', { id });
      }
      if (toHex(hasher.digest()) !== id)
        throw new StoreError('corrupt', 'the peer is refused: the bytes of a blob are not those of its id', {
          id,
        });
    } finally {
      this.#closed = true;
      for (const { taken } of this.#queue.splice(0)) taken();
    }
  }

  async *#pieces(): AsyncGenerator<Uint8Array, void, void> {
    const { id, size, prefix } = this.blob;
    if (prefix !== undefined) {
      const stream = await this.#store.stream(prefix.prefix);
      if (stream === undefined) throw new StoreError('not-found', 'the beginning of a blob is gone', { id });
      yield* stream;
    }
    while (this.#have < size) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        this.#have += next.bytes.length;
        try {
          yield next.bytes;
        } finally {
          // Also when the store takes no more (a full disk): whoever wrote it waits.
          next.taken();
        }
      } else if (this.wasCut) return;
      else await new Promise<void>((resolve) => (this.#arrived = resolve));
    }
  }
}
