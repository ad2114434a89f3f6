/** Imports files and folders as one snapshot, each under its basename, and makes it a root of the store. */
import { type FolderListing, type Store, StoreError, listingRecordBytes } from '../../engine/index.ts';
import { fromHex } from '../../engine/codec/bytes.ts';
import { packListing } from '../../engine/codec/listing.ts';
import {
  type CachedFolder,
  type CachedTop,
  ImportCache,
  kindFile,
  kindFolder,
  markRacy,
  noFolder,
  sameBytes,
} from './import-cache.ts';
import { type ImportProgress, ImportReport, type ImportResult } from './import-report.ts';
import { sourceError } from './source-error.ts';
import { ImportRun } from './import-run.ts';
import { TreeImport } from './import-tree.ts';
import { readName, toUtf8 } from './names.ts';
import { OpenFolder } from './open-folder.ts';

export interface ImportOptions {
  /** Name of the root that is set to the snapshot; default `main`. A root that is there moves. */
  readonly root?: string;
  /** Reads every file again, whatever the cache remembers. */
  readonly rehash?: boolean;
  /** Leaves out what cannot be read, instead of leaving the root where it is. */
  readonly keepGoing?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ImportProgress) => void;
}

/** A path to import: where it really is, and its name in the snapshot. */
interface Top {
  readonly name: string;
  readonly path: string;
  readonly facts: NonNullable<Awaited<ReturnType<Store['files']['facts']>>>;
}

/**
 * Imports `paths` as one snapshot. A path that is a link is followed; links inside folders are kept as links. Special files are
 * skipped, and so is the store's own folder; anything else that cannot be read, is not UTF-8 or changes while it is read is a
 * failure: the import goes on, names all failures in one error, and the root stays where it was — unless `keepGoing`.
 */
export async function importPaths(
  store: Store,
  paths: readonly string[],
  options: ImportOptions = {},
): Promise<ImportResult> {
  options.signal?.throwIfAborted();
  const name = options.root ?? 'main';
  const ownFolder = await store.files.facts(await store.files.realPath(store.directory));
  if (ownFolder === undefined)
    throw new StoreError('unavailable', `the folder of the store is gone: ${store.directory}`);
  const report = new ImportReport(options.onProgress);
  const listedMs = Date.now();
  const tops = await findTops(store, paths);
  const session = await store.session();
  try {
    const own = identityOf(ownFolder);
    const cache = new ImportCache(store);
    const listing = listTops(tops);
    const cached = options.rehash === true ? undefined : await trustedTops(store, { tops, cache, own });
    const place = { path: '', inside: '', depth: 0, tops: new Map(tops.map((top) => [top.name, top.path])) };
    const folder = new OpenFolder(place, { listing, listedMs, cached });
    const tree = new TreeImport(
      new ImportRun({ store, cache, report, ownFolder: own, signal: options.signal }),
    );
    const { id } = await tree.run(folder);
    if (report.failureCount > 0 && options.keepGoing !== true) throw report.error(name);
    await store.roots.set(name, id);
    rememberTops({ tops, cache, own, folder, snapshot: id, listedMs });
    await cache.flush();
    return report.result(id);
  } finally {
    await session.end();
  }
}

/** Looks at every path, and gives each its name. */
async function findTops(store: Store, paths: readonly string[]): Promise<Top[]> {
  if (paths.length === 0) throw new StoreError('invalid-argument', 'there is no path to import');
  const own = await store.files.realPath(store.directory);
  const tops = new Map<string, Top>();
  for (const given of paths) {
    const { path, facts } = await look(store, given);
    if (path === own || path.startsWith(`${own}/`) || path.startsWith(`${own}\\`))
      throw new StoreError('invalid-argument', `${given} is part of the store itself`, { path: given });
    if (!['file', 'folder'].includes(facts.kind))
      throw new StoreError('invalid-argument', `${given} is neither a file nor a folder`, { path: given });
    const name = baseName(given) ?? baseName(path);
    if (name === undefined)
      throw new StoreError('invalid-argument', `${given} has no name to enter the snapshot under`, {
        path: given,
      });
    readName(toUtf8(name));
    if (tops.has(name))
      throw new StoreError(
        'invalid-argument',
        `two paths have the name ${name}: a snapshot has one of each`,
        { path: given },
      );
    tops.set(name, { name, path, facts });
  }
  return [...tops.values()].sort((a, b) => Buffer.compare(toUtf8(a.name), toUtf8(b.name)));
}

