/** Takes large blobs in on a worker thread: into a temp file of this lease while hashing, then into its place under its id. */
import type { CompressionParameters } from '../api.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import { type EncodedChunk, decodeOne } from '../codec/chunk-run.ts';
import { ChunkCompressor } from '../codec/compress.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError, invariant, toStoreError, writeError } from '../errors.ts';
import type { FileFacts, Host, OpenFile } from '../host.ts';
import type { Realm } from '../keys/realm.ts';
import type { PartName } from '../volume.ts';
import { type ContentDigest, Digester } from './digest.ts';
import type { DigestLink } from './digest-link.ts';
import { openSource, unchanged } from './encoder.ts';
import { Framing, objectFraming } from './framing.ts';
import type { Places, StagingPlace } from './places.ts';
import { judgeFramed } from './judge-object.ts';
import { bytesSource, samplesOf } from './samples.ts';
import { slicesOf } from './slices.ts';
import { type StageContext, type StageHow, type StagedBlob, sliceBytes } from './staging.ts';
import { append, appendLater, copyBytes, createTemp, removeIfThere, writeTo } from './temp-files.ts';

export interface StagerOptions {
  readonly host: Host;
  readonly provider: Provider;
  readonly realm: Realm;
  readonly places: Places;
  readonly lease: string;
  readonly chunkBytes: number;
  readonly compression: CompressionParameters;
}

interface Staged {
  readonly place: StagingPlace;
  readonly file: OpenFile;
  readonly path: string;
  /** Bytes of the temp file. */
  written: number;
  /** Of a stream. Not there before the first bytes have shown what they are like. */
  digester?: Digester;
  /** Absent where the file is the content. */
  framing?: Framing;
  /** Of an object that was sealed elsewhere. */
  locator?: string;
  /** What it is sealed under. Keys may change while it is staged; its label is of the same epoch, by which `reseal` finds it. */
  epoch?: number;
  readonly compressor?: ChunkCompressor;
  sums?: Uint8Array;
}

const slicesPerTurn = 4;

export class Stager {
  readonly #options: StagerOptions;
  readonly #staged = new Map<string, Staged>();
  /** Whether the file system of a volume clones; unknown until tried. */
  readonly #clones = new Map<number, boolean>();

  constructor(options: StagerOptions) {
    this.#options = options;
  }

  /** Temp files held open right now. */
  get open(): number {
    return this.#staged.size;
  }

