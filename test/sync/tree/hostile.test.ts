/** Gives the map reader trees that its builder would never build: each must be refused, none may hang or crash. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeNode, encodeNode } from '../../../engine/codec/node.ts';
import { StoreError } from '../../../engine/errors.ts';
import { CborReader, CborWriter } from '../../../sync/tree/cbor.ts';
import { type MapNode, decodeMapNode, encodeMapNode } from '../../../sync/tree/map-node.ts';
import { getEntry, mapEntries } from '../../../sync/tree/reader.ts';
import { type MapEntry, levelsEnded } from '../../../sync/tree/rules.ts';
import { sample } from '../../crash/sample.ts';
import { collect, entry, manyEntries, provider, sourceOf, store } from './maps.ts';

const idA = 'a'.repeat(64);

function payload(write: (writer: CborWriter) => CborWriter): Uint8Array {
  return write(new CborWriter()).finish();
}

function leaf(writer: CborWriter): CborWriter {
  return writer.array(3).integer(1).integer(0);
}

const refused: readonly (readonly [string, Uint8Array, number])[] = [
  ['nothing', new Uint8Array(), 0],
  ['an array of two', payload((w) => w.array(2).integer(1).integer(0)), 0],
  ['a level out of range', payload((w) => w.array(3).integer(1).integer(16).array(0)), 0],
  ['a negative level', payload((w) => w.array(3).integer(1).integer(-1).array(0)), 0],
  [
    'keys out of order',
    payload((w) =>
      leaf(w)
        .array(2)
        .array(2)
        .bytes(Buffer.from('b'))
        .bytes(Buffer.from(''))
        .array(2)
        .bytes(Buffer.from('a'))
        .bytes(Buffer.from('')),
    ),
    0,
  ],
  [
    'a key twice',
    payload((w) =>
      leaf(w)
        .array(2)
        .array(2)
        .bytes(Buffer.from('a'))
        .bytes(Buffer.from(''))
        .array(2)
        .bytes(Buffer.from('a'))
        .bytes(Buffer.from('')),
    ),
    0,
  ],
  [
    'a key too long',
    payload((w) => leaf(w).array(1).array(2).bytes(Buffer.alloc(4_097)).bytes(Buffer.from(''))),
    0,
  ],
  [
    'a value too long',
    payload((w) => leaf(w).array(1).array(2).bytes(Buffer.from('a')).bytes(Buffer.alloc(16_385))),
    0,
  ],
  [
    'a link index out of range',
    payload((w) => leaf(w).array(1).array(3).bytes(Buffer.from('a')).bytes(Buffer.from('')).integer(1)),
    1,
  ],
  [
    'a negative link index',
    payload((w) => leaf(w).array(1).array(3).bytes(Buffer.from('a')).bytes(Buffer.from('')).integer(-1)),
    1,
  ],
  ['a link nobody uses', payload((w) => leaf(w).array(0)), 1],
  ['an inner node without children', payload((w) => w.array(3).integer(1).integer(1).array(0)), 0],
  [
    'a child that is raw bytes',
    payload((w) => w.array(3).integer(1).integer(1).array(1).array(2).bytes(Buffer.from('a')).integer(0)),
    1,
  ],
  ['an entry of one part', payload((w) => leaf(w).array(1).array(1).bytes(Buffer.from('a'))), 0],
  ['more entries than bytes', payload((w) => leaf(w).array(2 ** 32)), 0],
  ['something after the end', Buffer.concat([payload((w) => leaf(w).array(0)), Buffer.from([0])]), 0],
  ['a number in a longer form', Buffer.from([0x83, 0x18, 0x01, 0x00, 0x80]), 0],
];

for (const [name, bytes, links] of refused) {
  test(`a node payload is refused: ${name}`, () => {
    const content = { payload: bytes, links: links === 0 ? [] : [{ kind: 'raw' as const, id: idA }] };
    assert.throws(() => decodeMapNode(content), { code: 'corrupt' });
  });
}

test('another version of the rules is refused as such, not guessed', () => {
  const content = { payload: payload((w) => w.array(3).integer(2).integer(0).array(0)), links: [] };
  assert.throws(() => decodeMapNode(content), { code: 'incompatible-format' });
});

test('a node over its weight is refused', () => {
  const entries = manyEntries(9, () => 'x'.repeat(8_000));
  assert.throws(() => decodeMapNode(decodeNode(encodeMapNode({ level: 0, entries }))), { code: 'corrupt' });
});

/** A tree of hand-made nodes. */
function forge(nodes: readonly MapNode[]): { ids: string[]; source: ReturnType<typeof sourceOf> } {
  const table = new Map<string, { readonly bytes: Uint8Array }>();
  const ids = nodes.map((node) => {
    const bytes = encodeMapNode(node);
    const id = provider.sha256Hex(bytes);
    table.set(id, { bytes });
    return id;
  });
  return { ids, source: sourceOf(table) };
}

