/** Messages over a transport: frames cut and joined, the hello exchanged, silence noticed, bytes counted, one error told. */
import { type ErrorFacts, type Host, StoreError, nodeProvider } from '../engine/index.ts';
import { FrameReader, FrameWriter } from './protocol/frame.ts';
import { type Agreement, type Identity, agree, helloOf } from './protocol/hello.ts';
import { aliveMs, alivesMax, payloadBytes, windowBytes } from './protocol/limits.ts';
import {
  type BlobForm,
  type HelloMessage,
  type Namespace,
  type Message,
  decodeMessage,
  encodeMessage,
} from './protocol/message.ts';
import { ReceiveWindow, SendWindow } from './protocol/credit.ts';
import type { Transport } from './transport.ts';

export interface Incoming {
  readonly message: Message;
  readonly payload: Uint8Array;
}

/** How blobs may travel: compressed by what this runtime has. */
export const spokenForms: readonly BlobForm[] =
  nodeProvider.zstd === undefined ? ['content', 'deflate'] : ['content', 'deflate', 'zstd'];

export interface ConnectionOptions {
  readonly host: Host;
  /** Silence of the peer that is taken for its death, ms. */
  readonly stallMs: number;
}

/** Small frames are sent together up to about this size. */
const batchBytes = 256 * 1024;

export class Connection {
  readonly #transport: Transport;
  readonly #options: ConnectionOptions;
  readonly #reader = new FrameReader(nodeProvider, payloadBytes, { owns: true });
  readonly #writer = new FrameWriter(nodeProvider);
  #outgoing: Uint8Array[] = [];
  #flushing: Promise<void> | undefined;
  #failure: Error | undefined;
  #ours: HelloMessage | undefined;
  #theirs: HelloMessage | undefined;
  #agreement: Agreement | undefined;
  #seed = false;
  #arriving: Promise<boolean> | undefined;
  #alives = 0;
  readonly #ended = new AbortController();
  /** Of blobs that come in, and that go out; they outlive a transfer. */
  readonly receiveWindow: ReceiveWindow = new ReceiveWindow(windowBytes);
  #sendWindow: SendWindow | undefined;
  /** Bytes on the wire, both ways. */
  sentBytes = 0;
  receivedBytes = 0;

