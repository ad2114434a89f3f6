/** What two worker threads do for each other over a direct port, in shared memory, so that one large file uses two cores: hash, or read and hash. */
import type { Provider } from '../codec/provider.ts';
import type { FileFacts, Host, OpenFile } from '../host.ts';
import { type ContentDigest, Digester } from './digest.ts';
import { openSource } from './encoder.ts';

/** Slices in flight: enough to keep both threads busy, small enough to stay in the cache. */
const slots = 4;

/** What the digest is made of. */
export interface DigestSizes {
  readonly sliceBytes: number;
  /** Of each checksum; 0: the sha256 is all that is wanted. */
  readonly chunkBytes: number;
}

interface Begin extends DigestSizes {
  readonly job: number;
  readonly memory: SharedArrayBuffer;
  /** The file to read; absent: the asker fills the slots. */
  readonly path?: string;
}

interface SlotOf {
  readonly job: number;
  readonly slot: number;
}

interface Serving extends Begin {
  readonly digester: Digester;
  readonly file?: OpenFile;
  /** How far it is read. */
  at: number;
  /** The asker was told that there is no more. */
  ended?: boolean;
}

/** What answers calls in their order. */
export interface Neighbour {
  call<Result>(method: string, args: unknown): Promise<Result>;
}

/** The asking end. */
export class DigestLink {
  readonly #neighbour: Neighbour;
  #next = 1;

  constructor(neighbour: Neighbour) {
    this.#neighbour = neighbour;
  }

  /** A digest that the neighbour makes; of a file that it reads, where a path is given. */
  ask(sizes: DigestSizes, path?: string): FarDigest {
    const job = this.#next++;
    const memory = new SharedArrayBuffer(slots * sizes.sliceBytes);
    const begin: Begin = { job, memory, ...sizes, ...(path === undefined ? {} : { path }) };
    return new FarDigest(this.#neighbour, begin);
  }
}

/** The answering end. */
export class DigestService {
  readonly #host: Host;
  readonly #provider: Provider;
  readonly #serving = new Map<number, Serving>();

  constructor(host: Host, provider: Provider) {
    this.#host = host;
    this.#provider = provider;
  }

  handlers(): Readonly<Record<string, (args: never) => unknown>> {
    return {
      begin: (begin: Begin) => this.#begin(begin),
      hash: (slice: SlotOf & { readonly length: number }) => this.#hash(slice),
      fill: (slot: SlotOf) => this.#fill(slot),
      finish: (job: number) => this.#finish(job),
      drop: (job: number) => this.#end(job),
    };
  }

  #begin(begin: Begin): FileFacts | undefined {
    const digester = new Digester(this.#provider, begin.chunkBytes);
    if (begin.path === undefined) {
      this.#serving.set(begin.job, { ...begin, digester, at: 0 });
      return undefined;
    }
    const file = openSource(this.#host, begin.path);
    this.#serving.set(begin.job, { ...begin, digester, file, at: 0 });
    return file.facts();
  }

  #hash({ job, slot, length }: SlotOf & { readonly length: number }): void {
    const serving = this.#serving.get(job);
    serving?.digester.update(slotOf(serving, slot).subarray(0, length));
  }

  /** Returns the bytes read; none where the job is over. */
  #fill({ job, slot }: SlotOf): number {
    const serving = this.#serving.get(job);
    // What is written behind that end meanwhile is not stored, so it must not be hashed.
    if (serving?.file === undefined || serving.ended === true) return 0;
    const length = serving.file.read(slotOf(serving, slot), serving.at);
    serving.at += length;
    serving.ended = length === 0;
    this.#hash({ job, slot, length });
    return length;
  }

  #finish(job: number): ContentDigest | undefined {
    const digest = this.#serving.get(job)?.digester.finish();
    this.#end(job);
    return digest;
  }

  #end(job: number): void {
    const serving = this.#serving.get(job);
    this.#serving.delete(job);
    serving?.file?.close();
  }
}

/** The asker's end of one digest. Calls are answered in their order. */
export class FarDigest {
  /** All slots: whoever fills them takes the next one from here. */
  readonly slots: readonly number[] = Array.from({ length: slots }, (_, slot) => slot);
  /** Facts of the file that the neighbour reads. */
  readonly opened: Promise<FileFacts | undefined>;
  readonly #neighbour: Neighbour;
  readonly #begin: Begin;

  constructor(neighbour: Neighbour, begin: Begin) {
    this.#neighbour = neighbour;
    this.#begin = begin;
    this.opened = this.#call('begin', begin);
  }

  memory(slot: number): Uint8Array {
    return slotOf(this.#begin, slot);
  }

  /** Resolves when the slot may be filled again. */
  hash(slot: number, length: number): Promise<void> {
    return this.#call('hash', { job: this.#begin.job, slot, length });
  }

  /** The file's next bytes, in the slot. Resolves with their number, 0 at the end. */
  fill(slot: number): Promise<number> {
    return this.#call('fill', { job: this.#begin.job, slot });
  }

  finish(): Promise<ContentDigest> {
    return this.#call('finish', this.#begin.job);
  }

  drop(): void {
    void this.#call('drop', this.#begin.job);
  }

  /** Whoever waits for it learns of a failure; whoever has given up does not have to. */
  #call<Result>(method: string, args: unknown): Promise<Result> {
    const answer = this.#neighbour.call<Result>(method, args);
    answer.catch(() => undefined);
    return answer;
  }
}

function slotOf({ memory, sliceBytes }: Begin, slot: number): Uint8Array {
  return new Uint8Array(memory, slot * sliceBytes, sliceBytes);
}
