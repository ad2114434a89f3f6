/** Runs one role of a transfer: messages go into its machine, what the machine asks for is done, until it ends or anything fails. */
import { StoreError } from '../engine/index.ts';
import type { Incoming } from './connection.ts';
import type { Message } from './protocol/message.ts';

/** Where messages come from and go to. */
export interface Wire {
  send(message: Message, payload?: Uint8Array): void;
  /** The next message that is here already. */
  poll(): Incoming | undefined;
  /** The memory of a payload that came may be used again. */
  recycle(payload: Uint8Array): void;
  /** Waits for more; false after a clean end. `quiet` waits until all that was begun for earlier messages is done. */
  more(quiet: () => Promise<void>): Promise<boolean>;
}

/** A machine as the exchange sees it. */
export interface Role<Effect, Result> {
  /** Takes a message; throws what ends the transfer. */
  message(incoming: Incoming): void;
  drain(): Effect[];
  /** Does what was asked for; later work goes through `later`. Returns a result when the transfer is over. */
  perform(effect: Effect): Result | undefined;
}

export class Exchange<Effect, Result extends object> {
  readonly #wire: Wire;
  readonly #role: Role<Effect, Result>;
  readonly #working = new Set<Promise<void>>();
  readonly #over = Promise.withResolvers<Result>();
  #ended = false;
  #scheduled = false;

  constructor(wire: Wire, role: Role<Effect, Result>) {
    this.#wire = wire;
    this.#role = role;
  }

  /** Resolves or rejects when nothing of it is under way any more. */
  async run(signal: AbortSignal | undefined): Promise<Result> {
    const abort = (): void => this.#fail(signal?.reason);
    if (signal?.aborted === true) abort();
    signal?.addEventListener('abort', abort, { once: true });
    this.#turn();
    void this.#listen();
    try {
      return await this.#over.promise;
    } finally {
      signal?.removeEventListener('abort', abort);
      while (this.#working.size > 0) await Promise.all(this.#working);
    }
  }

  /** Work whose end goes into the machine. A failure ends the transfer. */
  later(work: () => Promise<void>): void {
    const promise = work().then(
      () => this.#soon(),
      (error: unknown) => this.#fail(error),
    );
    this.#working.add(promise);
    void promise.then(() => this.#working.delete(promise));
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** What is known at the end of this turn of the event loop is planned together. */
  #soon(): void {
    if (this.#scheduled || this.#ended) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#turn();
    });
  }

  #turn(): void {
    try {
      for (let effects = this.#role.drain(); effects.length > 0 && !this.#ended; effects = this.#role.drain())
        for (const effect of effects) {
          const result = this.#role.perform(effect);
          if (result === undefined) continue;
          this.#ended = true;
          this.#over.resolve(result);
        }
    } catch (error) {
      this.#fail(error);
    }
  }

  async #quiet(): Promise<void> {
    do await Promise.all(this.#working);
    while (this.#working.size > 0 || this.#scheduled);
  }

  async #listen(): Promise<void> {
    try {
      while (!this.#ended) {
        // All that is here is taken in before anything is planned.
        for (let next = this.#wire.poll(); next !== undefined; next = this.#wire.poll()) {
          this.#role.message(next);
          this.#turn();
          if (this.#ended) return;
        }
        if (!(await this.#wire.more(() => this.#quiet())) && !this.#ended)
          throw new StoreError('unavailable', 'the peer closed before the transfer was over');
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#over.reject(error);
  }
}
