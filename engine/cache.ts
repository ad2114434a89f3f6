/** The cap that a store was opened with: counts what is put for its owner, evicts or refuses, and remembers what is read. */
import type { BlobId, Cap, PutOptions, PutResult, PutSource } from './api.ts';
import { StoreError } from './errors.ts';
import { type Held, evictAbove, isAbove, measureHeld } from './eviction.ts';
import type { Calls } from './facets.ts';
import type { Clock } from './host.ts';
import type { Ingest } from './ingest.ts';
import type { CountedPut } from './ingest-parts.ts';

/** Reads are noted together, after so long or so many; what is read beyond that meanwhile is not noted. */
const noteEveryMs = 60_000;
const notesMax = 2_000;
/** A cap that could not be kept, or was found reached, is looked at again after so long. */
const againMs = 1_000;

export class Cache {
  readonly cap: Cap | undefined;
  readonly #calls: Calls;
  readonly #clock: Clock;
  readonly #used = new Set<BlobId>();
  #notedMs: number;
  /** At least what the owner holds, as far as this process knows. Unknown before the first put. */
  #held: { blobs: number; bytes: number } | undefined;
  /** Puts under way, and the bytes that they bring as far as one knows. */
  readonly #coming = { blobs: 0, bytes: 0 };
  #lookedMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  constructor(calls: Calls, clock: Clock, cap: Cap | undefined) {
    this.#calls = calls;
    this.#clock = clock;
    this.cap = cap;
    this.#notedMs = clock.monotonic();
  }

  /** `limit-exceeded` where the cap refuses it; else what is put is counted, and older content may be evicted afterwards. */
  async put(source: PutSource, options: PutOptions, ingest: Pick<Ingest, 'put'>): Promise<PutResult> {
    const { cap } = this;
    const isCapped = cap !== undefined && options.owner === cap.owner;
    if (!isCapped) return plain(await ingest.put(source, options));
    const bytes = source instanceof Uint8Array ? Math.max(1, source.length) : 1;
    if (cap.above === 'refuse') await this.#admit(cap, bytes);
    else this.#add(this.#coming, 1, bytes);
    let result: CountedPut;
    try {
      result = await ingest.put(source, options);
    } finally {
      this.#add(this.#coming, -1, -bytes);
    }
    if (this.#held !== undefined && result.gained !== undefined) this.#add(this.#held, 1, result.gained);
    if (cap.above !== 'refuse' && this.#isDue(cap)) this.#evict(cap);
    return plain(result);
  }

  /** Of content that was read. Costs a commit a minute at most. */
  used(id: BlobId): void {
    if (this.cap === undefined) return;
    if (this.#used.size < notesMax) this.#used.add(id);
    if (this.#clock.monotonic() - this.#notedMs >= noteEveryMs) void this.note().catch(() => undefined);
  }

  /** Writes down what was read. Where the store cannot be written that is no loss. */
  async note(): Promise<void> {
    this.#notedMs = this.#clock.monotonic();
    if (this.#used.size === 0 || this.cap === undefined) return;
    const { owner } = this.cap;
    const ids = [...this.#used];
    this.#used.clear();
    await this.#calls.submit({ op: 'used', owner, ids });
  }

  /** Before the store closes. */
  async end(): Promise<void> {
    await this.note().catch(() => undefined);
  }

  #add(sum: { blobs: number; bytes: number }, blobs: number, bytes: number): void {
    sum.blobs += blobs;
    sum.bytes += bytes;
  }

  /** Counts the put among those under way. */
  async #admit(cap: Cap, bytes: number): Promise<void> {
    const isFull = (): boolean => {
      const [held, coming] = [this.#held ?? { blobs: 0, bytes: 0 }, this.#coming];
      return isAbove(cap, {
        blobs: held.blobs + coming.blobs + 1,
        bytes: held.bytes + coming.bytes + bytes,
      });
    };
    const now = this.#clock.monotonic();
    if (this.#held === undefined || (isFull() && now - this.#lookedMs >= againMs)) {
      this.#lookedMs = now;
      this.#looking ??= this.#look(() => measureHeld(this.#calls, cap));
    }
    await this.#looking;
    if (isFull())
      throw new StoreError('limit-exceeded', `${JSON.stringify(cap.owner)} holds as much as its cap allows`);
    this.#add(this.#coming, 1, bytes); // at once: others wait for the same look
  }

  /** The first put looks, since nobody knows what is there. */
  #isDue(cap: Cap): boolean {
    if (this.#held === undefined) return true;
    return isAbove(cap, this.#held) && this.#clock.monotonic() - this.#lookedMs >= againMs;
  }

  /** Beside the puts. What fails is tried again with one of the next. */
  #evict(cap: Cap): void {
    if (this.#looking !== undefined) return;
    this.#lookedMs = this.#clock.monotonic();
    const { run, writing } = this.#calls;
    const work = async (): Promise<Held> => {
      await this.note();
      return (await evictAbove(this.#calls, cap)).left;
    };
    this.#looking = this.#look(() => run(() => writing(work)));
    this.#looking.catch(() => undefined);
  }

  /** What is put while it is looked may be counted twice, and is never missed. */
  async #look(measure: () => Promise<Held>): Promise<void> {
    const before = { ...(this.#held ??= { blobs: 0, bytes: 0 }) };
    try {
      const { blobs, bytes } = await measure();
      const since = { blobs: this.#held.blobs - before.blobs, bytes: this.#held.bytes - before.bytes };
      this.#held = { blobs: blobs + since.blobs, bytes: bytes + since.bytes };
    } catch (error) {
      this.#held = undefined;
      throw error;
    } finally {
      this.#looking = undefined;
    }
  }
}

/** As callers are told it. */
function plain({ id, size, storedSize, deduplicated, source }: CountedPut): PutResult {
  return { id, size, storedSize, deduplicated, ...(source === undefined ? {} : { source }) };
}
