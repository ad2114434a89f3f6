/** Holds what several threads read to one rate: a token bucket whose state lies in memory they share. */
import type { Clock } from '../host.ts';

export interface PaceOrder {
  readonly bytesPerSecond: number;
  /** Milliseconds since the work began when this was sent: the clocks of threads have no common zero. */
  readonly elapsedMs: number;
  /** From paceMemory. */
  readonly memory: SharedArrayBuffer;
}

/** One number: the microsecond of the work at which all that was read so far is paid for. */
export function paceMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(8);
}

/** What may be made up for after a pause in which nothing was read: more would be a burst. */
const burstUs = 250_000;

export class Pace {
  readonly #clock: Clock;
  readonly #rate: number;
  readonly #startMs: number;
  readonly #paid: BigInt64Array;

  constructor(clock: Clock, { bytesPerSecond, elapsedMs, memory }: PaceOrder) {
    this.#clock = clock;
    this.#rate = bytesPerSecond;
    this.#startMs = clock.monotonic() - elapsedMs;
    this.#paid = new BigInt64Array(memory);
  }

  /** Bytes after which to pay again: a twentieth of a second's, at most `most`. */
  turn(most: number): number {
    return Math.min(most, Math.ceil(this.#rate / 20));
  }

  /** Resolves when the bytes, read just now, are paid for; at once when the signal aborts. */
  async spend(bytes: number, signal: AbortSignal): Promise<void> {
    const now = (this.#clock.monotonic() - this.#startMs) * 1000;
    const cost = (bytes * 1e6) / this.#rate;
    for (;;) {
      const before = Atomics.load(this.#paid, 0);
      const due = Math.round(Math.max(Number(before), now - burstUs) + cost);
      if (Atomics.compareExchange(this.#paid, 0, before, BigInt(due)) !== before) continue;
      if (due > now) await this.#clock.sleep((due - now) / 1000, signal);
      else await this.#clock.yield();
      return;
    }
  }
}
