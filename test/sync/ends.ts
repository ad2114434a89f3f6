/** Every transport there is, as a way to make two connected ends: what holds for one is tested on all. */
import { type Server, createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { MessageChannel } from 'node:worker_threads';
import { httpTransport } from '../../src/http/client.ts';
import { upgrade } from '../../src/http/handler.ts';
import { type Transport, pair, portTransport, streamTransport } from '../../sync/index.ts';
import type { MakeTransport, TransportUnderTest } from '../conformance/transport.ts';
import { makeCertificate } from './certificate.ts';

/** Servers are made once; each pair of ends is a connection of its own. Close them when the tests of a file are over. */
export class AllTransports {
  readonly #servers: Promise<Listening>[] = [];
  readonly make: Readonly<Record<string, MakeTransport>>;

  constructor() {
    let plain: Promise<Listening> | undefined;
    let secure: Promise<Listening> | undefined;
    this.make = {
      pair: () => {
        const ends = pair();
        return { ends, cut: () => ends[0].close(new Error('cut')) };
      },
      streams,
      'message port': () => {
        const { port1, port2 } = new MessageChannel();
        return { ends: [portTransport(port1), portTransport(port2)], cut: () => port1.close() };
      },
      http: async () => await connected(await (plain ??= this.#listen('http'))),
      https: async () => await connected(await (secure ??= this.#listen('https'))),
    };
  }

  async close(): Promise<void> {
    for (const { server } of await Promise.all(this.#servers)) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #listen(scheme: 'http' | 'https'): Promise<Listening> {
    const listening = listen(scheme);
    this.#servers.push(listening);
    return listening;
  }
}

function streams(): TransportUnderTest {
  const [there, back] = [new PassThrough(), new PassThrough()];
  const ends = [
    streamTransport({ input: back, output: there }),
    streamTransport({ input: there, output: back }),
  ] as const;
  return {
    ends,
    cut: () => {
      there.destroy(new Error('EPIPE'));
      back.destroy(new Error('EPIPE'));
    },
  };
}

interface Listening {
  readonly server: Server;
  readonly url: string;
  readonly ca?: string;
  /** The next connection's end at the server. */
  accepted(this: void): Promise<{ readonly transport: Transport; readonly cut: () => void }>;
}

async function listen(scheme: 'http' | 'https'): Promise<Listening> {
  const certificate = scheme === 'https' ? makeCertificate() : undefined;
  const server = certificate === undefined ? createServer() : createTlsServer(certificate);
  const waiting: ((accepted: Awaited<ReturnType<Listening['accepted']>>) => void)[] = [];
  server.on('upgrade', (_request, socket, head) => {
    socket.on('error', () => undefined);
    waiting.shift()!({ transport: upgrade(socket, head), cut: () => void socket.destroy(new Error('cut')) });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    server,
    url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...(certificate === undefined ? {} : { ca: certificate.cert }),
    accepted: () => new Promise((resolve) => waiting.push(resolve)),
  };
}

async function connected({ url, ca, accepted }: Listening): Promise<TransportUnderTest> {
  const accepting = accepted();
  const near = await httpTransport(url, ca === undefined ? {} : { ca });
  const { transport: far, cut } = await accepting;
  // The system ends the connections of a process that dies, with no word of how.
  return { ends: [far, near], cut, cutsLookLikeEnds: true };
}
