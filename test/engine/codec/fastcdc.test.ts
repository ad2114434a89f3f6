/** FastCDC: the same cuts wherever one looks, sizes kept, an edit moves few of them; manifests come back and nothing else is one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CutSizes, Cutter, areCutSizes, gearTable, usualCuts } from '../../../engine/codec/fastcdc.ts';
import {
  ManifestBuilder,
  type ManifestNode,
  decodeManifest,
  encodeManifest,
  isManifest,
  manifestLinksMax,
} from '../../../engine/codec/manifest.ts';
import { decodeNode, encodeNode } from '../../../engine/codec/node.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { seededBytes } from '../../crash/random.ts';
import { noise } from '../store-folder.ts';
import { sample } from '../../crash/sample.ts';
import { bitFlips, blobId, throwsCode, unless } from './arbitrary.ts';

const sizes = { least: 256, average: 1024, greatest: 4096 };

function cutsOf(bytes: Uint8Array, cutter = new Cutter(provider, sizes)): number[] {
  const lengths: number[] = [];
  for (let at = 0; at < bytes.length; at += lengths.at(-1)!) lengths.push(cutter.cut(bytes, at));
  return lengths;
}

test('chunks are within their sizes, and make up the content', () => {
  fc.assert(
    fc.property(fc.nat(60_000), fc.nat(1000), (length, seed) => {
      const lengths = cutsOf(noise(length, seed));
      assert.equal(
        lengths.reduce((sum, one) => sum + one, 0),
        length,
      );
      lengths.forEach((one, i) => {
        assert.ok(one <= sizes.greatest);
        assert.ok(one >= sizes.least || i === lengths.length - 1);
      });
    }),
    { numRuns: sample(50, 25) },
  );
});

/** The rule as the format page has it, one byte at a time. */
function lengthByRule(bytes: Uint8Array, { least, average, greatest }: CutSizes): number {
  const gear = gearTable(provider);
  let hash = 0;
  for (let length = least + 1; length <= Math.min(bytes.length, greatest); length++) {
    hash = (hash * 2 + gear[bytes[length - 1]!]!) | 0;
    const bits = Math.log2(average) + (length <= average ? 2 : -2);
    if (hash >>> (32 - bits) === 0) return length;
  }
  return Math.min(bytes.length, greatest);
}

test('cuts are where the rule says, however long the chunk is', () => {
  const rules = [
    { least: 64, average: 4096, greatest: 20_000 },
    { least: 4096, average: 4096, greatest: 4096 },
    { least: 4095, average: 4096, greatest: 4101 },
    { least: 1001, average: 8192, greatest: 8193 },
  ];
  for (const sizes of rules) {
    const cutter = new Cutter(provider, sizes);
    for (let seed = 0; seed < sample(300, 100); seed++) {
      const bytes = seededBytes(seed, seed % 7 === 0 ? seed * 17 : 25_000);
      if (bytes.length > 0) assert.equal(cutter.cut(bytes, 0), lengthByRule(bytes, sizes), `seed ${seed}`);
    }
  }
});

test('a cut depends on what is before it in its chunk, and on nothing else', () => {
  const bytes = noise(100_000, 3);
  const whole = cutsOf(bytes);
  const cutter = new Cutter(provider, sizes);
  let at = 0;
  for (const length of whole) {
    // As a reader of pieces sees it: a window that reaches just far enough.
    const window = bytes.slice(at, at + sizes.greatest);
    assert.equal(cutter.cut(window, 0), length);
    at += length;
  }
});

test('the average is about what was asked for; without anything to go by it is the greatest', () => {
  const lengths = cutsOf(noise(4_000_000, 5));
  const average = 4_000_000 / lengths.length;
  assert.ok(average > 800 && average < 1600, String(average));
  assert.ok(
    cutsOf(new Uint8Array(100_000))
      .slice(0, -1)
      .every((one) => one === sizes.greatest),
  );
});

test('an insertion, a deletion, a change: all but a few chunks stay', () => {
  const bytes = noise(1_000_000, 7);
  const known = new Set(chunksOf(bytes));
  const edits = [
    Buffer.concat([noise(1024, 9), bytes]),
    Buffer.concat([bytes.subarray(0, 500_000), noise(10, 9), bytes.subarray(500_000)]),
    Buffer.concat([bytes.subarray(0, 300_000), bytes.subarray(300_100)]),
    Buffer.concat([bytes.subarray(0, 700_000), noise(5, 9), bytes.subarray(700_005)]),
  ];
  for (const edited of edits) {
    const changed = chunksOf(edited).filter((chunk) => !known.has(chunk)).length;
    assert.ok(changed <= 4, String(changed));
  }
});

function chunksOf(bytes: Uint8Array): string[] {
  let at = 0;
  return cutsOf(bytes).map((length) => provider.sha256Hex(bytes.subarray(at, (at += length))));
}

test('the gear is the same from both providers, and the one in the format', () => {
  const gear = gearTable(provider);
  assert.deepEqual(gear, gearTable(portableProvider));
  assert.equal(
    provider.sha256Hex(new Uint8Array(gear.buffer)),
    'f3f258fcd694866db8dee138a54b34c7c47118ea179ddde2e46ef6ff55aa8be2',
  );
  assert.deepEqual(cutsOf(noise(20_000)), cutsOf(noise(20_000), new Cutter(portableProvider, sizes)));
});

