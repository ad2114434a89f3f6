/** The difference of two trees by their links: nothing missing left out, parents first, what is shared neither read nor named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TreeLink, difference, keyOf } from '../../../sync/protocol/difference.ts';
import { type Random, seededRandom } from '../../crash/random.ts';

type Graph = Map<string, readonly TreeLink[]>;

const runs = Number(process.env['HOLDFAST_RUNS'] ?? 300);

function linksOf(graph: Graph, read: Set<string> = new Set()) {
  return (ids: readonly string[]): Promise<(readonly TreeLink[] | undefined)[]> => {
    for (const id of ids) read.add(id);
    return Promise.resolve(ids.map((id) => graph.get(id)));
  };
}

function closure(graph: Graph, root: string): Set<string> {
  const found = new Set<string>();
  const visit = (link: TreeLink): void => {
    if (found.has(keyOf(link))) return;
    found.add(keyOf(link));
    if (link.kind === 'node') for (const below of graph.get(link.id)!) visit(below);
  };
  visit({ kind: 'node', id: root });
  return found;
}

const raw = (id: string): TreeLink => ({ kind: 'raw', id });
const node = (id: string): TreeLink => ({ kind: 'node', id });

/** A graph without cycles, and two of its nodes. */
function randomGraph(random: Random): {
  readonly graph: Graph;
  readonly target: string;
  readonly base: string;
} {
  const graph: Graph = new Map();
  const count = 2 + random.below(40);
  for (let i = 0; i < count; i++) {
    const links = Array.from({ length: random.below(5) }, () =>
      i > 0 && random.chance(0.6) ? node(`n${random.below(i)}`) : raw(`r${random.below(60)}`),
    );
    const sorted = [...new Map(links.map((link) => [keyOf(link), link])).values()].sort((a, b) =>
      a.kind === b.kind ? (a.id < b.id ? -1 : 1) : a.kind === 'raw' ? -1 : 1,
    );
    graph.set(`n${i}`, sorted);
  }
  return { graph, target: `n${count - 1}`, base: `n${random.below(count - 1)}` };
}

test('nothing that is missing is left out; each comes once, after a node that links to it', async () => {
  for (let seed = 0; seed < runs; seed++) {
    const { graph, target, base } = randomGraph(seededRandom(seed));
    const items = await difference(target, base, linksOf(graph));
    assert.ok(items !== undefined, `seed ${seed}`);
    const [below, known] = [closure(graph, target), closure(graph, base)];
    const told = new Set<string>();
    const linked = new Set([keyOf(node(target))]);
    for (const item of items) {
      assert.ok(!told.has(keyOf(item)) && linked.has(keyOf(item)), `seed ${seed}: ${keyOf(item)}`);
      told.add(keyOf(item));
      if (item.kind === 'node') for (const link of graph.get(item.id)!) linked.add(keyOf(link));
    }
    for (const key of below)
      if (!known.has(key)) assert.ok(told.has(key), `seed ${seed}: ${key} is left out`);
    for (const key of told) assert.ok(below.has(key), `seed ${seed}: ${key} is not below the target`);
  }
});

test('the order is one that a receiver accepts: each below the path, links in order', async () => {
  const { Descent } = await import('../../../sync/protocol/arrivals.ts');
  for (let seed = 0; seed < runs; seed++) {
    const { graph, target, base } = randomGraph(seededRandom(seed, 1));
    const descent = new Descent(node(target));
    for (const item of (await difference(target, base, linksOf(graph)))!) {
      descent.accept(item);
      if (item.kind === 'node') descent.enter(item.id, graph.get(item.id)!);
    }
  }
});

/** A balanced tree over leaves, whose ids are their content. */
function tower(graph: Graph, leaves: readonly string[], width: number): string {
  let level = leaves.map((leaf) => {
    graph.set(`leaf ${leaf}`, [raw(`file ${leaf}`)]);
    return `leaf ${leaf}`;
  });
  while (level.length > 1) {
    const above: string[] = [];
    for (let at = 0; at < level.length; at += width) {
      const below = level.slice(at, at + width);
      const id = `[${below.join()}]`;
      graph.set(id, below.map(node));
      above.push(id);
    }
    level = above;
  }
  return level[0]!;
}

