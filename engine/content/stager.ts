/** Takes large blobs in on a worker thread: into a temp file of this lease while hashing, then into its place under its id. */
import type { SourceFacts } from '../api.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError, invariant, systemCode, toStoreError, writeError } from '../errors.ts';
import type { FileFacts, Host, OpenFile } from '../host.ts';
import type { DirectoryVolume } from '../volumes/directory.ts';
import { Digester } from './digest.ts';
import { openSource, unchanged } from './encoder.ts';
import { type DigestLink, DigestSink } from './digest-link.ts';

export interface StagerOptions {
  readonly host: Host;
  readonly provider: Provider;
  readonly directory: DirectoryVolume;
  /** Folder of this lease's temps. */
  readonly temps: string;
  readonly chunkBytes: number;
}

/** A blob in a temp file: written and hashed, not yet durable, not yet named. */
export interface StagedBlob {
  readonly token: string;
  readonly id: string;
  readonly size: number;
  readonly source?: SourceFacts;
}

interface Staged {
  readonly file: OpenFile;
  readonly path: string;
  readonly digester: Digester;
  written: number;
  sums?: Uint8Array;
}

/** Bytes between two turns of the event loop, so that reads on this thread wait a few milliseconds at most. */
export const sliceBytes: number = 1024 * 1024;
const slicesPerTurn = 4;

export interface StageContext {
  readonly signal: AbortSignal;
  progress(bytes: number): void;
}

export class Stager {
  readonly #options: StagerOptions;
  readonly #staged = new Map<string, Staged>();
  /** Whether this file system clones; unknown until tried. */
  #clones: boolean | undefined;

  constructor(options: StagerOptions) {
    this.#options = options;
  }

  /** Temp files held open right now. */
  get open(): number {
    return this.#staged.size;
  }

  /** Copies a file in. The copy is what is hashed, so the source may change meanwhile: that is seen by its times and refused. */
  async path(path: string, link: DigestLink | undefined, context: StageContext): Promise<StagedBlob> {
    const source = openSource(this.#options.host, path);
    let token: string | undefined;
    try {
      const before = source.facts();
      token = this.#clone(path, before) ?? this.begin();
      const staged = this.#get(token);
      const input = staged.written > 0 ? staged.file : source;
      const digest = await this.#pump(input, staged, before, { link, context });
      const facts = unchanged(path, before, source.facts(), digest.size);
      return { ...this.#finished(token, digest), source: facts };
    } catch (error) {
      if (token !== undefined) this.discard(token);
      if (context.signal.aborted) throw error;
      throw toStoreError(error, `reading ${path}`, { path });
    } finally {
      source.close();
    }
  }

  /** Starts an empty temp; `write` appends, `finish` ends. */
  begin(): string {
    const { host, temps, provider, chunkBytes } = this.#options;
    const token = toHex(host.random(16));
    const path = host.files.join(temps, token);
    this.#staged.set(token, {
      file: createTemp(host, path),
      path,
      digester: new Digester(provider, chunkBytes),
      written: 0,
    });
    return token;
  }

  write(token: string, bytes: Uint8Array): void {
    const staged = this.#get(token);
    writeTo(staged, bytes, staged.written);
    staged.written += bytes.length;
    staged.digester.update(bytes);
  }

  finish(token: string): StagedBlob {
    return this.#finished(token, this.#get(token).digester.finish());
  }

  /** Content durable, then named, then the name durable. Returns the chunk checksums for the catalog. */
  publish(token: string, name: { readonly id: string; readonly incarnation: number }): Uint8Array {
    const staged = this.#get(token);
    invariant(staged.sums !== undefined, 'published before it was finished');
    try {
      this.#options.directory.publish(staged.file, staged.path, name);
      this.#staged.delete(token);
      return staged.sums;
    } catch (error) {
      this.discard(token);
      throw writeError(error, 'storing a file');
    }
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

  #finished(
    token: string,
    digest: { readonly id: Uint8Array; readonly sums: Uint8Array; readonly size: number },
  ): StagedBlob {
    this.#get(token).sums = digest.sums;
    return { token, id: toHex(digest.id), size: digest.size };
  }

  /** Reads, writes and hashes slice by slice; the hashing on a neighbour thread where one is idle. */
  async #pump(
    input: OpenFile,
    staged: Staged,
    before: FileFacts,
    how: { readonly link: DigestLink | undefined; readonly context: StageContext },
  ): Promise<{ readonly id: Uint8Array; readonly sums: Uint8Array; readonly size: number }> {
    const { host, chunkBytes } = this.#options;
    const sink = await DigestSink.open(how.link, staged.digester, { sliceBytes, chunkBytes });
    const copying = input !== staged.file;
    try {
      for (let at = 0, slice = 0; ; slice++) {
        how.context.signal.throwIfAborted();
        const room = await sink.room();
        const bytes = room.subarray(0, input.read(room, at));
        if (bytes.length === 0) break;
        if (copying) writeTo(staged, bytes, at);
        sink.push(bytes.length);
        at += bytes.length;
        staged.written = at;
        if (at > before.size) break; // it grew: `unchanged` says so
        how.context.progress(at);
        if (slice % slicesPerTurn === slicesPerTurn - 1) await host.clock.yield();
      }
      return await sink.finish();
    } catch (error) {
      sink.abandon();
      throw error;
    }
  }

  #clone(path: string, facts: FileFacts): string | undefined {
    if (this.#clones === false || facts.size === 0) return undefined;
    const { host, temps, provider, chunkBytes } = this.#options;
    const token = toHex(host.random(16));
    const temp = host.files.join(temps, token);
    this.#clones = host.files.clone(path, temp);
    if (!this.#clones) return undefined;
    host.files.setMode(temp, 0o644); // a clone has its source's mode, which may forbid writing
    const file = host.files.open(temp, 'write');
    const written = file.facts().size;
    this.#staged.set(token, { file, path: temp, digester: new Digester(provider, chunkBytes), written });
    return token;
  }

  #get(token: string): Staged {
    const staged = this.#staged.get(token);
    if (staged === undefined) throw new StoreError('closed', 'this staged blob is gone');
    return staged;
  }
}

function createTemp(host: Host, path: string): OpenFile {
  try {
    return host.files.open(path, 'create');
  } catch (error) {
    throw writeError(error, 'creating a temp file');
  }
}

function writeTo(staged: Staged, bytes: Uint8Array, at: number): void {
  try {
    staged.file.write(bytes, at);
  } catch (error) {
    throw writeError(error, 'writing a temp file');
  }
}

function removeIfThere(host: Host, path: string): void {
  try {
    host.files.removeFile(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