  /** Copies a file in. The copy is what is hashed, so the source may change meanwhile: that is seen by its times and refused. */
  async path(
    path: string,
    how: StageHow & { readonly link?: DigestLink | undefined },
    context: StageContext,
  ): Promise<StagedBlob> {
    const source = openSource(this.#options.host, path);
    let token: string | undefined;
    try {
      const before = source.facts();
      const compressor = this.#compressor(how);
      const worthwhile = compressor?.isWorthwhile(samplesOf(source, before.size)) === true;
      const framed = worthwhile || this.#sealed;
      const place = this.#place(before.size);
      token = (framed ? undefined : this.#clone(path, before, place)) ?? this.#begin(place, compressor);
      const staged = this.#get(token);
      if (framed) staged.framing = this.#framing(staged, worthwhile ? compressor : undefined);
      const digest = await this.#pump(source, staged, before, { path, link: how.link, context });
      const facts = unchanged(path, before, source.facts(), digest.size);
      return { ...(await this.#finished(token, digest)), source: facts };
    } catch (error) {
      if (token !== undefined) this.discard(token);
      if (context.signal.aborted) throw error;
      throw toStoreError(error, `reading ${path}`, { path });
    } finally {
      source.close();
    }
  }

  /** Starts an empty temp; `write` appends, `finish` ends. */
  begin(how: StageHow): string {
    if (how.locator === undefined) return this.#begin(this.#place(0), this.#compressor(how));
    const token = this.#begin(this.#place(0), undefined);
    const staged = this.#get(token);
    staged.locator = how.locator;
    const { provider, chunkBytes } = this.#options;
    staged.framing = objectFraming(provider, chunkBytes, (pieces) => appendLater(staged, pieces));
    staged.digester = this.#digester(staged);
    return token;
  }

  /** Resolves with whether the bytes are not needed any more. */
  async write(token: string, bytes: Uint8Array): Promise<boolean> {
    const staged = this.#get(token);
    const digester = (staged.digester ??= this.#decide(staged, bytes));
    if (staged.framing !== undefined) {
      await staged.framing.add(bytes, () => digester.update(bytes));
      return false;
    }
    append(staged, bytes);
    digester.update(bytes);
    return true;
  }

  /** The same of chunks that were encoded elsewhere: all are decoded and hashed, and framed as they are where that is how it is done here. */
  async writeEncoded(token: string, chunks: readonly EncodedChunk[]): Promise<void> {
    let staged = this.#get(token);
    const isToBe = staged.compressor !== undefined || this.#sealed;
    if (isToBe && staged.framing === undefined) staged = await this.#framed(token, staged);
    const digester = (staged.digester ??= this.#digester(staged));
    const { framing, compressor } = staged;
    if (framing !== undefined) return await framing.addEncoded(chunks, compressor?.codec, digester);
    for (const chunk of chunks) {
      const bytes = decodeOne(this.#options.provider, chunk);
      append(staged, bytes);
      digester.update(bytes);
    }
  }

  async finish(token: string): Promise<StagedBlob> {
    const staged = this.#get(token);
    const digester = staged.digester ?? this.#decide(staged, new Uint8Array(0));
    return await this.#finished(token, digester.finish());
  }

  /** Content durable, then named, then the name durable. Returns the chunk checksums for the catalog. */
  publish(token: string, part: { readonly volume: number; readonly name: PartName }): Uint8Array {
    const staged = this.#get(token);
    invariant(staged.sums !== undefined, 'published before it was finished');
    try {
      const { file, path, place } = part.volume === staged.place.volume ? staged : this.#restage(token, part);
      place.directory.publish(file, path, part.name);
      this.#staged.delete(token);
      return staged.sums;
    } catch (error) {
      this.discard(token);
      throw writeError(error, 'storing a file');
    }
  }

  /** The commit thread chose another volume than was guessed: the temp is copied beside the place it goes to. */
  #restage(token: string, { volume }: { readonly volume: number }): Staged {
    const { host, places, lease } = this.#options;
    const staged = this.#get(token);
    const place = places.stagingIn(volume, lease);
    const path = host.files.join(place.temps, token);
    const file = createTemp(host, path);
    const moved = { ...staged, place, file, path };
    try {
      copyBytes(staged.file, file);
    } catch (error) {
      file.close();
      removeIfThere(host, path);
      throw error;
    }
    this.discard(token);
    this.#staged.set(token, moved);
    return moved;
  }

  discard(token: string): void {
    const staged = this.#staged.get(token);
    if (staged === undefined) return;
    this.#staged.delete(token);
    try {
      staged.file.close();
    } finally {
      removeIfThere(this.#options.host, staged.path);
    }
  }

  close(): void {
    for (const token of [...this.#staged.keys()]) this.discard(token);
  }

  /** An object is judged where it lies: it may be larger than memory. */
  async #finishedObject(token: string, { id, size }: ContentDigest, locator: string): Promise<StagedBlob> {
    const staged = this.#get(token);
    await staged.framing!.finish({ id, size, name: fromHex(locator)! });
    staged.sums = new Uint8Array(0);
    return {
      token,
      ...(await judgeFramed(locator, { file: staged.file, bytes: staged.written }, this.#options)),
      name: locator,
      storedContent: size,
      framed: true,
      storedSize: staged.written,
      volume: staged.place.volume,
      digest: toHex(id),
    };
  }

  async #finished(token: string, digest: ContentDigest): Promise<StagedBlob> {
    const { realm } = this.#options;
    const staged = this.#get(token);
    if (staged.locator !== undefined) return await this.#finishedObject(token, digest, staged.locator);
    const { id, size, sums } = digest;
    const { framing } = staged;
    const facts = { id: toHex(id), size };
    const name = realm.nameOf(facts.id);
    const storedContent = (await framing?.finish({ id, size, name: fromHex(name)! })) ?? size;
    // Fewer would be found when they are read, and then they are gone.
    const { size: there } = staged.file.facts();
    invariant(there === staged.written, `${there} of ${staged.written} bytes were written`);
    // A frame holds the checksums of its chunks itself.
    staged.sums = framing === undefined ? sums : new Uint8Array(0);
    return {
      token,
      ...facts,
      name,
      storedContent,
      label: realm.label(facts, staged.epoch === undefined ? { name } : { name, epoch: staged.epoch }),
      framed: framing !== undefined,
      storedSize: staged.written,
      volume: staged.place.volume,
    };
  }

  get #sealed(): boolean {
    return this.#options.realm.state !== 'plain';
  }

  #compressor(how: StageHow): ChunkCompressor | undefined {
    const { compression, provider } = this.#options;
    const mode = how.compression ?? compression.mode;
    if (mode === 'off') return undefined;
    return new ChunkCompressor(provider, { ...compression, mode, mediaType: how.mediaType });
  }

  #place(bytes: number): StagingPlace {
    return this.#options.places.staging(bytes, this.#options.lease);
  }

  #begin(place: StagingPlace, compressor: ChunkCompressor | undefined): string {
    const { host } = this.#options;
    const token = toHex(host.random(16));
    const path = host.files.join(place.temps, token);
    const staged: Staged = { place, file: createTemp(host, path), path, written: 0 };
    this.#staged.set(token, compressor === undefined ? staged : { ...staged, compressor });
    return token;
  }

  /** Begins its frame, with what is staged of it already: chunks that come compressed show that it pays. */
  async #framed(token: string, bare: Staged): Promise<Staged> {
    const fresh = this.#begin(bare.place, bare.compressor);
    const staged = this.#get(fresh);
    try {
      if (bare.digester !== undefined) staged.digester = bare.digester;
      const framing = (staged.framing = this.#framing(staged, bare.compressor));
      const slice = new Uint8Array(sliceBytes);
      for (let at = 0, count = 0; (count = bare.file.read(slice, at)) > 0; at += count) {
        await framing.add(slice.subarray(0, count), () => undefined);
        await this.#options.host.clock.yield();
      }
    } catch (error) {
      this.discard(fresh);
      throw error;
    }
    this.discard(token);
    this.#staged.delete(fresh);
    this.#staged.set(token, staged);
    return staged;
  }

  /** Of a stream only the beginning can be looked at. */
  #decide(staged: Staged, bytes: Uint8Array): Digester {
    const { compressor } = staged;
    const worthwhile = compressor?.isWorthwhile(samplesOf(bytesSource(bytes), bytes.length)) === true;
    if (worthwhile || this.#sealed)
      staged.framing = this.#framing(staged, worthwhile ? compressor : undefined);
    return this.#digester(staged);
  }

  #digester(staged: Staged): Digester {
    return new Digester(this.#options.provider, this.#chunkBytes(staged));
  }

  /** Checksums of chunks are kept of a file that is the content. */
  #chunkBytes({ framing }: Staged): number {
    return framing === undefined ? this.#options.chunkBytes : 0;
  }

  #framing(staged: Staged, compressor: ChunkCompressor | undefined): Framing {
    const { provider, chunkBytes, realm } = this.#options;
    const { sealing } = realm;
    const chunkLog2 = Math.log2(chunkBytes);
    const seal = sealing && {
      header: sealing.header('raw', chunkLog2, new Uint8Array(0)),
      padding: sealing.padding,
    };
    if (seal !== undefined) staged.epoch = seal.header.epoch;
    return new Framing(provider, {
      chunkLog2,
      compressor,
      seal,
      append: (pieces) => appendLater(staged, pieces),
    });
  }

  /** Reads, frames or writes, and hashes slice by slice; some of it on a neighbour thread where one is idle. */
  async #pump(
    source: OpenFile,
    staged: Staged,
    before: FileFacts,
    how: { readonly path: string; readonly link: DigestLink | undefined; readonly context: StageContext },
  ): Promise<ContentDigest> {
    const { framing } = staged;
    const copying = framing !== undefined || staged.written === 0;
    const slices = await slicesOf(copying ? source : staged.file, {
      ...how,
      facts: before,
      framed: framing !== undefined,
      own: this.#digester(staged),
      sizes: { sliceBytes, chunkBytes: this.#chunkBytes(staged) },
    });
    try {
      for (let at = 0, slice = 0; ; slice++) {
        how.context.signal.throwIfAborted();
        const bytes = await slices.next();
        if (bytes.length === 0) break;
        if (framing !== undefined) await framing.add(bytes, () => slices.hash());
        else {
          if (copying) writeTo(staged, bytes, at);
          slices.hash();
          staged.written = at + bytes.length;
        }
        at += bytes.length;
        if (at > before.size) break; // it grew: `unchanged` says so
        how.context.progress(at);
        if (slice % slicesPerTurn === slicesPerTurn - 1) await this.#options.host.clock.yield();
      }
      return await slices.finish();
    } catch (error) {
      slices.abandon();
      throw error;
    }
  }

  #clone(path: string, facts: FileFacts, place: StagingPlace): string | undefined {
    if (this.#clones.get(place.volume) === false || facts.size === 0) return undefined;
    const { host } = this.#options;
    const token = toHex(host.random(16));
    const temp = host.files.join(place.temps, token);
    const cloned = host.files.clone(path, temp);
    this.#clones.set(place.volume, cloned);
    if (!cloned) return undefined;
    host.files.setMode(temp, 0o644); // a clone has its source's mode, which may forbid writing
    const file = host.files.open(temp, 'write');
    const written = file.facts().size;
    this.#staged.set(token, { place, file, path: temp, written });
    return token;
  }

  #get(token: string): Staged {
    const staged = this.#staged.get(token);
    if (staged === undefined) throw new StoreError('closed', 'this staged blob is gone');
    return staged;
  }
}
