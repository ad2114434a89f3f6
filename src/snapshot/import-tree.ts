/** Imports what is below a listing: files as blobs, folders as maps, children before parents, many at once. */
import { type BlobId, StoreError } from '../../engine/index.ts';
import { openChildren } from './child-folders.ts';
import { nameEnd } from './flat-listing.ts';
import { putMap, readTargets } from './folder-map.ts';
import { type FolderCounts, foldersOf, kindFile } from './import-cache.ts';
import type { ImportRun } from './import-run.ts';
import { chainMax, nameBytesMax, pathBytesMax, printable, utf8 } from './names.ts';
import { type OpenFolder, SameFiles, joinPath } from './open-folder.ts';
import { Window } from './pacing.ts';
import { putFile } from './source.ts';
import { isSourceError } from './source-error.ts';

/** Folders that are looked through but wait for their puts. */
const foldersMax = 256;

/** Entries of a folder between two looks at the clock, each of which takes as long as an entry that is known. */
const entriesPerLook = 32;

/** A folder that is in the store. */
export interface ImportedFolder {
  readonly id: BlobId;
  readonly height: number;
}

/** A folder that will be; undefined when it could not be imported, which the report tells. Never rejects. */
interface Pending {
  readonly done: Promise<ImportedFolder | undefined>;
}

export class TreeImport {
  readonly #run: ImportRun;
  readonly #folders = new Window(foldersMax);

  constructor(run: ImportRun) {
    this.#run = run;
  }

  /** Imports a folder and all below it. Everything is in the store when this resolves, and nothing is under way when it rejects. */
  async run(root: OpenFolder): Promise<ImportedFolder> {
    try {
      const { done } = await this.#walk(root);
      await this.#run.startReads();
      const result = await done;
      // The maps of folders are still on their way.
      await this.#run.flushNodes();
      await this.#run.puts.empty();
      this.#run.check();
      if (result!.height > chainMax)
        throw new StoreError(
          'limit-exceeded',
          `the longest chain of nodes would be ${result!.height}, over ${chainMax}`,
        );
      return result!;
    } catch (error) {
      this.#run.fail(error);
      throw error;
    } finally {
      // After a failure they end at once, and with them the folders that wait for them.
      await this.#run.startReads();
      await this.#folders.empty();
      await this.#run.puts.empty();
    }
  }

  /** Starts all that is to be done for a folder and all below it; resolves when it is started. */
  async #walk(folder: OpenFolder): Promise<Pending> {
    this.#run.check();
    if (folder.same) this.#countKnown(folder.cached!.counts);
    else await this.#takeFiles(folder);
    const below: [index: number, pending: Pending][] = [];
    for await (const { index, child } of openChildren(this.#run, folder)) {
      if (child === undefined) folder.exclude(index);
      else below.push([index, await this.#walk(child)]);
    }
    if (folder.place.path === '') return { done: this.#settle(folder, below) };
    const full = this.#folders.enter();
    if (full !== undefined) {
      await this.#run.startReads();
      await full;
    }
    return { done: this.#settle(folder, below).finally(() => this.#folders.leave()) };
  }

  async #settle(
    folder: OpenFolder,
    below: readonly (readonly [number, Pending])[],
  ): Promise<ImportedFolder | undefined> {
    try {
      return await this.#finish(folder, below);
    } catch (error) {
      this.#run.fail(error);
      return undefined;
    }
  }

  /** The files of a folder that is new or changed: known ones keep their id, the others are read. */
  async #takeFiles(folder: OpenFolder): Promise<void> {
    const { names, count } = folder.listing;
    const known = folder.cached === undefined ? undefined : new SameFiles(folder.cached, folder);
    for (let i = 0, at = 0, end: number; i < count; i++, at = end + 1) {
      const wait = i % entriesPerLook === 0 ? this.#run.rest() : undefined;
      if (wait !== undefined) await wait;
      end = nameEnd(names, at);
      const kind = folder.kind(i);
      if (!this.#fits(folder, i, names.subarray(at, end)) || kind !== kindFile) continue;
      if (known?.take(i, at) === true) {
        this.#countKnown({ files: 1, links: 0, bytes: folder.size(i) });
        continue;
      }
      folder.reading.start();
      const path = folder.pathOf(utf8(names.subarray(at, end))!);
      await this.#run.read(folder.size(i), () => this.#put(folder, i, path));
      this.#run.check();
    }
  }

  #countKnown({ files, links, bytes }: FolderCounts): void {
    const { report } = this.#run;
    report.files += files;
    report.links += links;
    report.bytes += bytes;
  }

  /** Names and paths that no snapshot holds are failures of the source. */
  #fits(folder: OpenFolder, index: number, name: Uint8Array): boolean {
    const { inside } = folder.place;
    const fault =
      name.length > nameBytesMax
        ? `a name has ${name.length} bytes, over ${nameBytesMax}`
        : inside.length + 1 + name.length > pathBytesMax / 4 &&
            Buffer.byteLength(inside) + 1 + name.length > pathBytesMax
          ? `a path has over ${pathBytesMax} bytes`
          : undefined;
    if (fault === undefined) return true;
    const path = `${inside}/${printable(name)}`;
    this.#run.report.fail(path, new StoreError('limit-exceeded', `${path.slice(0, 60)}…: ${fault}`));
    folder.exclude(index);
    return false;
  }

  async #put(folder: OpenFolder, index: number, path: string): Promise<void> {
    const { store, report, signal } = this.#run;
    try {
      this.#run.check();
      const { id, deduplicated, size, source } = await putFile(store, path, { report, signal });
      folder.setId(index, id);
      folder.setFacts(index, source);
      report.filesRead++;
      report.files++;
      report.bytes += size;
      if (!deduplicated) report.newBytes += size;
      report.tell();
    } catch (error) {
      if (!isSourceError(error, path)) return this.#run.fail(error);
      report.fail(path, error);
      folder.exclude(index);
    } finally {
      folder.reading.end();
    }
  }

  /** All of a folder's content is in the store: builds its map, or finds that it is the one it was. */
  async #finish(
    folder: OpenFolder,
    below: readonly (readonly [number, Pending])[],
  ): Promise<ImportedFolder | undefined> {
    await folder.reading.all();
    let height = 0;
    for (const [index, pending] of below) {
      const done = await pending.done;
      if (done === undefined) folder.exclude(index);
      else {
        folder.setId(index, done.id);
        this.#run.report.folders++;
        height = Math.max(height, done.height);
      }
    }
    this.#run.check();
    const { cached, place } = folder;
    this.#run.report.tell();
    if (cached !== undefined && !folder.altered) return { id: cached.id, height: cached.height };
    await readTargets(this.#run, folder);
    const map = await putMap(this.#run, folder);
    const result = { id: map.id, height: height + map.level + 1 };
    if (place.path !== '') await this.#remember(folder, result);
    return result;
  }

  async #remember(folder: OpenFolder, result: ImportedFolder): Promise<void> {
    const { cache } = this.#run;
    const { path } = folder.place;
    for (const name of folder.goneFolders()) await this.#forget(joinPath(path, name));
    cache.setFolder(path, folder.remember(result), folder.cached);
    if (cache.full) await cache.flush();
  }

  /** Drops what the cache knows of a folder that is gone, and of all below it. */
  async #forget(path: string): Promise<void> {
    const cached = await this.#run.cache.folder(path);
    if (cached === undefined) return;
    for (const name of foldersOf(cached).keys()) await this.#forget(joinPath(path, name));
    this.#run.cache.forgetFolder(path, cached);
  }
}
