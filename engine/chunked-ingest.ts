/** The way of a chunked put: a worker chops, chunks and manifest go to group commits batch by batch, at last they become one blob. */
import type { BlobId, PutOptions, Session, SourceFacts } from './api.ts';
import type { Operation, PutOutcome, SmallPut } from './commit/operations.ts';
import type { ChopStart, ChoppedBlob } from './content/chopper.ts';
import type { Encoded } from './content/encoder.ts';
import type { ErrorData } from './errors.ts';
import { type Remote, errorFromData } from './rpc.ts';
import { type Gathered, pieces } from './source.ts';

export interface ChunkedParts {
  readonly submit: <Result>(operation: Operation) => Promise<Result>;
  /** While it is open, no collection takes what was put since. */
  readonly session: () => Promise<Session>;
  readonly memory: {
    take(): Promise<SharedArrayBuffer | undefined>;
    give(memory: SharedArrayBuffer | undefined): void;
  };
  readonly incarnation: () => number;
}

interface WireBatch {
  readonly memory: SharedArrayBuffer;
  readonly results: readonly ({ readonly ok: Encoded } | { readonly error: ErrorData })[];
}

interface WireChopped {
  readonly chunks: WireBatch;
  readonly nodes?: WireBatch;
  readonly taken: number;
  readonly done?: ChoppedBlob;
}

export interface ChunkedResult {
  readonly id: BlobId;
  readonly size: number;
  readonly outcome: PutOutcome;
  readonly source?: SourceFacts | undefined;
}

/** Batches on their way to the disk beside the one that is chopped: about 8 MiB a sync. */
const batchesAhead = 8;

/**
 * Chunks are durable before the manifest nodes that link to them, and all of them before the blob is: a crash leaves chunks that nothing
 * refers to. `check` is asked before the blob is made.
 */
export async function putChunked(
  parts: ChunkedParts,
  worker: Remote,
  put: {
    readonly start: ChopStart;
    /** For a source without a path. */
    readonly gathered?: Gathered;
    readonly options: PutOptions;
    readonly check: (id: BlobId) => void;
  },
): Promise<ChunkedResult> {
  const { options } = put;
  const session = await parts.session();
  try {
    const token = await worker.call<string>('chop-begin', put.start);
    const run = new ChunkedRun(parts, worker, token);
    try {
      const feed = put.gathered === undefined ? undefined : pieces(put.gathered)[Symbol.asyncIterator]();
      let done: ChoppedBlob | undefined;
      try {
        while (done === undefined) {
          options.signal?.throwIfAborted();
          const next = feed === undefined ? undefined : await feed.next();
          const bytes = next === undefined || next.done === true ? undefined : next.value;
          const chopped = await run.step(bytes);
          options.onProgress?.(chopped.taken);
          done = chopped.done;
        }
      } finally {
        await feed?.return?.();
      }
      await run.settled();
      const { id, size, manifest, source } = done;
      options.signal?.throwIfAborted();
      put.check(id);
      const { owner } = options;
      const incarnation = parts.incarnation();
      const outcome = await parts.submit<PutOutcome>({
        op: 'put-chunked',
        id,
        size,
        incarnation,
        manifest: manifest ?? id,
        ...(owner === undefined ? {} : { owner }),
      });
      const storedSize = run.storedBytes;
      // The one chunk was put already when it was asked for as the blob.
      const deduplicated = manifest === undefined ? storedSize === 0 : outcome.deduplicated;
      return { id, size, outcome: { ...outcome, storedSize, deduplicated }, source };
    } finally {
      await run.settled().catch(() => undefined);
      await worker.call('chop-end', token);
    }
  } finally {
    await session.end();
  }
}

class ChunkedRun {
  /** Bytes of records that were not here before. */
  storedBytes = 0;
  readonly #parts: ChunkedParts;
  readonly #worker: Remote;
  readonly #token: string;
  readonly #underWay: Promise<void>[] = [];

  constructor(parts: ChunkedParts, worker: Remote, token: string) {
    this.#parts = parts;
    this.#worker = worker;
    this.#token = token;
  }

  /** Chops the next bytes (of a path: what comes next there), and sends what came off on its way. */
  async step(bytes: Uint8Array<ArrayBuffer> | undefined): Promise<WireChopped> {
    const { memory } = this.#parts;
    while (this.#underWay.length >= batchesAhead) await this.#underWay.shift();
    const lent = await memory.take();
    let chopped: WireChopped;
    try {
      chopped = await this.#worker.call<WireChopped>(
        'chop',
        { token: this.#token, memory: lent, bytes },
        bytes === undefined ? {} : { transfer: [bytes.buffer] },
      );
    } catch (error) {
      memory.give(undefined);
      throw error;
    }
    const { chunks, nodes } = chopped;
    const committed = (async () => {
      try {
        await Promise.all([...this.#submit(chunks), ...(nodes === undefined ? [] : this.#submit(nodes))]);
      } finally {
        memory.give(chunks.memory);
      }
    })();
    committed.catch(() => undefined); // awaited in its turn
    this.#underWay.push(committed);
    return chopped;
  }

  async settled(): Promise<void> {
    const all = await Promise.allSettled(this.#underWay.splice(0));
    for (const one of all) if (one.status === 'rejected') throw one.reason;
  }

  #submit({ memory, results }: WireBatch): Promise<void>[] {
    return results.map(async (result) => {
      if ('error' in result) throw errorFromData(result.error);
      const { ok } = result;
      if (!('id' in ok)) throw new Error('holdfast bug: a chunk is no record');
      const { id, size, kind, incarnation, links } = ok;
      const record = new Uint8Array(memory, ok.at, ok.length);
      const put: SmallPut = {
        op: 'put-small',
        id,
        size,
        kind,
        incarnation,
        record,
        ...(links === undefined ? {} : { links }),
      };
      const { deduplicated, storedSize } = await this.#parts.submit<PutOutcome>(put);
      if (!deduplicated) this.storedBytes += storedSize;
    });
  }
}