async function look(store: Store, given: string): Promise<Pick<Top, 'path' | 'facts'>> {
  try {
    const path = await store.files.realPath(given);
    const facts = await store.files.facts(path);
    if (facts !== undefined) return { path, facts };
  } catch (error) {
    throw sourceError(error, given);
  }
  throw new StoreError('not-found', `there is no ${given}`, { path: given });
}

/** The last part of a path; undefined where that says nothing (`/`, `.`, `..`). */
function baseName(path: string): string | undefined {
  const parts = path.split(/^(?:[a-z]:)?\\/i.test(path) ? /[/\\]+/ : /\/+/);
  const name = parts.findLast((part) => part !== '');
  return name === undefined || name === '.' || name === '..' || /^[a-z]:$/i.test(name) ? undefined : name;
}

function listTops(tops: readonly Top[]): FolderListing {
  return packListing(
    tops.map(({ name, facts }) => ({ name: toUtf8(name), facts: { ...facts, links: 1 } })),
    [],
  );
}

interface TopsCheck {
  readonly tops: readonly Top[];
  readonly cache: ImportCache;
  readonly own: Uint8Array;
}

/** What live snapshots of this very store remember of the paths, in the form of a folder that was. */
async function trustedTops(store: Store, { tops, cache, own }: TopsCheck): Promise<CachedFolder> {
  const live = new Set((await store.roots.list()).map(({ id }) => id));
  const found = await cache.tops(tops.map(({ path }) => path));
  const known = tops
    .map((top, i) => ({ top, was: found[i] }))
    .filter(
      (pair): pair is { top: Top; was: CachedTop } =>
        pair.was !== undefined && live.has(pair.was.snapshot) && sameBytes(pair.was.store, own),
    );
  const names = known.map(({ top }) => toUtf8(top.name));
  const notable: number[] = [];
  known.forEach(({ was }, i) => {
    const at = names.slice(0, i).reduce((sum, name) => sum + name.length + 1, 0);
    if (was.record[0] === kindFolder) notable.push(i, at);
  });
  return {
    id: noFolder,
    height: 0,
    counts: { files: 0, links: 0, bytes: 0 },
    names: Buffer.concat(names.flatMap((name) => [name, Buffer.alloc(1)])),
    count: known.length,
    records: Buffer.concat(known.map(({ was }) => was.record)),
    ids: Buffer.concat(known.map(({ was }) => was.id)),
    notable: Uint32Array.from(notable),
    parts: 0,
  };
}

interface Remembering extends TopsCheck {
  readonly folder: OpenFolder;
  readonly snapshot: string;
  readonly listedMs: number;
}

/** From now on, as long as the snapshot is a root, what was written of these paths is believed. */
function rememberTops({ tops, cache, own, folder, snapshot, listedMs }: Remembering): void {
  const records = new Uint8Array(folder.listing.records);
  markRacy(records, listedMs);
  tops.forEach(({ path }, i) => {
    const kind = folder.kind(i);
    if (kind !== kindFile && kind !== kindFolder) return;
    const record = records.subarray(i * listingRecordBytes, (i + 1) * listingRecordBytes);
    cache.setTop(path, { snapshot, store: own, record, id: fromHex(folder.id(i))! });
  });
}

/** dev and ino as a listing's record has them. */
function identityOf(facts: { readonly dev: bigint; readonly ino: bigint }): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, facts.dev, true);
  view.setBigUint64(8, facts.ino, true);
  return bytes;
}
