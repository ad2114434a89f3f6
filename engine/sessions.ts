/** Sessions of one store: while one is open, the lease publishes the generation at which the oldest began. */
import type { Session } from './api.ts';
import type { Calls } from './facets.ts';

export class Sessions {
  readonly #calls: Calls;
  /** Generation at which each open session began. */
  readonly #open = new Map<object, number>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  begin(): Promise<Session> {
    // One after another: two at once would both publish, and the younger horizon would hide the older.
    const begun = this.#last.then(() => this.#begin());
    this.#last = begun.catch(() => undefined);
    return begun;
  }

  /** Runs work inside a session of its own; unlike those that callers hold, it may end while the store is closing. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    const entered = this.#last.then(() => this.#enter());
    this.#last = entered.catch(() => undefined);
    const key = await entered;
    try {
      return await work();
    } finally {
      // What the work did stands or fell by itself. A horizon that stays only holds back collection, until the next session ends.
      await this.#end(key).catch(() => undefined);
    }
  }

  async #begin(): Promise<Session> {
    const key = await this.#enter();
    const end = (): Promise<void> => this.#calls.run(() => this.#end(key));
    return { end, [Symbol.asyncDispose]: end };
  }

  async #enter(): Promise<object> {
    const key = {};
    // Later sessions are covered by the first one's horizon, which is older.
    const generation =
      this.#oldest() ?? (await this.#calls.submit<number>({ op: 'horizon', generation: 'now' }));
    this.#open.set(key, generation);
    return key;
  }

  async #end(key: object): Promise<void> {
    if (this.#open.delete(key)) await this.#calls.submit({ op: 'horizon', generation: this.#oldest() });
  }

  #oldest(): number | null {
    return this.#open.size === 0 ? null : Math.min(...this.#open.values());
  }
}
