/** Shared memory lent to worker threads for batches of records, a bounded number of pieces that are used again and again. */
import { alone } from './source.ts';

/** A memory that had to grow for one batch is not kept. */
const memoryBytesMax = 8 * 1024 * 1024;

/** A batch of small sources is no larger, unless it is one alone. */
export const sourceBytesMax: number = 2 * 1024 * 1024;

/** Used again, because fresh memory is slow to touch, and its collection lags. */
export class BatchMemory {
  readonly #free: (SharedArrayBuffer | undefined)[];
  readonly #count: number;
  readonly #onGiven: () => void;
  readonly #waiting: ((memory: SharedArrayBuffer | undefined) => void)[] = [];

  /** `onGiven` is called after a piece came back. */
  constructor(count: number, onGiven: () => void = () => {}) {
    this.#count = count;
    this.#onGiven = onGiven;
    this.#free = Array.from({ length: count }, () => undefined);
  }

  /** Pieces that are lent. */
  get lent(): number {
    return this.#count - this.#free.length;
  }

  /** Waits for a turn; undefined means that the worker is to make the memory. */
  take(): Promise<SharedArrayBuffer | undefined> {
    if (this.#free.length > 0) return Promise.resolve(this.#free.pop());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(memory: SharedArrayBuffer | undefined): void {
    const kept = memory !== undefined && memory.byteLength <= memoryBytesMax ? memory : undefined;
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(kept);
    else next(kept);
    this.#onGiven();
  }
}

/** Bytes of small sources on their way to a worker, copied once: a message of its own for each would copy and allocate on both sides. */
export class SourceMemory {
  readonly #free: SharedArrayBuffer[] = [];

  /**
   * The sources with their bytes in shared memory, and that memory, to be given back when the worker has answered; undefined where a
   * source is too large for it and goes as it is.
   */
  lay<Source extends { readonly bytes?: Uint8Array }>(
    sources: readonly Source[],
  ): { readonly sources: readonly Source[]; readonly memory: SharedArrayBuffer | undefined } {
    const total = sources.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0);
    if (total === 0 || total > sourceBytesMax)
      return { sources: sources.map(withoutBuffer), memory: undefined };
    const memory = this.#free.pop() ?? new SharedArrayBuffer(sourceBytesMax);
    const target = new Uint8Array(memory);
    let at = 0;
    const laid = sources.map((source) => {
      if (source.bytes === undefined) return source;
      const bytes = target.subarray(at, at + source.bytes.length);
      bytes.set(source.bytes);
      at += bytes.length;
      return { ...source, bytes };
    });
    return { sources: laid, memory };
  }

  give(memory: SharedArrayBuffer | undefined): void {
    if (memory !== undefined) this.#free.push(memory);
  }
}

function withoutBuffer<Source extends { readonly bytes?: Uint8Array }>(source: Source): Source {
  return source.bytes === undefined ? source : { ...source, bytes: alone(source.bytes) };
}