function forgeTree(
  leaves: readonly (readonly MapEntry[])[],
  lastKeys?: readonly Uint8Array[],
): { root: string; source: ReturnType<typeof sourceOf> } {
  const nodes: MapNode[] = leaves.map((entries) => ({ level: 0, entries }));
  const ids = forge(nodes).ids;
  const children = ids.map((id, i) => ({ id, key: lastKeys?.[i] ?? leaves[i]!.at(-1)!.key }));
  const { ids: all, source } = forge([...nodes, { level: 1, children }]);
  return { root: all.at(-1)!, source };
}

async function refuse(tree: { root: string; source: ReturnType<typeof sourceOf> }): Promise<void> {
  await assert.rejects(collect(mapEntries(tree.root, tree.source)), { code: 'corrupt' });
}

/** Keys in order that end no node, and one that does. */
const ordinary = manyEntries(200).filter(({ key }) => levelsEnded(key, provider) === 0);
const ending = manyEntries(10_000).find(({ key }) => levelsEnded(key, provider) === 1)!;

test('a split where the rules do not split is refused', async () => {
  await refuse(forgeTree([ordinary.slice(0, 10), ordinary.slice(10, 20)]));
});

test('a node that goes on after a key that ends it is refused', async () => {
  const after = { ...ending, key: Buffer.concat([ending.key, Buffer.from('+')]) };
  const { ids, source } = forge([{ level: 0, entries: [ending, after] }]);
  await refuse({ root: ids[0]!, source });
});

test('a parent that misstates the last key of a child is refused', async () => {
  const tree = forgeTree([[ending], [{ ...ending, key: Buffer.from('g') }]], [ending.key, Buffer.from('h')]);
  await refuse(tree);
  await assert.rejects(getEntry(tree.root, Buffer.from('h'), tree.source), { code: 'corrupt' });
});

test('keys that fall back between neighbours are refused', async () => {
  const low = { ...ending, key: Buffer.from('a') };
  // The parent's keys rise, the second leaf begins below the first one's end.
  const tree = forgeTree([[ending], [low, { ...ending, key: Buffer.from('z') }]]);
  await refuse(tree);
  await assert.rejects(getEntry(tree.root, Buffer.from('z'), tree.source), { code: 'corrupt' });
});

test('a root with one child and a child of the wrong level are refused', async () => {
  await refuse(forgeTree([[ending]]));
  const { ids } = forge([{ level: 0, entries: [ending] }]);
  const inner = {
    level: 1,
    children: [
      { key: ending.key, id: ids[0]! },
      { key: Buffer.from('g'), id: ids[0]! },
    ],
  };
  const { ids: all, source } = forge([
    { level: 0, entries: [ending] },
    inner,
    {
      level: 3,
      children: [
        { key: ending.key, id: ids[0]! },
        { key: Buffer.from('z'), id: ids[0]! },
      ],
    },
  ]);
  await refuse({ root: all[2]!, source });
});

test('a missing node is not-found with its id, and is never taken for an end', async () => {
  const map = store(manyEntries(1_000));
  const gone = [...map.nodes.values()].find(({ level }) => level === 0)!.id;
  map.nodes.delete(gone);
  await assert.rejects(
    collect(mapEntries(map.root, sourceOf(map.nodes))),
    (error) => StoreError.is(error, 'not-found') && error.facts['id'] === gone,
  );
});

test('flipped and cut payloads are refused or read as another canonical node, never anything else', () => {
  const bytes = encodeMapNode({ level: 0, entries: manyEntries(20) });
  const { payload, links } = decodeNode(bytes);
  fc.assert(
    fc.property(
      fc.nat(payload.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      (at, flip, cut) => {
        const changed = cut ? payload.slice(0, at) : payload.with(at, payload[at]! ^ flip);
        try {
          const node = decodeMapNode({ links, payload: changed });
          assert.deepEqual(
            Buffer.from(encodeMapNode(node)),
            Buffer.from(encodeNode({ links, payload: changed })),
          );
        } catch (error) {
          assert.ok(
            StoreError.is(error, 'corrupt') || StoreError.is(error, 'incompatible-format'),
            String(error),
          );
        }
      },
    ),
    { numRuns: sample(2000, 700) },
  );
});

test('numbers of every size survive the codec, in one form only', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.uint8Array({ maxLength: 70 }), (number, bytes) => {
      const encoded = new CborWriter().array(2).integer(number).bytes(bytes).finish();
      const reader = new CborReader(encoded, 'a test');
      assert.equal(reader.array(), 2);
      assert.equal(reader.integer(), number);
      assert.deepEqual(Buffer.from(reader.bytes(70)), Buffer.from(bytes));
      reader.end();
    }),
  );
  assert.deepEqual(
    Buffer.from(
      new CborWriter()
        .integer(2 ** 53 - 1)
        .integer(-500)
        .integer(23)
        .integer(24)
        .finish(),
    ).toString('hex'),
    '1b001fffffffffffff3901f3171818',
  );
});

test('entry shares: the same link in two entries is stored once', () => {
  const shared = { kind: 'raw' as const, id: idA };
  const entries = [
    { ...entry('a'), links: [shared] },
    { ...entry('b'), links: [shared, shared] },
  ];
  const content = decodeNode(encodeMapNode({ level: 0, entries }));
  assert.equal(content.links.length, 1);
  const node = decodeMapNode(content);
  assert.ok('entries' in node && node.entries[1]!.links.length === 2);
});
