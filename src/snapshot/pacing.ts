/** Keeps long work polite: short turns on the calling thread, a bounded number of things in flight. */

/** Longest time one piece of our work keeps the thread; well below the 10 ms that a user interface forgives. */
const turnMs = 2;

/**
 * Cuts work into turns. One instance is shared by all that runs at once, so that together they take one turn at a time:
 * `if (turns.due) await turns.rest()`.
 */
export class Turns {
  #began: number = performance.now();
  readonly #waiting: (() => void)[] = [];

  get due(): boolean {
    return performance.now() - this.#began > turnMs;
  }

  /** Resolves after everybody else on this thread had a chance. */
  rest(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length === 1) setImmediate(() => this.#next());
    });
  }

  /** One waiter a round of the event loop: several in one round would add up. */
  #next(): void {
    this.#began = performance.now();
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(() => this.#next());
  }
}

/** At most so many things at once. First come, first served. */
export class Window {
  #free: number;
  readonly #size: number;
  readonly #waiting: (() => void)[] = [];
  readonly #emptied: (() => void)[] = [];

  constructor(size: number) {
    this.#size = size;
    this.#free = size;
  }

  /** Starts `work`, which must not reject, as soon as there is room; what it returns resolves when it is started. */
  start(work: () => Promise<void>): Promise<void> | undefined {
    const wait = this.enter();
    const begin = (): void => void work().finally(() => this.leave());
    if (wait !== undefined) return wait.then(begin);
    begin();
    return undefined;
  }

  /** Takes a place; undefined when there was one at once. To be followed by `leave`. */
  enter(): Promise<void> | undefined {
    if (this.#free > 0) {
      this.#free--;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) return next();
    this.#free++;
    if (this.#free === this.#size) for (const resolve of this.#emptied.splice(0)) resolve();
  }

  /** Resolves when nothing is in flight. */
  async empty(): Promise<void> {
    if (this.#free < this.#size) await new Promise<void>((resolve) => this.#emptied.push(resolve));
  }
}

/** Counts things that were started, and tells when all have ended. */
export class Latch {
  #open = 0;
  #resolve: (() => void) | undefined;

  start(): void {
    this.#open++;
  }

  end(): void {
    this.#open--;
    if (this.#open === 0) this.#resolve?.();
  }

  async all(): Promise<void> {
    if (this.#open > 0) await new Promise<void>((resolve) => (this.#resolve = resolve));
  }
}
