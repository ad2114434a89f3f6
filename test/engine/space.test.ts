/** What takes the space, told before anything is deleted: dry runs, what roots hold alone, and deleted roots that come back. */
import assert from 'node:assert/strict';
import type { BlobId, Store } from '../../engine/index.ts';
import { manualHost } from './manual-host.ts';
import { noise, storeTest, text, withCode } from './store-folder.ts';

const hour = 3_600_000;
const day = 24 * hour;
const start = Date.UTC(2025, 0, 1);

/** A root with a node over these blobs. */
async function setTree(store: Store, name: string, seeds: readonly number[]): Promise<BlobId> {
  const below = await Promise.all(seeds.map((seed) => store.put(noise(20_000 + seed, seed))));
  const links = below.map(({ id }) => ({ kind: 'raw', id }) as const);
  const { id } = await store.put(text(`tree ${name} ${seeds.join()}`), { links });
  await store.roots.set(name, id);
  return id;
}

const storedOf = async (store: Store, id: BlobId): Promise<number> => (await store.stat(id))!.storedSize;

storeTest('what roots hold alone is what goes when they are deleted', async (folder) => {
  const host = manualHost(start);
  const store = await folder.open({ host });
  const a = await setTree(store, 'a', [1, 2, 3]);
  const b = await setTree(store, 'b', [3, 4]);
  await setTree(store, 'c', [5]);
  const chunked = await store.put(noise(900_000, 9), { chunking: 'fastcdc' });
  await store.roots.set('d', chunked.id);
  await setTree(store, 'loose', [2, 3]);
  await store.roots.delete('loose');
  const [nodeA, nodeB] = [await storedOf(store, a), await storedOf(store, b)];
  assert.deepEqual(await store.uniqueSize('a'), { blobs: 3, bytes: nodeA + 20_001 + 20_002 });
  assert.deepEqual(await store.uniqueSize('b'), { blobs: 2, bytes: nodeB + 20_004 });
  const both = await store.uniqueSize(['a', 'b', 'a']);
  assert.deepEqual(both, { blobs: 6, bytes: nodeA + nodeB + 20_001 + 20_002 + 20_003 + 20_004 });
  const large = await store.uniqueSize('d');
  assert.ok(large.blobs > 3 && large.bytes > 900_000);
  await assert.rejects(store.uniqueSize('nobody'), withCode('not-found'));
  await assert.rejects(store.gc({ without: ['a'] }), withCode('invalid-argument'));
  const plan = await store.gc({ dryRun: true, without: ['a', 'b'] });
  assert.deepEqual([plan.deleted, plan.held, plan.without], [0, 1, both]);
  assert.deepEqual(plan.later, {
    blobs: 1,
    bytes: plan.later!.bytes,
    firstMs: start + day,
    lastMs: start + day,
  });
  // What was told is what happens, blob by blob and byte by byte.
  const reader = await folder.open({ mode: 'read-only' });
  assert.deepEqual(await reader.uniqueSize(['b', 'a']), both);
  await reader.close();
  host.clock.advance(2 * day);
  const now = await store.gc({ dryRun: true });
  assert.deepEqual([now.deleted, now.later], [1, undefined]);
  assert.deepEqual(await store.gc(), { deleted: 1, freedBytes: now.freedBytes, held: 0 });
  await store.roots.delete('a');
  await store.roots.delete('b');
  host.clock.advance(2 * day);
  assert.deepEqual(await store.gc(), { deleted: both.blobs, freedBytes: both.bytes, held: 0 });
});

storeTest('a dry run tells what goes now, and what goes when', async (folder) => {
  const host = manualHost(start);
  const store = await folder.open({ host });
  await setTree(store, 'old', [1, 2]);
  await store.roots.delete('old');
  host.clock.advance(20 * hour);
  await setTree(store, 'new', [2, 3]);
  await store.roots.delete('new');
  host.clock.advance(5 * hour);
  const plan = await store.gc({ dryRun: true });
  // The blob that both had was put again with the new one.
  assert.deepEqual([plan.deleted, plan.held], [2, 1]);
  assert.deepEqual(plan.later, {
    blobs: 3,
    bytes: plan.later!.bytes,
    firstMs: start + 20 * hour + day,
    lastMs: start + 20 * hour + day,
  });
  const { deleted, freedBytes } = await store.gc();
  assert.deepEqual([deleted, freedBytes], [plan.deleted, plan.freedBytes]);
  host.clock.advance(day);
  const rest = await store.gc();
  assert.deepEqual([rest.deleted, rest.freedBytes], [plan.later.blobs, plan.later.bytes]);
});

storeTest('a deleted root comes back whole, until collection has taken it', async (folder) => {
  const host = manualHost(start);
  const store = await folder.open({ host });
  const first = await setTree(store, 'photos', [1, 2]);
  await store.roots.delete('photos');
  host.clock.advance(hour);
  const second = await setTree(store, 'photos', [2, 3]);
  await store.roots.delete('photos');
  const trash = await store.roots.deleted();
  assert.deepEqual(
    trash.map(({ name, id, deletedMs, keptUntilMs }) => ({ name, id, deletedMs, keptUntilMs })),
    [
      { name: 'photos', id: second, deletedMs: start + hour, keptUntilMs: start + hour + day },
      { name: 'photos', id: first, deletedMs: start, keptUntilMs: start + day },
    ],
  );
  assert.equal(await store.roots.restore('photos'), second);
  await assert.rejects(store.roots.restore('photos'), withCode('conflict'));
  const older = { sequence: trash[1]!.sequence, as: 'older' };
  assert.equal(await store.roots.restore('photos', older), first);
  assert.equal((await store.roots.deleted())[0]!.keptUntilMs, undefined, 'a root holds it again');
  await store.roots.delete('older');
  host.clock.advance(23 * hour);
  assert.equal((await store.gc()).deleted, 0);
  assert.equal(await store.roots.restore('older'), first);
  assert.deepEqual((await store.getNode(first))!.links.length, 2);
  await store.roots.delete('older');
  host.clock.advance(25 * hour);
  assert.equal((await store.gc()).deleted, 2);
  await assert.rejects(store.roots.restore('older'), withCode('not-found'));
  await assert.rejects(store.roots.restore('nobody'), withCode('not-found'));
  assert.deepEqual(
    (await store.roots.deleted()).map(({ id }) => id),
    [second],
    'only what is here',
  );
});

storeTest(
  'bytes that were a node, put again as bytes after collection, are no root that comes back',
  async (folder) => {
    const host = manualHost(start);
    const store = await folder.open({ host });
    const id = await setTree(store, 'photos', [1, 2]);
    const bytes = (await store.get(id))!;
    await store.roots.delete('photos');
    await store.gc({ graceMs: 0 });
    host.clock.advance(1);
    assert.equal((await store.put(bytes)).id, id);
    assert.deepEqual(await store.roots.deleted(), []);
    await assert.rejects(store.roots.restore('photos'), withCode('not-found'));
  },
);

storeTest('a deleted root of an encrypted store has its name', async (folder) => {
  const secret = { kind: 'raw-key', key: new Uint8Array(32).fill(7) } as const;
  const store = await folder.open({ encryption: { secret } });
  const id = await setTree(store, 'photos', [1, 2]);
  await store.roots.delete('photos');
  const [gone] = await store.roots.deleted();
  assert.deepEqual([gone!.name, gone!.id], ['photos', id]);
  assert.equal((await store.uniqueSize([])).blobs, 0);
  assert.equal(await store.roots.restore('photos'), id);
  assert.equal((await store.uniqueSize('photos')).blobs, 3);
});
