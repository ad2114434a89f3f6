/** The Store on the calling thread: checks arguments, spreads work over the threads, resolves when it is durable. */
import type PQueue from 'p-queue';
import type {
  Alternates,
  BlobId,
  BlobStat,
  CompactResult,
  ExportTarget,
  FileWork,
  GcOptions,
  GcResult,
  HealthOptions,
  Keys,
  Link,
  MoveOptions,
  PutOptions,
  PutResult,
  PutSource,
  Roots,
  ScrubOptions,
  ScrubResult,
  Session,
  SideTable,
  Store,
  StoreEvents,
  StoreHealth,
  StoreParameters,
  StoreStats,
  Volumes,
} from './api.ts';
import { Batches, unwrap } from './batches.ts';
import { checkId, checkName, checkRange } from './arguments.ts';
import { decodeNode } from './codec/node.ts';
import type { Operation } from './commit/operations.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { Host } from './host.ts';
import { type AlternatesParts, dissociate, makeAlternates } from './alternates-facet.ts';
import { type Calls, knownOf, listBlobs, makeFiles, makeRoots, makeSideTable } from './facets.ts';
import { Events } from './events.ts';
import { Healing } from './healing.ts';
import { Ingest } from './ingest.ts';
import { makeKeys } from './keys-facet.ts';
import { makeRepair, mendBlob } from './repair.ts';
import { Sessions } from './sessions.ts';
import { openStream } from './stream.ts';
import type { OpenedStore } from './threads/opened.ts';
import { Upkeep } from './upkeep.ts';

/** `get` keeps a whole blob in memory; above this it wants to be asked. */
const getBytesMax = 256 * 1024 * 1024;
/** A commit batch: enough to make a sync cheap, small enough to stay responsive. */
const commitBatch = { weightMax: 32 * 1024 * 1024, itemsMax: 4_000, inFlight: 1 };
/** Reads of a chunk or less share messages. */
const shortRead = 64 * 1024;

export interface StoreParts {
  readonly host: Host;
  readonly crew: Crew;
  readonly opened: OpenedStore;
  readonly queue: PQueue;
  /** Encrypted, and opened without a key. */
  readonly locked: boolean;
  readonly onClosed: () => void;
  /** Opens another store for reading. */
  readonly openOther: (directory: string) => Promise<Store>;
}

