/** Sealed objects of a peer by their locators: asked for one at a time, as a transfer of no roots, and again over a new connection after a cut. */
import { toHex } from '../engine/codec/bytes.ts';
import { type ObjectSource, type SourceObject, type Store, StoreError } from '../engine/index.ts';
import { type AskedPiece, type AskingOptions, Asking, notHad, unwanted } from './asking.ts';
import type { Connection } from './connection.ts';
import { sealedIdentity } from './peers/sealed-source.ts';
import type { Transport } from './transport.ts';

export class RemoteObjects implements ObjectSource {
  readonly #asking: Asking;

  constructor(store: Store, connect: () => Promise<Transport>, options: AskingOptions) {
    this.#asking = new Asking(
      {
        connect,
        identity: () => sealedIdentity(store),
        forms: ['content', 'manifest'],
        decode: () => new Uint8Array(), // no form with chunks is agreed
      },
      options,
    );
  }

  get failure(): Error | undefined {
    return this.#asking.failure;
  }

  get sentBytes(): number {
    return this.#asking.sentBytes;
  }

  get receivedBytes(): number {
    return this.#asking.receivedBytes;
  }

  async object(locator: string): Promise<SourceObject | undefined> {
    if (this.failure !== undefined) throw notHad(this.failure);
    // Of the one before, which nobody wanted when its size was told, the rest would come first.
    if (this.#isUnread) await this.#asking.drop(unwanted());
    try {
      const connection = await this.#asking.meet();
      connection.send({ type: 'want', wants: [{ kind: 'raw', id: locator, from: 0 }] });
      const first = await this.#asking.piece(connection, locator, 0);
      if (first === undefined) return undefined;
      const { message, payload } = first;
      if (message.form === 'manifest') return { manifest: toHex(payload) };
      return { size: message.size, bytes: this.#pieces(connection, first) };
    } catch (error) {
      await this.#asking.broken(error);
      throw notHad(error);
    }
  }

  /** Ends the connection, if there is one. */
  async end(error?: unknown): Promise<void> {
    if (error !== undefined || this.#isUnread) await this.#asking.drop(error ?? unwanted());
    else await this.#asking.leave({ blobs: 0, bytes: 0 });
  }

  get #isUnread(): boolean {
    return this.#asking.connection !== undefined && this.#asking.assembly?.open !== undefined;
  }

  /** Whoever stops half way has the connection ended: the rest would have to come all the same. */
  async *#pieces(connection: Connection, first: AskedPiece): AsyncGenerator<Uint8Array, void, void> {
    let next = first;
    let isRead = false;
    try {
      for (;;) {
        isRead = next.last;
        yield next.payload;
        if (next.last) return;
        const more = await this.#asking.piece(connection, first.message.id, 0);
        if (more === undefined) throw new StoreError('unavailable', 'the peer does not have it any more');
        next = more;
      }
    } catch (error) {
      await this.#asking.broken(error);
      throw notHad(error);
    } finally {
      if (!isRead) await this.#asking.drop(unwanted());
    }
  }
}
