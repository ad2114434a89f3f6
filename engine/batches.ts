/** Gathers calls that come in while others are under way, and sends them on together: the heart of group commit. */
import type { Operation } from './commit/operations.ts';
import type { ErrorData } from './errors.ts';
import { errorFromData } from './rpc.ts';

/** How to send one batch; the answers are in the order of the items. */
export interface BatchOptions<Item, Answer> {
  send(items: readonly Item[]): Promise<readonly (Answer | BatchFailure)[]>;
  /** Weight of an item, bytes say; a batch ends when it is heavy or long enough. */
  readonly weigh?: (item: Item) => number;
  readonly weightMax: number;
  readonly itemsMax: number;
  /**
   * With it a batch takes its share of what waits, so many items at least, and leaves the rest to the others that may fly beside it: no
   * worker is idle while the items of one batch wait for each other.
   */
  readonly shareMin?: number;
  /** Batches under way at once; what comes in beyond waits and becomes the next batch. */
  readonly inFlight: number;
  /**
   * Whether a batch may go while so many items wait; without it every one may. Where not, more are gathered until then, or until
   * `nudge` is called.
   */
  readonly ready?: (waiting: number) => boolean;
  /** Lets the event loop turn between slices of answers: what callers do with a thousand of them at once would show as a stutter. */
  pause(): Promise<void>;
}

/** Answers given out before the event loop turns: about a millisecond of callers' continuations. */
const answersPerTurn = 128;

/** Of commits: enough to make a sync cheap, small enough to stay responsive. */
export const commitBatch: Pick<
  BatchOptions<Operation, unknown>,
  'weigh' | 'weightMax' | 'itemsMax' | 'inFlight'
> = {
  weightMax: 32 * 1024 * 1024,
  itemsMax: 4_000,
  inFlight: 1,
  weigh: (operation) => (operation.op === 'put-small' ? operation.record.length : 200),
};

/** An item's own failure, which leaves the rest of its batch alone. */
export class BatchFailure {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/** Answers of a batch as they come over a thread's port. */
export function unwrap<Value>(
  results: readonly ({ readonly value: Value } | { readonly error: ErrorData })[],
): (Value | BatchFailure)[] {
  return results.map((result) =>
    'error' in result ? new BatchFailure(errorFromData(result.error)) : result.value,
  );
}

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export class Batches<Item, Answer> {
  readonly #options: BatchOptions<Item, Answer>;
  #queue: Waiting<Item, Answer>[] = [];
  #head = 0;
  #flying = 0;
  #scheduled = false;

  constructor(options: BatchOptions<Item, Answer>) {
    this.#options = options;
  }

  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, resolve, reject });
      this.#schedule();
    });
  }

  /** What made a batch wait has changed. */
  nudge(): void {
    if (this.#head < this.#queue.length) this.#schedule();
  }

  /** Waits for the rest of this turn: callers that put in a loop are one batch. */
  #schedule(): void {
    if (this.#scheduled || this.#flying >= this.#options.inFlight) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      while (
        this.#flying < this.#options.inFlight &&
        this.#head < this.#queue.length &&
        this.#options.ready?.(this.#queue.length - this.#head) !== false
      )
        void this.#fly(this.#take());
    });
  }

  #take(): Waiting<Item, Answer>[] {
    const { weigh, weightMax, shareMin, inFlight } = this.#options;
    const start = this.#head;
    const share = Math.ceil((this.#queue.length - start) / (inFlight - this.#flying));
    const itemsMax = Math.min(
      this.#options.itemsMax,
      shareMin === undefined ? Number.POSITIVE_INFINITY : Math.max(shareMin, share),
    );
    let weight = 0;
    while (this.#head < this.#queue.length && this.#head - start < itemsMax) {
      weight += weigh?.(this.#queue[this.#head]!.item) ?? 0;
      if (weight > weightMax && this.#head > start) break;
      this.#head++;
    }
    const batch = this.#queue.slice(start, this.#head);
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else if (this.#head > 10_000) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return batch;
  }

  async #fly(batch: readonly Waiting<Item, Answer>[]): Promise<void> {
    this.#flying++;
    try {
      const answers = await this.#options.send(batch.map(({ item }) => item));
      for (const [i, { resolve, reject }] of batch.entries()) {
        if (i > 0 && i % answersPerTurn === 0) await this.#options.pause();
        const answer = answers[i]!;
        if (answer instanceof BatchFailure) reject(answer.error);
        else resolve(answer);
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      this.#flying--;
      if (this.#head < this.#queue.length) this.#schedule();
    }
  }
}

/** Sends a batch of questions as one call of a worker. */
export function asked<Item, Answer>(
  { work }: { readonly work: (method: string, args: unknown) => Promise<unknown> },
  method: string,
): BatchOptions<Item, Answer>['send'] {
  return async (batch) => unwrap((await work(method, batch)) as Parameters<typeof unwrap<Answer>>[0]);
}
