/** The transport within a process: two ends, with a bound on what one has sent and the other not received. */
import { StoreError } from '../../engine/index.ts';
import type { Transport } from '../transport.ts';
import { type Closing, Waiters, afterClose } from './waiters.ts';

/** Bytes that wait for a receiver before a sender waits. */
const waitingMax = 1024 * 1024;

/** Two ends of one connection. What one sends the other receives, without a copy. */
export function pair(): readonly [Transport, Transport] {
  const there = new Lane();
  const back = new Lane();
  return [new End(there, back), new End(back, there)];
}

class End implements Transport {
  readonly #out: Lane;
  readonly #in: Lane;
  #closed = false;

  constructor(out: Lane, into: Lane) {
    this.#out = out;
    this.#in = into;
  }

  async send(bytes: Uint8Array): Promise<void> {
    if (this.#closed) throw new StoreError('closed', 'the transport is closed');
    await this.#out.push(bytes);
  }

  receive(): Promise<Uint8Array | undefined> {
    return this.#in.take();
  }

  close(reason?: Error): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    if (reason === undefined) this.#out.finish();
    else this.#out.cut(new StoreError('unavailable', 'the peer ended the connection', {}, reason));
    // Nobody takes what still comes; whoever sends it learns that.
    this.#in.leave(reason);
    return Promise.resolve();
  }
}

/** One direction. */
class Lane {
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #finished = false;
  /** The receiving end has gone, and why: undefined for a clean end. */
  #left: Closing | undefined;
  #cut: Error | undefined;
  readonly #waiters = new Waiters();

  async push(bytes: Uint8Array): Promise<void> {
    this.#check();
    if (bytes.length === 0) return;
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
    this.#waiters.changed();
    while (this.#bytes > waitingMax) {
      await this.#waiters.change();
      this.#check();
    }
  }

  async take(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#left !== undefined) return afterClose(this.#left);
      if (this.#cut !== undefined) throw this.#cut;
      const next = this.#waiting.shift();
      if (next !== undefined) {
        this.#bytes -= next.length;
        this.#waiters.changed();
        return next;
      }
      if (this.#finished) return undefined;
      await this.#waiters.change();
    }
  }

  finish(): void {
    this.#finished = true;
    this.#waiters.changed();
  }

  cut(error: Error): void {
    this.#cut = error;
    this.#waiting = [];
    this.#waiters.changed();
  }

  leave(reason: Error | undefined): void {
    this.#left ??= { reason };
    this.#waiting = [];
    this.#bytes = 0;
    this.#waiters.changed();
  }

  #check(): void {
    if (this.#cut !== undefined) throw this.#cut;
    if (this.#left !== undefined) throw new StoreError('unavailable', 'the peer has closed');
  }
}
