/** Imports what is below a listing: files as blobs, folders as maps, children before parents, many at once. */
import { type BlobId, type Store, StoreError, listingRecordBytes, nodeProvider } from '../../engine/index.ts';
import { type BuiltNode, MapBuilder } from '../../sync/tree/builder.ts';
import { encodeEntry } from './entry.ts';
import {
  type FolderCounts,
  type ImportCache,
  foldersOf,
  kindFile,
  kindFolder,
  kindLink,
  kindOther,
  sameBytes,
} from './import-cache.ts';
import type { ImportReport } from './import-report.ts';
import { chainMax, nameBytesMax, pathBytesMax, printable, utf8 } from './names.ts';
import { type FolderPlace, OpenFolder, SameFiles } from './open-folder.ts';
import { Latch, Turns, Window } from './pacing.ts';
import { isSourceError, putFile, readTarget } from './source.ts';

/** Puts in flight: enough to fill group commits, few enough to forget about. */
const putsMax = 512;
/** Folders that are looked through but wait for their puts. */
const foldersMax = 256;
/** Listings fetched before they are needed. */
const listAhead = 6;

/** A folder that is in the store. */
export interface ImportedFolder {
  readonly id: BlobId;
  readonly height: number;
}

/** A folder that will be; undefined when it could not be imported, which the report tells. Never rejects. */
interface Pending {
  readonly done: Promise<ImportedFolder | undefined>;
}

export interface TreeParts {
  readonly store: Store;
  readonly cache: ImportCache;
  readonly report: ImportReport;
  /** dev and ino of the store's own folder, as in a listing's record. */
  readonly ownFolder: Uint8Array;
  readonly signal: AbortSignal | undefined;
}

export class TreeImport {
  readonly #parts: TreeParts;
  readonly #turns = new Turns();
  readonly #puts = new Window(putsMax);
  readonly #folders = new Window(foldersMax);
  #fatal: unknown;
  #failed = false;

  constructor(parts: TreeParts) {
    this.#parts = parts;
  }

  /** Imports a folder and all below it. Everything is in the store when this resolves, and nothing is under way when it rejects. */
  async run(root: OpenFolder): Promise<ImportedFolder> {
    try {
      const { done } = await this.#walk(root);
      const result = await done;
      this.#check();
      if (result!.height > chainMax)
        throw new StoreError(
          'limit-exceeded',
          `the longest chain of nodes would be ${result!.height}, over ${chainMax}`,
        );
      return result!;
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      await this.#folders.empty();
      await this.#puts.empty();
    }
  }

