/** The transport over a message port: between threads, Electron processes, or pages. Pieces of at most 1 MiB, each acknowledged. */
import { StoreError } from '../../engine/index.ts';
import type { Transport } from '../transport.ts';
import { type Closing, Waiters, afterClose } from './waiters.ts';

/**
 * What worker threads, `MessageChannel` and Electron's `MessagePortMain` have in common. Web ports hand an event with `data` to a
 * listener of `message`, those of Node the value itself.
 */
export interface MessagePortLike {
  postMessage(message: unknown): void;
  start?(): void;
  close(): void;
  on?(event: 'message' | 'close', listener: (value: unknown) => void): unknown;
  addEventListener?(event: string, listener: (event: object) => void): void;
}

/** Largest piece in one message: larger ones stutter where messages are copied. */
const pieceBytes = 1024 * 1024;
/** Bytes posted and not acknowledged. */
const openMax: number = 4 * pieceBytes;
/** Pieces posted and not acknowledged, however small. */
const piecesMax = 1024;

type Note =
  | { readonly n: number; readonly bytes: Uint8Array }
  | { readonly ack: number }
  | { readonly end: string | null };

export function portTransport(port: MessagePortLike): Transport {
  return new PortTransport(port);
}

class PortTransport implements Transport {
  readonly #port: MessagePortLike;
  #received: Uint8Array[] = [];
  /** Bytes that the peer has not received. */
  #open = 0;
  #openPieces = 0;
  /** Bytes that came and were not received. */
  #waiting = 0;
  #sent = 0;
  #next = 0;
  #closed: Closing | undefined;
  #peerEnded = false;
  #failure: Error | undefined;
  readonly #waiters = new Waiters();

  constructor(port: MessagePortLike) {
    this.#port = port;
    if (port.on !== undefined) {
      // Electron's ports of the main process hand over events as well.
      port.on('message', (value) => this.#take(isEvent(value) ? value.data : value));
      port.on('close', () => this.#fail('the port was closed'));
    } else {
      port.addEventListener?.('message', (event) => this.#take((event as { readonly data?: unknown }).data));
      port.addEventListener?.('close', () => this.#fail('the port was closed'));
    }
    port.start?.();
  }

  async send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      this.#check();
      // A copy without the buffer behind it, which may be far larger.
      const piece = new Uint8Array(bytes.subarray(at, at + pieceBytes));
      this.#open += piece.length;
      this.#openPieces++;
      this.#port.postMessage({ n: this.#sent++, bytes: piece } satisfies Note);
      while (this.#open > openMax || this.#openPieces >= piecesMax) {
        await this.#waiters.change();
        this.#check();
      }
    }
  }

  async receive(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#closed !== undefined) return afterClose(this.#closed);
      const next = this.#received.shift();
      if (next !== undefined) {
        this.#waiting -= next.length;
        this.#port.postMessage({ ack: next.length } satisfies Note);
        return next;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#peerEnded) return undefined;
      await this.#waiters.change();
    }
  }

  async close(reason?: Error): Promise<void> {
    if (this.#closed !== undefined) {
      if (reason === undefined) return;
      this.#port.close();
      // Web and Electron tell only the other side that a port was closed: whoever still waits here hears it from us.
      this.#fail('the port was closed');
      return;
    }
    this.#closed = { reason };
    this.#waiters.changed();
    if (this.#failure === undefined) {
      this.#port.postMessage({ end: reason === undefined ? null : 'failed' } satisfies Note);
      if (reason === undefined) await this.#delivered();
    }
    this.#port.close();
  }

  /** What was posted is received before the port closes. */
  async #delivered(): Promise<void> {
    while (this.#open > 0 && this.#failure === undefined && !this.#peerEnded) await this.#waiters.change();
  }

  #take(value: unknown): void {
    const note = value as Partial<Record<'n' | 'bytes' | 'ack' | 'end', unknown>> | null;
    if (typeof note !== 'object' || note === null) return this.#fail('the peer posts what is no piece');
    if (note.bytes instanceof Uint8Array) {
      if (note.n !== this.#next++) return this.#fail('pieces come out of order');
      if (note.bytes.length > pieceBytes) return this.#fail('a piece is too large');
      if (this.#closed === undefined && note.bytes.length > 0) {
        this.#received.push(note.bytes);
        this.#waiting += note.bytes.length;
        if (this.#waiting > openMax + pieceBytes || this.#received.length > piecesMax)
          return this.#fail('the peer does not wait for acknowledgements');
      }
    } else if (typeof note.ack === 'number' && note.ack >= 0 && note.ack <= this.#open) {
      this.#open -= note.ack;
      this.#openPieces--;
    } else if (note.end === null) this.#peerEnded = true;
    else if (typeof note.end === 'string') return this.#fail('the peer ended the connection');
    else return this.#fail('the peer posts what is no piece');
    this.#waiters.changed();
  }

  #fail(what: string): void {
    if (!this.#peerEnded) this.#failure ??= new StoreError('unavailable', what);
    this.#waiters.changed();
  }

  #check(): void {
    if (this.#closed !== undefined) throw new StoreError('closed', 'the transport is closed');
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#peerEnded) throw new StoreError('unavailable', 'the peer has closed');
  }
}

function isEvent(value: unknown): value is { readonly data: unknown } {
  return typeof value === 'object' && value !== null && 'data' in value && !('bytes' in value);
}