  constructor(transport: Transport, options: ConnectionOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  get agreement(): Agreement {
    if (this.#agreement === undefined) throw new Error('holdfast bug: nothing was agreed yet');
    return this.#agreement;
  }

  get sendWindow(): SendWindow {
    this.#sendWindow ??= new SendWindow(this.agreement.windowBytes);
    return this.#sendWindow;
  }

  /**
   * Sends our hello, without waiting for theirs: what may be asked before it is known may follow at once. `seed`: one side may be of no
   * realm yet.
   */
  hello(
    identity: Identity,
    forms: readonly BlobForm[],
    { seed = false }: { readonly seed?: boolean } = {},
  ): void {
    this.#seed = seed;
    this.#ours = helloOf(identity, forms);
    this.send(this.#ours);
    if (this.#theirs !== undefined) this.#agreement = agree(this.#ours, this.#theirs, this.#seed);
    void this.#stayAlive();
  }

  /** By what the peer names blobs: waits for its hello, before ours is sent. Undefined where it went without one. */
  async namespace(): Promise<Namespace | undefined> {
    while (this.#theirs === undefined) {
      this.poll();
      if (this.#theirs === undefined && !(await this.more())) return undefined;
    }
    return this.#theirs.namespace;
  }

  /** Queues a message; what is queued goes out by itself, in order. */
  send(message: Message, payload?: Uint8Array): void {
    if (this.#failure !== undefined) return; // told by the next receive or flush
    this.#outgoing.push(this.#writer.head(encodeMessage(message), payload?.length ?? 0));
    if (payload !== undefined && payload.length > 0) this.#outgoing.push(payload);
    this.#flushing ??= this.#flush();
  }

  /** Resolves when the transport has taken everything. */
  async flush(): Promise<void> {
    await this.#flushing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The next message that is here already; undefined when more bytes are needed. A peer's error is thrown as the error it is. */
  poll(): Incoming | undefined {
    for (;;) {
      const frame = this.#reader.next();
      if (frame === undefined) return undefined;
      const message = decodeMessage(frame.header);
      if (frame.payload.length > 0 && message.type !== 'blob')
        throw new StoreError('corrupt', `a "${message.type}" of the peer has a payload`);
      if (message.type === 'error') throw peerError(message);
      if (this.#agreement === undefined) {
        if (this.#meet(message)) continue;
        return undefined;
      }
      if (message.type !== 'alive') {
        this.#alives = 0;
        return { message, payload: frame.payload };
      }
      if (++this.#alives > alivesMax)
        throw new StoreError('unavailable', 'the peer says that it is alive, and nothing else');
    }
  }

  /** Whether blobs may come in a form. */
  takes(form: BlobForm): boolean {
    return this.agreement.forms.includes(form);
  }

  /** A payload that came is not needed any more. */
  recycle(payload: Uint8Array): void {
    this.#reader.recycle(payload);
  }

  /** Waits for more bytes; false after a clean end between frames. Whoever asks meanwhile waits for the same bytes. */
  more(): Promise<boolean> {
    this.#arriving ??= this.#arrive();
    return this.#arriving;
  }

  /** The next message; undefined after a clean end between frames. */
  async receive(): Promise<Incoming | undefined> {
    for (;;) {
      const incoming = this.poll();
      if (incoming !== undefined) return incoming;
      if (!(await this.more())) return undefined;
    }
  }

  /** Ends the connection: cleanly, or with the error told to the peer as far as it can still be told. */
  async close(error?: unknown): Promise<void> {
    this.#ended.abort();
    if (error === undefined) {
      await this.flush();
      // A peer that does not take the last words must not keep us for ever.
      await this.#within(this.#options.stallMs, this.#transport.close());
      await this.#transport.close(new StoreError('unavailable', 'the peer did not take the last words'));
      return;
    }
    const told = StoreError.is(error) ? error : new StoreError('unavailable', 'the peer failed');
    // A peer that does not read must not keep us: the error is told if there is room for it.
    if (told.facts['peer'] !== true) {
      this.send({ type: 'error', code: told.code, message: plainOf(told) });
      await this.#within(
        tellMs,
        this.flush().then(() => this.#transport.close()),
      );
    }
    await this.#transport.close(error instanceof Error ? error : told);
  }

  /** Their hello, which must come first. False where ours has to go first. */
  #meet(first: Message): boolean {
    if (first.type !== 'hello')
      throw new StoreError('corrupt', `the peer begins with "${first.type}", not with a hello`);
    this.#theirs = first;
    if (this.#ours === undefined) return false;
    this.#agreement = agree(this.#ours, first, this.#seed);
    return true;
  }

  /** Waits for work, but not longer; whatever becomes of it. */
  async #within(ms: number, work: Promise<void>): Promise<void> {
    const patience = new AbortController();
    const settled = work.catch(() => undefined);
    await Promise.race([settled, this.#options.host.clock.sleep(ms, patience.signal)]);
    patience.abort();
  }

  async #arrive(): Promise<boolean> {
    try {
      const bytes = await this.#bytes();
      if (bytes === undefined) {
        if (this.#reader.inside) throw new StoreError('unavailable', 'the connection was cut within a frame');
        return false;
      }
      this.receivedBytes += bytes.length;
      this.#reader.push(bytes);
      return true;
    } finally {
      this.#arriving = undefined;
    }
  }

  /** Tells the peer now and then that we are at work, until the connection ends. */
  async #stayAlive(): Promise<void> {
    const { signal } = this.#ended;
    for (;;) {
      await this.#options.host.clock.sleep(aliveMs, signal);
      if (signal.aborted) return;
      this.send({ type: 'alive' });
    }
  }

  async #bytes(): Promise<Uint8Array | undefined> {
    const { host, stallMs } = this.#options;
    const arrived = new AbortController();
    const receiving = this.#transport.receive();
    receiving.catch(() => undefined); // told by the race, or nobody waits any more
    const stalled = host.clock.sleep(stallMs, arrived.signal).then(() => {
      if (!arrived.signal.aborted)
        throw new StoreError('unavailable', `the peer was silent for ${stallMs} ms`, { stallMs });
      return undefined;
    });
    stalled.catch(() => undefined);
    try {
      return await Promise.race([receiving, stalled]);
    } finally {
      arrived.abort(null); // without a reason one is made, with a stack, for each piece that comes
    }
  }

  async #flush(): Promise<void> {
    await Promise.resolve(); // what is sent in this turn goes out together
    try {
      while (this.#outgoing.length > 0) {
        const batch = this.#take();
        this.sentBytes += batch.length;
        await this.#transport.send(batch);
      }
    } catch (error) {
      this.#failure = error as Error;
      this.#outgoing = [];
    } finally {
      this.#flushing = undefined;
    }
  }

  /** Small pieces in one; a large one as it is. */
  #take(): Uint8Array {
    const pieces = this.#outgoing;
    let count = 0;
    let bytes = 0;
    while (count < pieces.length && (count === 0 || bytes + pieces[count]!.length <= batchBytes))
      bytes += pieces[count++]!.length;
    this.#outgoing = pieces.slice(count);
    if (count === 1) return pieces[0]!;
    const joined = new Uint8Array(bytes);
    let at = 0;
    for (const piece of pieces.slice(0, count)) {
      joined.set(piece, at);
      at += piece.length;
    }
    return joined;
  }
}

/** How long a failing side waits for its last word to go out, ms. */
const tellMs = 1000;

/** The error of the other side, as one of ours. It is not told back. */
function peerError({ code, message }: Extract<Message, { readonly type: 'error' }>): StoreError {
  const facts: ErrorFacts = { peer: true };
  return new StoreError(code, `the peer says: ${message}`, facts);
}

/** What can be said without a path of this machine, so that who is there knows on which side to look. */
const withoutPaths: ReadonlyMap<string, string> = new Map([
  ['no-space', 'the disk or the quota on its side is full'],
  ['forbidden', 'permissions on its side do not allow it'],
  ['unavailable', 'a disk or a volume on its side cannot be read or written now'],
]);

/** What a peer may know of an error: its words, but no paths of this machine. */
function plainOf({ code, facts, message }: StoreError): string {
  if (!('path' in facts || 'system' in facts)) return message;
  return withoutPaths.get(code) ?? 'it failed';
}
