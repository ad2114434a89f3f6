/** Reads a Merkle map back, lazily and in key order, and refuses a tree that the builder would not have built. */
import { compareBytes, equalBytes } from '../../engine/codec/bytes.ts';
import type { NodeContent } from '../../engine/codec/node.ts';
import type { Provider } from '../../engine/codec/provider.ts';
import { StoreError } from '../../engine/errors.ts';
import { type MapChild, type MapNode, decodeMapNode, isLeaf, weightOf } from './map-node.ts';
import { type MapEntry, childWeight, entryWeight, levelsEnded, nodeWeightMax } from './rules.ts';

/** Fetches a node whose bytes are known to hash to the id; undefined when it is not there. */
export type LoadNode = (id: string) => Promise<NodeContent | undefined>;

/** Siblings fetched before they are needed. */
const lookahead = 4;

/** The value of one key; undefined when the map has it not. Loads one node a level. */
export async function getEntry(
  root: string,
  key: Uint8Array,
  { load, provider }: MapSource,
): Promise<MapEntry | undefined> {
  let expected: Expected | undefined;
  for (let id = root; ;) {
    const node = await loadNode(id, load);
    checkNode(node, { id, expected, provider });
    if (isLeaf(node)) return node.entries.find((entry) => equalBytes(entry.key, key));
    const at = node.children.findIndex((child) => compareBytes(key, child.key) <= 0);
    const child = node.children[at];
    if (child === undefined) return undefined;
    const after = node.children[at - 1]?.key ?? expected?.after;
    expected = { level: node.level - 1, last: child.key, ...(after === undefined ? {} : { after }) };
    id = child.id;
  }
}

export interface MapSource {
  readonly load: LoadNode;
  readonly provider: Provider;
}

/** All entries by rising key. Bounded memory: a few nodes at a time. */
export async function* mapEntries(root: string, source: MapSource): AsyncGenerator<MapEntry, void, void> {
  for await (const entries of mapLeaves(root, source)) yield* entries;
}

/** Like `mapEntries`, a leaf at a time: fewer turns of the event loop for long maps. */
export async function* mapLeaves(
  root: string,
  source: MapSource,
): AsyncGenerator<readonly MapEntry[], void, void> {
  yield* walk({ id: root, expected: undefined, seams: [] }, source);
}

interface Visit {
  readonly id: string;
  readonly expected: Expected | undefined;
  /** Per level, how the node before ended; shared by the whole walk. */
  readonly seams: (Seam | undefined)[];
}

/** What a parent says of a node. */
interface Expected {
  readonly level: number;
  readonly last: Uint8Array;
  /** The key before its first one. */
  readonly after?: Uint8Array;
}

/** The end of a finished node: by its key, or by its weight. */
interface Seam {
  readonly last: Uint8Array;
  readonly byKey: boolean;
  readonly weight: number;
}

async function* walk(visit: Visit, source: MapSource): AsyncGenerator<readonly MapEntry[], void, void> {
  const { id, expected, seams } = visit;
  const node = await loadNode(id, source.load);
  checkNode(node, { id, expected, provider: source.provider });
  checkSeam(node, { id, seams, provider: source.provider });
  if (isLeaf(node)) {
    yield node.entries;
    return;
  }
  const loading: Promise<NodeContent | undefined>[] = [];
  const fetch = (child: MapChild | undefined): void => {
    if (child === undefined) return;
    const promise = source.load(child.id);
    promise.catch(() => undefined); // told when its turn comes
    loading.push(promise);
  };
  node.children.slice(0, lookahead).forEach(fetch);
  for (const [i, child] of node.children.entries()) {
    fetch(node.children[i + lookahead]);
    const here = loading.shift()!;
    const next = { id: child.id, expected: { level: node.level - 1, last: child.key }, seams };
    yield* walk(next, { ...source, load: (wanted) => (wanted === child.id ? here : source.load(wanted)) });
  }
}

async function loadNode(id: string, load: LoadNode): Promise<MapNode> {
  const content = await load(id);
  if (content === undefined) throw new StoreError('not-found', `node ${id} is not in the store`, { id });
  return decodeMapNode(content);
}

interface NodeCheck {
  readonly id: string;
  readonly expected: Expected | undefined;
  readonly provider: Provider;
}

/** What one node and its parent show: its level, its range of keys, and that no key inside it should have ended it. */
function checkNode(node: MapNode, { id, expected, provider }: NodeCheck): void {
  const keys = keysOf(node);
  const last = keys.at(-1)?.key;
  if (expected === undefined) {
    if (!isLeaf(node) && node.children.length < 2) throw bad(id, 'is a root with one child');
  } else {
    if (node.level !== expected.level)
      throw bad(id, `is of level ${node.level} where ${expected.level} belongs`);
    if (last === undefined || !equalBytes(last, expected.last))
      throw bad(id, 'ends with another key than its parent says');
    if (expected.after !== undefined && compareBytes(expected.after, keys[0]!.key) >= 0)
      throw bad(id, 'begins before its neighbour ends');
  }
  for (const { key } of keys.slice(0, -1)) {
    if (levelsEnded(key, provider) > node.level) throw bad(id, 'goes on after a key that ends it');
  }
}

/** What neighbours show: rising keys across nodes, and a reason to split between them. */
function checkSeam(
  node: MapNode,
  {
    id,
    seams,
    provider,
  }: { readonly id: string; readonly seams: (Seam | undefined)[]; readonly provider: Provider },
): void {
  const keys = keysOf(node);
  const [first, last] = [keys[0], keys.at(-1)];
  if (first === undefined || last === undefined) return; // only the root of an empty map has none
  const before = seams[node.level];
  if (before !== undefined) {
    if (compareBytes(before.last, first.key) >= 0) throw bad(id, 'begins before its neighbour ends');
    const weight = 'value' in first ? entryWeight(first) : childWeight(first.key);
    if (!before.byKey && before.weight + weight <= nodeWeightMax)
      throw bad(id, 'begins where nothing ends its neighbour');
  }
  seams[node.level] = {
    last: last.key,
    byKey: levelsEnded(last.key, provider) > node.level,
    weight: weightOf(node),
  };
}

function keysOf(node: MapNode): readonly (MapEntry | MapChild)[] {
  return isLeaf(node) ? node.entries : node.children;
}

function bad(id: string, how: string): StoreError {
  return new StoreError('corrupt', `not a map: node ${id} ${how}`, { id });
}
