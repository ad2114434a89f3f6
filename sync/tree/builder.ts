/** Builds a Merkle map from entries in key order, in bounded memory: nodes come out children first, the root last. */
import { compareBytes } from '../../engine/codec/bytes.ts';
import type { Provider } from '../../engine/codec/provider.ts';
import { StoreError } from '../../engine/errors.ts';
import { type MapChild, encodeMapNode } from './map-node.ts';
import {
  type MapEntry,
  childWeight,
  entryLinksMax,
  entryWeight,
  keyBytesMax,
  levelMax,
  levelsEnded,
  nodeWeightMax,
  valueBytesMax,
} from './rules.ts';

/** A finished node: to be stored after the nodes that came before it. */
export interface BuiltNode {
  readonly id: string;
  /** The encoded node; its sha256 is the id. */
  readonly bytes: Uint8Array;
  readonly level: number;
}

/** The node under construction on one level. */
interface Growing {
  readonly items: (MapEntry | MapChild)[];
  weight: number;
  /** Levels its last key ends; the node is complete when that is more than its own. */
  ended: number;
}

const none: readonly BuiltNode[] = [];

/**
 * Takes entries by rising key. A complete node is held back until the next entry of its level shows that it is not alone there:
 * the only node of a level is the root, and nothing is built above it.
 */
export class MapBuilder {
  readonly #provider: Provider;
  readonly #levels: Growing[] = [];
  #last: Uint8Array | undefined;
  #finished: BuiltNode[] = [];

  constructor(provider: Provider) {
    this.#provider = provider;
  }

  /**
   * Nodes completed by this entry, children first. Keys must rise; a key is copied by nobody, so it must not change. `ended` saves a
   * hash where it is known what `levelsEnded` says of the key: 0 of each key in a leaf of any map, but the last.
   */
  add(entry: MapEntry, ended: number = levelsEnded(entry.key, this.#provider)): readonly BuiltNode[] {
    checkEntry(entry);
    if (this.#last !== undefined && compareBytes(this.#last, entry.key) >= 0) {
      throw new StoreError('invalid-argument', 'the entries of a map must come by rising key, each key once');
    }
    this.#last = entry.key;
    this.#push(0, entry, { weight: entryWeight(entry), ended });
    return this.#take();
  }

  /** Whether a leaf begins with what comes next, whatever that is, and is not the first one, which may be the root. */
  get atLeaf(): boolean {
    const leaf = this.#levels[0];
    return leaf !== undefined && (leaf.items.length === 0 || leaf.ended > 0);
  }

  /**
   * Takes a whole leaf as it is, in place of its entries: one that some map with these very entries has, the one before them not
   * counted. Nodes completed by it; undefined, and nothing done, where a leaf need not begin (`atLeaf`) or end here.
   */
  addLeaf({ key, id }: MapChild): readonly BuiltNode[] | undefined {
    const ended = levelsEnded(key, this.#provider);
    if (!this.atLeaf || ended === 0) return undefined;
    if (compareBytes(this.#last!, key) >= 0)
      throw new StoreError('invalid-argument', 'the leaves of a map must come by rising key');
    if (this.#levels[0]!.items.length > 0) this.#close(0);
    this.#last = key;
    this.#push(1, { key, id }, { weight: childWeight(key), ended });
    return this.#take();
  }

  /** The remaining nodes; the last one is the root. An empty map is one node without entries. */
  finish(): readonly [...BuiltNode[], BuiltNode] {
    if (this.#levels.length === 0) this.#levels.push({ items: [], weight: 0, ended: 0 });
    // Below a leaf that was taken whole nothing is open.
    for (let level = 0; level < this.#levels.length - 1; level++)
      if (this.#levels[level]!.items.length > 0) this.#close(level);
    const top = this.#levels.length - 1;
    const root = this.#build(top, this.#levels[top]!);
    return [...this.#take(), root];
  }

  #push(
    level: number,
    item: MapEntry | MapChild,
    rank: { readonly weight: number; readonly ended: number },
  ): void {
    const growing = this.#levels[level];
    if (growing !== undefined && (growing.ended > level || growing.weight + rank.weight > nodeWeightMax))
      this.#close(level);
    const open = this.#levels[level];
    if (open === undefined || open.items.length === 0) {
      this.#levels[level] = { items: [item], ...rank };
      return;
    }
    open.items.push(item);
    open.weight += rank.weight;
    open.ended = rank.ended;
  }

  /** Builds the node of a level and hangs it under the level above. */
  #close(level: number): void {
    if (level === levelMax)
      throw new StoreError('limit-exceeded', `a map has at most ${levelMax + 1} levels`);
    const growing = this.#levels[level]!;
    const { id } = this.#emit(level, growing);
    const key = growing.items.at(-1)!.key;
    this.#levels[level] = { items: [], weight: 0, ended: 0 };
    this.#push(level + 1, { key, id }, { weight: childWeight(key), ended: growing.ended });
  }

  #emit(level: number, growing: Growing): BuiltNode {
    const node = this.#build(level, growing);
    this.#finished.push(node);
    return node;
  }

  #build(level: number, { items }: Growing): BuiltNode {
    const bytes = encodeMapNode(
      level === 0 ? { level: 0, entries: items as MapEntry[] } : { level, children: items as MapChild[] },
    );
    return { id: this.#provider.sha256Hex(bytes), bytes, level };
  }

  #take(): readonly BuiltNode[] {
    if (this.#finished.length === 0) return none;
    const nodes = this.#finished;
    this.#finished = [];
    return nodes;
  }
}

/** Yields the nodes of a map, children first; returns the root's id. */
export function* buildMap(entries: Iterable<MapEntry>, provider: Provider): Generator<BuiltNode, string> {
  const builder = new MapBuilder(provider);
  for (const entry of entries) yield* builder.add(entry);
  const rest = builder.finish();
  yield* rest;
  return rest.at(-1)!.id;
}

function checkEntry({ key, value, links }: MapEntry): void {
  if (key.length <= keyBytesMax && value.length <= valueBytesMax && links.length <= entryLinksMax) return;
  throw new StoreError(
    'limit-exceeded',
    `an entry has at most ${keyBytesMax} bytes of key, ${valueBytesMax} of value and ${entryLinksMax} links`,
  );
}
