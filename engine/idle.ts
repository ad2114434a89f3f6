/** Knows how long this process has neither put nor read, so that upkeep can wait for that, and make way. */
import type { Clock } from './host.ts';

export class Idle {
  /** Called when a put or a read begins while nothing else was under way. */
  onBusy: (() => void) | undefined;
  readonly #clock: Clock;
  #active = 0;
  #lastMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastMs = clock.monotonic();
  }

  /** Passes on what was begun. */
  during<Result>(work: Promise<Result>): Promise<Result> {
    this.#enter();
    const leave = (): void => this.#leave();
    work.then(leave, leave);
    return work;
  }

  /** A moment's work. */
  touch(): void {
    this.#enter();
    this.#leave();
  }

  /** Milliseconds since the last put or read ended; 0 while one is under way. */
  quietMs(): number {
    return this.#active > 0 ? 0 : this.#clock.monotonic() - this.#lastMs;
  }

  #enter(): void {
    if (this.#active++ === 0) this.onBusy?.();
  }

  #leave(): void {
    if (--this.#active === 0) this.#lastMs = this.#clock.monotonic();
  }
}
