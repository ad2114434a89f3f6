/** Chops a large blob into chunk blobs on a worker thread: cuts, hashes, encodes records a batch at a time, builds the manifest. */
import type { ChunkingParameters, CompressionParameters, SourceFacts } from '../api.ts';
import { toHex } from '../codec/bytes.ts';
import { Cutter } from '../codec/fastcdc.ts';
import { ManifestBuilder } from '../codec/manifest.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError, invariant, toStoreError } from '../errors.ts';
import type { FileFacts, Host, OpenFile } from '../host.ts';
import type { Realm } from '../keys/realm.ts';
import type { DigestLink } from './digest-link.ts';
import { type DigestSink, digestSink } from './digest-sink.ts';
import { Digester } from './digest.ts';
import { type EncodedRecord, Encoder, openSource, unchanged } from './encoder.ts';
import { type StageHow, sliceBytes } from './staging.ts';

export interface ChopperOptions {
  readonly host: Host;
  readonly provider: Provider;
  readonly realm: Realm;
  readonly smallMax: number;
  readonly chunkBytes: number;
  readonly compression: CompressionParameters;
  readonly chunking: ChunkingParameters;
}

export interface ChopStart extends StageHow {
  /** Absent: the bytes come with the calls. */
  readonly path?: string;
}

export interface ChopCall {
  readonly token: string;
  /** The caller's memory, to be filled, and used again and again; absent: one is made, or the one of the call before is filled on. */
  readonly memory: SharedArrayBuffer | undefined;
}

/** Records in the order in which they are to be put: manifest nodes behind the chunks they link to. */
export interface ChoppedBatch {
  readonly records: readonly EncodedRecord[];
  readonly memory: SharedArrayBuffer;
}

export interface ChopStep {
  /** Of a source without a path absent while the memory has room; the next call then goes on in the same one. */
  readonly batch?: ChoppedBatch;
  /** Bytes taken in so far. */
  readonly taken: number;
  /** A file has been read to its end. */
  readonly done: boolean;
}

export interface ChopEnd {
  readonly batch: ChoppedBatch;
  readonly id: string;
  readonly size: number;
  readonly name: string;
  readonly label: Uint8Array | null;
  /** The root of the manifest, by its name on disk. Absent: the one chunk is the blob. */
  readonly manifest?: string;
  readonly source?: SourceFacts;
}

/** A batch is handed over from here on. */
const fullBytes = 3 * 1024 * 1024;
/** What comes on top of it in the same memory: a slice, the chunk that it ends, some nodes. */
const spareBytes = sliceBytes + 256 * 1024;

export class Chopper {
  readonly #options: ChopperOptions;
  readonly #cutter: Cutter;
  readonly #open = new Map<string, Chopping>();

  constructor(options: ChopperOptions) {
    this.#options = options;
    const { least, average, greatest } = options.chunking;
    this.#cutter = new Cutter(options.provider, { least, average, greatest });
  }

  /** With a link, a neighbour hashes the whole. */
  async begin(start: ChopStart, link: DigestLink | undefined): Promise<string> {
    const { host, provider } = this.#options;
    const token = toHex(host.random(16));
    const source = start.path === undefined ? undefined : openFile(host, start.path);
    const sink = digestSink(link, new Digester(provider, 0), { sliceBytes, chunkBytes: 0 });
    this.#open.set(token, new Chopping(this.#options, { start, source, cutter: this.#cutter, sink }));
    return token;
  }

  /** Reads on in a file until a batch is full, or the file ends. The next batch may be asked for meanwhile. */
  async next({ token, memory }: ChopCall): Promise<ChopStep> {
    return await this.#get(token).next(memory);
  }

  /** Goes on with the next bytes of a source without a path, at most 1 MiB. */
  async write({ token, memory, bytes }: ChopCall & { readonly bytes: Uint8Array }): Promise<ChopStep> {
    return await this.#get(token).write(bytes, memory);
  }

  async finish({ token, memory }: ChopCall): Promise<ChopEnd> {
    const end = await this.#get(token).finish(memory);
    this.end(token);
    return end;
  }

  end(token: string): void {
    const chopping = this.#open.get(token);
    this.#open.delete(token);
    chopping?.close();
  }

