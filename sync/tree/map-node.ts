/** One node of a Merkle map as bytes: payload [rules version, level, entries], strictly one encoding for one content. */
import { compareBytes } from '../../engine/codec/bytes.ts';
import { type NodeContent, encodeNode, sortLinks } from '../../engine/codec/node.ts';
import { StoreError } from '../../engine/errors.ts';
import { CborReader, CborWriter } from './cbor.ts';
import {
  type Link,
  type MapEntry,
  childWeight,
  entryLinksMax,
  entryWeight,
  keyBytesMax,
  levelMax,
  nodeWeightMax,
  rulesVersion,
  valueBytesMax,
} from './rules.ts';

/** A node one level below: the last key under it, and its id. */
export interface MapChild {
  readonly key: Uint8Array;
  readonly id: string;
}

/** Level 0 holds entries; level L holds the nodes of level L - 1. Both sorted by key bytes. */
export type MapNode =
  | { readonly level: 0; readonly entries: readonly MapEntry[] }
  | { readonly level: number; readonly children: readonly MapChild[] };

export function isLeaf(node: MapNode): node is Extract<MapNode, { readonly entries: readonly MapEntry[] }> {
  return 'entries' in node;
}

/** The stored bytes of a node: leaf `[key, value, link index …]`, inner `[last key, link index]`. */
export function encodeMapNode(node: MapNode): Uint8Array {
  const links = isLeaf(node) ? leafLinks(node.entries) : node.children.map(childLink);
  const sorted = sortLinks(links);
  const index = new Map(sorted.map((link, i) => [nameOf(link), i]));
  const indexOf = (link: Link): number => index.get(nameOf(link))!;
  const writer = new CborWriter().array(3).integer(rulesVersion).integer(node.level);
  if (isLeaf(node)) {
    writer.array(node.entries.length);
    for (const { key, value, links } of node.entries) {
      writer
        .array(2 + links.length)
        .bytes(key)
        .bytes(value);
      for (const link of links) writer.integer(indexOf(link));
    }
  } else {
    writer.array(node.children.length);
    for (const child of node.children)
      writer
        .array(2)
        .bytes(child.key)
        .integer(indexOf(childLink(child)));
  }
  return encodeNode({ links: sorted, payload: writer.finish() });
}

/**
 * Reads a node back, refusing (`corrupt`) whatever `encodeMapNode` would not have made: unsorted or double keys, links nobody
 * uses, numbers out of range, more than a node may weigh. What only neighbours can show is for the reader of the whole map.
 */
export function decodeMapNode(content: NodeContent): MapNode {
  const reader = new CborReader(content.payload, 'a map node');
  if (reader.array() !== 3) throw reader.bad('has other parts than it should');
  const version = reader.unsigned(Number.MAX_SAFE_INTEGER);
  if (version !== rulesVersion) {
    throw new StoreError('incompatible-format', `map rules version ${version} is not known here`);
  }
  const level = reader.unsigned(levelMax);
  const keys = new KeyOrder(reader);
  const links = new LinkTable(reader, content.links);
  const count = reader.array();
  const node: MapNode =
    level === 0
      ? { level: 0, entries: readEntries(reader, count, { keys, links }) }
      : { level, children: readChildren(reader, count, { keys, links }) };
  reader.end();
  links.checkAllUsed();
  if (!isLeaf(node) && node.children.length === 0) throw reader.bad('has no children');
  if (weightOf(node) > nodeWeightMax) throw reader.bad('weighs more than a node may');
  return node;
}

/** The sum the forced split looks at. */
export function weightOf(node: MapNode): number {
  let weight = 0;
  if (isLeaf(node)) for (const entry of node.entries) weight += entryWeight(entry);
  else for (const child of node.children) weight += childWeight(child.key);
  return weight;
}

interface Checks {
  readonly keys: KeyOrder;
  readonly links: LinkTable;
}

function readEntries(reader: CborReader, count: number, { keys, links }: Checks): MapEntry[] {
  const entries: MapEntry[] = [];
  for (let i = 0; i < count; i++) {
    const parts = reader.array();
    if (parts < 2 || parts > 2 + entryLinksMax) throw reader.bad('has a malformed entry');
    const key = keys.next();
    const value = reader.bytes(valueBytesMax);
    entries.push({ key, value, links: Array.from({ length: parts - 2 }, () => links.next()) });
  }
  return entries;
}

function readChildren(reader: CborReader, count: number, { keys, links }: Checks): MapChild[] {
  const children: MapChild[] = [];
  for (let i = 0; i < count; i++) {
    if (reader.array() !== 2) throw reader.bad('has a malformed child');
    const key = keys.next();
    const link = links.next();
    if (link.kind !== 'node') throw reader.bad('has a child that is no node');
    children.push({ key, id: link.id });
  }
  return children;
}

/** Reads keys, each after the one before it. */
class KeyOrder {
  readonly #reader: CborReader;
  #last: Uint8Array | undefined;

  constructor(reader: CborReader) {
    this.#reader = reader;
  }

  next(): Uint8Array {
    const key = this.#reader.bytes(keyBytesMax);
    if (this.#last !== undefined && compareBytes(this.#last, key) >= 0)
      throw this.#reader.bad('has keys out of order');
    this.#last = key;
    return key;
  }
}

/** Reads link indexes, and knows in the end whether every link was named. */
class LinkTable {
  readonly #reader: CborReader;
  readonly #links: readonly Link[];
  readonly #used: Uint8Array;

  constructor(reader: CborReader, links: readonly Link[]) {
    this.#reader = reader;
    this.#links = links;
    this.#used = new Uint8Array(links.length);
  }

  next(): Link {
    const index = this.#reader.unsigned(Number.MAX_SAFE_INTEGER);
    const link = this.#links[index];
    if (link === undefined) throw this.#reader.bad('refers to a link that it has not');
    this.#used[index] = 1;
    return link;
  }

  checkAllUsed(): void {
    if (this.#used.includes(0)) throw this.#reader.bad('has a link that no entry refers to');
  }
}

function leafLinks(entries: readonly MapEntry[]): Link[] {
  return entries.flatMap((entry) => entry.links);
}

/** Files are most of what there is: their links are called by the id alone, which is text already. */
function nameOf({ kind, id }: Link): string {
  return kind === 'raw' ? id : `${kind} ${id}`;
}

function childLink(child: MapChild): Link {
  return { kind: 'node', id: child.id };
}
