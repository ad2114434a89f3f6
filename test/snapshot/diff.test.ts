/** The difference of two snapshots as paths: exact against a plain comparison, and read in proportion to what changed. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  type BlobId,
  type Store,
  StoreError,
  encodeNode,
  nodeProvider,
  openStore,
} from '../../engine/index.ts';
import { diffTrees } from '../../src/index.ts';
import { type SnapshotEntry, encodeEntry } from '../../src/snapshot/entry.ts';
import { nodesOf } from '../../src/snapshot/tree.ts';
import { buildMap, decodeMapNode, mapLeaves } from '../../sync/index.ts';
import { type Random, seededRandom } from '../crash/random.ts';

let base: string;
let store: Store;
before(async () => {
  base = mkdtempSync(join(tmpdir(), 'holdfast-diff-'));
  store = await openStore(base, { durability: 'relaxed', threads: { count: 0 } });
});
after(async () => {
  await store.close();
  rmSync(base, { recursive: true });
});

/** A file is a number that stands for its content, a folder a map. */
interface Folder extends Map<string, number | Folder> {}

const contents = new Map<number, BlobId>();
const counted = { reads: 0 };

async function put(folder: Folder): Promise<BlobId> {
  const entries: SnapshotEntry[] = [];
  for (const [name, what] of folder) {
    if (typeof what !== 'number') {
      entries.push({ type: 'folder', name, mode: 0o755, mtimeNs: 0n, id: await put(what) });
      continue;
    }
    if (!contents.has(what)) contents.set(what, (await store.put(Buffer.from(`content ${what}`))).id);
    entries.push({ type: 'file', name, mode: 0o644, mtimeNs: 0n, id: contents.get(what)!, size: what });
  }
  const pairs = entries.map((entry) => encodeEntry(entry)).sort((x, y) => Buffer.compare(x.key, y.key));
  const nodes = [...buildMap(pairs, nodeProvider)];
  for (const { id, bytes } of nodes) await store.put(bytes, { kind: 'node', expectId: id });
  return nodes.at(-1)!.id;
}

/** All paths, with what tells their content. */
function flat(folder: Folder, path = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, what] of folder) {
    found.set(path + name, typeof what === 'number' ? `file ${what}` : 'folder');
    if (typeof what !== 'number')
      for (const [below, tells] of flat(what, `${path}${name}/`)) found.set(below, tells);
  }
  return found;
}

function expected(a: Folder, b: Folder): string[] {
  const [from, to] = [flat(a), flat(b)];
  const lines: string[] = [];
  for (const [path, tells] of from)
    if (!to.has(path)) lines.push(`removed ${path}`);
    else if (to.get(path) !== tells) lines.push(`changed ${path}`);
  for (const path of to.keys()) if (!from.has(path)) lines.push(`added ${path}`);
  return lines.sort();
}

async function found(a: BlobId, b: BlobId): Promise<string[]> {
  const lines: string[] = [];
  counted.reads = 0;
  const counting = new Proxy(store, {
    get(target, key) {
      if (key === 'getNode') counted.reads++;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
  for await (const { change, path } of diffTrees(counting, a, b)) lines.push(`${change} ${path}`);
  return lines;
}

/** Adds, changes, removes; moves and copies whole folders, so that the same nodes are found at other places. */
function mutate(folder: Folder, random: Random, steps: number): Folder {
  const copy = structuredClone(folder);
  for (let i = 0; i < steps; i++) {
    const folders = [copy, ...[...copy.values()].filter((what) => typeof what !== 'number')];
    const where = folders[random.below(folders.length)]!;
    const names = [...where.keys()];
    const name = names[random.below(Math.max(1, names.length))];
    const roll = random.below(6);
    if (roll <= 1 || name === undefined) where.set(`new ${random.below(1000)}`, random.below(50));
    else if (roll === 2) where.set(name, random.below(50));
    else if (roll === 3) where.delete(name);
    else if (roll === 4 && where === copy)
      copy.set(`copy ${random.below(5)}`, structuredClone(copy.get(name)!));
    else for (let n = 0; n < random.below(400); n++) where.set(`many ${n}`, random.below(50));
  }
  return copy;
}

test('random trees: exactly what a plain comparison of all paths finds', async () => {
  const random = seededRandom(7);
  let folder: Folder = new Map([['sub', new Map([['x', 1]])]]);
  for (let round = 0; round < 25; round++) {
    const next = mutate(folder, random, 1 + random.below(6));
    const [a, b] = [await put(folder), await put(next)];
    assert.deepEqual((await found(a, b)).sort(), expected(folder, next), `round ${round}`);
    assert.deepEqual((await found(b, a)).sort(), expected(next, folder), `round ${round}, back`);
    folder = next;
  }
});

test('a map that grows by two levels shares its leaf with the small one, and nothing of that is told', async () => {
  const many: Folder = new Map(Array.from({ length: 1500 }, (_, i) => [`n ${i}`, 1]));
  const b = await put(many);
  assert.equal(decodeMapNode((await store.getNode(b))!).level, 2, 'other names give a map of another height');
  const names: string[] = [];
  for await (const leaf of mapLeaves(b, nodesOf(store))) {
    names.push(...leaf.map(({ key }) => Buffer.from(key).toString()));
    break;
  }
  const a = await put(new Map(names.map((name) => [name, 1])));
  const added = await found(a, b);
  assert.equal(added.length, 1500 - names.length);
  assert.ok(added.every((line) => line.startsWith('added n ')));
  assert.deepEqual(
    await found(b, a),
    added.map((line) => line.replace('added', 'removed')),
  );
});

test('one change in a folder of 5,000 reads a few nodes; nothing, none', async () => {
  const folder: Folder = new Map(Array.from({ length: 5000 }, (_, i) => [`file ${i}`, i % 50]));
  const a = await put(folder);
  folder.set('file 4321', 99);
  const b = await put(folder);
  assert.deepEqual(await found(a, b), ['changed file 4321']);
  assert.ok(counted.reads <= 12, `${counted.reads} nodes read`);
  assert.deepEqual(await found(a, a), []);
  assert.equal(counted.reads, 0);
});

test('facts alone are told as such; bytes, and ids that are not there, are refused', async () => {
  const { id } = await store.put(Buffer.from('x'));
  const putEntry = async (mode: number): Promise<BlobId> => {
    const node = [
      ...buildMap([encodeEntry({ type: 'file', name: 'f', mode, mtimeNs: 1n, id, size: 1 })], nodeProvider),
    ];
    return (await store.put(node[0]!.bytes, { kind: 'node' })).id;
  };
  const [a, b] = [await putEntry(0o644), await putEntry(0o600)];
  assert.deepEqual(await found(a, b), ['facts f']);
  await assert.rejects(found(a, id), (error) => StoreError.is(error, 'invalid-argument'));
  const other = encodeNode({ links: [], payload: Buffer.from('of another application') });
  const node = await store.put(other, { kind: 'node' });
  for (const [from, to] of [[a, node.id] as const, [node.id, a] as const])
    await assert.rejects(found(from, to), (error) => StoreError.is(error, 'invalid-argument'));
  await assert.rejects(found(a, '0'.repeat(64)), (error) => StoreError.is(error, 'not-found'));
});
