/** A server of its own for a store: limits against strangers, TLS, and no open door by mistake. */
import type { Server, ServerOptions } from 'node:http';
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
  const server = await makeServer(handler, tls);
  server.on('upgrade', handler.upgrade);
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new StoreError('unavailable', `cannot listen on ${host}: ${error.message}`, {}, error)),
    );
    server.listen({ host: host === 'localhost' ? '127.0.0.1' : host, port, exclusive: true }, resolve);
  });
  // A connection that could not be taken (no descriptors are left) is lost; without a listener the process would be.
  server.on('error', () => undefined);
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

/** The modules are loaded when they are needed: the command line starts without them. */
async function makeServer(handler: SyncHandler, tls: ListenOptions['tls']): Promise<Server> {
  if (tls === undefined) return (await import('node:http')).createServer(limits, handler);
  const { createServer } = await import('node:https');
  try {
    const [cert, key] = [Buffer.from(tls.cert), Buffer.from(tls.key)];
    return createServer({ ...limits, handshakeTimeout: 10_000, cert, key }, handler);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StoreError('invalid-argument', `that certificate or key cannot be used: ${why}`, {}, error);
  }
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
