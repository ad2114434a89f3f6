/** Hashing on a neighbour thread: slices of shared memory go over a direct port, so that one large file uses two cores. */
import type { Provider } from '../codec/provider.ts';
import type { Port } from '../host.ts';
import { type ContentDigest, Digester } from './digest.ts';

/** Slices in flight: enough to keep both threads busy, small enough to stay in the cache. */
const slots = 4;

type LinkMessage =
  | {
      readonly m: 'begin';
      readonly job: number;
      readonly memory: SharedArrayBuffer;
      readonly sliceBytes: number;
      readonly chunkBytes: number;
    }
  | { readonly m: 'slice'; readonly job: number; readonly slot: number; readonly length: number }
  | { readonly m: 'free'; readonly job: number; readonly slot: number }
  | { readonly m: 'end'; readonly job: number }
  | { readonly m: 'digest'; readonly job: number; readonly digest: ContentDigest }
  | { readonly m: 'drop'; readonly job: number };

interface Waiting {
  free(slot: number): void;
  done(digest: ContentDigest): void;
}

/** Both ends of a port between two worker threads: each may ask the other to hash. */
export class DigestLink {
  readonly #port: Port;
  readonly #asked = new Map<number, Waiting>();
  readonly #serving = new Map<
    number,
    { readonly digester: Digester; readonly memory: SharedArrayBuffer; readonly sliceBytes: number }
  >();
  readonly #provider: Provider;
  #next = 1;

  constructor(port: Port, provider: Provider) {
    this.#port = port;
    this.#provider = provider;
    port.listen((message) => this.#receive(message as LinkMessage));
  }

  begin(
    waiting: Waiting,
    sizes: { readonly sliceBytes: number; readonly chunkBytes: number },
  ): { job: number; memory: SharedArrayBuffer } {
    const job = this.#next++;
    const memory = new SharedArrayBuffer(slots * sizes.sliceBytes);
    this.#asked.set(job, waiting);
    this.#port.post({ m: 'begin', job, memory, ...sizes } satisfies LinkMessage);
    return { job, memory };
  }

  slice(job: number, slot: number, length: number): void {
    this.#port.post({ m: 'slice', job, slot, length } satisfies LinkMessage);
  }

  end(job: number): void {
    this.#port.post({ m: 'end', job } satisfies LinkMessage);
  }

  drop(job: number): void {
    this.#asked.delete(job);
    this.#port.post({ m: 'drop', job } satisfies LinkMessage);
  }

  #receive(message: LinkMessage): void {
    if (message.m === 'begin') {
      const { memory, sliceBytes, chunkBytes } = message;
      this.#serving.set(message.job, {
        digester: new Digester(this.#provider, chunkBytes),
        memory,
        sliceBytes,
      });
    } else if (message.m === 'slice') {
      const serving = this.#serving.get(message.job);
      if (serving === undefined) return;
      serving.digester.update(
        new Uint8Array(serving.memory, message.slot * serving.sliceBytes, message.length),
      );
      this.#port.post({ m: 'free', job: message.job, slot: message.slot } satisfies LinkMessage);
    } else if (message.m === 'end') {
      const serving = this.#serving.get(message.job);
      this.#serving.delete(message.job);
      if (serving !== undefined)
        this.#port.post({
          m: 'digest',
          job: message.job,
          digest: serving.digester.finish(),
        } satisfies LinkMessage);
    } else if (message.m === 'free') this.#asked.get(message.job)?.free(message.slot);
    else if (message.m === 'digest') {
      this.#asked.get(message.job)?.done(message.digest);
      this.#asked.delete(message.job);
    } else this.#serving.delete(message.job);
  }
}

/** Where a stager puts slices: a neighbour's hasher, or its own. */
export abstract class DigestSink {
  /** Memory for the next slice; waits until there is some. */
  abstract room(): Promise<Uint8Array>;
  /** The first `length` bytes of the room are the next slice. */
  abstract push(length: number): void;
  abstract finish(): Promise<ContentDigest>;
  abstract abandon(): void;

  static async open(
    link: DigestLink | undefined,
    own: Digester,
    sizes: { readonly sliceBytes: number; readonly chunkBytes: number },
  ): Promise<DigestSink> {
    return link === undefined ? new OwnSink(own, sizes.sliceBytes) : new LinkedSink(link, sizes);
  }
}

class OwnSink extends DigestSink {
  readonly #digester: Digester;
  readonly #memory: Uint8Array;

  constructor(digester: Digester, sliceBytes: number) {
    super();
    this.#digester = digester;
    this.#memory = new Uint8Array(sliceBytes);
  }

  room(): Promise<Uint8Array> {
    return Promise.resolve(this.#memory);
  }

  push(length: number): void {
    this.#digester.update(this.#memory.subarray(0, length));
  }

  finish(): Promise<ContentDigest> {
    return Promise.resolve(this.#digester.finish());
  }

  abandon(): void {}
}

class LinkedSink extends DigestSink {
  readonly #link: DigestLink;
  readonly #job: number;
  readonly #memory: SharedArrayBuffer;
  readonly #sliceBytes: number;
  readonly #free: number[] = Array.from({ length: slots }, (_, slot) => slot);
  readonly #digest: Promise<ContentDigest>;
  #wake: (() => void) | undefined;

  constructor(link: DigestLink, sizes: { readonly sliceBytes: number; readonly chunkBytes: number }) {
    super();
    this.#link = link;
    this.#sliceBytes = sizes.sliceBytes;
    let done: (digest: ContentDigest) => void = () => {};
    this.#digest = new Promise((resolve) => (done = resolve));
    const free = (slot: number): void => {
      this.#free.push(slot);
      this.#wake?.();
    };
    ({ job: this.#job, memory: this.#memory } = link.begin({ free, done }, sizes));
  }

  async room(): Promise<Uint8Array> {
    while (this.#free.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    return new Uint8Array(this.#memory, this.#free[0]! * this.#sliceBytes, this.#sliceBytes);
  }

  push(length: number): void {
    this.#link.slice(this.#job, this.#free.shift()!, length);
  }

  async finish(): Promise<ContentDigest> {
    this.#link.end(this.#job);
    return await this.#digest;
  }

  abandon(): void {
    this.#link.drop(this.#job);
  }
}
