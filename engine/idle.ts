/** Knows how long this process has neither put nor read, so that upkeep can wait for that, and make way. */
import type { Foreground } from './content/giving-way.ts';
import type { Clock } from './host.ts';

/** Of a source: larger ones take their time by themselves. */
const shortBytes = 1024 * 1024;

/** Whether a put of it is over soon, so that background work gives way. */
export function isShort(source: unknown): boolean {
  return source instanceof Uint8Array && source.length <= shortBytes;
}

export class Idle {
  /** Called when a put or a read begins while nothing else was under way. */
  onBusy: (() => void) | undefined;
  readonly #clock: Clock;
  readonly #foreground: Foreground;
  #active = 0;
  #lastMs: number;

  constructor(clock: Clock, foreground: Foreground) {
    this.#clock = clock;
    this.#foreground = foreground;
    this.#lastMs = clock.monotonic();
  }

  /** Passes on what was begun. `short`: background work gives way to it. */
  during<Result>(work: Promise<Result>, short = true): Promise<Result> {
    this.#enter();
    if (short) this.#foreground.begin();
    const leave = (): void => {
      if (short) this.#foreground.end();
      this.#leave();
    };
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
