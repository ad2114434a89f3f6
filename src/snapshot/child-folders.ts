/** The folders in a folder, opened one after the other and listed a little ahead. */
import { type BlobId, StoreError } from '../../engine/index.ts';
import { kindFolder, kindOther, sameBytes } from './import-cache.ts';
import type { ImportRun } from './import-run.ts';
import { chainMax, utf8 } from './names.ts';
import { type FolderPlace, OpenFolder, joinPath } from './open-folder.ts';

/** Listings fetched before they are needed, so that other threads work while this one does. */
const listAhead = 6;

/** A folder that is to be listed. */
interface Child {
  readonly index: number;
  readonly place: FolderPlace;
  /** The id a live snapshot gives it. */
  readonly known: BlobId | undefined;
}

/** A folder in a folder; undefined when it could not be listed, which the report tells. */
export interface OpenedChild {
  readonly index: number;
  readonly child: OpenFolder | undefined;
}

export async function* openChildren(
  run: ImportRun,
  folder: OpenFolder,
): AsyncGenerator<OpenedChild, void, void> {
  const children = childrenOf(run, folder);
  const ahead: { readonly index: number; readonly child: Promise<OpenFolder | undefined> }[] = [];
  for (let more = true; more || ahead.length > 0;) {
    while (more && ahead.length < listAhead) {
      const next = children.next();
      more = next.done !== true;
      if (!next.done) ahead.push({ index: next.value.index, child: list(run, next.value) });
    }
    const first = ahead.shift();
    if (first === undefined) return;
    yield { index: first.index, child: await first.child };
  }
}

/** What is skipped is noted on the way. */
function* childrenOf(run: ImportRun, folder: OpenFolder): Generator<Child> {
  for (let n = 0; n < folder.notable.length; n += 2) {
    const index = folder.notable[n]!;
    const kind = folder.kind(index);
    if (kind !== kindFolder && kind !== kindOther) continue;
    const name = utf8(folder.nameAt(folder.notable[n + 1]!).bytes)!;
    const path = folder.pathOf(name);
    if (kind === kindOther) run.report.skip(path, 'special file');
    else if (sameBytes(folder.identity(index), run.ownFolder)) run.report.skip(path, 'store');
    else {
      const { inside, depth } = folder.place;
      const place = { path, inside: inside === '' ? name : `${inside}/${name}`, depth: depth + 1 };
      yield { index, place, known: folder.knownId(name) };
    }
  }
}

/** Never rejects: a folder that cannot be listed is a failure of the source. */
async function list(run: ImportRun, { place, known }: Child): Promise<OpenFolder | undefined> {
  const { path, depth } = place;
  try {
    if (depth >= chainMax) {
      const what = `${path.slice(0, 60)}…: folders are nested deeper than ${chainMax}`;
      throw new StoreError('limit-exceeded', what);
    }
    const listedMs = Date.now();
    const [listing, cached] = await Promise.all([
      run.store.files.list(path),
      known === undefined ? Promise.resolve(undefined) : run.cache.folder(path),
    ]);
    for (const name of listing.badNames) {
      const bad = joinPath(path, name);
      run.report.fail(bad, new StoreError('invalid-argument', `${bad}: the name is not UTF-8`));
    }
    return new OpenFolder(place, { listing, listedMs, cached: cached?.id === known ? cached : undefined });
  } catch (error) {
    if (StoreError.is(error, 'closed')) run.fail(error);
    else run.report.fail(path, error);
    return undefined;
  }
}