  /** Starts all that is to be done for a folder and all below it; resolves when it is started. */
  async #walk(folder: OpenFolder): Promise<Pending> {
    this.#check();
    if (folder.same) this.#countKnown(folder.cached!.counts);
    else await this.#takeFiles(folder);
    const below: [index: number, pending: Pending][] = [];
    for await (const { index, child } of this.#open(this.#children(folder))) {
      if (child === undefined) folder.exclude(index);
      else below.push([index, await this.#walk(child)]);
    }
    if (folder.place.path === '') return { done: this.#settle(folder, below) };
    await this.#folders.enter();
    return { done: this.#settle(folder, below).finally(() => this.#folders.leave()) };
  }

  async #settle(
    folder: OpenFolder,
    below: readonly (readonly [number, Pending])[],
  ): Promise<ImportedFolder | undefined> {
    try {
      return await this.#finish(folder, below);
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** The files of a folder that is new or changed: known ones keep their id, the others are read. */
  async #takeFiles(folder: OpenFolder): Promise<void> {
    const { records, count } = folder.listing;
    const known = folder.cached === undefined ? undefined : new SameFiles(folder.cached);
    for (let i = 0, at = 0; i < count; i++) {
      if (this.#turns.due) await this.#turns.rest();
      const { bytes, next } = folder.nameAt(at);
      at = next;
      const kind = folder.kind(i);
      if (!this.#fits(folder, i, bytes) || kind !== kindFile) continue;
      const id = known?.idOf(bytes, records.subarray(i * listingRecordBytes, (i + 1) * listingRecordBytes));
      if (id !== undefined) {
        folder.ids.set(id, i * id.length);
        this.#countKnown({ files: 1, links: 0, bytes: folder.size(i) });
        continue;
      }
      const wait = this.#puts.enter();
      if (wait !== undefined) await wait;
      folder.reading.start();
      void this.#put(folder, i, folder.pathOf(utf8(bytes)!)).finally(() => {
        folder.reading.end();
        this.#puts.leave();
      });
      this.#check();
    }
  }

  #countKnown({ files, links, bytes }: FolderCounts): void {
    const { report } = this.#parts;
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
    this.#parts.report.fail(path, new StoreError('limit-exceeded', `${path.slice(0, 60)}…: ${fault}`));
    folder.exclude(index);
    return false;
  }

  async #put(folder: OpenFolder, index: number, path: string): Promise<void> {
    const { store, report, signal } = this.#parts;
    try {
      const { id, deduplicated, size, source } = await putFile(store, path, { report, signal });
      folder.setId(index, id);
      folder.setFacts(index, source);
      report.filesRead++;
      report.files++;
      report.bytes += size;
      if (!deduplicated) report.newBytes += size;
      report.tell();
    } catch (error) {
      if (!isSourceError(error, path)) return this.#fail(error);
      report.fail(path, error);
      folder.exclude(index);
    }
  }

  /** The folders in a folder; what is skipped is noted on the way. */
  *#children(folder: OpenFolder): Generator<Child> {
    const { report, ownFolder } = this.#parts;
    for (let n = 0; n < folder.notable.length; n += 2) {
      const index = folder.notable[n]!;
      const kind = folder.kind(index);
      if (kind !== kindFolder && kind !== kindOther) continue;
      const name = utf8(folder.nameAt(folder.notable[n + 1]!).bytes)!;
      const path = folder.pathOf(name);
      if (kind === kindOther) report.skip(path, 'special file');
      else if (sameBytes(folder.identity(index), ownFolder)) report.skip(path, 'store');
      else {
        const { inside, depth } = folder.place;
        const place = { path, inside: inside === '' ? name : `${inside}/${name}`, depth: depth + 1 };
        yield { index, place, known: folder.knownId(name) };
      }
    }
  }

