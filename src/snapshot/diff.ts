/** What differs between two snapshots, as paths: found by the difference of trees that sync finds what is missing with. */
import { type BlobId, type NodeContent, type Store, StoreError } from '../../engine/index.ts';
import { compareBytes } from '../../engine/codec/bytes.ts';
import { type TreeLink, difference } from '../../sync/protocol/difference.ts';
import { type MapNode, decodeMapNode, isLeaf } from '../../sync/tree/map-node.ts';
import type { MapEntry } from '../../sync/tree/rules.ts';
import { type SnapshotEntry, decodeEntry } from './entry.ts';
import { chainMax } from './names.ts';
import { walkTree } from './tree.ts';

/**
 * An entry that is not the same in both. `changed`: the bytes of a file, the target of a link, or what it is at all. `facts`: only
 * its mode or modification time. What is below a folder that came or went is told entry by entry.
 */
export type TreeChange = { readonly path: string } & (
  | { readonly change: 'added'; readonly after: SnapshotEntry }
  | { readonly change: 'removed'; readonly before: SnapshotEntry }
  | { readonly change: 'changed' | 'facts'; readonly before: SnapshotEntry; readonly after: SnapshotEntry }
);

/** Nodes read at once. */
const nodesAtOnce = 256;

export interface DiffOptions {
  readonly signal?: AbortSignal;
}

/**
 * All changes from one folder to another, both given by id, in the order of paths' bytes, a folder before what is in it. Reads only
 * nodes that differ: O(changes), times the height of the trees. No content is read. `not-found` when a node is missing,
 * `invalid-argument` when an id is no folder.
 */
export async function* diffTrees(
  store: Store,
  before: BlobId,
  after: BlobId,
  options: DiffOptions = {},
): AsyncGenerator<TreeChange, void, void> {
  for (const id of [before, after]) {
    const stat = await store.stat(id);
    // Of a blob that a rebuild lost, what it was is not known: reading says that it is damaged.
    if (stat?.kind === 'raw' && !stat.suspect)
      throw new StoreError('invalid-argument', `${id} is a blob of bytes, not a snapshot`, { id });
  }
  yield* diffFolders({ store, options }, { path: '', depth: 1, before, after });
}

interface Run {
  readonly store: Store;
  readonly options: DiffOptions;
}

interface Pair {
  readonly path: string;
  readonly depth: number;
  readonly before: BlobId;
  readonly after: BlobId;
}

async function* diffFolders(run: Run, pair: Pair): AsyncGenerator<TreeChange, void, void> {
  run.options.signal?.throwIfAborted();
  if (pair.before === pair.after) return;
  if (pair.depth > chainMax)
    throw new StoreError('limit-exceeded', `the snapshot is nested deeper than ${chainMax}`, {
      path: pair.path.slice(0, 500),
    });
  const nodes = new MapNodes(run.store);
  if (pair.depth === 1) for (const id of [pair.before, pair.after]) await nodes.expectFolder(id);
  const [gone, come] = await nodes.differing(pair.before, pair.after);
  let [i, j] = [0, 0];
  while (i < gone.length || j < come.length) {
    const order = orderOf(gone[i], come[j]);
    const before = order <= 0 ? decodeEntry(gone[i++]!) : undefined;
    const after = order >= 0 ? decodeEntry(come[j++]!) : undefined;
    yield* diffEntries(run, { ...pair, entries: [before, after] });
  }
}

function orderOf(a: MapEntry | undefined, b: MapEntry | undefined): number {
  if (a === undefined || b === undefined) return a === undefined ? 1 : -1;
  return compareBytes(a.key, b.key);
}

async function* diffEntries(
  run: Run,
  place: Pair & { readonly entries: readonly [SnapshotEntry | undefined, SnapshotEntry | undefined] },
): AsyncGenerator<TreeChange, void, void> {
  const [before, after] = place.entries;
  const { name } = (before ?? after)!;
  const path = place.path === '' ? name : `${place.path}/${name}`;
  if (before !== undefined && after !== undefined && before.type === after.type) {
    const change = changeOf(before, after);
    if (change !== undefined) yield { path, change, before, after };
    if (before.type === 'folder' && after.type === 'folder')
      yield* diffFolders(run, { path, depth: place.depth + 1, before: before.id, after: after.id });
    return;
  }
  if (before !== undefined && after !== undefined) yield { path, change: 'changed', before, after };
  else if (before !== undefined) yield { path, change: 'removed', before };
  else yield { path, change: 'added', after: after! };
  if (before?.type === 'folder')
    for await (const below of entriesBelow(run, before.id, path))
      yield { path: below.path, change: 'removed', before: below.entry };
  if (after?.type === 'folder')
    for await (const below of entriesBelow(run, after.id, path))
      yield { path: below.path, change: 'added', after: below.entry };
}

