/** Reads snapshots: the entries of a folder, what lies at a path, everything below. */
import { type BlobId, type Store, StoreError, nodeProvider } from '../../engine/index.ts';
import { type MapSource, getEntry, mapLeaves } from '../../sync/tree/reader.ts';
import { type SnapshotEntry, decodeEntry } from './entry.ts';
import { chainMax, pathBytesMax, splitPath, toUtf8 } from './names.ts';

/** The nodes of a store, as the reader of maps wants them. */
export function nodesOf(store: Store): MapSource {
  return { load: (id) => store.getNode(id), provider: nodeProvider };
}

/** The entries of a folder, in the order of their names' bytes. Bounded memory. */
export async function* listFolder(store: Store, id: BlobId): AsyncGenerator<SnapshotEntry, void, void> {
  for await (const leaf of mapLeaves(id, nodesOf(store))) for (const entry of leaf) yield decodeEntry(entry);
}

/** What lies at a path of a snapshot; undefined when nothing does. The empty path is the snapshot itself: a folder without facts. */
export async function findEntry(
  store: Store,
  root: BlobId,
  path: string,
): Promise<SnapshotEntry | { readonly type: 'root'; readonly id: BlobId } | undefined> {
  let found: SnapshotEntry | { readonly type: 'root'; readonly id: BlobId } = { type: 'root', id: root };
  for (const part of splitPath(path)) {
    if (found.type === 'file' || found.type === 'link') return undefined;
    const entry = await getEntry(found.id, toUtf8(part), nodesOf(store));
    if (entry === undefined) return undefined;
    found = decodeEntry(entry);
  }
  return found;
}

/** An entry and its path below where the walk began. */
export interface WalkedEntry {
  readonly path: string;
  readonly entry: SnapshotEntry;
}

export interface WalkStep extends WalkedEntry {
  /** `enter` comes before what is in a folder, `leave` after it; files and links only `enter`. */
  readonly step: 'enter' | 'leave';
}

/** Everything below a folder, depth first. Refuses trees deeper or with longer paths than any import makes. */
export async function* walkTree(store: Store, id: BlobId): AsyncGenerator<WalkStep, void, void> {
  yield* walkBelow(store, { id, path: '', pathBytes: 0, depth: 1 });
}

interface Place {
  readonly id: BlobId;
  readonly path: string;
  readonly pathBytes: number;
  readonly depth: number;
}

async function* walkBelow(store: Store, place: Place): AsyncGenerator<WalkStep, void, void> {
  if (place.depth > chainMax)
    throw new StoreError('limit-exceeded', `the snapshot is nested deeper than ${chainMax}`, {
      path: place.path.slice(0, 500),
    });
  for await (const leaf of mapLeaves(place.id, nodesOf(store))) {
    for (const pair of leaf) {
      const entry = decodeEntry(pair);
      const path = place.path === '' ? entry.name : `${place.path}/${entry.name}`;
      const pathBytes = place.pathBytes + pair.key.length + (place.path === '' ? 0 : 1);
      if (pathBytes > pathBytesMax)
        throw new StoreError('limit-exceeded', `a path of the snapshot has over ${pathBytesMax} bytes`, {
          path: path.slice(0, 500),
        });
      yield { step: 'enter', path, entry };
      if (entry.type !== 'folder') continue;
      yield* walkBelow(store, { id: entry.id, path, pathBytes, depth: place.depth + 1 });
      yield { step: 'leave', path, entry };
    }
  }
}
