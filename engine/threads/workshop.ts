/** The work a worker thread offers by name: the handlers behind content/, one instance per thread. */
import type {
  ChunkingParameters,
  CompressionParameters,
  EncryptionParameters,
  ExportTarget,
  FileStep,
} from '../api.ts';
import type { BlobRow } from '../catalog/blob-rows.ts';
import { openConnection } from '../catalog/connection.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { checkCatalog } from '../catalog/schema.ts';
import { decodeRun, receivedRun } from '../codec/chunk-run.ts';
import type { Provider } from '../codec/provider.ts';
import { type DriverChoice, loadDriver } from '../driver.ts';
import { type ErrorData, invariant, pathError, toStoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import { type CallContext, type Handler, Moved, errorToData } from '../rpc.ts';
import { Alternates } from '../content/alternates.ts';
import { type ChopCall, type ChopStart, Chopper } from '../content/chopper.ts';
import type { DigestLink } from '../content/digest-link.ts';
import { type EncodedBatch, Encoder, type SmallSource } from '../content/encoder.ts';
import { listFolder, runSteps } from '../content/folders.ts';
import { type EncodedReadOrder, readEncoded } from '../content/encoded-reads.ts';
import { GivingWay } from '../content/giving-way.ts';
import { type ShortRead, readMany } from '../content/many-reads.ts';
import { type FileMove, Mover } from '../content/mover.ts';
import { Queries } from '../content/queries.ts';
import { Reader } from '../content/reader.ts';
import { Stager } from '../content/stager.ts';
import type { StageHow } from '../content/staging.ts';
import { Streams } from '../content/streams.ts';
import { Verifier, type VerifyOrder } from '../content/verify.ts';
import { type BucketLook, Recounter } from '../maintenance/recount.ts';
import { Keyring } from '../keys/keyring.ts';
import { SealedRealm } from '../keys/realm.ts';
import type { PartName } from '../volume.ts';
import { answerEach } from './answer-each.ts';
import { moveBytes, own } from './moved-bytes.ts';
import { toldError } from './naming.ts';
import { digestLink } from './neighbours.ts';
import { realmOf, wipeKeys } from './realms.ts';
import { encodeAgain, stageAgain } from './seal-again.ts';

/** What a worker is told of the store. */
export interface WorkshopOptions {
  readonly layout: StoreLayout;
  readonly storeId: string;
  readonly driver: DriverChoice;
  readonly durability: 'full' | 'relaxed';
  readonly smallMax: number;
  readonly chunkBytes: number;
  readonly compression: CompressionParameters;
  readonly chunking: ChunkingParameters;
  readonly encryption: EncryptionParameters | null;
  /** Encoded; absent where there is none, or the store was opened without. */
  readonly keyring?: Uint8Array;
  /** Absent in a read-only store. */
  readonly lease?: string;
  /** For this opening alone. */
  readonly alternates?: readonly { readonly path: string; readonly immutable: boolean }[];
}

interface Parts {
  readonly reader: Reader;
  /** An encrypted store has none. */
  readonly alternates: Alternates | undefined;
  readonly streams: Streams;
  readonly verifier: Verifier;
  readonly encoder: Encoder;
  readonly stager: Stager;
  readonly chopper: Chopper;
  readonly mover: Mover;
  readonly queries: Queries;
  readonly recounter: Recounter;
}

export class Workshop {
  readonly #host: Host;
  readonly #provider: Provider;
  /** Tells the calling thread of damage that a read got around. */
  onNote: (note: ErrorData) => void = () => {};
  #parts: Parts | undefined;
  #link: DigestLink | undefined;

  constructor(host: Host, provider: Provider) {
    this.#host = host;
    this.#provider = provider;
  }

  /** Every handler, its errors translated: what crosses to the caller is a StoreError or a bug. */
  handlers(): Readonly<Record<string, Handler>> {
    const translated = Object.entries(this.#handlers()).map(([name, handler]): [string, Handler] => [
      name,
      async (args, context) => {
        try {
          return await handler(args, context);
        } catch (error) {
          throw context.signal.aborted ? error : this.#told(toStoreError(error, name), askedFor(args));
        }
      },
    ]);
    return Object.fromEntries(translated);
  }

  #handlers(): Readonly<Record<string, Handler>> {
    const { files } = this.#host;
    return {
      open: (options: WorkshopOptions) => this.#openStore(options),
      close: () => this.#close(),
      link: (end: unknown) => void (this.#link = digestLink(end, this.#host, this.#provider)),
      encode: (args: { sources: readonly SmallSource[]; memory: SharedArrayBuffer | undefined }) =>
        wireBatch(this.#open.encoder.encode(args.sources, args.memory)),
      'stage-path': (args: StageHow & { path: string; linked: boolean }, context: CallContext) =>
        this.#open.stager.path(
          args.path,
          { ...args, link: args.linked ? this.#link : undefined },
          { signal: context.signal, progress: throttle(this.#host, context) },
        ),
      'keys-learn': (keyring: Uint8Array) => this.#learnKeys(keyring),
      'keys-use': () => this.#sealedRealm?.use(),
      'encode-again': (args: { rows: readonly number[]; memory: SharedArrayBuffer | undefined }) =>
        wireBatch(encodeAgain(this.#open, args)),
      'stage-again': (row: number, context: CallContext) => stageAgain(this.#open, row, context.signal),
      'stage-begin': (how: StageHow) => this.#open.stager.begin(how),
      // Memory goes back to whoever sent it, to be filled again.
      'stage-write': async ({
        token,
        bytes,
        codec,
      }: {
        token: string;
        bytes: Uint8Array;
        codec?: number;
      }) => {
        const { stager } = this.#open;
        if (codec !== undefined) return await stager.writeEncoded(token, receivedRun(bytes, codec));
        return (await stager.write(token, bytes)) ? new Moved(bytes, [bytes.buffer]) : undefined;
      },
      'stage-finish': (token: string) => this.#open.stager.finish(token),
      publish: (args: PartName & { token: string; volume: number }) =>
        this.#open.stager.publish(args.token, { volume: args.volume, name: args }),
      'move-file': (move: FileMove, context: CallContext) => this.#open.mover.move(move, context.signal),
      'chop-begin': (start: ChopStart & { linked: boolean }) =>
        this.#open.chopper.begin(start, start.linked ? this.#link : undefined),
      'chop-next': (call: ChopCall) => this.#open.chopper.next(call),
      'chop-write': (call: ChopCall & { bytes: Uint8Array; codec?: number }) => {
        if (call.codec === undefined) return this.#open.chopper.write(call);
        const chunks = receivedRun(call.bytes, call.codec);
        return this.#open.chopper.write({ ...call, bytes: decodeRun(this.#provider, chunks) });
      },
      'chop-finish': (call: ChopCall) => this.#open.chopper.finish(call),
      'chop-end': (token: string) => this.#open.chopper.end(token),
      discard: (token: string) => this.#open.stager.discard(token),
      get: async (args: { id: string; maxBytes: number }, context: CallContext) =>
        moveBytes(await this.#open.streams.get(args.id, { maxBytes: args.maxBytes, signal: context.signal })),
      range: async (args: { id: string; offset: number; length: number }, context: CallContext) =>
        moveBytes(await this.#open.streams.range(args.id, { ...args, signal: context.signal })),
      reads: (list: readonly ShortRead[]) =>
        this.#readMany(list, (row, { offset, length }) => {
          const value = own(this.#open.reader.readRow(row, offset, length));
          return { value, buffer: value.buffer };
        }),
      'encoded-reads': (list: readonly EncodedReadOrder[]) =>
        this.#readMany(list, (row, order) => {
          const piece = readEncoded(this.#open.reader, row, order);
          const bytes = own(piece.bytes);
          return { value: { ...piece, bytes }, buffer: bytes.buffer };
        }),
      'stream-open': (args: { id: string; offset: number; length: number; lent?: boolean }) =>
        this.#open.streams.open(args, args.offset, args.length),
      'stream-pull': (args: { handle: number; bytesMax: number }) =>
        moveBytes(this.#open.streams.pull(args.handle, args.bytesMax)),
      'stream-cancel': (handle: number) => this.#open.streams.cancel(handle),
      export: (target: ExportTarget, context: CallContext) =>
        this.#open.streams.exportTo(target, context.signal),
      exports: (targets: readonly ExportTarget[], context: CallContext) =>
        answerEach(
          targets,
          (target) => this.#open.streams.exportTo(target, context.signal),
          (error, { id }) => this.#failed(error, id),
        ),
      verify: (order: VerifyOrder, context: CallContext) => this.#verify(order, context),
      'last-bucket': () => this.#open.recounter.lastBucket(),
      'is-sound': (look: BucketLook) =>
        this.#open.recounter.isSound(look, new GivingWay(this.#host.clock, look.foreground)),
      stats: (ids: readonly string[]) =>
        answerEach(
          ids,
          (id) => this.#open.queries.stat(id),
          (error, id) => this.#failed(error, id),
        ),
      query: (args: { name: string; args: readonly unknown[] }) =>
        this.#open.queries.run(args.name, args.args),
      handles: () => this.#open.streams.openHandles,
      forget: () => {
        this.#open.reader.places.close();
        this.#open.alternates?.forget();
      },
      list: (path: string) => at(path, () => listFolder(files, path)),
      facts: (path: string) => at(path, () => files.linkFacts(path)),
      'read-link': (path: string) => at(path, () => files.readLink(path)),
      'real-path': (path: string) => at(path, () => files.realPath(path)),
      steps: (steps: readonly FileStep[]) => runSteps(files, steps),
    };
  }

  get #open(): Parts {
    invariant(this.#parts !== undefined, 'a worker was asked before it was opened');
    return this.#parts;
  }

  /** In the words of the caller, who knows no locators. What he asked for is told even where the catalog cannot tell it. */
  #told(error: Error, asked: string | undefined): unknown {
    const reader = this.#parts?.reader;
    if (reader === undefined || !reader.contents.sealed) return error;
    const { realm } = reader;
    const said = new Map(asked === undefined || realm.state !== 'open' ? [] : [[realm.nameOf(asked), asked]]);
    const reveal = (name: Uint8Array): string | undefined => {
      const row = reader.rows.inspect(name)?.row;
      return row && reader.tell(row);
    };
    return toldError(error, reveal, said);
  }

  async #openStore(options: WorkshopOptions): Promise<void> {
    const host = this.#host;
    const provider = this.#provider;
    const driver = await loadDriver(options.driver);
    const db = openConnection(options.layout.index, {
      driver,
      durability: options.durability,
      readonly: true,
      platform: host.platform,
    });
    try {
      checkCatalog(db);
    } catch (error) {
      db.close();
      throw error;
    }
    const keyring = options.keyring && Keyring.decode(provider, options.keyring);
    options.keyring?.fill(0);
    const realm = realmOf(host, provider, { encryption: options.encryption, keyring });
    const { layout, storeId } = options;
    const library = options.driver.module;
    const alternates =
      options.encryption === null
        ? new Alternates({
            host,
            driver,
            library,
            provider,
            layout,
            storeId,
          })
        : undefined;
    alternates?.alsoSearch(options.alternates ?? []);
    const reader = new Reader(db, {
      host,
      driver,
      provider,
      realm,
      layout: options.layout,
      storeId: options.storeId,
      chunkBytes: options.chunkBytes,
      ...(alternates === undefined ? {} : { alternates }),
      onDamage: (error) => this.onNote(errorToData(this.#told(error, undefined)) as ErrorData),
      access: options.lease === undefined ? 'read-only' : 'read',
    });
    const { smallMax, chunkBytes, compression, chunking } = options;
    const lease = options.lease ?? 'read-only';
    this.#parts = {
      reader,
      alternates,
      streams: new Streams(reader, host, provider),
      verifier: new Verifier(reader, provider, host.clock),
      encoder: new Encoder({ host, provider, realm, smallMax, chunkBytes, compression }),
      chopper: new Chopper({ host, provider, realm, smallMax, chunkBytes, compression, chunking }),
      stager: new Stager({
        host,
        provider,
        realm,
        places: reader.places,
        lease,
        chunkBytes,
        compression,
      }),
      mover: new Mover(reader, { host, lease }),
      recounter: new Recounter(db),
      queries: new Queries(reader, { host, provider, layout: options.layout }),
    };
  }

  #learnKeys(encoded: Uint8Array): void {
    this.#sealedRealm?.learn(Keyring.decode(this.#provider, encoded));
    encoded.fill(0);
  }

  get #sealedRealm(): SealedRealm | undefined {
    const { realm } = this.#open.reader;
    return realm instanceof SealedRealm ? realm : undefined;
  }

  #close(): void {
    const parts = this.#parts;
    this.#parts = undefined;
    if (parts === undefined) return;
    let failure: unknown;
    // One that cannot be closed is no reason to leave the others open.
    for (const part of [parts.streams, parts.stager, parts.chopper, parts.reader, parts.alternates])
      try {
        part?.close();
      } catch (error) {
        failure ??= error;
      }
    wipeKeys(parts.reader.realm);
    if (failure !== undefined) throw toStoreError(failure, 'closing');
  }

  /** Short reads of many callers in one message. */
  #readMany<Order extends ShortRead>(
    list: readonly Order[],
    read: (row: BlobRow, order: Order) => { readonly value: unknown; readonly buffer: ArrayBuffer },
  ): Moved {
    const buffers = new Set<ArrayBuffer>();
    const answers = readMany(this.#open.reader, list, {
      read,
      failed: (error, id) => this.#failed(error, id),
    });
    const results = answers.map((answer) => {
      if ('error' in answer) return answer;
      if (answer.value !== undefined) buffers.add(answer.value.buffer);
      return { value: answer.value?.value };
    });
    return new Moved(results, [...buffers]);
  }

  #failed(error: unknown, id: string): { readonly error: ReturnType<typeof errorToData> } {
    return { error: errorToData(this.#told(toStoreError(error, 'reading'), id)) };
  }

  async #verify(order: VerifyOrder, context: CallContext): Promise<unknown> {
    let blobs = 0;
    let bytes = 0;
    let last = this.#host.clock.monotonic();
    const result = await this.#open.verifier.verify(order, {
      signal: context.signal,
      progress: (moreBlobs, moreBytes) => {
        blobs += moreBlobs;
        bytes += moreBytes;
        const now = this.#host.clock.monotonic();
        if (now - last < progressMs) return;
        last = now;
        context.progress({ blobs, bytes });
        blobs = bytes = 0;
      },
    });
    context.progress({ blobs, bytes });
    return result;
  }
}

/** The blob that a call is about. */
function askedFor(args: unknown): string | undefined {
  const id = (args as { readonly id?: unknown } | undefined)?.id;
  return typeof id === 'string' && /^[0-9a-f]{64}$/.test(id) ? id : undefined;
}

/** Runs a call about a path of the caller's, whose failure names it. */
function at<Result>(path: string, look: () => Result): Result {
  try {
    return look();
  } catch (error) {
    throw pathError(error, path);
  }
}

const progressMs = 50;

/** Progress in steps a person can see, not one message per slice. */
function throttle(host: Host, context: CallContext): (bytes: number) => void {
  let last = host.clock.monotonic();
  return (bytes) => {
    const now = host.clock.monotonic();
    if (now - last < progressMs) return;
    last = now;
    context.progress(bytes);
  };
}

function wireBatch(batch: EncodedBatch): unknown {
  return {
    memory: batch.memory,
    results: batch.results.map((result) =>
      'error' in result ? { error: errorToData(toStoreError(result.error, 'reading a source')) } : result,
    ),
  };
}
