/** The way of a put: small sources in batches to a record, large ones through a staged file; both end in a group commit. */
import type { PutSource } from './api.ts';
import { checkChunking, checkId, checkMode, checkName } from './arguments.ts';
import { BatchFailure, Batches } from './batches.ts';
import { BatchMemory, SourceMemory, sourceBytesMax } from './batch-memory.ts';
import { ChunkedIngest } from './chunked-ingest.ts';
import type { Instead, LargePut, ProbeOutcome, PutOutcome, SmallPut } from './commit/operations.ts';
import type { Encoded as EncodeResult, EncodedRecord, SmallSource } from './content/encoder.ts';
import { randomIncarnation } from './content/incarnation.ts';
import type { StagedBlob } from './content/staging.ts';
import type { Crew } from './crew.ts';
import { type ErrorData, StoreError, invariant } from './errors.ts';
import { type Before, PutOrder } from './put-order.ts';
import { completeCopies } from './resync.ts';
import {
  type CountedPut,
  type IngestOptions,
  type IngestParts,
  expectId,
  howOf,
  ownerOf,
  resultOf,
} from './ingest-parts.ts';
import { type Remote, errorFromData } from './rpc.ts';
import type { Stale } from './threads/key-work.ts';
import type { PartName } from './volume.ts';
import { Encoded, type Gathered, checkSource, gather, isPath, iteratorOf } from './source.ts';
import { stageStream } from './stage-stream.ts';

/** A batch for one worker call; small enough that a batch is ready before the commit thread runs dry. */
const encodeBatch = { weightMax: sourceBytesMax, itemsMax: 256 };
/** What a file is taken to weigh before it is read. */
const pathWeight = 8 * 1024;

/** Batches encoded or committing at once: bounds the memory of puts in flight, however many callers wait. */
const memoriesMax = 12;
/**
 * With so many batches on their way, the next waits until it is worth a message and a piece of memory: a batch in hand for the workers,
 * one for the commit thread. A commit takes what has gathered, so batches of a few would make commits of a few.
 */
const memoriesBusy = 3;
const batchWorth = 64;

/** A record in shared memory, which is used again once all records in it were released. */
type Record = EncodedRecord & { readonly record: Uint8Array; release(): void };
type EncodeAnswer = Record | Exclude<EncodeResult, EncodedRecord>;

/** `before`: puts that have to be in the queue of commits first. `queued`: to be called when this one is. */
type OrderedOptions = IngestOptions & {
  readonly before?: Before | undefined;
  readonly queued?: (() => void) | undefined;
};

interface WireBatch {
  readonly results: readonly ({ readonly ok: EncodeResult } | { readonly error: ErrorData })[];
  readonly memory: SharedArrayBuffer;
}

export class Ingest {
  readonly #parts: IngestParts;
  readonly #encodes: Batches<SmallSource, EncodeAnswer>;
  readonly #memory = new BatchMemory(memoriesMax, () => this.#encodes.nudge());
  readonly #sources = new SourceMemory();
  readonly #chunked: ChunkedIngest;
  readonly #order = new PutOrder();

