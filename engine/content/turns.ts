/** Reads much without keeping a thread to itself: other work gets its turn, and a rate is kept. */
import type { Clock } from '../host.ts';
import { GivingWay } from './giving-way.ts';
import { Pace, type PaceOrder } from './pace.ts';

/** Less than a millisecond: puts and reads of this thread wait for no more. */
const turnBytes = 512 * 1024;
/** Nor longer where blobs are tiny, or the disk is slow. */
const turnMs = 2;

/** What reading goes by. */
export interface TurnsOrder {
  readonly pace?: PaceOrder | undefined;
  /** Memory of the foreground it gives way to. */
  readonly foreground?: SharedArrayBuffer | undefined;
}

/** Lets other work of the thread run now and then, gives way to puts and reads, and keeps to the rate. */
export class Turns {
  readonly #clock: Clock;
  readonly #way: GivingWay;
  readonly #pace: Pace | undefined;
  readonly #signal: AbortSignal;
  readonly #turn: number;
  #since = 0;
  #sinceMs: number;

  constructor(clock: Clock, { pace, foreground }: TurnsOrder, signal: AbortSignal) {
    this.#clock = clock;
    this.#way = new GivingWay(clock, foreground);
    this.#signal = signal;
    this.#sinceMs = clock.monotonic();
    this.#pace = pace && new Pace(clock, pace);
    this.#turn = this.#pace?.turn(turnBytes) ?? turnBytes;
  }

  /** After bytes were read. */
  async after(bytes: number): Promise<void> {
    this.#since += bytes;
    if (this.#since < this.#turn && this.#clock.monotonic() - this.#sinceMs < turnMs) return;
    await this.end();
    this.#signal.throwIfAborted();
  }

  /** Pays for what is not paid for: many small ranges must not go free. */
  async end(): Promise<void> {
    const since = this.#since;
    this.#since = 0;
    if (this.#pace !== undefined) await this.#pace.spend(since, this.#signal);
    if (this.#pace === undefined || this.#way.isWanted) await this.#way.turn();
    this.#sinceMs = this.#clock.monotonic();
  }
}
