/** The transport over a pair of Node streams: our own stdin and stdout, those of a child process, or both ways of a socket. */
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { StoreError } from '../../engine/index.ts';
import type { Transport } from '../transport.ts';
import { freeMemory } from './free-memory.ts';
import { type Closing, Waiters, afterClose } from './waiters.ts';

export interface Streams {
  readonly input: Readable;
  readonly output: Writable;
}

/** A transport over streams that are used for nothing else. Closing ends the output, and destroys both when there is a reason. */
export function streamTransport(streams: Streams): Transport {
  return new StreamTransport(streams);
}

export class StreamTransport implements Transport {
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #waiters = new Waiters();
  #closed: Closing | undefined;
  #failure: Error | undefined;

  constructor({ input, output }: Streams) {
    this.#input = input;
    this.#output = output;
    const wake = (): void => this.#waiters.changed();
    const failed = (error: Error): void => {
      this.#failure ??= error;
      wake();
    };
    output.on('error', failed).on('drain', wake).on('close', wake);
    input.on('error', failed).on('readable', wake).on('end', wake).on('close', wake);
  }

  async send(bytes: Uint8Array): Promise<void> {
    if (this.#closed !== undefined) throw new StoreError('closed', 'the transport is closed');
    if (bytes.length === 0) return;
    this.#checkOutput();
    // A socket calls back when the system has the bytes, or they are dropped. A stream within the process hands them on as they are.
    if (this.#output instanceof Socket) this.#output.write(bytes, () => freeMemory(bytes));
    else this.#output.write(bytes);
    while (this.#output.writableNeedDrain) {
      await this.#waiters.change();
      if (this.#closed !== undefined) return;
      this.#checkOutput();
    }
  }

  async receive(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#closed !== undefined) return afterClose(this.#closed);
      const bytes = this.#input.read() as Uint8Array | null;
      if (bytes !== null) return bytes;
      if (this.#failure !== undefined) throw cutBy(this.#failure);
      if (this.#input.readableEnded) return undefined;
      if (this.#input.destroyed) throw cutBy(undefined);
      await this.#waiters.change();
    }
  }

  async close(reason?: Error): Promise<void> {
    if (this.#closed !== undefined) {
      if (reason !== undefined) this.cut();
      return;
    }
    this.#closed = { reason };
    this.#waiters.changed();
    if (reason !== undefined || this.#output.destroyed) return this.cut();
    await new Promise<void>((resolve) => {
      this.#output.once('close', resolve).once('error', () => resolve());
      this.#output.end(() => resolve());
    });
    this.finished();
  }

  /** All that was sent has gone out, and its end; nobody takes what still comes. */
  protected finished(): void {
    this.#input.destroy();
  }

  /** Ends both ways now. */
  protected cut(): void {
    this.#output.destroy();
    this.#input.destroy();
  }

  #checkOutput(): void {
    if (this.#failure !== undefined) throw cutBy(this.#failure);
    if (this.#output.destroyed || this.#output.writableEnded) throw cutBy(undefined);
  }
}

function cutBy(error: unknown): StoreError {
  if (StoreError.is(error)) return error;
  return new StoreError('unavailable', 'the connection was cut', {}, error);
}
