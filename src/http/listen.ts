/** A server of its own for a store: limits against strangers, TLS, and no open door by mistake. */
import { type Server, type ServerOptions, createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, BlockList, isIP } from 'node:net';
import { StoreError } from '../../engine/index.ts';
import type { SyncHandler } from './handler.ts';

export interface ListenOptions {
  /** An address or a name of this machine; default 127.0.0.1. */
  readonly host?: string;
  /** 0 for any that is free. */
  readonly port: number;
  /** PEM. */
  readonly tls?: { readonly cert: string | Uint8Array; readonly key: string | Uint8Array };
  /** Connections at once, those that were not let in yet included; default 64. */
  readonly connectionsMax?: number;
}

export interface Listening {
  readonly url: string;
  readonly server: Server;
  /** Stops listening and ends all sessions; resolves when none is left. */
  close(this: void): Promise<void>;
}

/** Of requests that are no upgrade yet: a stranger gets this long, ms, and this much. */
const limits: ServerOptions = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 1000,
  keepAliveTimeout: 1000,
};

/** Listens with a handler; `unavailable` where that cannot be (the port is taken, the name is nobody's here). */
export async function listenHttp(handler: SyncHandler, options: ListenOptions): Promise<Listening> {
  const { host = '127.0.0.1', port, tls, connectionsMax = 64 } = options;
  let server: Server;
  try {
    server =
      tls === undefined
        ? createServer(limits, handler)
        : createTlsServer(
            { ...limits, handshakeTimeout: 10_000, cert: Buffer.from(tls.cert), key: Buffer.from(tls.key) },
            handler,
          );
  } catch (error) {
    throw new StoreError(
      'invalid-argument',
      `that certificate or key cannot be used: ${(error as Error).message}`,
      {},
      error,
    );
  }
  server.on('upgrade', handler.upgrade);
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new StoreError('unavailable', `cannot listen on ${host}: ${error.message}`, {}, error)),
    );
    server.listen({ host: host === 'localhost' ? '127.0.0.1' : host, port, exclusive: true }, resolve);
  });
  const { port: actual } = server.address() as AddressInfo;
  const name = isIP(host) === 6 ? `[${host}]` : host;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${name}:${actual}`,
    server,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await handler.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');

/** Whether only this machine can reach a host of that name. Names other than localhost are not looked up. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  if (family === 0) return host === 'localhost';
  return loopback.check(host, family === 6 ? 'ipv6' : 'ipv4');
}