test('one change in 4,096 leaves reads a path, and names a path', async () => {
  const graph: Graph = new Map();
  const leaves = Array.from({ length: 4096 }, (_, i) => `${i}`);
  const base = tower(graph, leaves, 16);
  const target = tower(graph, leaves.with(1234, 'changed'), 16);
  const read = new Set<string>();
  const items = await difference(target, base, linksOf(graph, read));
  assert.deepEqual(items?.length, 4 + 1); // three inner levels and the leaf, and its file
  assert.ok(read.size <= 2 * 4, `${read.size} nodes read`);
});

test('a tree that changed a little everywhere is read where it changed, and so is its base', async () => {
  const graph: Graph = new Map();
  const folders = Array.from({ length: 64 }, (_, folder) =>
    Array.from({ length: 256 }, (_, i) => `${folder}/${i}`),
  );
  const treeOf = (lists: readonly (readonly string[])[]): string => {
    const id = `tree of ${lists.map((leaves) => leaves[7]).join()}`;
    graph.set(
      id,
      lists.map((leaves) => node(tower(graph, leaves, 16))),
    );
    return id;
  };
  const base = treeOf(folders);
  const target = treeOf(folders.map((leaves) => leaves.with(7, `${leaves[7]} changed`)));
  const read = new Set<string>();
  const items = await difference(target, base, linksOf(graph, read));
  // The tree, and in each folder two inner levels, a leaf and its file.
  assert.equal(items?.length, 1 + 64 * 4);
  assert.ok(read.size <= 2 * (1 + 64 * 3), `${read.size} nodes read`);
});

test('a tree that lost levels is read no deeper than where it is known', async () => {
  const leaves = Array.from({ length: 1024 }, (_, i) => `${i}`);
  for (const [from, to] of [
    [1024, 64],
    [64, 1024],
    [1024, 16],
  ] as const) {
    const graph: Graph = new Map();
    const base = tower(graph, leaves.slice(0, from), 4);
    const target = tower(graph, leaves.slice(0, to), 4);
    const read = new Set<string>();
    const items = (await difference(target, base, linksOf(graph, read)))!;
    const known = closure(graph, base);
    const fresh = [...closure(graph, target)].filter((key) => !known.has(key));
    assert.ok(items.length <= fresh.length + 2, `${from} to ${to}: ${items.length} for ${fresh.length}`);
    // Besides what is new not more than the smaller one has.
    const most = fresh.filter((key) => key.startsWith('n')).length + 85;
    assert.ok(read.size <= most, `${from} to ${to}: ${read.size} nodes read, of ${most}`);
  }
});

test('a tree that grew or lost a level is still mostly shared', async () => {
  const leaves = Array.from({ length: 256 }, (_, i) => `${i}`);
  for (const [from, to] of [
    [256, 240],
    [15, 17],
    [17, 15],
    [256, 16],
    [16, 256],
  ] as const) {
    const graph: Graph = new Map();
    const base = tower(graph, leaves.slice(0, from), 16);
    const target = tower(graph, leaves.slice(0, to), 16);
    const items = (await difference(target, base, linksOf(graph)))!;
    const fresh = [...closure(graph, target)].filter((key) => !closure(graph, base).has(key));
    assert.ok(items.length <= fresh.length + 2, `${from} to ${to}: ${items.length} for ${fresh.length}`);
  }
});

test('a base that is not whole, or a difference too large, is not told', async () => {
  const graph: Graph = new Map();
  const leaves = Array.from({ length: 256 }, (_, i) => `${i}`);
  const base = tower(graph, leaves, 16);
  const target = tower(graph, leaves.with(0, 'changed'), 16);
  assert.equal(await difference(target, 'unknown', linksOf(graph)), undefined);
  const other = tower(
    graph,
    leaves.map((leaf) => `other ${leaf}`),
    16,
  );
  assert.equal(await difference(other, base, linksOf(graph), 100), undefined);
  graph.delete(base);
  assert.equal(await difference(target, base, linksOf(graph)), undefined);
});