/** How an entry changed that is of the same kind as before; undefined when it did not. */
function changeOf(before: SnapshotEntry, after: SnapshotEntry): 'changed' | 'facts' | undefined {
  if (before.type === 'file' && after.type === 'file' && before.id !== after.id) return 'changed';
  if (before.type === 'link' && after.type === 'link' && before.target !== after.target) return 'changed';
  return before.mode === after.mode && before.mtimeNs === after.mtimeNs ? undefined : 'facts';
}

async function* entriesBelow(
  { store, options }: Run,
  id: BlobId,
  path: string,
): AsyncGenerator<{ readonly path: string; readonly entry: SnapshotEntry }, void, void> {
  for await (const { step, entry, path: below } of walkTree(store, id)) {
    options.signal?.throwIfAborted();
    if (step === 'enter') yield { path: `${path}/${below}`, entry };
  }
}

/** The nodes of two maps that are compared: each is read once. */
class MapNodes {
  readonly #store: Store;
  readonly #nodes = new Map<BlobId, MapNode>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** A sound node that is no map is no damage where somebody names it: it is something else. */
  async expectFolder(id: BlobId): Promise<void> {
    const content = await this.#content(id);
    try {
      this.#nodes.set(id, decodeMapNode(content));
    } catch (error) {
      if (!StoreError.is(error, 'corrupt')) throw error;
      throw new StoreError('invalid-argument', `${id} is a node, but no folder`, { id }, error);
    }
  }

  /** The entries of leaves that only one of two maps has, by rising key. What both have under one key may be among them. */
  async differing(one: BlobId, other: BlobId): Promise<[MapEntry[], MapEntry[]]> {
    const [a, b] = [await this.#read(one), await this.#read(other)];
    // `difference` goes down level by level, and is exact where the same levels meet: the lower map is set on a pedestal.
    const height = Math.max(a.level, b.level);
    const [top, otherTop] = [raised(one, height - a.level), raised(other, height - b.level)];
    return [await this.#only(top, otherTop), await this.#only(otherTop, top)];
  }

  async #only(target: string, base: string): Promise<MapEntry[]> {
    const linksOf = async (ids: readonly string[]): Promise<(readonly TreeLink[])[]> => {
      const found: (readonly TreeLink[])[] = [];
      for (let at = 0; at < ids.length; at += nodesAtOnce)
        found.push(...(await Promise.all(ids.slice(at, at + nodesAtOnce).map((id) => this.#linksOf(id)))));
      return found;
    };
    const items = await difference(target, base, linksOf, Number.MAX_SAFE_INTEGER);
    if (items === undefined) throw new Error('holdfast bug: a difference without an end');
    return items.flatMap(({ id }) => {
      const node = this.#nodes.get(id);
      return node !== undefined && isLeaf(node) ? node.entries : [];
    });
  }

  /** The inside of a map only: what its entries link to is compared as entries. By rising key, as `difference` will tell them. */
  async #linksOf(id: string): Promise<readonly TreeLink[]> {
    const [steps, bottom] = pedestalOf(id);
    if (steps > 0) return [{ kind: 'node', id: raised(bottom, steps - 1) }];
    const node = await this.#read(id);
    return isLeaf(node) ? [] : node.children.map((child) => ({ kind: 'node', id: child.id }));
  }

  async #read(id: BlobId): Promise<MapNode> {
    const known = this.#nodes.get(id);
    if (known !== undefined) return known;
    const node = decodeMapNode(await this.#content(id));
    this.#nodes.set(id, node);
    return node;
  }

  async #content(id: BlobId): Promise<NodeContent> {
    const content = await this.#store.getNode(id);
    if (content === undefined) throw new StoreError('not-found', `node ${id} is not in the store`, { id });
    return content;
  }
}

/** A name for a node that has this one, so many levels below, and nothing else. */
function raised(id: BlobId, levels: number): string {
  return levels === 0 ? id : `${levels} ${id}`;
}

function pedestalOf(id: string): readonly [levels: number, bottom: BlobId] {
  const blank = id.indexOf(' ');
  return blank < 0 ? [0, id] : [Number(id.slice(0, blank)), id.slice(blank + 1)];
}
