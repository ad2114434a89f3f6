/** The Store on the calling thread: checks arguments, spreads work over the threads, resolves when it is durable. */
import type PQueue from 'p-queue';
import type {
  BlobId,
  BlobStat,
  Cap,
  ExportTarget,
  HeldAlone,
  PutOptions,
  PutResult,
  PutSource,
  SideTable,
  Store,
  StoreEvents,
} from './api.ts';
import { Batches, asked, commitBatch, unwrap } from './batches.ts';
import { Cache } from './cache.ts';
import { makeEncoded } from './encoded-facet.ts';
import { checkId, checkName, checkRange } from './arguments.ts';
import { decodeNode } from './codec/node.ts';
import type { Operation } from './commit/operations.ts';
import type { ShortRead } from './content/many-reads.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { Host } from './host.ts';
import { type Calls, makeFiles, makeRoots, makeSideTable } from './facets.ts';
import { Events } from './events.ts';
import { Healing } from './healing.ts';
import { Idle, isShort } from './idle.ts';
import { Ingest } from './ingest.ts';
import { makeKeys } from './keys-facet.ts';
import { idsHere, listBlobs } from './listing.ts';
import { makeCopies } from './repair.ts';
import { Scheduler } from './scheduler.ts';
import { makeSealed } from './sealed-facet.ts';
import { Sessions } from './sessions.ts';
import { storeStats } from './stats.ts';
import { openStream } from './stream.ts';
import type { OpenedStore } from './threads/opened.ts';
import { Upkeep } from './upkeep.ts';

/** `get` keeps a whole blob in memory; above this it wants to be asked. */
const getBytesMax = 256 * 1024 * 1024;
/** Reads of a chunk or less share messages. */
const shortRead = 64 * 1024;

export interface StoreParts {
  readonly host: Host;
  readonly crew: Crew;
  readonly opened: OpenedStore;
  readonly queue: PQueue;
  /** Encrypted, and opened without a key. */
  readonly locked: boolean;
  readonly schedule: 'run' | 'leave';
  readonly cap: Cap | undefined;
  readonly onClosed: () => void;
  /** Opens another store for reading. */
  readonly openOther: (directory: string) => Promise<Store>;
}

