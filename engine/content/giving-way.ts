/** Background work gives way to short puts and reads, which are counted in memory that the threads share. */
import type { Clock } from '../host.ts';

/** Places in the shared memory: how many are under way, and how many have ended, modulo 2^32. */
const [underWay, ended] = [0, 1];
/** Whoever takes longer is not waited for: it waits for the disk by then, and background work goes on, however slow that is. */
const patienceMs = 4;

/** The side of the calling thread: what begins and ends. */
export class Foreground {
  readonly memory: SharedArrayBuffer = new SharedArrayBuffer(8);
  readonly #cells = new Int32Array(this.memory);

  begin(): void {
    Atomics.add(this.#cells, underWay, 1);
  }

  end(): void {
    Atomics.sub(this.#cells, underWay, 1);
    Atomics.add(this.#cells, ended, 1);
    Atomics.notify(this.#cells, ended);
  }
}

/** The side of work that can wait, on any thread. */
export class GivingWay {
  readonly #clock: Clock;
  readonly #cells: Int32Array | undefined;
  #waiting: { readonly seen: number; readonly next: Promise<unknown> } | undefined;

  /** Without memory of a foreground it gives others of its thread their turn, and nothing else. */
  constructor(clock: Clock, foreground: SharedArrayBuffer | undefined) {
    this.#clock = clock;
    this.#cells = foreground && new Int32Array(foreground);
  }

  /** Whether somebody waits for a short put or read. */
  get isWanted(): boolean {
    return this.#cells !== undefined && Atomics.load(this.#cells, underWay) > 0;
  }

  /**
   * Between two slices, each of a few milliseconds: while a put or read is under way, waits until one has ended. So there is at most one
   * slice of each background job between two of them, and never none: the job goes on beside callers that never pause.
   */
  async turn(): Promise<void> {
    const next = this.#nextEnd();
    if (next === undefined) return this.#clock.yield();
    const over = new AbortController();
    await Promise.race([next, this.#clock.sleep(patienceMs, over.signal)]);
    over.abort();
  }

  #nextEnd(): Promise<unknown> | undefined {
    const cells = this.#cells;
    if (cells === undefined) return undefined;
    // Before it is asked whether one is under way: that one then ends after.
    const seen = Atomics.load(cells, ended);
    if (!this.isWanted) return undefined;
    if (this.#waiting?.seen === seen) return this.#waiting.next;
    const wait = Atomics.waitAsync(cells, ended, seen);
    if (!wait.async) return undefined;
    // Once woken it is forgotten: woken by the end before, which was counted and then told, the next turn would be none at all.
    const next = wait.value.then(() => void (this.#waiting = undefined));
    this.#waiting = { seen, next };
    return next;
  }
}