  constructor(parts: IngestParts) {
    this.#parts = parts;
    this.#chunked = new ChunkedIngest(parts);
    this.#encodes = new Batches({
      ...encodeBatch,
      inFlight: parts.crew.workers + 1,
      pause: () => parts.host.clock.yield(),
      ready: (waiting) => waiting >= batchWorth || this.#memory.lent < memoriesBusy,
      weigh: (source) => source.bytes?.length ?? pathWeight,
      send: (sources) => this.#encode(sources),
    });
  }

  async put(source: PutSource, options: IngestOptions): Promise<CountedPut> {
    const { object } = options;
    if (this.#parts.locked && object === undefined)
      throw new StoreError('wrong-key', 'this store was opened without its key');
    options.signal?.throwIfAborted();
    if (options.owner !== undefined) checkName(options.owner, 'owner');
    if (options.expectId !== undefined) checkId(options.expectId);
    const { links, expectId: id = object?.locator } = options;
    links?.forEach((link) => checkId(link.id));
    const node = links !== undefined || (object ?? options).kind === 'node';
    checkSource(source);
    checkMode(options.compression);
    checkChunking(options.chunking);
    // Before anything is waited for: the order of puts is that in which they were called.
    const before = node ? this.#order.before(source, object?.links ?? links) : undefined;
    const queued = id === undefined ? undefined : this.#order.begin(id);
    if (before === undefined && queued === undefined) return await this.#put(source, options, node);
    try {
      return await this.#put(source, { ...options, before, queued }, node);
    } finally {
      queued?.();
    }
  }

  async #put(source: PutSource, options: OrderedOptions, node: boolean): Promise<CountedPut> {
    const { links } = options;
    if (isPath(source)) {
      if (node) throw new StoreError('invalid-argument', 'a node is put from bytes, not from a path');
      return await this.#path(source.path, options);
    }
    const { object } = options;
    const isRecord = node || (object !== undefined && this.#parts.layout === 'sqlite-only');
    const most = isRecord ? Number.POSITIVE_INFINITY : this.#parts.smallMax;
    const bytes =
      source instanceof Uint8Array ? source : await gather(iteratorOf(source, options.signal), most);
    if (bytes instanceof Encoded)
      return await this.#small({ bytes: bytes.bytes, kind: 'raw', encoded: true }, options);
    if (!(bytes instanceof Uint8Array)) return await this.#stream(bytes, options);
    const how = { ...(links === undefined ? {} : { links }), ...howOf(options) };
    if (bytes.length <= most)
      return await this.#small({ bytes, kind: node ? 'node' : 'raw', ...how }, options);
    return await this.#stream({ head: [bytes], rest: undefined }, options);
  }

  /** Seals records anew that are here; returns those that were not left alone. */
  async resealRecords(stale: readonly Stale[]): Promise<Stale[]> {
    const rows = stale.map(({ n }) => n);
    const answers = await this.#lend((crew, memory) => crew.work('encode-again', { rows, memory }));
    const puts = answers.map(async (answer, i): Promise<Stale[]> => {
      if (answer instanceof BatchFailure) return this.#left(answer.error);
      invariant('record' in answer, 'a record that is sealed anew is one');
      const { name: id, label, storedContent: size, kind, incarnation, record } = answer;
      const one = stale[i]!;
      const put = { op: 'put-small', id, label, size, kind, incarnation, record } as const;
      try {
        await this.#parts.submit({ ...put, instead: one.incarnation });
        return [one];
      } finally {
        answer.release();
      }
    });
    const settled = await Promise.allSettled(puts);
    const failed = settled.find((put) => put.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return settled.flatMap((put) => (put.status === 'fulfilled' ? put.value : []));
  }

  /** The same of a file. False when it was left. */
  async resealFile({ n, incarnation }: Stale, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await this.#large(signal === undefined ? {} : { signal }, {
        instead: incarnation,
        stage: (worker) => worker.call<StagedBlob | undefined>('stage-again', n, { signal }),
      });
      return true;
    } catch (error) {
      return this.#left(error).length > 0;
    }
  }

  /** A blob that was collected meanwhile, is damaged or away, is no reason to leave the others: it stays as it is. */
  #left(error: unknown): [] {
    const codes = ['not-found', 'corrupt', 'tampered', 'unavailable'];
    if (StoreError.is(error) && codes.includes(error.code)) return [];
    throw error;
  }

  async #small(source: SmallSource, options: OrderedOptions): Promise<CountedPut> {
    const encoded = await this.#encoded(source);
    if ('large' in encoded) throw new Error('holdfast bug: bytes cannot turn out large');
    return await this.#commitRecord(encoded, options);
  }

  async #encoded(source: SmallSource): Promise<Record | { readonly large: true }> {
    for (;;) {
      const encoded = await this.#encodes.add(source);
      if (!('later' in encoded)) return encoded;
    }
  }

  async #path(path: string, options: OrderedOptions): Promise<CountedPut> {
    if (typeof path !== 'string' || path === '' || path.includes('\0'))
      throw new StoreError('invalid-argument', 'the path of a source must be a text, not empty, without NUL');
    const encoded = await this.#encoded({ path, kind: 'raw', ...howOf(options) });
    if (!('large' in encoded)) return await this.#commitRecord(encoded, options);
    if (this.#isChunked(options)) return await this.#chunked.put({ path }, options);
    await this.#parts.crew.pair();
    return await this.#stored(options, (worker, linked) =>
      worker.call<StagedBlob>(
        'stage-path',
        { path, linked, ...howOf(options) },
        { signal: options.signal, onProgress: (bytes) => options.onProgress?.(bytes as number) },
      ),
    );
  }

  async #stream(gathered: Gathered, options: IngestOptions): Promise<CountedPut> {
    try {
      if (this.#isChunked(options)) return await this.#chunked.put(gathered, options);
      return await this.#stored(options, (worker) => stageStream(worker, gathered, options));
    } catch (error) {
      // However early it failed: the source may have a file open, and wait to be told that no more is taken.
      await gathered.rest?.return?.();
      throw error;
    }
  }

  async #stored(
    options: IngestOptions,
    stage: (worker: Remote, linked: boolean) => Promise<StagedBlob>,
  ): Promise<CountedPut> {
    const result = await this.#large(options, { stage });
    invariant(result !== undefined, 'a put has a source');
    return result;
  }

  #isChunked(options: IngestOptions): boolean {
    const { chunking, layout } = this.#parts;
    if (options.object !== undefined) return false;
    return layout === 'sqlite-only' || (options.chunking ?? chunking) === 'fastcdc';
  }

  async #commitRecord(encoded: Record, options: OrderedOptions): Promise<CountedPut> {
    const { id, name, storedContent, label, kind, incarnation, links } = encoded;
    const { before, queued } = options;
    let held: Record | undefined = encoded;
    try {
      expectId(id, options);
      let { record } = encoded;
      if (before?.over === false) {
        // Nothing is held while others are waited for, who may need just that memory.
        record = record.slice();
        held.release();
        held = undefined;
        await before.all();
      }
      options.signal?.throwIfAborted();
      const put: SmallPut = {
        op: 'put-small',
        id: name,
        label,
        size: storedContent,
        kind,
        incarnation,
        record,
        ...(links === undefined ? {} : { links }),
        ...(options.object?.keep === true ? { keep: true } : {}),
        ...ownerOf(options),
      };
      const outcome = this.#parts.submit<PutOutcome>(put);
      queued?.();
      return this.#result(encoded, await outcome);
    } finally {
      held?.release();
    }
  }

  /**
   * Stage, ask, publish, commit. The intent that the question leaves behind tells recovery whose file it is; a blob that is here
   * already costs no sync of the staged copy.
   */
  #large(
    options: IngestOptions,
    {
      stage,
      instead,
    }: {
      /** Undefined when there is nothing to stage any more. */
      readonly stage: (worker: Remote, linked: boolean) => Promise<StagedBlob | undefined>;
      readonly instead?: Instead;
    },
  ): Promise<CountedPut | undefined> {
    const { crew, queue, host, submit } = this.#parts;
    return queue.add(async () => {
      options.signal?.throwIfAborted();
      const { remote: worker, linked } = crew.copier();
      const staged = await this.#noting(stage(worker, linked));
      if (staged === undefined) return undefined;
      const replacing = instead === undefined ? {} : { instead };
      const { id, name, storedContent, label, token, framed, storedSize } = staged;
      let kept = false;
      try {
        expectId(id, options);
        options.signal?.throwIfAborted();
        const incarnation = randomIncarnation(host);
        const probe = await submit<ProbeOutcome>({
          op: 'probe-large',
          id: name,
          label,
          size: storedContent,
          staged: staged.volume,
          storedSize,
          incarnation,
          framed,
          ...ownerOf(options),
          ...replacing,
        });
        if ('have' in probe) return await this.#mirrored(staged, probe.have);
        const { intent, volume } = probe;
        const sums = await this.#publish(worker, { token, id: name, incarnation, framed, volume }, intent);
        kept = true;
        const put: LargePut = {
          op: 'put-large',
          id: name,
          label,
          size: storedContent,
          incarnation,
          intent,
          volume,
          framed,
          storedSize,
          sums,
          ...ownerOf(options),
          ...replacing,
        };
        return await this.#mirrored(staged, await submit<PutOutcome>(put));
      } finally {
        if (!kept) await worker.call('discard', token);
      }
    });
  }

  /** In a mirrored group it is acknowledged when its further copies are there as well: each was read back and verified. */
  async #mirrored(staged: StagedBlob, outcome: PutOutcome): Promise<CountedPut> {
    if (outcome.incomplete === true) await this.#noting(completeCopies(this.#parts.crew, staged.id));
    return this.#result(staged, outcome);
  }

  async #publish(
    worker: Remote,
    name: PartName & { readonly token: string; readonly volume: number },
    intent: number,
  ): Promise<Uint8Array> {
    try {
      return await this.#noting(worker.call<Uint8Array>('publish', name));
    } catch (error) {
      // Nothing was named, so nothing is intended any more; if even this fails, recovery looks for the file and finds none.
      await this.#parts.submit({ op: 'drop-intent', intent }).catch(() => undefined);
      throw error;
    }
  }

  /** Passes a staging worker's trouble on: a disk in doubt stops all writing. */
  async #noting<Result>(call: Promise<Result>): Promise<Result> {
    try {
      return await call;
    } catch (error) {
      this.#parts.onFailure(error);
      throw error;
    }
  }

  #result(put: Parameters<typeof resultOf>[0], outcome: PutOutcome): CountedPut {
    if (outcome.healed === true) this.#parts.onHealed(put.id);
    return resultOf(put, outcome);
  }

  #encode(batch: readonly SmallSource[]): Promise<(EncodeAnswer | BatchFailure)[]> {
    return this.#lend(async (crew, memory) => {
      const { sources, memory: laid } = this.#sources.lay(batch);
      const answer = await crew.work<WireBatch>('encode', { sources, memory });
      this.#sources.give(laid); // of a worker that failed it may still be in use
      return answer;
    });
  }

  /** Lends a worker memory for a batch of records, which comes back when all of them are released. */
  async #lend(
    encode: (crew: Crew, memory: SharedArrayBuffer | undefined) => Promise<WireBatch>,
  ): Promise<(EncodeAnswer | BatchFailure)[]> {
    const answer = encode(this.#parts.crew, await this.#memory.take());
    const { memory, results } = await answer.catch((error: unknown) => {
      this.#memory.give(undefined);
      throw error;
    });
    let users = results.length;
    const release = (): void => {
      if (--users === 0) this.#memory.give(memory);
    };
    return results.map((result): EncodeAnswer | BatchFailure => {
      if ('ok' in result && 'id' in result.ok) {
        return { ...result.ok, record: new Uint8Array(memory, result.ok.at, result.ok.length), release };
      }
      release();
      if ('error' in result) return new BatchFailure(errorFromData(result.error));
      return 'large' in result.ok ? { large: true } : { later: true };
    });
  }
}
