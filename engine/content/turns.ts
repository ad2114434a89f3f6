/** Reads much without keeping a thread to itself: other work gets its turn, and a rate is kept. */
import type { Clock } from '../host.ts';
import { Pace, type PaceOrder } from './pace.ts';

/** About a millisecond: puts and reads of this thread wait for no more. */
const turnBytes = 1024 * 1024;

/** Lets other work of the thread run now and then, and keeps to the rate. */
export class Turns {
  readonly #clock: Clock;
  readonly #pace: Pace | undefined;
  readonly #signal: AbortSignal;
  readonly #turn: number;
  #since = 0;

  constructor(clock: Clock, pace: PaceOrder | undefined, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    this.#pace = pace && new Pace(clock, pace);
    this.#turn = this.#pace?.turn(turnBytes) ?? turnBytes;
  }

  /** After bytes were read. */
  async after(bytes: number): Promise<void> {
    this.#since += bytes;
    if (this.#since < this.#turn) return;
    await this.end();
    this.#signal.throwIfAborted();
  }

  /** Pays for what is not paid for: many small ranges must not go free. */
  async end(): Promise<void> {
    const since = this.#since;
    this.#since = 0;
    if (this.#pace === undefined) await this.#clock.yield();
    else await this.#pace.spend(since, this.#signal);
  }
}
