/** Holds the Merkle map to its promises: one tree per content, small changes, nothing but its own encoding taken. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex } from '../../../engine/codec/bytes.ts';
import { decodeNode } from '../../../engine/codec/node.ts';
import { MapBuilder, buildMap } from '../../../sync/tree/builder.ts';
import { decodeMapNode, encodeMapNode, weightOf } from '../../../sync/tree/map-node.ts';
import { getEntry } from '../../../sync/tree/reader.ts';
import { type MapEntry, levelsEnded, nodeWeightMax } from '../../../sync/tree/rules.ts';
import { sample } from '../../crash/sample.ts';
import { anyEntry, entry, manyEntries, plain, provider, readAll, sorted, sourceOf, store } from './maps.ts';

test('a map is read back as it was built, and every node is canonical', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyEntry, { maxLength: 400 }), async (some) => {
      const entries = sorted(some);
      const map = store(entries);
      assert.deepEqual(plain(await readAll(map)), plain(entries));
      for (const { id, bytes } of map.nodes.values()) {
        assert.equal(provider.sha256Hex(bytes), id);
        assert.deepEqual(Buffer.from(encodeMapNode(decodeMapNode(decodeNode(bytes)))), Buffer.from(bytes));
      }
    }),
  );
});

test('the same map is the same tree, whatever was inserted and removed on the way', () => {
  // Inserting one by one and building anew after each step is what an incremental writer must equal.
  const rebuilt = (steps: readonly MapEntry[]): string => store(sorted(steps)).root;
  fc.assert(
    fc.property(fc.array(anyEntry, { minLength: 1, maxLength: 200 }), fc.integer(), (some, seed) => {
      const unique = sorted(some);
      const shuffled = unique
        .map((entry, i) => [(i * 7919 + seed) % 104_729, entry] as const)
        .sort((a, b) => a[0] - b[0]);
      assert.equal(rebuilt(shuffled.map(([, entry]) => entry)), rebuilt(unique));
    }),
  );
});

test('every key is found, and no other', async () => {
  const map = store(manyEntries(5_000));
  const source = sourceOf(map.nodes);
  for (const i of [0, 1, 63, 64, 2_500, 4_998, 4_999]) {
    const found = await getEntry(map.root, Buffer.from(`file-${String(i).padStart(7, '0')}`), source);
    assert.equal(Buffer.from(found!.value).toString(), String(i));
  }
  for (const absent of ['', 'file-', 'file-0000000x', 'zzz']) {
    assert.equal(await getEntry(map.root, Buffer.from(absent), source), undefined);
  }
});

test('nodes come children first, the root last, and memory stays bounded', () => {
  const seen = new Set<string>();
  const building = buildMap(manyEntries(50_000), provider);
  let last = '';
  for (let step = building.next(); ; step = building.next()) {
    if (step.done) {
      assert.equal(step.value, last);
      break;
    }
    const { links } = decodeNode(step.value.bytes);
    for (const link of links) assert.ok(seen.has(link.id), 'a child came after its parent');
    seen.add((last = step.value.id));
  }
  // 50,000 entries at 64 a node: about 780 leaves.
  assert.ok(seen.size > 600 && seen.size < 1_000, String(seen.size));
});

test('one changed value rewrites one node a level; one key more or less a few', () => {
  const entries = manyEntries(8_000);
  const before = store(entries);
  const levels = 1 + Math.max(...[...before.nodes.values()].map(({ level }) => level));
  const news = (changed: readonly MapEntry[]): number => {
    const after = store(changed);
    return [...after.nodes.keys()].filter((id) => !before.nodes.has(id)).length;
  };
  for (const at of [0, 1, 500, 4_777, 7_999]) {
    const changed = entries.with(at, { ...entries[at]!, value: Buffer.from('changed') });
    assert.equal(news(changed), levels, `value at ${at}`);
    // Taking away a key that ends nodes joins two of them on each level it ends.
    assert.ok(news(entries.toSpliced(at, 1)) <= 2 * levels, `without ${at}`);
    assert.ok(
      news(
        entries.toSpliced(at, 0, {
          ...entries[at]!,
          key: Buffer.concat([entries[at - 1]?.key ?? Buffer.alloc(0), Buffer.from('+')]),
        }),
      ) <=
        2 * levels + 1,
      `insert at ${at}`,
    );
  }
});

test('values never move a boundary, unless a node gets too heavy', () => {
  const cuts = (value: string): string[] => {
    const leaves = [...store(manyEntries(20_000, () => value)).nodes.values()].filter(
      ({ level }) => level === 0,
    );
    return leaves.map(({ bytes }) => {
      const node = decodeMapNode(decodeNode(bytes));
      assert.ok('entries' in node);
      return Buffer.from(node.entries.at(-1)!.key).toString();
    });
  };
  assert.deepEqual(cuts('a'), cuts('something a little longer'));
});

test('a node that gets too heavy is split where the rules say, and read back', async () => {
  const heavy = manyEntries(300, (i) => String(i).padEnd(8_000, '.'));
  const map = store(heavy);
  const leaves = [...map.nodes.values()].filter(({ level }) => level === 0);
  assert.ok(leaves.length >= 300 / 8, 'eight entries of 8,000 bytes fill a node');
  for (const { bytes } of map.nodes.values())
    assert.ok(weightOf(decodeMapNode(decodeNode(bytes))) <= nodeWeightMax);
  assert.deepEqual(plain(await readAll(map)), plain(heavy));
  // The split starts over after a key that ends a node, so a heavier entry at the start leaves the far end alone.
  const after = store(heavy.with(0, { ...heavy[0]!, value: Buffer.alloc(16_000) }));
  const news = [...after.nodes.keys()].filter((id) => !map.nodes.has(id));
  assert.ok(news.length < leaves.length / 2, `${news.length} of ${leaves.length} leaves changed`);
});

test('keys that never end a node still make a tree of bounded depth', async () => {
  const entries: MapEntry[] = [];
  for (let i = 0; entries.length < sample(30_000, 5000); i++) {
    const key = Buffer.from(String(i).padStart(120, '0'));
    if (levelsEnded(key, provider) === 0) entries.push({ key, value: Buffer.alloc(0), links: [] });
  }
  const map = store(entries);
  assert.ok(Math.max(...[...map.nodes.values()].map(({ level }) => level)) <= 2);
  assert.equal((await readAll(map)).length, entries.length);
});

test('an empty map is one empty node; out of order, double and oversized entries are refused', async () => {
  const empty = store([]);
  assert.equal(empty.nodes.size, 1);
  assert.deepEqual(await readAll(empty), []);
  assert.equal(await getEntry(empty.root, Buffer.from('a'), sourceOf(empty.nodes)), undefined);
  assert.throws(() => store([entry('b'), entry('a')]), { code: 'invalid-argument' });
  assert.throws(() => store([entry('a'), entry('a')]), { code: 'invalid-argument' });
  assert.throws(() => store([entry('k'.repeat(4_097))]), { code: 'limit-exceeded' });
  assert.throws(() => store([entry('k', 'v'.repeat(16_385))]), { code: 'limit-exceeded' });
});

test('the boundary rule is the low bits of sha256, as written down', () => {
  // sha256("a") ends with …bb: no zero bits. The first texts whose digest ends with 6 and 12 zero bits:
  assert.equal(levelsEnded(Buffer.from('a'), provider), 0);
  let [six, twelve] = [0, 0];
  for (let i = 0; twelve === 0; i++) {
    const low = Buffer.from(fromHex(provider.sha256Hex(Buffer.from(String(i))))!).readUInt32BE(28);
    const expected = low % 4096 === 0 ? 2 : low % 64 === 0 ? 1 : 0;
    assert.equal(Math.min(2, levelsEnded(Buffer.from(String(i)), provider)), expected);
    if (expected === 1) six++;
    if (expected === 2) twelve++;
  }
  assert.ok(six > 0);
});

test('a golden root: the format has not moved', () => {
  assert.equal(store([]).root, 'aac8e78c2299ea06f800b5c04bf4baed6a0094c0710263c6955fcce2fe8f8a5b');
  assert.equal(
    store(manyEntries(10_000)).root,
    '7a36aeeeedecafc3b0139b33bd4a85fa93c8e3ccc2bedfbb3a6516dc431ce424',
  );
});

test('leaves that are taken whole give the tree that their entries give', () => {
  const edits = fc.array(fc.tuple(fc.nat(2_999), fc.constantFrom('drop', 'add', 'change')), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3_000 }), edits, (count, changes) => {
      const old = manyEntries(count);
      const now = new Map([...old].map((one) => [Buffer.from(one.key).toString(), one]));
      for (const [at, how] of changes) {
        const key = `file-${String(at).padStart(7, '0')}`;
        if (how === 'drop') now.delete(key);
        else if (how === 'change') now.set(key, entry(key, 'changed'));
        else now.set(`${key}+`, entry(`${key}+`, 'new'));
      }
      const entries = sorted([...now.values()]);
      const { built, taken } = rebuilt(entries, sorted([...old]));
      assert.equal(built, store(entries).root);
      if (count > 2_000) assert.ok(taken > 2, `${taken} leaves`);
    }),
    { numRuns: sample(60, 12) },
  );
});

/** Builds a map out of the leaves of an old one where all between two of its leaves' ends is as it was. */
function rebuilt(entries: readonly MapEntry[], old: readonly MapEntry[]): { built: string; taken: number } {
  const leaves = leavesOf(old);
  const builder = new MapBuilder(provider);
  let taken = 0;
  let built = '';
  for (let i = 0; i < entries.length;) {
    const name = Buffer.from(entries[i]!.key);
    const at = leaves.findIndex(({ keys }) => name.equals(keys[0]!.key));
    const leaf = leaves[at];
    const same = leaf?.keys.every((one, j) => entries[i + j] && alike(one, entries[i + j]!)) === true;
    if (
      same &&
      builder.atLeaf &&
      builder.addLeaf({ key: leaf.keys.at(-1)!.key, id: leaf.id }) !== undefined
    ) {
      taken++;
      i += leaf.keys.length;
    } else builder.add(entries[i++]!);
  }
  built = builder.finish().at(-1)!.id;
  return { built, taken };
}

function alike(a: MapEntry, b: MapEntry): boolean {
  return Buffer.from(a.key).equals(b.key) && Buffer.from(a.value).equals(b.value);
}

function leavesOf(
  entries: readonly MapEntry[],
): { readonly id: string; readonly keys: readonly MapEntry[] }[] {
  return [...store(entries).nodes.values()].flatMap(({ id, bytes, level }) => {
    const node = decodeMapNode(decodeNode(bytes));
    return level === 0 && 'entries' in node ? [{ id, keys: node.entries }] : [];
  });
}