export class EngineStore implements Store {
  readonly directory: string;
  readonly parameters: Store['parameters'];
  readonly encoded: Store['encoded'];
  readonly sealed: Store['sealed'];
  readonly roots: Store['roots'];
  readonly files: Store['files'];
  readonly volumes: Store['volumes'];
  readonly keys: Store['keys'];
  readonly alternates: Store['alternates'];
  readonly dissociate: Store['dissociate'];
  readonly repair: Store['repair'];
  readonly #parts: StoreParts;
  readonly #events = new Events();
  readonly #operations: Batches<Operation, unknown>;
  readonly #reads: Batches<ShortRead, Uint8Array | undefined>;
  readonly #stats: Batches<BlobId, BlobStat | undefined>;
  readonly #exports: Batches<ExportTarget, boolean>;
  readonly #ingest: Ingest;
  readonly #sessions: Sessions;
  readonly #upkeep: Upkeep;
  readonly #cache: Cache;
  readonly #healing: Healing;
  readonly #idle: Idle;
  readonly #scheduler: Scheduler;
  readonly #calls: Calls;
  readonly #active = new Set<Promise<unknown>>();
  #failure: StoreError | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.directory = parts.opened.layout.root;
    this.parameters = parts.opened.parameters;
    const { crew } = parts;
    this.#idle = new Idle(parts.host.clock, crew.foreground);
    this.#calls = {
      run: (work) => this.#run(work),
      writing: (work) => this.#writing(work),
      submit: (operation) => this.#submit(operation),
      query: (name, ...args) => this.#query(name, ...args),
      work: (method, args) => crew.work(method, args),
    };
    this.#sessions = new Sessions(this.#calls);
    this.#cache = new Cache(this.#calls, parts.host.clock, parts.cap);
    const pause = (): Promise<void> => parts.host.clock.yield();
    this.#operations = new Batches({
      ...commitBatch,
      pause,
      send: (batch) => this.#sendOperations(batch),
    });
    const inFlight = 2 * crew.workers;
    const many = { weightMax: Number.POSITIVE_INFINITY, itemsMax: 256, inFlight, pause };
    const reads = { ...many, shareMin: 4 };
    this.#reads = new Batches({ ...reads, send: asked(this.#calls, 'reads') });
    this.#stats = new Batches({ ...many, send: asked(this.#calls, 'stats') });
    this.#exports = new Batches({ ...many, itemsMax: 64, send: asked(this.#calls, 'exports') });
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
    this.encoded = makeEncoded({
      ...{ crew, gathering: reads, shortRead, put: (source, options) => this.put(source, options) },
      reading: (id, work) => this.#read(id, work),
    });
    const reading = <Result>(work: () => Promise<Result>): Promise<Result> => this.#read(undefined, work);
    this.sealed = makeSealed({ ...this.#calls, reading, ingest: this.#ingest, ...parts });
    this.roots = makeRoots(this.#calls);
    this.files = makeFiles(this.#calls);
    const emit: Events['emit'] = (name, event) => this.#events.emit(name, event);
    this.#upkeep = new Upkeep({ ...this.#calls, host: parts.host, crew, emit, cache: this.#cache });
    this.volumes = this.#upkeep.volumes;
    const copies = makeCopies({
      ...this.#calls,
      host: parts.host,
      crew,
      ingest: this.#ingest,
      during: (work) => this.#sessions.during(work),
      store: this,
      openOther: parts.openOther,
      scrub: (signal) => this.#upkeep.scrub(signal === undefined ? {} : { signal }),
    });
    ({ alternates: this.alternates, dissociate: this.dissociate, repair: this.repair } = copies);
    this.keys = makeKeys({ ...this.#calls, crew, ingest: this.#ingest });
    this.#healing = new Healing({
      ...this.#calls,
      crew,
      emit,
      onFailure: (error) => this.#noteFailure(error),
      mend: copies.mend,
      isSilent: () => this.#closing !== undefined || parts.opened.lease === undefined,
    });
    const { lease } = parts.opened;
    this.#scheduler = new Scheduler({ ...this.#upkeep.parts, lease, idle: this.#idle });
    if (parts.schedule === 'run') this.#scheduler.start();
  }

  put(source: PutSource, options: PutOptions = {}): Promise<PutResult> {
    const put = this.#run(() => this.#writing(() => this.#cache.put(source, options, this.#ingest)));
    return this.#idle.during(put, isShort(source));
  }

  async get(
    id: BlobId,
    options: { readonly maxBytes?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Uint8Array | undefined> {
    const { maxBytes = getBytesMax, signal } = options;
    return this.#read(checkId(id), () => this.#parts.crew.work('get', { id, maxBytes }, { signal }));
  }

  async getNode(id: BlobId): ReturnType<Store['getNode']> {
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
      this.#cache.used(id);
      const range = { id, offset, length, signal: options.signal };
      return openStream(this.#parts.crew.worker(), range, {
        onError: (error) => this.#healing.note(error),
        onPull: () => this.#idle.touch(),
      });
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
    return this.#run(() => idsHere(this.#calls, ids));
  }

  async stat(id: BlobId): Promise<BlobStat | undefined> {
    checkId(id);
    return this.#read(undefined, () => this.#stats.add(id));
  }

  list(...[options = {}]: Parameters<Store['list']>): AsyncIterable<BlobStat> {
    return listBlobs(this.#calls, options);
  }

  async pathOf(id: BlobId): Promise<string | undefined> {
    return this.#read(checkId(id), () => this.#query<string | undefined>('pathOf', id));
  }

  retain(id: BlobId, owner: string): Promise<boolean> {
    return this.#own('retain', id, owner);
  }

  release(id: BlobId, owner: string): Promise<boolean> {
    return this.#own('release', id, owner);
  }

  #own(op: 'retain' | 'release', id: BlobId, owner: string): Promise<boolean> {
    return this.#run(() => this.#submit({ op, id: checkId(id), owner: checkName(owner, 'owner') }));
  }

  session(): ReturnType<Store['session']> {
    return this.#run(() => this.#writing(() => this.#sessions.begin()));
  }

  gc(...[options = {}]: Parameters<Store['gc']>): ReturnType<Store['gc']> {
    return this.#upkeep.gc(options);
  }

  uniqueSize(roots: string | readonly string[]): Promise<HeldAlone> {
    return this.#upkeep.uniqueSize(roots);
  }

  scrub(...[options = {}]: Parameters<Store['scrub']>): ReturnType<Store['scrub']> {
    return this.#upkeep.scrub(options);
  }

  health(...[options = {}]: Parameters<Store['health']>): ReturnType<Store['health']> {
    const { queue } = this.#parts;
    return this.#upkeep.health(options, () => queue.size + queue.pending);
  }

  compact(...[options = {}]: Parameters<Store['compact']>): ReturnType<Store['compact']> {
    return this.#upkeep.compact(options);
  }

  schedule(...[options]: Parameters<Store['schedule']>): ReturnType<Store['schedule']> {
    return this.#scheduler.set(options);
  }

  maintain(...[options = {}]: Parameters<Store['maintain']>): ReturnType<Store['maintain']> {
    return this.#upkeep.maintain(options);
  }

  stats(): ReturnType<Store['stats']> {
    const { opened, crew } = this.#parts;
    return this.#run(() => storeStats(this.#calls, crew, opened));
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
    await this.#scheduler.stop();
    await Promise.allSettled(this.#active);
    await this.#cache.end();
    try {
      // Where a worker's disk fails, the lease is given back none the less.
      const workers = crew.close();
      await Promise.allSettled([workers]);
      await crew.commit('close', undefined);
      await workers;
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

  /** A read whose damage is remembered and told. Of content: what was used last is known, where the store has a cap. */
  #read<Result>(id: BlobId | undefined, work: () => Promise<Result>): Promise<Result> {
    const read = this.#run(async () => {
      try {
        return await work();
      } catch (error) {
        this.#healing.note(error);
        throw error;
      }
    });
    if (id !== undefined) this.#cache.used(id);
    return this.#idle.during(read);
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