  /** Lists folders a little ahead, so that other threads work while this one does. */
  async *#open(
    children: Iterator<Child>,
  ): AsyncGenerator<{ readonly index: number; readonly child: OpenFolder | undefined }, void, void> {
    const ahead: { readonly index: number; readonly child: Promise<OpenFolder | undefined> }[] = [];
    for (let more = true; more || ahead.length > 0;) {
      while (more && ahead.length < listAhead) {
        const next = children.next();
        more = next.done !== true;
        if (!next.done) ahead.push({ index: next.value.index, child: this.#list(next.value) });
      }
      const first = ahead.shift();
      if (first === undefined) return;
      yield { index: first.index, child: await first.child };
    }
  }

  /** Never rejects: a folder that cannot be listed is a failure of the source. */
  async #list({ place, known }: Child): Promise<OpenFolder | undefined> {
    const { store, cache, report } = this.#parts;
    try {
      if (place.depth >= chainMax)
        throw new StoreError(
          'limit-exceeded',
          `${place.path.slice(0, 60)}…: folders are nested deeper than ${chainMax}`,
        );
      const listedMs = Date.now();
      const [listing, cached] = await Promise.all([
        store.files.list(place.path),
        known === undefined ? undefined : cache.folders([place.path]),
      ]);
      for (const name of listing.badNames) {
        const path = join(place.path, name);
        report.fail(path, new StoreError('invalid-argument', `${path}: the name is not UTF-8`));
      }
      const trusted = cached?.[0]?.id === known ? cached?.[0] : undefined;
      return new OpenFolder(place, { listing, listedMs, cached: trusted });
    } catch (error) {
      if (StoreError.is(error, 'closed')) this.#fail(error);
      else report.fail(place.path, error);
      return undefined;
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
        this.#parts.report.folders++;
        height = Math.max(height, done.height);
      }
    }
    this.#check();
    const { cached, place } = folder;
    this.#parts.report.tell();
    if (cached !== undefined && !folder.altered) return { id: cached.id, height: cached.height };
    await this.#readTargets(folder);
    const map = await this.#putMap(folder);
    const result = { id: map.id, height: height + map.level + 1 };
    if (place.path !== '') await this.#remember(folder, result);
    return result;
  }

  async #readTargets(folder: OpenFolder): Promise<void> {
    const { store, report } = this.#parts;
    const reading = new Latch();
    const read = async (index: number, path: string): Promise<void> => {
      try {
        folder.targets.set(index, await readTarget(store, path));
        if (!folder.same) report.links++;
      } catch (error) {
        report.fail(path, error);
        folder.exclude(index);
      }
    };
    for (let i = 0, at = 0; i < folder.listing.count; i++) {
      if (this.#turns.due) await this.#turns.rest();
      const { bytes, next } = folder.nameAt(at);
      at = next;
      if (folder.kind(i) !== kindLink) continue;
      await this.#puts.enter();
      this.#check();
      reading.start();
      void read(i, folder.pathOf(utf8(bytes)!)).finally(() => {
        reading.end();
        this.#puts.leave();
      });
    }
    await reading.all();
  }

  /** Builds and stores the nodes of a folder's map; resolves with its root. */
  async #putMap(folder: OpenFolder): Promise<BuiltNode> {
    const builder = new MapBuilder(nodeProvider);
    const writing = new Latch();
    for (let i = 0, at = 0; i < folder.listing.count; i++) {
      if (this.#turns.due) await this.#turns.rest();
      const { bytes, next } = folder.nameAt(at);
      at = next;
      const entry = folder.entry(i, bytes);
      if (entry !== undefined)
        for (const node of builder.add(encodeEntry(entry, bytes))) await this.#putNode(node, writing);
    }
    const rest = builder.finish();
    for (const node of rest) await this.#putNode(node, writing);
    await writing.all();
    this.#check();
    return rest.at(-1)!;
  }

  async #putNode(node: BuiltNode, writing: Latch): Promise<void> {
    // A store takes a node only when all it links is there.
    if (node.level > 0) await writing.all();
    await this.#puts.enter();
    this.#check();
    writing.start();
    const put = this.#parts.store.put(node.bytes, { kind: 'node', expectId: node.id });
    void put
      .then(undefined, (error: unknown) => this.#fail(error))
      .finally(() => {
        writing.end();
        this.#puts.leave();
      });
  }

  async #remember(folder: OpenFolder, result: ImportedFolder): Promise<void> {
    const { cache } = this.#parts;
    const { path } = folder.place;
    for (const name of folder.goneFolders()) await this.#forget(join(path, name));
    cache.setFolder(path, folder.remember(result), folder.cached);
    if (cache.full) await cache.flush();
  }

  /** Drops what the cache knows of a folder that is gone, and of all below it. */
  async #forget(path: string): Promise<void> {
    const [cached] = await this.#parts.cache.folders([path]);
    if (cached === undefined) return;
    for (const name of foldersOf(cached).keys()) await this.#forget(join(path, name));
    this.#parts.cache.forgetFolder(path, cached);
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#fatal = error;
  }

  /** Throws what ended the import, when something did. */
  #check(): void {
    if (this.#failed) throw this.#fatal;
    this.#parts.signal?.throwIfAborted();
  }
}

/** A folder that is to be listed. */
interface Child {
  readonly index: number;
  readonly place: FolderPlace;
  /** The id a live snapshot gives it. */
  readonly known: BlobId | undefined;
}

function join(path: string, name: string): string {
  return path.endsWith('/') ? path + name : `${path}/${name}`;
}
