/** What a scrub of a part has to come to before it may end, counted by several threads in memory they share. */

export interface GoalOrder {
  /** Content bytes that all threads together are to read. */
  readonly bytes: number;
  /** And nothing may be left that waits since before this moment. */
  readonly beforeMs: number;
  /** From goalMemory. */
  readonly memory: SharedArrayBuffer;
}

/** One number: the bytes read so far. */
export function goalMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(8);
}

export class Goal {
  readonly #order: GoalOrder;
  readonly #read: BigInt64Array;

  constructor(order: GoalOrder) {
    this.#order = order;
    this.#read = new BigInt64Array(order.memory);
  }

  add(bytes: number): void {
    Atomics.add(this.#read, 0, BigInt(bytes));
  }

  /** Whether what waits since then may wait for the next run, and all that is younger. */
  isReached(sinceMs: number): boolean {
    const { bytes, beforeMs } = this.#order;
    return sinceMs >= beforeMs && Number(Atomics.load(this.#read, 0)) >= bytes;
  }
}
