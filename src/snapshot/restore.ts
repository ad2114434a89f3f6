/** Writes a snapshot, or one entry of it, to disk: folders, then files, then links, then the facts of folders. */
import { type BlobId, type FileStep, type Store, StoreError } from '../../engine/index.ts';
import type { FileEntry, SnapshotEntry } from './entry.ts';
import { platformFault } from './names.ts';
import { Window } from './pacing.ts';
import { type WalkStep, walkTree } from './tree.ts';

export interface RestoreOptions {
  readonly signal?: AbortSignal;
  /** Also told where it fails after something was written: of what stays. */
  readonly onProgress?: (progress: RestoreProgress) => void;
}

export interface RestoreProgress {
  readonly files: number;
  readonly folders: number;
  readonly links: number;
  readonly bytes: number;
}

/** Files being written at once. */
const filesMax = 256;
/** Steps sent to a worker in one message. */
const stepsMax = 256;
const progressMs = 50;
/** A file this large is worth stopping in the middle. */
const abortableBytes = 8 * 1024 * 1024;

/**
 * Restores a snapshot's folder (by id) or an entry to `out`, which must be absent or, for folders, empty. Everything is created
 * new, nothing is ever written over, links come after all files: so nothing outside `out` is touched, whatever the snapshot holds.
 * Owners are not part of a snapshot. After a failure what was already written stays, for a look at it.
 */
export async function restoreTree(
  store: Store,
  what: BlobId | SnapshotEntry,
  out: string,
  options: RestoreOptions = {},
): Promise<RestoreProgress> {
  options.signal?.throwIfAborted();
  const restore = new Restore(store, out, options);
  if (typeof what === 'string') await restore.folder(what);
  else if (what.type === 'folder') {
    await restore.folder(what.id);
    await store.files.run([{ step: 'set-facts', path: out, mode: what.mode, mtimeNs: what.mtimeNs }]);
  } else if (what.type === 'file') await restore.file(what);
  else await store.files.run([{ step: 'make-link', path: out, target: what.target, mtimeNs: what.mtimeNs }]);
  return restore.done;
}

class Restore {
  readonly done: { files: number; folders: number; links: number; bytes: number } = {
    files: 0,
    folders: 0,
    links: 0,
    bytes: 0,
  };
  readonly #store: Store;
  readonly #out: string;
  readonly #options: RestoreOptions;
  readonly #window = new Window(filesMax);
  #steps: FileStep[] = [];
  #fatal: unknown;
  #failed = false;
  #told: number = performance.now();

  constructor(store: Store, out: string, options: RestoreOptions) {
    this.#store = store;
    this.#out = out;
    this.#options = options;
  }

  async folder(id: BlobId): Promise<void> {
    await this.#makeOut();
    try {
      await this.#below(id);
    } catch (error) {
      this.#options.onProgress?.({ ...this.done });
      throw error;
    }
  }

  async #below(id: BlobId): Promise<void> {
    try {
      for await (const step of walkTree(this.#store, id)) await this.#foldersAndFiles(step);
      await this.#flush();
    } catch (error) {
      this.#fail(error);
    }
    await this.#window.empty();
    this.#check();
    for await (const step of walkTree(this.#store, id)) await this.#linksAndFacts(step);
    await this.#flush();
  }

  async file(entry: FileEntry): Promise<void> {
    if ((await this.#store.files.facts(this.#out)) !== undefined)
      throw new StoreError('conflict', `${this.#out} exists already`, { path: this.#out });
    await this.#export(entry, this.#out);
    this.#check();
  }

  async #makeOut(): Promise<void> {
    const { files } = this.#store;
    const path = this.#out;
    if ((await files.facts(path)) === undefined) return await files.run([{ step: 'make-folder', path }]);
    const real = await files.realPath(path);
    if ((await files.facts(real))?.kind !== 'folder')
      throw new StoreError('conflict', `${path} exists and is not a folder`, { path });
    const { count, badNames } = await files.list(real);
    if (count + badNames.length > 0) throw new StoreError('conflict', `${path} is not empty`, { path });
  }

  async #foldersAndFiles({ step, path, entry }: WalkStep): Promise<void> {
    this.#check();
    if (step === 'leave') return;
    checkPlatform(path, entry.name);
    if (entry.type === 'folder') await this.#step({ step: 'make-folder', path: this.#join(path) });
    if (entry.type !== 'file') return;
    await this.#flush(); // its folder must be there
    await this.#window.start(() => this.#export(entry, this.#join(path)));
  }

  /** Everything real is in place: a link made now is never on the way to something still to be written. */
  async #linksAndFacts({ step, path, entry }: WalkStep): Promise<void> {
    this.#options.signal?.throwIfAborted();
    if (entry.type === 'link') {
      const { target, mtimeNs } = entry;
      await this.#step({ step: 'make-link', path: this.#join(path), target, mtimeNs });
    }
    if (step === 'leave')
      await this.#step({
        step: 'set-facts',
        path: this.#join(path),
        mode: entry.mode,
        mtimeNs: entry.mtimeNs,
      });
  }

  async #export(entry: FileEntry, path: string): Promise<void> {
    try {
      this.#check();
      const { id, mode, mtimeNs, size } = entry;
      // Small files share messages to the workers, which a signal of their own would prevent.
      const options =
        size >= abortableBytes && this.#options.signal !== undefined ? { signal: this.#options.signal } : {};
      if (!(await this.#store.exportTo({ id, path, mode, mtimeNs }, options)))
        throw new StoreError('not-found', `blob ${id} is not in the store`, { id, path });
      this.done.files++;
      this.done.bytes += size;
      this.#tell();
    } catch (error) {
      this.#fail(naming(error, path));
    }
  }

  async #step(step: FileStep): Promise<void> {
    this.#steps.push(step);
    if (this.#steps.length >= stepsMax) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#steps.length === 0) return;
    const steps = this.#steps;
    this.#steps = [];
    await this.#store.files.run(steps);
    // What waits to be made is not there yet, and never will be where this fails.
    for (const { step } of steps) {
      if (step === 'make-folder') this.done.folders++;
      if (step === 'make-link') this.done.links++;
    }
  }

  #join(path: string): string {
    return this.#out.endsWith('/') ? this.#out + path : `${this.#out}/${path}`;
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#fatal = error;
  }

  #check(): void {
    if (this.#failed) throw this.#fatal;
    this.#options.signal?.throwIfAborted();
  }

  #tell(): void {
    const now = performance.now();
    if (this.#options.onProgress === undefined || now - this.#told < progressMs) return;
    this.#told = now;
    this.#options.onProgress({ ...this.done });
  }
}

function checkPlatform(path: string, name: string): void {
  const fault = platformFault(name, process.platform);
  if (fault !== undefined) throw new StoreError('invalid-argument', `${path}: the name ${fault}`, { path });
}

/** An id says nothing to people who look for a file of theirs. */
function naming(error: unknown, path: string): unknown {
  if (!StoreError.is(error) || error.message.includes(path)) return error;
  return new StoreError(error.code, `${path}: ${error.message}`, { ...error.facts, path }, error);
}
