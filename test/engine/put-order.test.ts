/** Nodes that are put while what they link to still is: they follow it into the same commit, and nothing waits for ever. */
import assert from 'node:assert/strict';
import { type Link, type OpenOptions, encodeNode, nodeProvider } from '../../engine/index.ts';
import { counted } from './counting-driver.ts';
import { noise, smallParameters, storeTest, text, withCode } from './store-folder.ts';

const driver = { module: new URL('./counting-driver.ts', import.meta.url).href };
const secret = { kind: 'raw-key', key: new Uint8Array(32).fill(7) } as const;

interface Made {
  readonly id: string;
  readonly bytes: Uint8Array;
}

function nodeOf(name: string, links: readonly Link[]): Made {
  const bytes = encodeNode({ links, payload: text(name) });
  return { id: nodeProvider.sha256Hex(bytes), bytes };
}

/** A raw blob, a node that links to it, a node that links to that one, and so on. */
function chain(raw: Uint8Array, length: number): readonly [raw: Made, ...nodes: Made[]] {
  const nodes: Made[] = [];
  let below: Link = { kind: 'raw', id: nodeProvider.sha256Hex(raw) };
  for (let i = 0; i < length; i++) {
    const node = nodeOf(`level ${i}`, [below]);
    nodes.push(node);
    below = { kind: 'node', id: node.id };
  }
  return [{ id: nodeProvider.sha256Hex(raw), bytes: raw }, ...nodes];
}

const shapes: readonly (readonly [string, OpenOptions])[] = [
  ['a store', {}],
  ['an encrypted store', { encryption: { secret } }],
  ['a store whose threads run inline', { threads: { count: 0 } }],
];

for (const [shape, options] of shapes)
  storeTest(`a chain of nodes put at once, children first, is stored: ${shape}`, async (folder) => {
    const store = await folder.open(options);
    // A large blob goes another way than records: its parent waits until it is stored.
    for (const raw of [text('small'), noise(smallParameters.smallMax * 3)]) {
      const [first, ...nodes] = chain(raw, 30);
      const puts = [
        store.put(first.bytes, { expectId: first.id }),
        ...nodes.map(({ id, bytes }) => store.put(bytes, { kind: 'node', expectId: id })),
      ];
      const top = (await Promise.all(puts)).at(-1)!;
      await store.roots.set('top', top.id);
      for (const { id } of nodes) assert.equal((await store.stat(id))?.references, 1);
    }
  });

storeTest('thirty levels of nodes put at once cost a few commits', async (folder) => {
  const store = await folder.open({ driver, threads: { count: 0 } });
  await store.put(text('warm'));
  const [raw, ...nodes] = chain(text('below'), 30);
  const before = counted.writes;
  await Promise.all([
    store.put(raw.bytes, { expectId: raw.id }),
    ...nodes.map(({ id, bytes }) => store.put(bytes, { kind: 'node', expectId: id })),
  ]);
  const spent = counted.writes - before;
  // Two for each commit; a commit for each level would be 62.
  assert.ok(spent <= 6, `${spent} transactions`);
});

storeTest('a node is refused when what it links to fails, and so is all above it', async (folder) => {
  const store = await folder.open({ threads: { count: 2 } });
  const [raw, ...nodes] = chain(text('right'), 3);
  const results = await Promise.allSettled([
    store.put(text('wrong'), { expectId: raw.id }),
    ...nodes.map(({ id, bytes }) => store.put(bytes, { kind: 'node', expectId: id })),
    store.put(text('beside'), { owner: 'x' }),
  ]);
  const codes = results.map((result) =>
    result.status === 'fulfilled' ? 'fine' : (result.reason as { code: string }).code,
  );
  assert.deepEqual(codes, ['conflict', 'not-found', 'not-found', 'not-found', 'fine']);
  assert.equal((await store.stats()).blobs, 1);
});

storeTest('a node put before what it links to is refused at once', async (folder) => {
  const store = await folder.open({ threads: { count: 2 } });
  const node = nodeOf('first', [{ kind: 'raw', id: nodeProvider.sha256Hex(text('later')) }]);
  const refused = assert.rejects(
    store.put(node.bytes, { kind: 'node', expectId: node.id }),
    withCode('not-found'),
  );
  await refused;
  await store.put(text('later'), { expectId: nodeProvider.sha256Hex(text('later')), owner: 'x' });
  await store.put(node.bytes, { kind: 'node', expectId: node.id });
});

storeTest('puts under wrong ids that link to each other end', async (folder) => {
  const store = await folder.open({ threads: { count: 2 } });
  const [one, two] = [nodeProvider.sha256Hex(text('1')), nodeProvider.sha256Hex(text('2'))];
  const puts = [
    store.put(nodeOf('a', [{ kind: 'node', id: two }]).bytes, { kind: 'node', expectId: one }),
    store.put(nodeOf('b', [{ kind: 'node', id: one }]).bytes, { kind: 'node', expectId: two }),
  ];
  for (const put of puts) await assert.rejects(put, withCode('conflict'));
});
