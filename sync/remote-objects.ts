/** Sealed objects of a peer by their locators: asked for one at a time, as a transfer of no roots, and again over a new connection after a cut. */
import { toHex } from '../engine/codec/bytes.ts';
import { type Host, type ObjectSource, type SourceObject, type Store, StoreError } from '../engine/index.ts';
import { Connection, type Incoming } from './connection.ts';
import { sealedIdentity } from './peers/sealed-source.ts';
import { Assembly, type BlobMessage, refused } from './protocol/arrivals.ts';
import { costOf } from './protocol/credit.ts';
import type { Transport } from './transport.ts';

export interface RemoteObjectsOptions {
  readonly host: Host;
  /** Silence of the peer that is taken for its death, ms. */
  readonly stallMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Connections that end one after the other without a piece of an object having come. */
const fruitlessMax = 3;

export class RemoteObjects implements ObjectSource {
  readonly #store: Store;
  readonly #connect: () => Promise<Transport>;
  readonly #options: RemoteObjectsOptions;
  #connection: Connection | undefined;
  #assembly: Assembly | undefined;
  #fruitless = 0;
  /** What ended it for good. */
  failure: Error | undefined;
  sentBytes = 0;
  receivedBytes = 0;

  constructor(store: Store, connect: () => Promise<Transport>, options: RemoteObjectsOptions) {
    this.#store = store;
    this.#connect = connect;
    this.#options = options;
  }

  async object(locator: string): Promise<SourceObject | undefined> {
    if (this.failure !== undefined) throw notHad(this.failure);
    // Of the one before, which nobody wanted when its size was told, the rest would come first.
    if (this.#assembly?.open !== undefined) await this.#drop(unwanted());
    try {
      const connection = (this.#connection ??= await this.#meet());
      connection.send({ type: 'want', wants: [{ kind: 'raw', id: locator, from: 0 }] });
      const first = await this.#piece(connection, locator);
      if (first === undefined) return undefined;
      const { message, payload } = first;
      if (message.form === 'manifest') return { manifest: toHex(payload) };
      return { size: message.size, bytes: this.#pieces(connection, first) };
    } catch (error) {
      await this.#broken(error);
      throw notHad(error);
    }
  }

  /** Ends the connection, if there is one. */
  async end(error?: unknown): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    const isUnread = this.#assembly?.open !== undefined;
    if (error !== undefined || isUnread) return await this.#drop(error ?? unwanted());
    try {
      connection.send({ type: 'done', changed: [], blobs: 0, bytes: 0 });
      connection.send({ type: 'bye' });
      this.#forget(connection);
      await connection.close();
    } catch (failure) {
      await this.#drop(failure);
    }
  }

  /** Whoever stops half way has the connection ended: the rest would have to come all the same. */
  async *#pieces(
    connection: Connection,
    first: { readonly message: BlobMessage; readonly payload: Uint8Array; readonly last: boolean },
  ): AsyncGenerator<Uint8Array, void, void> {
    let next = first;
    let isRead = false;
    try {
      for (;;) {
        isRead = next.last;
        yield next.payload;
        if (next.last) return;
        const more = await this.#piece(connection, first.message.id);
        if (more === undefined) throw new StoreError('unavailable', 'the peer does not have it any more');
        next = more;
      }
    } catch (error) {
      await this.#broken(error);
      throw notHad(error);
    } finally {
      if (!isRead) await this.#drop(unwanted());
    }
  }

  /** The next piece of the answer that is due; undefined when the peer does not have the object. */
  async #piece(
    connection: Connection,
    id: string,
  ): Promise<
    { readonly message: BlobMessage; readonly payload: Uint8Array; readonly last: boolean } | undefined
  > {
    const { message, payload } = await this.#next(connection);
    const assembly = this.#assembly!;
    if (message.type === 'absent' && message.id === id && assembly.open === undefined) return undefined;
    if (message.type !== 'blob')
      throw new StoreError('corrupt', `the peer sends "${message.type}" where it has no place`);
    if (message.id !== id || message.kind !== 'raw')
      throw refused('forbidden', 'an object comes that nothing asked for', message.id);
    const cost = costOf({ kind: 'raw', bytes: payload, length: payload.length });
    connection.receiveWindow.arrived(cost);
    const { last } = assembly.take(message, payload, () => 0);
    this.#fruitless = 0;
    const credit = connection.receiveWindow.taken(cost);
    if (credit > 0) connection.send({ type: 'credit', bytes: credit });
    return { message, payload, last };
  }

  async #meet(): Promise<Connection> {
    this.#options.signal?.throwIfAborted();
    const connection = new Connection(await this.#connect(), this.#options);
    try {
      connection.hello(await sealedIdentity(this.#store), ['content', 'manifest']);
      connection.send({ type: 'ask', all: false, roots: [] });
      const { message } = await this.#next(connection);
      if (message.type !== 'roots' || message.roots.length > 0)
        throw new StoreError('corrupt', `the peer answers a question for no roots with "${message.type}"`);
    } catch (error) {
      await connection.close(error).catch(() => undefined);
      throw error;
    }
    this.#assembly = new Assembly({
      takes: (form) => connection.takes(form),
      decode: () => new Uint8Array(), // no form with chunks is agreed
    });
    return connection;
  }

  /** Whether the connection may be made anew after this: after a cut, or damage over there, but not where one side refuses the other. */
  async #broken(error: unknown): Promise<void> {
    await this.#drop(error);
    const mayPass =
      StoreError.is(error, 'unavailable') ||
      StoreError.is(error, 'busy') ||
      (StoreError.is(error, 'corrupt') && error.facts['peer'] === true);
    if (!mayPass || ++this.#fruitless >= fruitlessMax) this.failure = error as Error;
  }

  async #drop(error: unknown): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#forget(connection);
    await connection.close(error).catch(() => undefined); // the error that ended it is the one to tell
  }

  #forget({ sentBytes, receivedBytes }: Connection): void {
    this.sentBytes += sentBytes;
    this.receivedBytes += receivedBytes;
    this.#connection = undefined;
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

function unwanted(): StoreError {
  return new StoreError('unavailable', 'what was asked for is not wanted any more');
}

/** Whatever it was, it is not this store that failed. */
function notHad(error: unknown): StoreError {
  return new StoreError('unavailable', error instanceof Error ? error.message : String(error), {}, error);
}
