/** Two stores become the same: whole, by difference, both ways, and at what price in bytes and round trips. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import { type Store, decodeNode, encodeNode } from '../../engine/index.ts';
import { pair, portTransport, pull, push, serve, spawnTransport } from '../../sync/index.ts';
import { seededBytes } from '../crash/random.ts';
import { sample } from '../crash/sample.ts';
import { noise, same, sha256, text, withCode } from '../engine/store-folder.ts';
import { assertSame, openBoth, pullOver, pushOver, setTree, twoStores } from './stores.ts';

const child = fileURLToPath(new URL('./serving-child.ts', import.meta.url));

/** `count` files of 1 to `most` bytes. */
function files(count: number, most: number, seed = 1): Map<string, Uint8Array> {
  return new Map(
    Array.from({ length: count }, (_, i) => {
      const size = 1 + ((i * 7919 + seed) % most);
      return [`file ${String(i).padStart(6, '0')}`, seededBytes(seed * 1_000_003 + i, size)];
    }),
  );
}

/** Nodes on the longest way from a root down. */
async function depthOf(store: Store, root: string): Promise<number> {
  const { links } = (await store.getNode(root))!;
  const below = links.filter(({ kind }) => kind === 'node').map(({ id }) => depthOf(store, id));
  return 1 + Math.max(0, ...(await Promise.all(below)));
}

twoStores('a pull makes the same trees, and a second one finds nothing to do', async (two) => {
  const { source, replica } = await openBoth(two);
  await setTree(source, 'main', files(300, 3000));
  await setTree(source, 'other', files(20, 300, 2));
  const first = await pullOver(source, replica);
  assert.deepEqual(
    first.roots.map(({ name, changed }) => [name, changed]),
    [
      ['main', true],
      ['other', true],
    ],
  );
  await assertSame(source, replica, ['main', 'other']);
  const again = await pullOver(source, replica);
  assert.deepEqual(
    [again.blobs, again.roundTrips, again.roots.some(({ changed }) => changed)],
    [0, 1, false],
  );
  assert.ok(again.sentBytes + again.receivedBytes < 2000, `${again.sentBytes} + ${again.receivedBytes}`);
});

twoStores('a push makes the same trees, and a second one finds nothing to do', async (two) => {
  const { source, replica } = await openBoth(two);
  await setTree(source, 'main', files(200, 3000));
  const first = await pushOver(source, replica);
  assert.deepEqual([first.roots.length, first.roots[0]?.changed], [1, true]);
  await assertSame(source, replica, ['main']);
  const again = await pushOver(source, replica);
  assert.deepEqual([again.blobs, again.roundTrips, again.roots[0]?.changed], [0, 1, false]);
  assert.ok(again.sentBytes + again.receivedBytes < 2000, `${again.sentBytes} + ${again.receivedBytes}`);
  await setTree(source, 'main', files(201, 3000));
  const third = await pushOver(source, replica, { roots: ['main'] });
  assert.ok(third.roundTrips <= 2 && third.blobs <= 6, JSON.stringify(third));
  await assertSame(source, replica, ['main']);
});

const many = sample(4000, 1500);

twoStores('100 changes among thousands of files travel as the difference, in one round trip', async (two) => {
  const { source, replica } = await openBoth(two);
  // Many files of the same content: what is measured is the tree.
  const contents = [...files(400, 600).values()];
  const tree = new Map(
    Array.from({ length: many }, (_, i) => [`file ${String(i).padStart(6, '0')}`, contents[i % 400]!]),
  );
  const depth = await depthOf(source, await setTree(source, 'main', tree));
  const first = await pullOver(source, replica);
  assert.ok(first.roundTrips <= depth + 2, `${first.roundTrips} round trips for ${depth} levels`);
  assert.equal(first.blobs, (await source.stats()).blobs);
  const wanted = new Map<string, Uint8Array>();
  for (let i = 0; i < 100; i++)
    wanted.set(
      `file ${String(i * Math.floor(many / 108)).padStart(6, '0')}`,
      seededBytes(9_000_000 + i, 500),
    );
  for (const [name, bytes] of wanted) tree.set(name, bytes);
  await setTree(source, 'main', tree);
  const second = await pullOver(source, replica);
  assert.equal(second.roundTrips, 1);
  const wire = second.sentBytes + second.receivedBytes;
  assert.ok(wire <= 100 * 500 + 100 * 8192, `${wire} bytes`);
  assert.equal(await replica.roots.get('main'), await source.roots.get('main'));
  for (const bytes of wanted.values()) same(await replica.get(sha256(bytes)), bytes);
});

twoStores(
  'without a common root the walk takes at most depth + 2 round trips, and only what is missing',
  async (two) => {
    const { source, replica } = await openBoth(two);
    const tree = files(800, 300);
    await setTree(source, 'main', tree);
    await pullOver(source, replica);
    tree.set('file 000100', text('changed'));
    const root = await setTree(source, 'new name', tree);
    const depth = await depthOf(source, root);
    const walked = await pullOver(source, replica, { roots: ['new name'] });
    assert.ok(walked.roundTrips <= depth + 2, `${walked.roundTrips} round trips for ${depth} levels`);
    assert.ok(walked.blobs <= depth + 1, `${walked.blobs} blobs for one change`);
    await assertSame(source, replica, ['main', 'new name']);
  },
);