export class EngineStore implements Store {
  readonly directory: string;
  readonly parameters: StoreParameters;
  readonly roots: Roots;
  readonly files: FileWork;
  readonly volumes: Volumes;
  readonly keys: Keys;
  readonly alternates: Alternates;
  readonly dissociate: Store['dissociate'];
  readonly repair: Store['repair'];
  readonly #parts: StoreParts;
  readonly #events = new Events();
  readonly #operations: Batches<Operation, unknown>;
  readonly #reads: Batches<
    { readonly id: BlobId; readonly offset: number; readonly length: number },
    Uint8Array | undefined
  >;
  readonly #exports: Batches<ExportTarget, boolean>;
  readonly #ingest: Ingest;
  readonly #sessions: Sessions;
  readonly #upkeep: Upkeep;
  readonly #healing: Healing;
  readonly #calls: Calls;
  readonly #active = new Set<Promise<unknown>>();
  #failure: StoreError | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.directory = parts.opened.layout.root;
    this.parameters = parts.opened.parameters;
    const { crew } = parts;
    this.#calls = {
      run: (work) => this.#run(work),
      writing: (work) => this.#writing(work),
      submit: (operation) => this.#submit(operation),
      query: (name, ...args) => this.#query(name, ...args),
      work: (method, args) => crew.work(method, args),
    };
    this.#sessions = new Sessions(this.#calls);
    const pause = (): Promise<void> => parts.host.clock.yield();
    this.#operations = new Batches({
      ...commitBatch,
      pause,
      weigh: weightOf,
      send: (batch) => this.#sendOperations(batch),
    });
    const small = { weightMax: Number.POSITIVE_INFINITY, inFlight: 2 * crew.workers, pause };
    this.#reads = new Batches({
      ...small,
      itemsMax: 256,
      send: async (batch) => unwrap(await crew.work('reads', batch)),
    });
    this.#exports = new Batches({
      ...small,
      itemsMax: 64,
      send: async (batch) => unwrap(await crew.work('exports', batch)),
    });
    this.#ingest = new Ingest({
      crew,
      queue: parts.queue,
      host: parts.host,
      smallMax: this.parameters.smallMax,
      locked: parts.locked,
      chunking: this.parameters.chunking.mode,
      layout: this.parameters.layout,
      during: (work) => this.#sessions.during(work),
      submit: (operation) => this.#submit(operation),
      onHealed: (id) => this.#events.emit('healed', { id }),
      onFailure: (error) => this.#noteFailure(error),
    });
    this.roots = makeRoots(this.#calls);
    this.files = makeFiles(this.#calls);
    this.#upkeep = new Upkeep({
      ...this.#calls,
      host: parts.host,
      crew,
      emit: (name, event) => this.#events.emit(name, event),
    });
    this.volumes = this.#upkeep.volumes;
    const copying: AlternatesParts = {
      ...this.#calls,
      host: parts.host,
      crew,
      ingest: this.#ingest,
      during: (work) => this.#sessions.during(work),
    };
    this.keys = makeKeys(copying);
    this.dissociate = (options = {}) => dissociate(copying, options);
    this.repair = makeRepair({
      ...copying,
      directory: this.directory,
      openOther: parts.openOther,
      scrub: (signal) => this.#upkeep.scrub(signal === undefined ? {} : { signal }),
    });
    this.alternates = makeAlternates(copying);
    this.#healing = new Healing({
      ...this.#calls,
      crew,
      emit: (name, event) => this.#events.emit(name, event),
      onFailure: (error) => this.#noteFailure(error),
      mend: (id) => mendBlob(copying, id),
      isSilent: () => this.#closing !== undefined || parts.opened.lease === undefined,
    });
  }

  put(source: PutSource, options: PutOptions = {}): Promise<PutResult> {
    return this.#run(() => this.#writing(() => this.#ingest.put(source, options)));
  }

  async get(
    id: BlobId,
    options: { readonly maxBytes?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Uint8Array | undefined> {
    const { maxBytes = getBytesMax, signal } = options;
    return this.#read(checkId(id), () => this.#parts.crew.work('get', { id, maxBytes }, { signal }));
  }

  async getNode(
    id: BlobId,
  ): Promise<{ readonly links: readonly Link[]; readonly payload: Uint8Array } | undefined> {
    const bytes = await this.get(id);
    return bytes === undefined ? undefined : decodeNode(bytes);
  }

  async readRange(
    id: BlobId,
    offset: number,
    length: number,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Uint8Array | undefined> {
    checkRange(offset, length);
    options.signal?.throwIfAborted();
    const read = checkId(id);
    if (length <= shortRead) return this.#read(read, () => this.#reads.add({ id, offset, length }));
    return this.#read(read, () =>
      this.#parts.crew.work('range', { id, offset, length }, { signal: options.signal }),
    );
  }

  async stream(
    id: BlobId,
    options: { readonly offset?: number; readonly length?: number; readonly signal?: AbortSignal } = {},
  ): Promise<ReadableStream<Uint8Array> | undefined> {
    checkId(id);
    const offset = options.offset ?? 0;
    const length = options.length ?? Number.MAX_SAFE_INTEGER - offset;
    checkRange(offset, length);
    return this.#run(async () => {
      if (!(await this.#has(id))) return undefined;
      return openStream(this.#parts.crew.worker(), { id, offset, length, signal: options.signal }, (error) =>
        this.#healing.note(error),
      );
    });
  }

  async exportTo(target: ExportTarget, options: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
    checkId(target.id);
    if (options.signal === undefined) return this.#read(target.id, () => this.#exports.add(target));
    return this.#read(target.id, () => this.#parts.crew.work('export', target, { signal: options.signal }));
  }

  has(id: BlobId): Promise<boolean> {
    return this.#run(() => this.#has(checkId(id)));
  }

  hasMany(ids: Iterable<BlobId>): Promise<ReadonlySet<BlobId>> {
    return this.#run(() => knownOf(this.#calls, ids));
  }

  async stat(id: BlobId): Promise<BlobStat | undefined> {
    return this.#read(checkId(id), () => this.#query<BlobStat | undefined>('stat', id));
  }

  list(
    options: { readonly after?: BlobId; readonly prefix?: string; readonly signal?: AbortSignal } = {},
  ): AsyncIterable<BlobStat> {
    return listBlobs(this.#calls, options);
  }

  async pathOf(id: BlobId): Promise<string | undefined> {
    return this.#read(checkId(id), () => this.#query<string | undefined>('pathOf', id));
  }

  retain(id: BlobId, owner: string): Promise<boolean> {
    return this.#run(() =>
      this.#submit<boolean>({ op: 'retain', id: checkId(id), owner: checkName(owner, 'owner') }),
    );
  }

  release(id: BlobId, owner: string): Promise<boolean> {
    return this.#run(() =>
      this.#submit<boolean>({ op: 'release', id: checkId(id), owner: checkName(owner, 'owner') }),
    );
  }

  session(): Promise<Session> {
    return this.#run(() => this.#writing(() => this.#sessions.begin()));
  }

  gc(options: GcOptions = {}): Promise<GcResult> {
    return this.#upkeep.gc(options);
  }

  scrub(options: ScrubOptions = {}): Promise<ScrubResult> {
    return this.#upkeep.scrub(options);
  }

  health(options: HealthOptions = {}): Promise<StoreHealth> {
    const { queue } = this.#parts;
    return this.#upkeep.health(options, () => queue.size + queue.pending);
  }

  compact(options: MoveOptions = {}): Promise<CompactResult> {
    return this.#upkeep.compact(options);
  }

  stats(): Promise<StoreStats> {
    return this.#run(async () => {
      const { opened, crew } = this.#parts;
      const stats = await this.#query<Omit<StoreStats, 'openHandles'>>(
        'stats',
        opened.storeId,
        opened.format,
      );
      const handles = (await crew.everyone('handles', undefined)) as number[];
      return { ...stats, openHandles: handles.reduce((sum, count) => sum + count, 0) };
    });
  }

  sideTable(name: string): SideTable {
    return makeSideTable(name, this.#calls);
  }

  on<Name extends keyof StoreEvents>(name: Name, listener: (event: StoreEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /** Waits for what is under way, then gives the store back. Everything after fails with `closed`. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { crew, onClosed } = this.#parts;
    this.#healing.stop();
    await Promise.allSettled(this.#active);
    try {
      await crew.everyone('close', undefined);
      await crew.commit('close', undefined);
    } catch (error) {
      // A store that failed cannot be closed cleanly; its next opener recovers.
      if (this.#failure === undefined) throw error;
    } finally {
      await crew.stop();
      onClosed();
    }
  }

  #run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#closing !== undefined) return Promise.reject(new StoreError('closed', 'the store is closed'));
    // Async, so that a refused argument rejects, and is never thrown at the caller.
    const promise = (async () => await work())();
    this.#active.add(promise);
    const forget = (): void => void this.#active.delete(promise);
    promise.then(forget, forget);
    return promise;
  }

  /** A read whose damage is remembered and told. */
  #read<Result>(_id: BlobId, work: () => Promise<Result>): Promise<Result> {
    return this.#run(async () => {
      try {
        return await work();
      } catch (error) {
        this.#healing.note(error);
        throw error;
      }
    });
  }

  #noteFailure(error: unknown): void {
    if (!StoreError.is(error, 'needs-reopen') || this.#failure !== undefined) return;
    this.#failure = error;
    this.#events.emit('needs-reopen', { code: error.code, message: error.message });
    // What a worker's disk told is true for the commit thread's as well.
    this.#parts.crew.commit('poison', error.message).catch(() => undefined);
  }

  /** Called when a thread died. */
  fail(error: StoreError): void {
    this.#noteFailure(error);
  }

  #submit<Result>(operation: Operation): Promise<Result> {
    return this.#writing(() => this.#operations.add(operation) as Promise<Result>);
  }

  /** Refused before anything is begun where the store cannot be written. */
  #writing<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#parts.opened.lease === undefined)
      return Promise.reject(new StoreError('forbidden', 'the store is open for reading only'));
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return work();
  }

  async #sendOperations(batch: readonly Operation[]): Promise<unknown[]> {
    try {
      return unwrap(await this.#parts.crew.commit('commit', batch));
    } catch (error) {
      this.#noteFailure(error);
      throw error;
    }
  }

  #query<Result>(name: string, ...args: readonly unknown[]): Promise<Result> {
    return this.#parts.crew.work<Result>('query', { name, args });
  }

  async #has(id: BlobId): Promise<boolean> {
    return (await this.#query<boolean[]>('hasMany', [id]))[0] === true;
  }
}

function weightOf(operation: Operation): number {
  return operation.op === 'put-small' ? operation.record.length : 200;
}
