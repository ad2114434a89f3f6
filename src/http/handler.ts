/** Lets peers in over HTTP: a request to upgrade, with a token, becomes a connection that speaks the sync protocol and nothing else. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ErrorCode, type Host, type Store, StoreError } from '../../engine/index.ts';
import {
  type Replicated,
  type ServeOptions,
  type Transport,
  serve,
  socketTransport,
} from '../../sync/index.ts';
import { type Scope, type TokenInfo, type Tokens, tokensOf } from './tokens.ts';

/** The protocol that a connection is upgraded to. */
export const upgradeName = 'holdfast/1';

export interface SyncHandlerOptions extends Omit<ServeOptions, 'allow' | 'onProgress' | 'signal'> {
  /** Who is let in; the default is the tokens of the store's folder. */
  readonly tokens?: Pick<Tokens, 'verify' | 'has' | 'touch'>;
  /** What is allowed without a token; the default is nothing. Asked for each that comes without one. */
  readonly anonymous?: () => Promise<Scope | undefined>;
  /** Sessions at once, default 16; further ones are told `busy`. */
  readonly sessionsMax?: number;
  /** From the upgrade to the first byte of the peer, ms; default 10 seconds. */
  readonly handshakeMs?: number;
  /** Told when a session ends. */
  readonly onSession?: (session: SyncSession) => void;
}

/** A connection that was let in, when it is over. */
export interface SyncSession {
  readonly address: string;
  /** Id of the token; undefined for one without. */
  readonly token: string | undefined;
  readonly scope: Scope;
  readonly transfers: readonly Replicated[];
  readonly error?: unknown;
}

/**
 * Listens to `request` of a server of node:http or node:https; its `upgrade` must be given to the same server. Both may be called
 * for some paths only: the handler does not look at them.
 */
export interface SyncHandler {
  /** Whatever is no upgrade is answered with 426. */
  (request: IncomingMessage, response: ServerResponse): void;
  upgrade(this: void, request: IncomingMessage, socket: Duplex, head: Uint8Array): void;
  /** Lets nobody in any more, ends all sessions, and resolves when none is left: then the store may be closed. */
  close(this: void): Promise<void>;
}

const allows = { read: 'pull', append: 'append', admin: 'both' } as const;
/** How often a session looks whether its token still stands, ms. */
const checkEveryMs = 250;

export function syncHandler(store: Store, options: SyncHandlerOptions = {}): SyncHandler {
  const sessions = new Sessions(store, options);
  return Object.assign(
    (_request: IncomingMessage, response: ServerResponse): void => {
      const headers = { connection: 'close', upgrade: upgradeName, 'content-type': 'application/json' };
      response
        .writeHead(426, headers)
        .end(bodyOf('invalid-argument', 'this is a store of holdfast: upgrade'));
    },
    {
      upgrade: (request: IncomingMessage, socket: Duplex, head: Uint8Array): void =>
        sessions.begin(request, socket, head),
      close: (): Promise<void> => sessions.close(),
    },
  );
}

/** Who came in, and what he may. */
interface Admitted {
  readonly scope: Scope;
  readonly token: TokenInfo | undefined;
}

class Sessions {
  readonly #store: Store;
  readonly #options: SyncHandlerOptions;
  readonly #tokens: Pick<Tokens, 'verify' | 'has' | 'touch'>;
  readonly #running = new Set<Promise<void>>();
  readonly #transports = new Set<Transport>();
  #closed = false;

  constructor(store: Store, options: SyncHandlerOptions) {
    this.#store = store;
    this.#options = options;
    this.#tokens = options.tokens ?? tokensOf(store.directory);
  }

