/** Shared memory lent to worker threads for batches of records, a bounded number of pieces that are used again and again. */

/** A memory that had to grow for one batch is not kept. */
const memoryBytesMax = 8 * 1024 * 1024;

/** Used again, because fresh memory is slow to touch, and its collection lags. */
export class BatchMemory {
  readonly #free: (SharedArrayBuffer | undefined)[];
  readonly #waiting: ((memory: SharedArrayBuffer | undefined) => void)[] = [];

  constructor(count: number) {
    this.#free = Array.from({ length: count }, () => undefined);
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
  }
}