test('sizes that cannot be are known', () => {
  assert.equal(areCutSizes(usualCuts), true);
  for (const change of [
    { average: 1000 },
    { average: 2 ** 23 },
    { least: 0 },
    { least: 300_000 },
    { greatest: 1000 },
    { greatest: 2 ** 25 },
    { least: 1000.5 },
    { average: Number.NaN },
  ])
    assert.equal(areCutSizes({ ...usualCuts, ...change }), false, JSON.stringify(change));
});

const part = fc.record(
  { id: blobId, size: fc.integer({ min: 1, max: 1_000_000 }) },
  { noNullPrototype: true },
);
const manifest: fc.Arbitrary<ManifestNode> = fc
  .tuple(fc.integer({ min: 0, max: 7 }), fc.array(part, { minLength: 1, maxLength: 20 }), fc.option(blobId))
  .map(([level, parts, whole]) => {
    if (whole === null) return { level, parts };
    const size = parts.reduce((sum, one) => sum + one.size, 0);
    return { level, parts, root: { id: whole, size, cuts: usualCuts } };
  });

test('a manifest comes back, and is a node', () => {
  fc.assert(
    fc.property(manifest, (one) => {
      const bytes = encodeManifest(one);
      assert.deepEqual(decodeManifest(bytes), one);
      const { links, payload } = decodeNode(bytes);
      assert.ok(isManifest(payload));
      assert.ok(links.every(({ kind }) => kind === (one.level === 0 ? 'raw' : 'node')));
      assert.deepEqual(encodeManifest(decodeManifest(bytes)), bytes);
    }),
  );
});

test('whatever bit is turned, it is refused or is another manifest with one encoding', () => {
  fc.assert(
    fc.property(manifest, (one) => {
      for (const { flipped } of bitFlips(encodeManifest(one))) {
        const read = unless(['corrupt', 'incompatible-format'], () => decodeManifest(flipped));
        if (read !== undefined) assert.deepEqual(encodeManifest(read), flipped);
      }
    }),
    { numRuns: sample(15, 6) },
  );
});

test('what is no manifest is refused', () => {
  const id = 'ab'.repeat(32);
  const good = decodeNode(encodeManifest({ level: 0, parts: [{ id, size: 5 }] }));
  const changed = (change: (view: DataView) => void, links = good.links): Uint8Array => {
    const payload = good.payload.slice();
    change(new DataView(payload.buffer));
    return encodeNode({ links, payload });
  };
  const bad: Uint8Array[] = [
    encodeNode({ links: [], payload: new Uint8Array(0) }),
    encodeNode({ links: good.links, payload: good.payload.subarray(0, 8) }),
    encodeNode({ links: good.links, payload: good.payload.subarray(0, 19) }),
    changed((view) => view.setUint8(4, 8), [{ kind: 'node', id }]),
    changed((view) => view.setUint8(4, 1)), // level 1 with a raw link
    changed((view) => view.setUint8(5, 2)),
    changed((view) => view.setUint8(6, 1)),
    changed((view) => view.setUint32(8, 1, true)),
    changed((view) => view.setUint32(12, 0, true)),
    changed(() => undefined, []),
    changed(() => undefined, [...good.links, { kind: 'raw', id: 'cd'.repeat(32) }]),
  ];
  for (const bytes of bad) throwsCode('corrupt', () => decodeManifest(bytes));
});

test('a builder makes full nodes, lower ones first, and a root on top of any number of parts', () => {
  for (const count of [1, 2, manifestLinksMax, manifestLinksMax + 1, 3 * manifestLinksMax + 5]) {
    const idOf = (bytes: Uint8Array): string => provider.sha256Hex(bytes);
    const builder = new ManifestBuilder(idOf);
    const known = new Map<string, ManifestNode>();
    const keep = (nodes: Uint8Array[]): void => {
      for (const bytes of nodes) {
        const node = decodeManifest(bytes);
        if (node.level > 0) for (const { id } of node.parts) assert.ok(known.has(id), 'children come first');
        known.set(idOf(bytes), node);
      }
    };
    const parts = Array.from({ length: count }, (_, i) => ({
      id: idOf(Uint8Array.of(i, i >> 8)),
      size: i + 1,
    }));
    for (const one of parts) keep(builder.add(one));
    const size = (count * (count + 1)) / 2;
    const nodes = builder.finish({ id: 'ee'.repeat(32), size, cuts: usualCuts });
    keep(nodes);
    const root = decodeManifest(nodes.at(-1)!);
    assert.equal(root.root?.size, size);
    const leaves = (node: ManifestNode): unknown[] =>
      node.level === 0 ? [...node.parts] : node.parts.flatMap(({ id }) => leaves(known.get(id)!));
    assert.deepEqual(leaves(root), parts);
  }
});

test('one chunk more at the head makes few nodes new', () => {
  const idOf = (bytes: Uint8Array): string => provider.sha256Hex(bytes);
  const nodesOf = (numbers: readonly number[]): Set<string> => {
    const builder = new ManifestBuilder(idOf);
    const parts = numbers.map((n) => ({ id: idOf(new TextEncoder().encode(String(n))), size: n + 1 }));
    const size = parts.reduce((sum, one) => sum + one.size, 0);
    const nodes = parts.flatMap((one) => builder.add(one));
    return new Set([...nodes, ...builder.finish({ id: 'ee'.repeat(32), size, cuts: usualCuts })].map(idOf));
  };
  const numbers = Array.from({ length: 20_000 }, (_, n) => n);
  const before = nodesOf(numbers);
  const after = nodesOf([99_999, ...numbers]);
  assert.ok(before.size > 60, `${before.size} nodes`);
  assert.ok([...after].filter((id) => !before.has(id)).length <= 3);
});