  begin(request: IncomingMessage, socket: Duplex, head: Uint8Array): void {
    socket.on('error', () => socket.destroy()); // whoever reads or writes learns it from the stream
    const { sessionsMax = 16, handshakeMs = 10_000 } = this.#options;
    if (this.#closed || this.#running.size >= sessionsMax)
      return refuse(socket, 503, 'busy', 'too many sessions at once: try again later');
    if (request.headers.upgrade !== upgradeName || request.method !== 'GET')
      return refuse(socket, 400, 'incompatible-format', `nothing but ${upgradeName} is spoken here`);
    const timer = setTimeout(() => socket.destroy(), handshakeMs);
    const running = this.#run(request, socket, { head, begun: () => clearTimeout(timer) })
      .catch(() => void socket.destroy())
      .finally(() => {
        clearTimeout(timer);
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const reason = new StoreError('unavailable', 'the server is going down');
    for (const transport of this.#transports) void transport.close(reason);
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #run(
    request: IncomingMessage,
    socket: Duplex,
    { head, begun }: { readonly head: Uint8Array; readonly begun: () => void },
  ): Promise<void> {
    let admitted: Admitted | undefined;
    try {
      admitted = await this.#admit(request.headers.authorization);
    } catch {
      return refuse(socket, 500, 'unavailable', 'it cannot be said who is let in');
    }
    if (admitted === undefined) return refuse(socket, 401, 'forbidden', 'a token of this store is wanted');
    if (this.#closed) return void socket.destroy();
    const upgraded = upgrade(socket, head, this.#options.host);
    const watch = new AbortController();
    const transport = this.#watched(upgraded, { token: admitted.token, begun, signal: watch.signal });
    this.#transports.add(transport);
    const { scope, token } = admitted;
    const session = { address: request.socket.remoteAddress ?? '', token: token?.id, scope };
    try {
      const transfers = await serve(this.#store, transport, { ...this.#options, allow: allows[scope] });
      this.#options.onSession?.({ ...session, transfers });
    } catch (error) {
      this.#options.onSession?.({ ...session, transfers: [], error });
    } finally {
      watch.abort();
      this.#transports.delete(transport);
    }
  }

  async #admit(authorization: string | undefined): Promise<Admitted | undefined> {
    if (authorization === undefined) {
      const scope = await this.#options.anonymous?.();
      return scope === undefined ? undefined : { scope, token: undefined };
    }
    const [, presented] = /^Bearer +([!-~]{1,200})$/i.exec(authorization) ?? [];
    const token = presented === undefined ? undefined : await this.#tokens.verify(presented);
    if (token === undefined) return undefined;
    await this.#tokens.touch(token.id);
    return { scope: token.scope, token };
  }

  /**
   * Looks every now and then whether the token still stands, also while nothing comes in: what came may still be at work towards
   * a root. A session without one ends when tokens are wanted.
   */
  #watched(inner: Transport, { token, begun, signal }: Watch): Transport {
    let refusal: Error | undefined;
    let refuse: ((error: Error) => void) | undefined;
    const look = async (): Promise<void> => {
      const stands =
        token === undefined
          ? (await this.#options.anonymous?.()) !== undefined
          : await this.#tokens.has(token.id);
      if (!stands) throw new StoreError('forbidden', 'the token was revoked');
    };
    const timer = setInterval(() => {
      look().catch((error: Error) => {
        refusal ??= error;
        refuse?.(refusal);
      });
    }, checkEveryMs);
    signal.addEventListener('abort', () => clearInterval(timer), { once: true });
    return {
      send: (bytes) => inner.send(bytes),
      close: (reason) => inner.close(reason),
      receive: async () => {
        if (refusal !== undefined) throw refusal;
        const refused = Promise.withResolvers<never>();
        refuse = refused.reject;
        const bytes = await Promise.race([inner.receive(), refused.promise]);
        begun();
        return bytes;
      },
    };
  }
}

interface Watch {
  readonly token: TokenInfo | undefined;
  /** The peer has said something. */
  readonly begun: () => void;
  /** Aborts at the session's end. */
  readonly signal: AbortSignal;
}

/** Answers that the connection is ours from now on. `head`: what came behind the request already. */
export function upgrade(socket: Duplex, head: Uint8Array, host?: Host): Transport {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${upgradeName}\r\n\r\n`);
  if (head.length > 0) socket.unshift(head);
  return socketTransport(socket, host);
}

/** Answers instead of upgrading, and ends the connection. */
function refuse(socket: Duplex, status: number, code: ErrorCode, message: string): void {
  const body = bodyOf(code, message);
  const wants = status === 401 ? 'www-authenticate: Bearer\r\n' : '';
  const head = `HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-type: application/json\r\n${wants}`;
  socket.once('finish', () => socket.destroy());
  socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

function bodyOf(code: ErrorCode, message: string): string {
  return JSON.stringify({ error: { code, message } });
}
