/** The transport over a connected socket, TCP or TLS, that carries nothing else: its end is told to the peer before the socket goes. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Host, nodeHost } from '../../engine/index.ts';
import type { Transport } from '../transport.ts';
import { StreamTransport } from './streams.ts';

/** How long the peer has to end its way after we have ended ours, ms, */
const lingerMs = 5000;
/** and how many bytes may come until then. */
const lingerBytes: number = 64 * 1024 * 1024;
/** A peer that is gone without a word is found out after about this, ms, and what the system adds to it. */
const probeMs = 30_000;

/** A transport over a socket. Closing resolves when the last bytes and the end are with the system. */
export function socketTransport(socket: Duplex, host: Host = nodeHost()): Transport {
  return new SocketTransport(socket, host);
}

class SocketTransport extends StreamTransport {
  readonly #socket: Duplex;
  readonly #host: Host;
  #lingers = false;

  constructor(socket: Duplex, host: Host) {
    super({ input: socket, output: socket });
    this.#socket = socket;
    this.#host = host;
    if (socket instanceof Socket) socket.setNoDelay(true).setKeepAlive(true, probeMs);
  }

  /**
   * A socket that is closed while bytes come in is reset, and a reset overtakes what was sent last: an error that was told would
   * be lost. So they are taken in and dropped until the peer ends its way as well.
   */
  protected override finished(): void {
    if (this.#socket.destroyed || this.#socket.readableEnded) return void this.#socket.destroy();
    this.#lingers = true;
    const gone = new AbortController();
    let dropped = 0;
    const drop = (): void => {
      for (let bytes = this.#read(); bytes !== null; bytes = this.#read()) dropped += bytes.length;
      if (dropped > lingerBytes) this.#socket.destroy();
    };
    this.#socket
      .on('readable', drop)
      .once('end', () => this.#socket.destroy())
      .once('close', () => gone.abort());
    drop();
    void this.#host.clock.sleep(lingerMs, gone.signal).then(() => this.#socket.destroy());
  }

  #read(): Uint8Array | null {
    return this.#socket.read() as Uint8Array | null;
  }

  /**
   * The peer learns from a reset that this was no end. TLS has none, and there it may look like one. Nor has a socket whose end is
   * on its way: libuv refuses, and Node would not close the handle any more, nor end its process.
   */
  protected override cut(): void {
    if (this.#lingers || this.#socket.destroyed) return;
    const socket = this.#socket;
    if (socket instanceof Socket && !('encrypted' in socket) && !socket.writableEnded)
      socket.resetAndDestroy();
    else socket.destroy();
  }
}
