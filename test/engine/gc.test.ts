// Collection: what it deletes, what it leaves, what stops it, and that the references decide, not their cached count.
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, renameSync, truncateSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import type { Host, Link, Store } from '../../engine/index.ts';
import { openCatalogOf } from './open-catalog.ts';
import { buckets } from './lock-driver.ts';
import { noise, storeTest } from './store-folder.ts';
import { vanishing } from './vanishing-driver.ts';

const hour = 3_600_000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const raw = (id: string): Link => ({ kind: 'raw', id });

/** This machine with clocks that go when they are told to. */
function hostWithClock(): {
  readonly host: Host;
  readonly wall: (ms: number) => void;
  readonly both: (ms: number) => void;
} {
  const base = nodeHost({ inline: true });
  let wallMs = 0;
  let monotonicMs = 0;
  const clock = {
    ...base.clock,
    now: () => base.clock.now() + wallMs,
    monotonic: () => base.clock.monotonic() + monotonicMs,
  };
  const host: Host = { ...base, clock, threads: inlineThreads(() => host) };
  return {
    host,
    wall: (ms) => void (wallMs += ms),
    both: (ms) => {
      wallMs += ms;
      monotonicMs += ms;
    },
  };
}

async function ids(store: Store): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of store.list()) found.push(id);
  return found.sort();
}

storeTest('the grace counts from the last loss of a reference, and from the last put', async (folder) => {
  const { host, both } = hostWithClock();
  const store = await folder.open({ host });
  const held = await store.put(bytes('held'), { owner: 'me' });
  const loose = await store.put(bytes('loose'));
  both(23 * hour);
  await store.release(held.id, 'me');
  assert.deepEqual(await store.gc(), { deleted: 0, freedBytes: 0, held: 2 });
  both(2 * hour);
  assert.equal((await store.gc()).deleted, 1);
  assert.deepEqual(await ids(store), [held.id]);
  both(20 * hour);
  await store.put(bytes('held')); // put again: the grace starts anew
  both(5 * hour);
  assert.equal((await store.gc()).deleted, 0);
  both(20 * hour);
  assert.equal((await store.gc()).deleted, 1);
  assert.equal(await store.has(loose.id), false);
});

storeTest('grace 0 frees a deep tree in one call, and a dry run says so before', async (folder) => {
  const store = await folder.open();
  const kept = await store.put(bytes('kept'), { owner: 'me' });
  let child: Link = raw((await store.put(new Uint8Array(50_000).fill(7))).id);
  for (let depth = 0; depth < 200; depth++) {
    const links = depth % 50 === 0 ? [child, raw(kept.id)] : [child];
    child = { kind: 'node', id: (await store.put(bytes(`level ${depth}`), { links })).id };
  }
  await store.roots.set('tree', child.id);
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 0);
  await store.roots.delete('tree');
  const plan = await store.gc({ graceMs: 0, dryRun: true });
  assert.equal(plan.deleted, 201);
  const done = await store.gc({ graceMs: 0 });
  assert.deepEqual([done.deleted, done.freedBytes], [plan.deleted, plan.freedBytes]);
  assert.deepEqual(await ids(store), [kept.id]);
  assert.equal(folder.files('blobs').length, 0);
});

storeTest('what two parents share stays until the last is gone', async (folder) => {
  const store = await folder.open();
  const shared = await store.put(bytes('shared'));
  const links = [raw(shared.id)];
  const one = await store.put(bytes('one'), { links, owner: 'a' });
  const two = await store.put(bytes('two'), { links, owner: 'b' });
  await store.release(one.id, 'a');
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 1);
  assert.equal((await store.stat(shared.id))?.references, 1);
  await store.release(two.id, 'b');
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 2);
});

storeTest(
  'a session holds what is put while it lasts, from other stores on the folder too',
  async (folder) => {
    const store = await folder.open();
    const other = await folder.open();
    const session = await store.session();
    const later = await store.session();
    const put = await store.put(bytes('in a session'));
    assert.deepEqual(await other.gc({ graceMs: 0 }), { deleted: 0, freedBytes: 0, held: 1 });
    await session.end();
    assert.equal((await other.gc({ graceMs: 0 })).deleted, 0, 'the second session still lasts');
    await later.end();
    assert.equal((await other.gc({ graceMs: 0 })).deleted, 1);
    assert.equal(await store.has(put.id), false);
  },
);

storeTest(
  'space of small blobs comes back with the volume in which nothing lives any more',
  async (folder) => {
    const store = await folder.open();
    for (let i = 0; i < 50; i++) await store.put(new Uint8Array(10_000).fill(i));
    const [volume] = folder.files('volumes');
    assert.ok(volume !== undefined);
    assert.equal((await store.gc({ graceMs: 0 })).deleted, 50);
    assert.deepEqual(folder.files('volumes'), []);
    const again = await store.put(bytes('a new volume'), { owner: 'me' });
    assert.deepEqual(await store.get(again.id), bytes('a new volume'));
  },
);

