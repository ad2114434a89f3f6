/** Linked blobs: links checked in the commit, references that follow them, a raw blob made a node and never back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Driver from 'better-sqlite3';
import { BlobWriter } from '../../engine/catalog/blob-rows.ts';
import { Buckets, RowHasher } from '../../engine/catalog/row-sums.ts';
import { migrate } from '../../engine/catalog/schema.ts';
import { fromHex, toHex } from '../../engine/codec/bytes.ts';
import type { Database } from '../../engine/driver.ts';
import { type Link, type Store, encodeNode } from '../../engine/index.ts';
import { noise, sha256, smallParameters, storeTest, text, unknownId, withCode } from './store-folder.ts';

const { smallMax } = smallParameters;

function link(id: string, kind: Link['kind'] = 'raw'): Link {
  return { kind, id };
}

async function referencesOf(store: Store, ...ids: string[]): Promise<(number | undefined)[]> {
  return await Promise.all(ids.map(async (id) => (await store.stat(id))?.references));
}

storeTest('a node gives back its links, sorted and unique, and its payload', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  const raw = await store.put(text('raw'));
  const large = await store.put(noise(smallMax + 1));
  const leaf = await store.put(text('leaf'), { links: [] });
  const links = [link(leaf.id, 'node'), link(large.id), link(raw.id), link(raw.id)];
  const node = await store.put(text('payload'), { links, owner: 'x' });
  const back = await store.getNode(node.id);
  assert.deepEqual(back?.links, [...[raw.id, large.id].sort().map((id) => link(id)), link(leaf.id, 'node')]);
  assert.deepEqual(new Uint8Array(back.payload), text('payload'));
  assert.equal(node.id, sha256((await store.get(node.id))!));
  assert.deepEqual([(await store.stat(node.id))?.kind, (await store.stats()).nodes], ['node', 2]);
  assert.deepEqual(await referencesOf(store, raw.id, large.id, leaf.id), [1, 1, 1]);
  const again = await store.put(text('payload'), { links: links.toReversed() });
  assert.deepEqual([again.id, again.deduplicated], [node.id, true]);
  assert.deepEqual(await referencesOf(store, raw.id, large.id, leaf.id), [1, 1, 1]);
});

storeTest(
  'a node with links to what is not here is refused, names all that is missing, and leaves nothing',
  async (folder) => {
    const store = await folder.open();
    const here = await store.put(text('here'), { owner: 'x' });
    const missing = [unknownId, sha256('another')];
    await assert.rejects(
      store.put(text('n'), { links: [link(here.id), ...missing.map((id) => link(id))] }),
      (error: { facts: { missing: string[] } }) => {
        withCode('not-found')(error);
        assert.deepEqual([...error.facts.missing].sort(), missing.sort());
        return true;
      },
    );
    assert.equal((await store.stats()).blobs, 1);
    assert.deepEqual(await referencesOf(store, here.id), [1]);
  },
);

storeTest('a refused node in a batch does not disturb the others', async (folder) => {
  const store = await folder.open();
  const child = await store.put(text('child'), { owner: 'x' });
  const results = await Promise.allSettled([
    store.put(text('1'), { links: [link(child.id)], owner: 'x' }),
    store.put(text('2'), { links: [link(unknownId)], owner: 'x' }),
    store.put(text('3'), { owner: 'x' }),
    store.retain(unknownId, 'x'),
    store.roots.set('main', child.id),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
  );
  assert.equal((await store.stats()).blobs, 3);
});

storeTest('a node put as bytes is checked and referenced like one put by its links', async (folder) => {
  const store = await folder.open();
  const child = await store.put(text('child'));
  const encoded = encodeNode({ links: [link(child.id)], payload: text('p') });
  await assert.rejects(
    store.put(encodeNode({ links: [link(unknownId)], payload: text('p') }), { kind: 'node' }),
    withCode('not-found'),
  );
  const byBytes = await store.put(encoded, { kind: 'node', owner: 'x' });
  assert.deepEqual([byBytes.id, byBytes.deduplicated], [sha256(encoded), false]);
  assert.deepEqual(await referencesOf(store, child.id), [1]);
  const byStream = await store.put(new Blob([encoded]).stream(), { kind: 'node' });
  assert.deepEqual([byStream.id, byStream.deduplicated], [byBytes.id, true]);
});

storeTest('bytes that are no node, or not the one way to write it, are corrupt', async (folder) => {
  const store = await folder.open();
  const [a, b] = await Promise.all([
    store.put(text('a'), { owner: 'x' }),
    store.put(text('b'), { owner: 'x' }),
  ]);
  const good = encodeNode({ links: [link(a.id), link(b.id)], payload: text('payload') });
  const linkBytes = 2 + 33;
  const swapped = good.slice();
  swapped.set(good.subarray(3 + linkBytes, 3 + 2 * linkBytes), 3);
  swapped.set(good.subarray(3, 3 + linkBytes), 3 + linkBytes);
  const twice = good.slice();
  twice.set(good.subarray(3, 3 + linkBytes), 3 + linkBytes);
  const longHead = Buffer.concat([good.subarray(0, 2), Uint8Array.of(0x98, 2), good.subarray(3)]);
  const bad: Record<string, Uint8Array> = {
    swapped,
    twice,
    longHead,
    empty: new Uint8Array(0),
    'cut short': good.subarray(0, good.length - 1),
    'with a byte more': Buffer.concat([good, Uint8Array.of(0)]),
    'other type': text('hello, I am a node'),
  };
  for (const [what, bytes] of Object.entries(bad))
    await assert.rejects(store.put(bytes, { kind: 'node' }), withCode('corrupt'), what);
  await assert.rejects(
    store.put({ path: folder.file('node', good) }, { kind: 'node' }),
    withCode('invalid-argument'),
  );
  await assert.rejects(store.put(new Uint8Array(5 * 1024 * 1024), { links: [] }), withCode('limit-exceeded'));
  assert.equal((await store.stats()).blobs, 2);
});

storeTest(
  'a raw blob put again as a node becomes one, keeps its owners, and never goes back',
  async (folder) => {
    const store = await folder.open();
    const child = await store.put(text('child'));
    for (const payload of [text('small'), noise(smallMax + 100)]) {
      const bytes = encodeNode({ links: [link(child.id)], payload });
      const raw = await store.put(bytes, { owner: 'raw' });
      assert.equal((await store.stat(raw.id))?.kind, 'raw');
      const before = (await store.stat(child.id))!.references;
      const node = await store.put(bytes, { kind: 'node', owner: 'node' });
      assert.equal(node.id, raw.id);
      assert.deepEqual(
        [(await store.stat(raw.id))?.kind, ...(await referencesOf(store, raw.id, child.id))],
        ['node', 2, before + 1],
      );
      const again = await store.put(bytes, { owner: 'third' });
      assert.deepEqual(
        [
          again.deduplicated,
          (await store.stat(raw.id))?.kind,
          ...(await referencesOf(store, raw.id, child.id)),
        ],
        [true, 'node', 3, before + 1],
      );
      assert.deepEqual(new Uint8Array((await store.get(raw.id))!), new Uint8Array(bytes));
    }
    assert.equal(folder.files('blobs').length, 0, 'the raw copy is gone');
  },
);

storeTest('raw and node puts of the same bytes at once end as one node', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  const child = await store.put(text('child'), { owner: 'x' });
  for (let round = 0; round < 5; round++) {
    const bytes = encodeNode({ links: [link(child.id)], payload: text(`payload ${round}`) });
    const puts = Array.from({ length: 20 }, (_, i) =>
      store.put(bytes, i % 2 === round % 2 ? { kind: 'node', owner: `n${i}` } : { owner: `r${i}` }),
    );
    await Promise.all(puts);
    const facts = await store.stat(sha256(bytes));
    assert.deepEqual(
      [facts?.kind, facts?.references, ...(await referencesOf(store, child.id))],
      ['node', 20, 2 + round],
    );
  }
});

storeTest(
  'a node that may be put at once with its children is checked in the order of the calls',
  async (folder) => {
    const store = await folder.open();
    const child = store.put(text('child'));
    const parent = store.put(text('parent'), { links: [link(sha256('child'))], owner: 'x' });
    assert.equal((await child).deduplicated, false);
    assert.equal((await parent).deduplicated, false);
  },
);

test('rows of many ids come in the order of the ids, and one that only begins alike is another', () => {
  const db = new Driver(':memory:') as Database;
  migrate(db);
  const hasher = new RowHasher();
  const rows = new BlobWriter(db, hasher, new Buckets(db));
  rows.begin();
  const ids = ['a1', 'b2', 'c3', 'd4'].map((end) => fromHex(`${'77'.repeat(31)}${end}`)!);
  const other = fromHex('01'.repeat(32))!;
  const facts = { kind: 0, codec: 0, stored: 1, volume: 1, extent: 1, start: 0, incarnation: 1, refcount: 0 };
  const times = { created: 1, touched: 1, touched_gen: 1, zero_since: 1, zero_gen: 1, suspect: 0 };
  for (const [size, id] of [ids[0]!, ids[2]!, other].entries())
    rows.insert({ id, size, ...facts, ...times, label: size === 1 ? fromHex('aabb')! : null });
  const asked = [other, ids[3]!, ids[2]!, ids[0]!, ids[2]!, ids[1]!];
  const found = rows.byIds(asked);
  assert.deepEqual(
    found.map((row) => row?.size),
    [2, undefined, 1, 0, 1, undefined],
  );
  const told = (row: object | undefined): unknown[] =>
    Object.values(row ?? {}).map((value) =>
      value instanceof Uint8Array ? toHex(value) : (value as unknown),
    );
  for (const [i, row] of found.entries()) assert.deepEqual(told(row), told(rows.byId(asked[i]!)));
  assert.deepEqual(rows.has(asked), [true, false, true, true, true, false]);
  assert.deepEqual([rows.byIds([]), rows.has([])], [[], []]);
  db.prepare('UPDATE blobs SET refcount = 7 WHERE size = 1').run();
  assert.throws(() => rows.byIds(asked), withCode('corrupt'));
});
