/** Maps, node tables and generators that the tree tests share. */
import fc from 'fast-check';
import { toHex } from '../../../engine/codec/bytes.ts';
import { type NodeContent, decodeNode } from '../../../engine/codec/node.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { type BuiltNode, buildMap } from '../../../sync/tree/builder.ts';
import { type MapSource, mapEntries } from '../../../sync/tree/reader.ts';
import type { MapEntry } from '../../../sync/tree/rules.ts';

export const provider = nodeProvider;

/** A map as it lies in a store: its root and its nodes by id. */
export interface StoredMap {
  readonly root: string;
  readonly nodes: Map<string, BuiltNode>;
}

export function store(entries: Iterable<MapEntry>): StoredMap {
  const nodes = new Map<string, BuiltNode>();
  const building = buildMap(entries, provider);
  for (;;) {
    const step = building.next();
    if (step.done) return { root: step.value, nodes };
    nodes.set(step.value.id, step.value);
  }
}

export function sourceOf(nodes: ReadonlyMap<string, { readonly bytes: Uint8Array }>): MapSource {
  const load = (id: string): Promise<NodeContent | undefined> => {
    const node = nodes.get(id);
    return Promise.resolve(node === undefined ? undefined : decodeNode(node.bytes));
  };
  return { load, provider };
}

export async function collect<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const all: Value[] = [];
  for await (const value of values) all.push(value);
  return all;
}

export async function readAll(map: StoredMap): Promise<MapEntry[]> {
  return await collect(mapEntries(map.root, sourceOf(map.nodes)));
}

export function entry(key: string, value = ''): MapEntry {
  return { key: Buffer.from(key), value: Buffer.from(value), links: [] };
}

/** Sorted by key bytes, each key once: what a builder takes. */
export function sorted(entries: readonly MapEntry[]): MapEntry[] {
  const unique = new Map(entries.map((entry) => [toHex(entry.key), entry]));
  return [...unique.keys()].sort().map((key) => unique.get(key)!);
}

const link = fc.record({
  kind: fc.constantFrom('raw' as const, 'node' as const),
  id: fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toHex),
});

export const anyEntry: fc.Arbitrary<MapEntry> = fc.record({
  key: fc.uint8Array({ maxLength: 12 }),
  value: fc.uint8Array({ maxLength: 20 }),
  links: fc.array(link, { maxLength: 2 }),
});

/** A comparable form: bytes as hex. */
export function plain(entries: readonly MapEntry[]): unknown[] {
  return entries.map(({ key, value, links }) => [
    toHex(key),
    toHex(value),
    links.map(({ kind, id }) => `${kind} ${id}`),
  ]);
}

/** `count` entries with keys of one shape, enough for several levels. */
export function manyEntries(count: number, value: (index: number) => string = String): MapEntry[] {
  return Array.from({ length: count }, (_, i) => entry(`file-${String(i).padStart(7, '0')}`, value(i)));
}