twoStores('a process of its own, over its stdin and stdout', async (two) => {
  const { source, replica } = await openBoth(two);
  const tree = files(100, 2000);
  tree.set('large', noise(700_000));
  await setTree(source, 'main', tree);
  await two.a.closeAll();
  const serving = (): ReturnType<typeof spawnTransport> =>
    spawnTransport(process.execPath, ['--no-warnings', child, two.a.path]);
  const pulled = await pull(replica, serving());
  assert.equal(pulled.roots[0]?.changed, true);
  await replica.roots.set('copy', (await replica.roots.get('main'))!);
  const pushed = await push(replica, serving(), { roots: ['copy'] });
  assert.deepEqual([pushed.roots[0]?.changed, pushed.blobs], [true, 0]);
  await two.a.closeAll();
  await assertSame(await two.a.open(), replica, ['main', 'copy']);
});

twoStores('over a message port', async (two) => {
  const { source, replica } = await openBoth(two);
  const tree = files(50, 2000);
  tree.set('large', noise(3_000_000));
  await setTree(source, 'main', tree);
  const { port1, port2 } = new MessageChannel();
  await Promise.all([pull(replica, portTransport(port1)), serve(source, portTransport(port2))]);
  await assertSame(source, replica, ['main']);
});

twoStores('blobs of every size around the pieces they travel in arrive whole', async (two) => {
  const { source, replica } = await openBoth(two);
  const mib = 1024 * 1024;
  const sizes = [0, 1, 65_535, 65_536, 65_537, mib - 1, mib, mib + 1, 2 * mib + 65_536, 12 * mib + 1];
  await setTree(source, 'main', new Map(sizes.map((size, i) => [`${size}`, noise(size, i + 1)])));
  await pullOver(source, replica);
  await assertSame(source, replica, ['main']);
});

twoStores('a root may be a blob of bytes, an empty node, or share all with another', async (two) => {
  const { source, replica } = await openBoth(two);
  const raw = await source.put(noise(100_000), { owner: 'x' });
  const empty = await source.put(encodeNode({ links: [], payload: text('p') }), { kind: 'node', owner: 'x' });
  await source.roots.set('bytes', raw.id);
  await source.roots.set('empty', empty.id);
  await source.roots.set('same', empty.id);
  await pullOver(source, replica);
  for (const name of ['bytes', 'empty', 'same'])
    assert.equal(await replica.roots.get(name), await source.roots.get(name));
  assert.equal(sha256((await replica.get(raw.id))!), raw.id);
  assert.deepEqual(decodeNode((await replica.get(empty.id))!).links, []);
});

twoStores('a root that moved here meanwhile is a conflict, and stays', async (two) => {
  const { source, replica } = await openBoth(two);
  await setTree(source, 'main', files(30, 100));
  const mine = await setTree(replica, 'main', files(3, 100, 5));
  await assert.rejects(pushOver(source, replica, { expect: { main: null } }), withCode('conflict'));
  assert.equal(await replica.roots.get('main'), mine);
  await pushOver(source, replica, { expect: { main: mine } });
  await assertSame(source, replica, ['main']);
});

twoStores('what is not there, not allowed, or no name is refused with its code', async (two) => {
  const { source, replica } = await openBoth(two);
  await setTree(source, 'main', files(3, 100));
  await assert.rejects(pullOver(source, replica, { roots: ['nothing'] }), withCode('not-found'));
  await assert.rejects(pushOver(source, replica, { roots: ['nothing'] }), withCode('not-found'));
  await assert.rejects(pullOver(source, replica, { roots: [] }), withCode('invalid-argument'));
  await assert.rejects(pullOver(source, replica, { roots: ['a', 'a'] }), withCode('invalid-argument'));
  for (const [allow, act] of [
    ['push', pull],
    ['pull', push],
  ] as const) {
    const [here, there] = pair();
    const [store, other] = act === pull ? [replica, source] : [source, replica];
    const ends = await Promise.allSettled([act(store, here), serve(other, there, { allow })]);
    for (const end of ends) withCode('forbidden')(end.status === 'rejected' ? end.reason : undefined);
  }
  assert.deepEqual(await replica.roots.list(), []);
});

twoStores('a quota ends a transfer that is too much, and an abort ends one at once', async (two) => {
  const { source, replica } = await openBoth(two);
  await setTree(source, 'main', files(100, 1000));
  await assert.rejects(pullOver(source, replica, { quota: { blobs: 50 } }), withCode('limit-exceeded'));
  await assert.rejects(pullOver(source, replica, { quota: { bytes: 20_000 } }), withCode('limit-exceeded'));
  const aborting = new AbortController();
  await assert.rejects(
    pullOver(source, replica, {
      signal: aborting.signal,
      onProgress: () => aborting.abort(new Error('enough')),
    }),
    /enough|unavailable|peer/,
  );
  assert.deepEqual(await replica.roots.list(), []);
  await pullOver(source, replica);
  await assertSame(source, replica, ['main']);
});
