/** A large sealed object on its way into the store: pieces are queued, and handed on as the store takes them. */
import { StoreError } from '../../engine/index.ts';

export class ObjectInflow {
  readonly #size: number;
  #queue: { readonly bytes: Uint8Array; readonly taken: () => void }[] = [];
  #arrived: (() => void) | undefined;
  #have = 0;
  #closed = false;
  #wasCut = false;

  constructor(size: number) {
    this.#size = size;
  }

  /** Resolves when the store has taken the bytes. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#closed) return Promise.resolve(); // the put failed, and says so itself
    return new Promise((resolve) => {
      this.#queue.push({ bytes, taken: resolve });
      this.#arrived?.();
    });
  }

  /** Nothing more is taken: the put is over, perhaps before it asked for anything. */
  close(): void {
    this.#closed = true;
    for (const { taken } of this.#queue.splice(0)) taken();
  }

  /** Nothing more comes. */
  cut(): void {
    this.#wasCut = true;
    this.#arrived?.();
  }

  async *pieces(): AsyncGenerator<Uint8Array, void, void> {
    try {
      while (this.#have < this.#size) {
        const next = this.#queue.shift();
        if (next !== undefined) {
          this.#have += next.bytes.length;
          try {
            yield next.bytes;
          } finally {
            next.taken();
          }
        } else if (this.#wasCut) throw new StoreError('unavailable', 'an object was cut');
        else await new Promise<void>((resolve) => (this.#arrived = resolve));
      }
    } finally {
      this.close();
    }
  }
}
