/** Chops a large blob into chunk blobs on a worker thread: cuts, hashes, encodes records a batch at a time, builds the manifest. */
import type { SourceFacts } from '../api.ts';
import { toHex } from '../codec/bytes.ts';
import { type CutSizes, Cutter } from '../codec/fastcdc.ts';
import { ManifestBuilder } from '../codec/manifest.ts';
import type { Hasher, Provider } from '../codec/provider.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { FileFacts, Host, OpenFile } from '../host.ts';
import { type EncodedBatch, type Encoder, openSource, unchanged } from './encoder.ts';
import type { StageHow } from './stager.ts';

/** Bytes taken in for one batch: with what is left of the one before, what one batch's memory holds. */
const sliceBytes = 1024 * 1024;

export interface ChopStart extends StageHow {
  /** Absent: the bytes come with the calls. */
  readonly path?: string;
}

export interface ChopCall {
  readonly token: string;
  /** The caller's memory, used again and again. */
  readonly memory: SharedArrayBuffer | undefined;
  /** The next bytes of a source without a path, at most 1 MiB; none: it has ended. */
  readonly bytes?: Uint8Array;
}

/** What was chopped off by one call. Nodes come behind the chunks they link to. */
export interface Chopped {
  readonly chunks: EncodedBatch;
  readonly nodes?: EncodedBatch;
  /** Bytes taken in so far. */
  readonly taken: number;
  /** At the end. */
  readonly done?: ChoppedBlob;
}

export interface ChoppedBlob {
  readonly id: string;
  readonly size: number;
  /** The root of the manifest: the last of the nodes. Absent: the one chunk is the blob. */
  readonly manifest?: string;
  readonly source?: SourceFacts;
}

interface Chopping {
  readonly path: string | undefined;
  readonly file: OpenFile | undefined;
  readonly before: FileFacts | undefined;
  readonly how: StageHow;
  readonly hasher: Hasher;
  readonly manifest: ManifestBuilder;
  /** Bytes that belong to no chunk yet, from its start; room for a slice behind them. */
  readonly buffer: Uint8Array;
  held: number;
  /** Of them cut off by this call. */
  done: number;
  taken: number;
  parts: number;
}

export class Chopper {
  readonly #host: Host;
  readonly #provider: Provider;
  readonly #encoder: Encoder;
  readonly #cutter: Cutter;
  readonly #open = new Map<string, Chopping>();

  constructor(host: Host, provider: Provider, how: { readonly encoder: Encoder; readonly cuts: CutSizes }) {
    this.#host = host;
    this.#provider = provider;
    this.#encoder = how.encoder;
    const { least, average, greatest } = how.cuts;
    this.#cutter = new Cutter(provider, { least, average, greatest });
  }

  begin(start: ChopStart): string {
    const { path, ...how } = start;
    const token = toHex(this.#host.random(16));
    const file = path === undefined ? undefined : openSource(this.#host, path);
    this.#open.set(token, {
      path,
      file,
      before: file?.facts(),
      how,
      hasher: this.#provider.hasher(),
      manifest: new ManifestBuilder((bytes) => this.#provider.sha256Hex(bytes)),
      buffer: new Uint8Array(this.#cutter.sizes.greatest + sliceBytes),
      held: 0,
      done: 0,
      taken: 0,
      parts: 0,
    });
    return token;
  }

  chop(call: ChopCall): Chopped {
    const chopping = this.#open.get(call.token);
    if (chopping === undefined) throw new StoreError('closed', 'this put is over');
    const ended = this.#take(chopping, call.bytes);
    const chunks = this.#encoder.encode(
      this.#cut(chopping, ended).map((bytes) => ({ bytes, kind: 'raw', ...chopping.how })),
      call.memory,
    );
    this.#keepRest(chopping);
    const full: Uint8Array[] = [];
    for (const result of chunks.results) {
      if ('error' in result) throw result.error;
      if (!('id' in result.ok)) throw new Error('holdfast bug: a chunk did not fit its batch');
      full.push(...chopping.manifest.add(result.ok));
      chopping.parts++;
    }
    const done = ended ? this.#finish(chopping, full) : undefined;
    const nodes = full.length === 0 ? undefined : this.#encodeNodes(full);
    return {
      chunks,
      ...(nodes === undefined ? {} : { nodes }),
      taken: chopping.taken,
      ...(done === undefined ? {} : { done }),
    };
  }

  end(token: string): void {
    this.#open.get(token)?.file?.close();
    this.#open.delete(token);
  }

  close(): void {
    for (const token of [...this.#open.keys()]) this.end(token);
  }

  /** Puts the next bytes behind those that are held; true at the end. */
  #take(chopping: Chopping, bytes: Uint8Array | undefined): boolean {
    const { buffer, held, file, path } = chopping;
    let count: number;
    if (file === undefined) {
      count = bytes?.length ?? 0;
      if (bytes !== undefined) buffer.set(bytes, held);
    } else {
      try {
        count = file.read(buffer.subarray(held, held + sliceBytes), chopping.taken);
      } catch (error) {
        throw toStoreError(error, `reading ${path}`, { path });
      }
    }
    chopping.hasher.update(buffer.subarray(held, held + count));
    chopping.held += count;
    chopping.taken += count;
    // A file that grew is not read for ever: `unchanged` says so.
    return count === 0 || (chopping.before !== undefined && chopping.taken > chopping.before.size);
  }

  /** Chunks whose end is certain, where they lie in the buffer: until `#keepRest`. */
  #cut(chopping: Chopping, ended: boolean): Uint8Array[] {
    const { buffer, held } = chopping;
    const content = buffer.subarray(0, held);
    const chunks: Uint8Array[] = [];
    let at = 0;
    while (ended ? at < held : held - at >= this.#cutter.sizes.greatest) {
      const length = this.#cutter.cut(content, at);
      chunks.push(content.subarray(at, at + length));
      at += length;
    }
    chopping.done = at;
    return chunks;
  }

  /** What belongs to no chunk yet moves to the front. */
  #keepRest(chopping: Chopping): void {
    const { buffer, done, held } = chopping;
    buffer.copyWithin(0, done, held);
    chopping.held = held - done;
  }

  #finish(chopping: Chopping, nodes: Uint8Array[]): ChoppedBlob {
    const { path, file, before, taken: size } = chopping;
    const source = file === undefined ? undefined : unchanged(path!, before!, file.facts(), size);
    const id = toHex(chopping.hasher.digest());
    const told = { id, size, ...(source === undefined ? {} : { source }) };
    // One chunk is the blob itself.
    if (chopping.parts === 1) return told;
    nodes.push(...chopping.manifest.finish({ id, size, cuts: this.#cutter.sizes }));
    return { ...told, manifest: this.#provider.sha256Hex(nodes.at(-1)!) };
  }

  #encodeNodes(nodes: readonly Uint8Array[]): EncodedBatch {
    const bytes = nodes.reduce((sum, node) => sum + node.length + 4096, 0);
    return this.#encoder.encode(
      nodes.map((node) => ({ bytes: node, kind: 'node' })),
      new SharedArrayBuffer(bytes),
    );
  }
}