storeTest(
  'a wrong cached count deletes nothing: the references decide, and a scrub counts anew',
  async (folder) => {
    const store = await folder.open();
    const put = await store.put(bytes('counted wrong'), { owner: 'me' });
    await folder.closeAll();
    // As a bug would leave it: row, checksum and bucket agree on a count that is wrong.
    const catalog = openCatalogOf(folder.path);
    catalog.transaction((transaction) => {
      const row = transaction.live(put.id);
      Object.assign(row, { refcount: 0, zero_since: 1, zero_gen: 1 });
      transaction.saveCounts(row);
    });
    catalog.close();
    const again = await folder.open();
    assert.equal((await again.gc({ graceMs: 0 })).deleted, 0);
    assert.equal((await again.stat(put.id))?.references, 1);
  },
);

for (const [what, sql] of [
  ['a lost row of refs', 'DELETE FROM refs'],
  ['a changed row of refs', 'UPDATE refs SET kind = 1 WHERE kind = 2'],
  ['a changed row of blobs', 'UPDATE blobs SET size = size + 1 WHERE refcount > 0'],
  ['a lost row of blobs', 'DELETE FROM blobs WHERE refcount > 0'],
] as const) {
  storeTest(`${what} stops collection, which says why`, async (folder) => {
    const store = await folder.open();
    const held = await store.put(bytes('held'), { owner: 'me' });
    const loose = await store.put(bytes('loose'));
    await folder.closeAll();
    folder.edit((db) => db.exec(sql));
    const again = await folder.open();
    const result = await again.gc({ graceMs: 0 });
    assert.equal(result.deleted, 0);
    assert.match(result.blocked ?? '', /refs|blobs|row/);
    assert.equal(await again.has(loose.id), true);
    if (!sql.startsWith('DELETE FROM blobs')) assert.equal(await again.has(held.id), true);
    folder.leavesNoStore(); // it is damaged, and a rebuild is not there yet
  });
}

storeTest('damage among what nobody refers to does not stop it', async (folder) => {
  const store = await folder.open();
  const path = (await store.put(new Uint8Array(40_000).fill(1))).id;
  const file = await store.pathOf(path);
  chmodSync(file!, 0o644);
  truncateSync(file!, 10);
  assert.equal((await store.scrub()).damaged.length, 1);
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 1);
});

storeTest('a clock that jumps forward stops it, one that jumps back holds', async (folder) => {
  const { host, wall } = hostWithClock();
  const store = await folder.open({ host });
  await store.put(bytes('young'));
  wall(10 * 365 * 24 * hour);
  const jumped = await store.gc();
  assert.equal(jumped.deleted, 0);
  assert.match(jumped.blocked ?? '', /clock/);
  wall(-20 * 365 * 24 * hour);
  assert.deepEqual(await store.gc(), { deleted: 0, freedBytes: 0, held: 1 });
});

storeTest('a volume whose file is away stops it, and nothing is taken for empty', async (folder) => {
  const store = await folder.open();
  const small = await store.put(bytes('small'), { owner: 'me' });
  await store.put(new Uint8Array(40_000)); // loose
  await folder.closeAll();
  const volume = folder.files('volumes').find((path) => path.endsWith('.db'))!;
  renameSync(volume, `${folder.side}/away`);
  const again = await folder.open();
  await assert.rejects(again.get(small.id), { code: 'unavailable' });
  assert.match((await again.gc({ graceMs: 0 })).blocked ?? '', /volume/);
  await folder.closeAll();
  renameSync(`${folder.side}/away`, volume);
  const back = await folder.open();
  assert.deepEqual(await back.get(small.id), bytes('small'));
  assert.equal((await back.gc({ graceMs: 0 })).deleted, 1);
});

storeTest(
  'a volume that is taken away while it is looked at stops collection, and nothing else',
  async (folder) => {
    const driver = { module: new URL('./vanishing-driver.ts', import.meta.url).href };
    const other = await folder.open({ driver });
    await other.put(bytes('in a volume of its own'), { owner: 'x' });
    const store = await folder.open({ mode: 'open', driver });
    const [path] = folder.files('volumes').filter((name) => name.endsWith('.db'));
    vanishing.add(path!.slice(-36));
    assert.match((await store.gc({ graceMs: 0 })).blocked!, /is not there any more/);
    renameSync(`${path!}.away`, path!);
    await store.put(bytes('written after that'), { owner: 'x' });
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
  },
);

storeTest(
  'what is held back for collection does not compress, and is there again afterwards',
  async (folder) => {
    const store = await folder.open();
    for (let round = 0; round < 2; round++) {
      // On a file system that compresses, anything else would hold nothing back.
      assert.ok(deflateSync(readFileSync(folder.at('ballast'))).length > 1_000_000);
      await store.gc();
    }
  },
);

storeTest('buckets are verified without the write lock, however many, and once a run', async (folder) => {
  const driver = { module: new URL('./lock-driver.ts', import.meta.url).href };
  const store = await folder.open({ driver, threads: { count: 0 } });
  const before = { ...buckets };
  for (let at = 0; at < 5000; at += 1000)
    await Promise.all(Array.from({ length: 1000 }, (_, n) => store.put(noise(20, at + n))));
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 5000);
  // Two buckets, each in eight slices.
  assert.deepEqual(buckets, { locked: before.locked, free: before.free + 16 });
});
