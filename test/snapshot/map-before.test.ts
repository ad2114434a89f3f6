/** Leaves of the map before are taken whole, and the tree is the one that is built anew: byte for byte, whatever changed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Store, decodeNode, nodeProvider } from '../../engine/index.ts';
import { packListing } from '../../engine/codec/listing.ts';
import type { FileKind } from '../../engine/host.ts';
import { putMap } from '../../src/snapshot/folder-map.ts';
import type { CachedFolder } from '../../src/snapshot/import-cache.ts';
import type { ImportRun } from '../../src/snapshot/import-run.ts';
import { MapBefore } from '../../src/snapshot/map-before.ts';
import { OpenFolder } from '../../src/snapshot/open-folder.ts';
import type { BuiltNode } from '../../sync/tree/builder.ts';
import { decodeMapNode, isLeaf } from '../../sync/tree/map-node.ts';
import { levelsEnded } from '../../sync/tree/rules.ts';
import { type Random, seededRandom } from '../crash/random.ts';
import { sample } from '../crash/sample.ts';

const runs = Number(process.env['HOLDFAST_RUNS'] ?? sample(24, 10));
const listedMs = 1_700_000_000_000;

/** What is in a folder under one name. */
interface Thing {
  readonly kind: FileKind;
  readonly version: number;
  /** Of a link. */
  readonly target: string;
  /** Could not be read, and was left out. */
  readonly failed: boolean;
  /** Changed so lately that its times say nothing. */
  readonly racy: boolean;
}

type Things = Map<string, Thing>;
type Nodes = Map<string, Uint8Array>;

/** Short names; names of which a leaf holds few, so that some end by their weight; names in no order. */
const styles: readonly ((i: number) => string)[] = [
  (i) => `f${String(i).padStart(6, '0')}`,
  (i) => `f${String(i).padStart(6, '0')}`.padEnd(240, 'x'),
  (i) => sha256(`name ${i}`).slice(0, 10),
];

function sha256(text: string): string {
  return nodeProvider.sha256Hex(Buffer.from(text));
}

function someThing(random: Random, longLinks: boolean): Thing {
  const links = longLinks ? 70 : 8;
  const at = random.below(100);
  const kind = at < links ? 'link' : at < links + 2 ? 'folder' : at < links + 4 ? 'other' : 'file';
  const version = random.below(1_000_000_000);
  return {
    kind,
    version,
    target: `${'t'.repeat(random.below(longLinks ? 4000 : 40))}${version}`,
    failed: random.chance(0.002),
    racy: random.chance(0.003),
  };
}

/** Names of which it is known without a hash that they end no leaf, and others. */
const known = { spared: 0, hashed: 0 };

/** Imports a folder's map into `nodes`, as an import does. */
async function imported(
  things: Things,
  nodes: Nodes,
  cached: CachedFolder | undefined,
): Promise<{ readonly root: string; readonly cached: CachedFolder }> {
  const sorted = [...things]
    .map(([name, thing]) => ({ name: Buffer.from(name), thing }))
    .sort((a, b) => Buffer.compare(a.name, b.name));
  const facts = ({ kind, version, racy }: Thing) => {
    const mtimeNs = BigInt(version) * 1000n;
    const ctimeNs = racy ? BigInt(listedMs) * 1_000_000n : mtimeNs;
    const [size, ino] = [version % 1000, BigInt(version)];
    return { kind, size, mode: 0o644, mtimeNs, ctimeNs, dev: 1n, ino, links: 1 };
  };
  const listing = packListing(
    sorted.map(({ name, thing }) => ({ name, facts: facts(thing) })),
    [],
  );
  const folder = new OpenFolder({ path: '/x', inside: 'x', depth: 1 }, { listing, listedMs, cached });
  for (const [i, { thing }] of sorted.entries()) {
    if (thing.failed) folder.exclude(i);
    else if (thing.kind === 'link') folder.targets.set(i, thing.target);
    else if (thing.kind !== 'other') folder.setId(i, sha256(String(thing.version)));
  }
  const store = {
    getNode: (id: string) => Promise.resolve(nodes.has(id) ? decodeNode(nodes.get(id)!) : undefined),
  } as unknown as Store;
  const putNode = ({ id, bytes }: BuiltNode): Promise<void> => Promise.resolve(void nodes.set(id, bytes));
  const run = { store, putNode, rest: () => undefined, check: () => undefined };
  const asked = await MapBefore.read(store, cached);
  for (let i = 0, at = 0; i < listing.count; i++) {
    const ended = asked?.endedBy(listing.names, at);
    const { bytes, next } = folder.nameAt(at);
    if (ended === 0) assert.equal(levelsEnded(bytes, nodeProvider), 0, 'a name that ends a leaf');
    known[ended === 0 ? 'spared' : 'hashed']++;
    at = next;
  }
  const { id, level } = await putMap(run as unknown as ImportRun, folder);
  return { root: id, cached: { ...folder.remember({ id, height: level }), parts: 1 } };
}

function change(things: Things, random: Random, { name, space, longLinks }: Style): void {
  const first = random.below(space);
  const [count, together] = random.pick([
    [0, false],
    [1, false],
    [6, false],
    [100, true],
  ] as const);
  for (let k = 0; k < count; k++) {
    const one = name((together ? first + k : random.below(space)) % space);
    if (random.chance(0.4)) things.delete(one);
    else things.set(one, someThing(random, longLinks));
  }
  // What decides where leaves end.
  for (const one of random.chance(0.4) ? [...things.keys()] : [])
    if (levelsEnded(Buffer.from(one), nodeProvider) > 0 && random.chance(0.15)) {
      if (random.chance(0.5)) things.delete(one);
      else things.set(one, someThing(random, longLinks));
    }
  for (const [one, thing] of things) if (thing.failed) things.set(one, { ...thing, failed: false });
}

interface Style {
  readonly name: (i: number) => string;
  readonly space: number;
  readonly longLinks: boolean;
}

/** All of a map, or what of it is missing. */
function checkWhole(nodes: Nodes, id: string): void {
  const bytes = nodes.get(id);
  assert.ok(bytes !== undefined, `node ${id} is not there`);
  const node = decodeMapNode(decodeNode(bytes));
  if (!isLeaf(node)) for (const child of node.children) checkWhole(nodes, child.id);
}

test('what is built on the map before is the map that is built anew', async () => {
  let [all, kept] = [0, 0];
  for (let seed = 0; seed < runs; seed++) {
    const random = seededRandom(seed);
    const count = random.pick([40, 400, 2_000]);
    const style = { name: random.pick(styles), space: count * 2, longLinks: random.chance(0.3) };
    const things: Things = new Map();
    for (let i = 0; i < count; i++)
      things.set(style.name(random.below(style.space)), someThing(random, style.longLinks));
    const nodes: Nodes = new Map();
    let { cached } = await imported(things, nodes, undefined);
    for (let step = 0; step < 5; step++) {
      change(things, random, style);
      const before = new Set(nodes.keys());
      const anew: Nodes = new Map();
      const expected = await imported(things, anew, undefined);
      const built = await imported(things, nodes, cached);
      assert.equal(built.root, expected.root, `seed ${seed}, step ${step}`);
      checkWhole(nodes, built.root);
      all += anew.size;
      for (const id of anew.keys()) if (before.has(id)) kept++;
      ({ cached } = built);
    }
  }
  assert.ok(kept > all / 2, `${kept} of ${all} nodes were there before`);
  assert.ok(known.spared > known.hashed / 4, `${known.spared} names were spared a hash, ${known.hashed} not`);
});