  close(): void {
    for (const token of [...this.#open.keys()]) this.end(token);
  }

  #get(token: string): Chopping {
    const chopping = this.#open.get(token);
    if (chopping === undefined) throw new StoreError('closed', 'this put is over');
    return chopping;
  }
}

interface Source {
  readonly path: string;
  readonly file: OpenFile;
  readonly before: FileFacts;
}

class Chopping {
  readonly #encoder: Encoder;
  readonly #realm: Realm;
  readonly #cutter: Cutter;
  readonly #manifest: ManifestBuilder;
  readonly #sink: DigestSink;
  readonly #how: StageHow;
  readonly #source: Source | undefined;
  /** From `start` to `end`: bytes that belong to no chunk yet. */
  readonly #window: Uint8Array;
  #start = 0;
  #end = 0;
  #taken = 0;
  #chunks = 0;
  #digested = false;
  /** There is a memory to fill. */
  #lent = false;
  #records: EncodedRecord[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    options: ChopperOptions,
    parts: {
      readonly start: ChopStart;
      readonly source: Source | undefined;
      readonly cutter: Cutter;
      readonly sink: DigestSink;
    },
  ) {
    const { compression, mediaType } = parts.start;
    this.#how = {
      ...(compression === undefined ? {} : { compression }),
      ...(mediaType === undefined ? {} : { mediaType }),
    };
    this.#source = parts.source;
    this.#sink = parts.sink;
    this.#cutter = parts.cutter;
    this.#encoder = new Encoder(options);
    this.#realm = options.realm;
    this.#manifest = new ManifestBuilder((bytes) => options.provider.sha256Hex(bytes));
    this.#window = new Uint8Array(this.#cutter.sizes.greatest + 2 * sliceBytes);
  }

  /** One after the other: the caller asks ahead, so that there is no pause between two batches. */
  next(memory: SharedArrayBuffer | undefined): Promise<ChopStep> {
    const next = this.#last.then(() => this.#next(memory));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #next(memory: SharedArrayBuffer | undefined): Promise<ChopStep> {
    invariant(this.#source !== undefined, 'a stream is written, not read');
    const { file, before, path } = this.#source;
    this.#borrow(memory);
    while (this.#encoder.filled < fullBytes) {
      const room = this.#room(sliceBytes);
      let count: number;
      try {
        count = file.read(room, this.#taken);
      } catch (error) {
        throw toStoreError(error, `reading ${path}`, { path });
      }
      // A file that grew is not read for ever: `unchanged` says so.
      if (count === 0 || this.#taken > before.size)
        return { batch: this.#handOver(), taken: this.#taken, done: true };
      await this.#take(count);
    }
    return { batch: this.#handOver(), taken: this.#taken, done: false };
  }

  async write(bytes: Uint8Array, memory: SharedArrayBuffer | undefined): Promise<ChopStep> {
    this.#borrow(memory);
    invariant(bytes.length <= sliceBytes, 'a slice is too long');
    this.#room(bytes.length).set(bytes);
    await this.#take(bytes.length);
    const full = this.#encoder.filled >= fullBytes;
    return { ...(full ? { batch: this.#handOver() } : {}), taken: this.#taken, done: false };
  }

  async finish(memory: SharedArrayBuffer | undefined): Promise<ChopEnd> {
    this.#borrow(memory);
    this.#cut(true);
    if (this.#chunks === 0) this.#chunk(0);
    this.#digested = true;
    const { id, size } = await this.#sink.finish();
    let source: SourceFacts | undefined;
    if (this.#source !== undefined) {
      const { file, path, before } = this.#source;
      source = unchanged(path, before, file.facts(), size);
    }
    let root: EncodedRecord | undefined;
    // One chunk is the blob itself.
    if (this.#chunks > 1)
      for (const node of this.#manifest.finish({ id: toHex(id), size, cuts: this.#cutter.sizes }))
        root = this.#node(node);
    const facts = { id: toHex(id), size };
    return {
      batch: this.#handOver(),
      ...facts,
      name: this.#realm.nameOf(facts.id),
      label: this.#realm.label(facts),
      ...(root === undefined ? {} : { manifest: root.name }),
      ...(source === undefined ? {} : { source }),
    };
  }

  close(): void {
    if (!this.#digested) this.#sink.abandon();
    this.#source?.file.close();
  }

  /** Where the next bytes go: behind those that are held, which move to the front where they have to. */
  #room(bytes: number): Uint8Array {
    if (this.#end + bytes > this.#window.length) {
      this.#window.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#window.subarray(this.#end, this.#end + bytes);
  }

  /** Bytes that were put into the room: hashed as part of the whole, and cut. */
  async #take(count: number): Promise<void> {
    const room = await this.#sink.room();
    room.set(this.#window.subarray(this.#end, this.#end + count));
    this.#sink.push(count);
    this.#taken += count;
    this.#end += count;
    this.#cut(false);
  }

  /** Chunks whose end is certain. */
  #cut(ended: boolean): void {
    const { greatest } = this.#cutter.sizes;
    const held = this.#window.subarray(0, this.#end);
    while (ended ? this.#start < this.#end : this.#end - this.#start >= greatest)
      this.#chunk(this.#cutter.cut(held, this.#start));
  }

  #chunk(length: number): void {
    const bytes = this.#window.subarray(this.#start, this.#start + length);
    this.#start += length;
    this.#chunks++;
    const record = this.#encoder.add(bytes, { ...this.#how, kind: 'raw' });
    this.#records.push(record);
    for (const node of this.#manifest.add({ id: record.id, size: record.size })) this.#node(node);
  }

  #node(bytes: Uint8Array): EncodedRecord {
    const record = this.#encoder.add(bytes, { kind: 'node' });
    this.#records.push(record);
    return record;
  }

  #borrow(memory: SharedArrayBuffer | undefined): void {
    if (this.#lent) return;
    this.#lent = true;
    const { greatest } = this.#cutter.sizes;
    this.#encoder.begin(memory ?? new SharedArrayBuffer(fullBytes + spareBytes + greatest));
  }

  #handOver(): ChoppedBatch {
    const records = this.#records;
    this.#records = [];
    this.#lent = false;
    return { records, memory: this.#encoder.end() };
  }
}

function openFile(host: Host, path: string): Source {
  const file = openSource(host, path);
  try {
    const before = file.facts();
    if (before.kind !== 'file')
      throw new StoreError('invalid-argument', `not a regular file: ${path}`, { path, kind: before.kind });
    return { path, file, before };
  } catch (error) {
    file.close();
    throw toStoreError(error, `reading ${path}`, { path });
  }
}
