/** A peer that is only asked for blobs: a transfer of no roots, over a connection that is made when it is needed, and again after a cut. */
import { type Host, StoreError } from '../engine/index.ts';
import { Connection, type Incoming } from './connection.ts';
import type { Identity } from './peer.ts';
import { Assembly, type BlobMessage, refused } from './protocol/arrivals.ts';
import { costOf } from './protocol/credit.ts';
import type { BlobForm } from './protocol/message.ts';
import type { Transport } from './transport.ts';

export interface AskingOptions {
  readonly host: Host;
  /** Silence of the peer that is taken for its death, ms. */
  readonly stallMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Who asks, and how blobs may come. */
export interface Asker {
  readonly connect: () => Promise<Transport>;
  readonly identity: () => Promise<Identity>;
  readonly forms: readonly BlobForm[];
  readonly decode: ConstructorParameters<typeof Assembly>[0]['decode'];
}

/** A piece of a blob, and whether it was its last. */
export type AskedPiece = ReturnType<Assembly['take']> & {
  readonly message: BlobMessage;
  readonly payload: Uint8Array;
};

/** Connections that end one after the other without a piece of a blob having come. */
const fruitlessMax = 3;

export class Asking {
  readonly #asker: Asker;
  readonly #options: AskingOptions;
  #connection: Connection | undefined;
  #assembly: Assembly | undefined;
  #fruitless = 0;
  /** What ended it for good. */
  failure: Error | undefined;
  sentBytes = 0;
  receivedBytes = 0;

  constructor(asker: Asker, options: AskingOptions) {
    this.#asker = asker;
    this.#options = options;
  }

  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** Of the connection there is, or was last. */
  get assembly(): Assembly | undefined {
    return this.#assembly;
  }

  /** The connection there is, or a new one. */
  async meet(): Promise<Connection> {
    if (this.#connection !== undefined) return this.#connection;
    const { connect, identity, forms, decode } = this.#asker;
    this.#options.signal?.throwIfAborted();
    const connection = new Connection(await connect(), this.#options);
    try {
      connection.hello(await identity(), forms);
      connection.send({ type: 'ask', all: false, roots: [] });
      const { message } = await this.#next(connection);
      if (message.type !== 'roots' || message.roots.length > 0)
        throw new StoreError('corrupt', `the peer answers a question for no roots with "${message.type}"`);
    } catch (error) {
      await connection.close(error).catch(() => undefined);
      throw error;
    }
    this.#assembly = new Assembly({ takes: (form) => connection.takes(form), decode });
    return (this.#connection = connection);
  }

  /** The next piece of the answer that is due, that begins at `from`; undefined when the peer does not have it. */
  async piece(connection: Connection, id: string, from: number): Promise<AskedPiece | undefined> {
    const { message, payload } = await this.#next(connection);
    const assembly = this.#assembly!;
    if (message.type === 'absent' && message.id === id && assembly.open === undefined) return undefined;
    if (message.type !== 'blob')
      throw new StoreError('corrupt', `the peer sends "${message.type}" where it has no place`);
    if (message.id !== id || message.kind !== 'raw')
      throw refused('forbidden', 'a blob comes that nothing asked for', message.id);
    const cost = costOf({ kind: 'raw', bytes: payload, length: payload.length });
    connection.receiveWindow.arrived(cost);
    const taken = assembly.take(message, payload, () => from);
    this.#fruitless = 0;
    const credit = connection.receiveWindow.taken(cost);
    if (credit > 0) connection.send({ type: 'credit', bytes: credit });
    return { ...taken, message, payload };
  }

  /** After a failure: ends the connection, and keeps what no new connection can mend, or what came too often, as `failure`. */
  async broken(error: unknown): Promise<void> {
    await this.drop(error);
    if (!mayPass(error) || ++this.#fruitless >= fruitlessMax) this.failure = error as Error;
  }

  /** Ends the connection in the middle, if there is one. */
  async drop(error: unknown): Promise<void> {
    const connection = this.#forgotten();
    await connection?.close(error).catch(() => undefined); // the error that ended it is the one to tell
  }

  /** Takes leave after the last answer. */
  async leave(counts: { readonly blobs: number; readonly bytes: number }): Promise<void> {
    try {
      this.#connection?.send({ type: 'done', changed: [], ...counts });
      this.#connection?.send({ type: 'bye' });
      await this.#forgotten()?.close();
    } catch (failure) {
      await this.drop(failure);
    }
  }

  #forgotten(): Connection | undefined {
    const connection = this.#connection;
    this.sentBytes += connection?.sentBytes ?? 0;
    this.receivedBytes += connection?.receivedBytes ?? 0;
    this.#connection = undefined;
    return connection;
  }

  async #next(connection: Connection): Promise<Incoming> {
    const { signal } = this.#options;
    const stop = Promise.withResolvers<never>();
    const abort = (): void => stop.reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    try {
      const next = await Promise.race([connection.receive(), stop.promise]);
      if (next === undefined) throw new StoreError('unavailable', 'the peer closed before it had answered');
      return next;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }
}

/** Said by the peer, which is there and cannot give it. */
export function isTold(error: unknown): boolean {
  return StoreError.is(error) && error.facts['peer'] === true;
}

/** A cut, or a blob that is damaged over there: not a peer that refuses us, nor one that we refuse. */
function mayPass(error: unknown): boolean {
  if (!StoreError.is(error)) return false;
  if (error.code === 'corrupt') return isTold(error);
  return error.code === 'unavailable' || error.code === 'busy';
}

export function unwanted(): StoreError {
  return new StoreError('unavailable', 'what was asked for is not wanted any more');
}

/** Whatever it was, it is not this store that failed. */
export function notHad(error: unknown): StoreError {
  return new StoreError('unavailable', error instanceof Error ? error.message : String(error), {}, error);
}
