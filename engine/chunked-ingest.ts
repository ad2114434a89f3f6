/** The way of a chunked put: a worker chops, chunks and manifest go to group commits batch by batch, at last they become one blob. */
import type { BlobId, PutOptions } from './api.ts';
import { BatchMemory } from './batch-memory.ts';
import type { ChunkedPut, Operation, PutOutcome, SmallPut } from './commit/operations.ts';
import type { ChopEnd, ChopStep, ChoppedBatch } from './content/chopper.ts';
import { randomIncarnation } from './content/incarnation.ts';
import {
  type CountedPut,
  type IngestOptions,
  type IngestParts,
  expectId,
  howOf,
  ownerOf,
  resultOf,
} from './ingest-parts.ts';
import type { Remote } from './rpc.ts';
import { Encoded, type Gathered, pieces } from './source.ts';

/**
 * Batches being filled or committed, of all such puts, where there are not more workers than two. With them a put takes 60 MB more than an
 * idle store, whatever its size; more of them make it no faster.
 */
const memoriesMax = 4;

type ChunkedSource = { readonly path: string } | Gathered;

export class ChunkedIngest {
  readonly #parts: ChunkedParts;
  readonly #memory: BatchMemory;

  constructor(parts: ChunkedParts) {
    this.#parts = parts;
    // Each put fills one, so there are some for all that run at once.
    this.#memory = new BatchMemory(Math.max(memoriesMax, parts.crew.workers + 2));
  }

  /**
   * Chunks are durable before the manifest nodes that link to them, and all of them before the blob is; a session keeps collection from
   * them until then. A failure or a crash leaves chunks that nothing refers to.
   */
  async put(source: ChunkedSource, options: IngestOptions): Promise<CountedPut> {
    const { crew, queue, during } = this.#parts;
    if ('path' in source) await crew.pair();
    return await queue.add(() =>
      during(async () => {
        options.signal?.throwIfAborted();
        const { remote, linked } = crew.copier();
        const path = 'path' in source ? { path: source.path, linked } : { linked: false };
        const token = await this.#noting(remote.call<string>('chop-begin', { ...path, ...howOf(options) }));
        const run = new Run({ ...this.#parts, memory: this.#memory, worker: remote, token });
        try {
          if ('path' in source) await run.read(options);
          else await run.write(source, options);
          return await run.finish(options);
        } catch (error) {
          this.#parts.onFailure(error);
          await remote.call('chop-end', token);
          throw error;
        } finally {
          await run.settled();
        }
      }),
    );
  }

  async #noting<Result>(call: Promise<Result>): Promise<Result> {
    try {
      return await call;
    } catch (error) {
      this.#parts.onFailure(error);
      throw error;
    }
  }
}

type ChunkedParts = Pick<
  IngestParts,
  'crew' | 'queue' | 'host' | 'submit' | 'during' | 'onHealed' | 'onFailure'
>;

interface RunParts extends ChunkedParts {
  readonly memory: BatchMemory;
  readonly worker: Remote;
  readonly token: string;
}

/** One blob on its way. */
class Run {
  readonly #parts: RunParts;
  /** The worker fills a memory of ours in this stream, and goes on in it. */
  #lent = false;
  readonly #flying = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  /** Bytes that came into the store. */
  #added = 0;

  constructor(parts: RunParts) {
    this.#parts = parts;
  }

  /** A file: the worker always has been asked for the next batch when it hands one over. */
  async read(options: PutOptions): Promise<void> {
    const asked: Promise<ChopStep>[] = [];
    const ask = async (): Promise<void> => {
      this.#check(options);
      const memory = await this.#parts.memory.take();
      const step = this.#call<ChopStep>('chop-next', { memory }).catch((error: unknown) => {
        this.#parts.memory.give(undefined);
        throw error;
      });
      step.catch(() => undefined); // awaited below, unless one before it failed
      asked.push(step);
    };
    try {
      await ask();
      for (let done = false; !done;) {
        await ask();
        const step = await asked.shift()!;
        this.#accept(step);
        options.onProgress?.(step.taken);
        ({ done } = step);
      }
    } finally {
      for (const step of await Promise.allSettled(asked))
        if (step.status === 'fulfilled') this.#accept(step.value);
    }
  }

  async write(source: Gathered, options: PutOptions): Promise<void> {
    let taken = 0;
    for await (const piece of pieces(source)) {
      this.#check(options);
      const memory = this.#lent ? undefined : await this.#lend();
      taken += piece.length;
      const bytes = piece instanceof Encoded ? piece.bytes : piece;
      const how = piece instanceof Encoded ? { codec: piece.codec } : {};
      const step = await this.#call<ChopStep>('chop-write', { bytes, memory, ...how }, [bytes.buffer]);
      if (step.batch !== undefined) this.#lent = false;
      this.#accept(step);
      options.onProgress?.(taken);
    }
  }

  async finish(options: IngestOptions): Promise<CountedPut> {
    this.#check(options);
    const memory = this.#lent ? undefined : await this.#lend();
    const end = await this.#call<ChopEnd>('chop-finish', { memory });
    this.#lent = false;
    const { id, size, source } = end;
    return resultOf({ id, size, source }, await this.#end(end, options));
  }

  /** Waits until nothing of it is under way, and gives back the memory that the worker still had. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#flying);
    if (this.#lent) this.#parts.memory.give(undefined);
    this.#lent = false;
  }

  async #end(
    { id, size, name, label, manifest, batch }: ChopEnd,
    options: IngestOptions,
  ): Promise<PutOutcome> {
    try {
      expectId(id, options);
    } catch (error) {
      this.#parts.memory.give(batch.memory);
      throw error;
    }
    // Where there is only one chunk, it is the blob.
    if (manifest === undefined) return (await this.#put(batch, ownerOf(options)))[0]!;
    this.#commit(batch);
    await this.settled();
    this.#check(options);
    const put: ChunkedPut = {
      op: 'put-chunked',
      id: name,
      label,
      // How long it is, its label tells.
      size: label === null ? size : 0,
      incarnation: randomIncarnation(this.#parts.host),
      manifest,
      ...ownerOf(options),
    };
    const outcome = await this.#submit<PutOutcome>(put);
    if (outcome.healed === true) this.#parts.onHealed(id);
    return { ...outcome, storedSize: this.#added };
  }

  /** Waits for a memory for the worker to fill: that is what bounds the memory. */
  async #lend(): Promise<SharedArrayBuffer | undefined> {
    const memory = await this.#parts.memory.take();
    this.#lent = true;
    return memory;
  }

  #call<Result>(
    method: string,
    args: {
      readonly memory: SharedArrayBuffer | undefined;
      readonly bytes?: Uint8Array;
      readonly codec?: number;
    },
    transfer: readonly object[] = [],
  ): Promise<Result> {
    const { worker, token } = this.#parts;
    return worker.call<Result>(method, { token, ...args }, { transfer });
  }

  #check({ signal }: PutOptions): void {
    signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #accept({ batch }: ChopStep): void {
    if (batch !== undefined) this.#commit(batch);
  }

  /** Sent on without waiting: while it is committed, the worker cuts on. */
  #commit(batch: ChoppedBatch): void {
    const flight = this.#put(batch, {}).then(
      () => undefined,
      (error: unknown) => void (this.#failure ??= { error }),
    );
    this.#flying.add(flight);
    void flight.then(() => this.#flying.delete(flight));
  }

  async #put(
    { records, memory }: ChoppedBatch,
    owner: { readonly owner?: string },
  ): Promise<readonly PutOutcome[]> {
    try {
      const puts = records.map(
        ({ name, label, storedContent, kind, incarnation, at, length, links }): SmallPut => {
          const record = new Uint8Array(memory, at, length);
          const what = { id: name, label, size: storedContent, kind, incarnation };
          const put = { op: 'put-small', ...what, record, part: true } as const;
          return { ...put, ...(links && { links }), ...owner };
        },
      );
      const outcomes = await Promise.allSettled(puts.map((put) => this.#submit<PutOutcome>(put)));
      return outcomes.map((outcome, i) => this.#outcome(outcome, records[i]!.id));
    } finally {
      this.#parts.memory.give(memory);
    }
  }

  #outcome(outcome: PromiseSettledResult<PutOutcome>, id: BlobId): PutOutcome {
    if (outcome.status === 'rejected') throw outcome.reason;
    if (!outcome.value.deduplicated) this.#added += outcome.value.storedSize;
    if (outcome.value.healed === true) this.#parts.onHealed(id);
    return outcome.value;
  }

  #submit<Result>(operation: Operation): Promise<Result> {
    return this.#parts.submit<Result>(operation);
  }
}
