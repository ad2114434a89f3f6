/** Scrubs with a promise: oldest first, lossless stops, rate and time box, who needs what is damaged, and health. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Foreground } from '../../engine/content/giving-way.ts';
import type { Transaction } from '../../engine/catalog/catalog.ts';
import { toHex } from '../../engine/codec/bytes.ts';
import type { Crew } from '../../engine/crew.ts';
import type { BlobId, Store } from '../../engine/index.ts';
import type { Clock } from '../../engine/host.ts';
import { noteVerified } from '../../engine/maintenance/settle-scrub.ts';
import { verifyStore } from '../../engine/scrub.ts';
import { extendBy, membersOf, putMixed } from './mirror-store.ts';
import { manualHost, until } from './manual-host.ts';
import { openCatalogOf } from './open-catalog.ts';
import { type StoreFolder, noise, storeTest, text, withCode } from './store-folder.ts';

const dayMs = 86_400_000;

async function fill(store: Store, count: number, size: number): Promise<BlobId[]> {
  const ids: BlobId[] = [];
  for (let i = 0; i < count; i++) ids.push((await store.put(noise(size, i + 1), { owner: 'test' })).id);
  return ids;
}

async function verifiedOf(store: Store, ids: readonly BlobId[]): Promise<Set<BlobId>> {
  const stats = await Promise.all(ids.map((id) => store.stat(id)));
  return new Set(ids.filter((_, i) => stats[i]?.verifiedMs !== undefined));
}

async function spoil(folder: StoreFolder, store: Store, id: BlobId): Promise<void> {
  const path = (await store.pathOf(id))!;
  chmodSync(path, 0o644);
  const bytes = readFileSync(path);
  bytes[1000]! ^= 1;
  writeFileSync(path, bytes);
  folder.leaves([id]);
}

for (const [name, size] of [
  ['files', 50_000],
  ['records', 12_000],
] as const) {
  storeTest(`time boxes over ${name}: each goes on where the one before ended`, async (folder) => {
    const store = await folder.open();
    const count = Math.round(3_000_000 / size);
    const ids = await fill(store, count, size);
    let known = new Set<BlobId>();
    for (let turn = 0; known.size < count; turn++) {
      assert.ok(turn < 30, `stuck at ${known.size} of ${count}`);
      const result = await store.scrub({ rate: 4_000_000, timeBoxMs: 200 });
      const now = await verifiedOf(store, ids);
      assert.ok([...known].every((id) => now.has(id)));
      // Nothing is read twice while something waits, but what shares an extent with it.
      const fresh = now.size - known.size;
      assert.ok(result.blobs - fresh <= 2 || now.size === count, `${result.blobs} read, ${fresh} new`);
      assert.equal(result.left.blobs, count - result.blobs);
      if (result.complete) assert.equal(result.blobs, count);
      known = now;
    }
    const [last] = (await store.health()).scrubs;
    assert.ok(last !== undefined && last.endedMs !== undefined && last.blobs > 0);
  });
}

storeTest('what was verified before an abort counts, and the abort is told', async (folder) => {
  const store = await folder.open({ threads: { count: 2 } });
  const ids = await fill(store, 60, 50_000);
  const stop = new AbortController();
  const stopped = store.scrub({
    rate: 3_000_000,
    signal: stop.signal,
    onProgress: ({ bytes, bytesPerSecond, leftMs }) => {
      assert.ok(bytesPerSecond >= 0 && (leftMs === undefined || leftMs >= 0));
      if (bytes > 600_000) stop.abort(new Error('enough'));
    },
  });
  await assert.rejects(stopped, /enough/);
  const before = await verifiedOf(store, ids);
  assert.ok(before.size > 5 && before.size < 60, `${before.size} verified`);
  const { scrubs } = await store.health();
  assert.deepEqual([scrubs[0]!.complete, scrubs[0]!.blobs], [false, before.size]);
  const again = await store.scrub();
  assert.deepEqual([again.complete, again.blobs, again.left], [true, 60, { blobs: 0, bytes: 0 }]);
});

storeTest('the rate is held by all threads together, and puts and reads go on', async (folder) => {
  const store = await folder.open({ threads: { count: 3 } });
  const [first] = await fill(store, 120, 50_000);
  const rate = 2_000_000;
  const running = store.scrub({ rate });
  let beside = 0;
  const done = new AbortController();
  const work = (async () => {
    for (; !done.signal.aborted; beside++) {
      await store.put(noise(2000, 1000 + beside), { owner: 'test' });
      assert.ok((await store.get(first!)) !== undefined);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const { bytes, milliseconds } = await running;
  done.abort();
  await work;
  const measured = (bytes / milliseconds) * 1000;
  assert.ok(measured <= rate * 1.05, `${Math.round(measured)} of ${rate} bytes a second`);
  assert.ok(beside > 2, `${beside} puts and reads meanwhile`);
});

storeTest('damage tells the roots with the way to it, and the owners', async (folder) => {
  const store = await folder.open();
  const large = await store.put(noise(60_000, 1));
  const inner = await store.put(text('inner'), { links: [{ kind: 'raw', id: large.id }] });
  const outer = await store.put(text('outer'), { links: [{ kind: 'node', id: inner.id }] });
  const [owned] = await fill(store, 1, 70_000);
  await store.roots.set('top', outer.id);
  await store.roots.set('direct', large.id);
  await store.retain(inner.id, 'somebody');
  await spoil(folder, store, large.id);
  const { damaged } = await store.scrub();
  assert.deepEqual(
    damaged.map(({ id }) => id),
    [large.id],
  );
  const { roots, owners, more } = damaged[0]!.touches;
  assert.deepEqual(
    [...roots].sort((a, b) => (a.name < b.name ? -1 : 1)),
    [
      { name: 'direct', chain: [large.id] },
      { name: 'top', chain: [outer.id, inner.id, large.id] },
    ],
  );
  assert.deepEqual([owners, more], [['somebody'], false]);
  assert.notEqual(owned, large.id);
  const health = await store.health();
  assert.deepEqual([health.state, health.suspect], ['damage', 1]);
  await store.roots.set('more', large.id);
});

storeTest('a blob with many roots tells some, and that there are more', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(noise(60_000, 1));
  for (let i = 0; i < 20; i++) await store.roots.set(`root ${i}`, id);
  await spoil(folder, store, id);
  const { touches } = (await store.scrub()).damaged[0]!;
  assert.deepEqual([touches.roots.length, touches.more], [16, true]);
});

storeTest('the promise: kept, at risk, broken, and kept again after a scrub', async (folder) => {
  const store = await folder.open();
  const ids = await fill(store, 5, 50_000);
  assert.equal((await store.health()).state, 'fine');
  assert.equal((await store.scrub()).complete, true);
  const fresh = await store.health();
  assert.deepEqual([fresh.state, fresh.promise.kept, fresh.reasons], ['fine', true, []]);
  assert.equal(fresh.promise.untilMs! - fresh.promise.oldestMs!, 30 * dayMs);
  await store.close();
  const age = (days: number): void =>
    folder.edit((db) => {
      db.prepare('UPDATE verified SET at = ? WHERE blob = 3').run(Date.now() - days * dayMs);
    });
  age(28);
  let again = await folder.open();
  assert.equal((await again.health()).state, 'at-risk');
  assert.equal((await again.health({ days: 100 })).state, 'fine');
  await again.close();
  age(31);
  again = await folder.open();
  const broken = await again.health();
  assert.deepEqual(
    [broken.state, broken.promise.kept, broken.promise.overdue],
    ['broken', false, { blobs: 1, bytes: 50_000 }],
  );
  // The one that waits longest comes first, whether the box is long enough for the others or not.
  await again.scrub({ rate: 1_000_000, timeBoxMs: 1_000 });
  assert.equal((await again.health()).state, 'fine');
  assert.equal((await verifiedOf(again, ids)).size, 5);
});

storeTest(
  'copies of a mirrored group keep times of their own, and take them along when they move',
  async (folder) => {
    const store = await folder.open();
    const members = membersOf(folder, 3);
    await extendBy(store, members);
    const ids = await putMixed(store);
    await store.volumes.mirror(2);
    const { blobs } = await store.scrub();
    assert.ok(blobs > 2 * (ids.length - 1), 'copies count');
    await store.close();
    const rows = (sql: string): unknown => {
      let found: unknown;
      folder.edit((db) => (found = db.prepare(sql).pluck().get()));
      return found;
    };
    const lacking = `SELECT count(*) FROM (SELECT n AS blob, volume FROM blobs UNION ALL SELECT blob, volume FROM copies) AS p
    WHERE NOT EXISTS (SELECT 1 FROM verified AS v WHERE v.blob = p.blob AND v.volume = p.volume)`;
    assert.equal(rows(lacking), 0, 'a scrub notes every copy');
    const again = await folder.open();
    const [own] = (await again.volumes.list()).filter(
      ({ kind, folder: of }) => kind === 'directory' && of === undefined,
    );
    await again.volumes.move(own!.id);
    assert.equal((await again.health()).state, 'fine');
    await again.close();
    assert.equal(rows(lacking), 0, 'also where they lie now');
  },
);

storeTest('without keys a scrub tells damage by names on disk, and health needs none', async (folder) => {
  const secret = { kind: 'raw-key', key: new Uint8Array(32).fill(7) } as const;
  const store = await folder.open({ encryption: { secret } });
  const { id } = await store.put(noise(60_000, 1), { owner: 'somebody' });
  await store.roots.set('name', id);
  await store.close();
  const [file] = folder.files('blobs');
  chmodSync(file!, 0o644);
  const bytes = readFileSync(file!);
  bytes[30_000]! ^= 1;
  writeFileSync(file!, bytes);
  folder.leavesNoStore();
  const locked = await folder.open();
  const found = (await locked.scrub()).damaged[0]!;
  assert.notEqual(found.id, id);
  assert.deepEqual([found.touches.roots.length, found.touches.owners.length], [1, 1]);
  assert.deepEqual(found.touches.roots[0]!.chain, [found.id]);
  assert.match(found.touches.roots[0]!.name, /^[0-9a-f]{64}$/);
  assert.equal((await locked.health()).state, 'damage');
  await locked.close();
  const opened = await folder.open({ encryption: { secret } });
  const told = (await opened.scrub()).damaged[0]!;
  assert.deepEqual([told.id, told.touches.roots], [id, [{ name: 'name', chain: [id] }]]);
});

storeTest('senseless rates, boxes and days are refused', async (folder) => {
  const store = await folder.open();
  for (const options of [
    { rate: 0 },
    { rate: 100 },
    { rate: Number.NaN },
    { timeBoxMs: 0 },
    { timeBoxMs: -1 },
  ])
    await assert.rejects(store.scrub(options), withCode('invalid-argument'));
  for (const days of [0, -1, Number.NaN])
    await assert.rejects(store.health({ days }), withCode('invalid-argument'));
});

storeTest('a scrub goes on when volumes are let go of under it, as collection does', async (folder) => {
  const host = manualHost(Date.UTC(2026, 10, 1));
  const store = await folder.open({ host });
  const ids = await fill(store, 100, 12_000);
  await store.put(text('nobody needs this'));
  let read = 0;
  let ended = false;
  const onProgress = ({ bytes }: { readonly bytes: number }): void => void (read = bytes);
  const scrub = store.scrub({ rate: 500_000, onProgress }).finally(() => (ended = true));
  // Its pace is the clock's, which stands still: it waits within a volume.
  await until(() => (read === 0 && host.clock.advance(60), read > 0), 'the scrub reads');
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 1);
  assert.equal(ended, false);
  await until(() => (host.clock.advance(60), ended), 'the scrub ends');
  const { blobs, damaged, complete } = await scrub;
  assert.deepEqual([blobs >= ids.length, damaged, complete], [true, [], true]);
});

test('where commits are slow a scrub reads two ranges a worker ahead, and no more', async () => {
  const ranges = Array.from({ length: 40 }, (_, n) => ({ volume: n, fromExtent: 1, toExtent: 256 }));
  const settling: (() => void)[] = [];
  let read = 0;
  let ended = false;
  const crew = {
    workers: 2,
    foreground: new Foreground(),
    async work(method: string, { name, args }: { name: string; args: readonly (readonly unknown[])[] }) {
      if (method === 'query') return name === 'work' ? { blobs: 0, bytes: 0 } : args[0]!.map(() => 0);
      read++;
      return { blobs: 1, bytes: 1, damaged: [], unreachable: [], unreadable: [] };
    },
    commit(method: string) {
      if (method === 'scrub-ranges') return Promise.resolve(ranges);
      const settled = { adopted: 0, repairedRows: 0, damaged: [] };
      return new Promise((resolve) => void settling.push(() => resolve(settled)));
    },
  } as unknown as Crew;
  const done = verifyStore({ host: manualHost(0), crew, emit: () => undefined }, undefined);
  void done.finally(() => (ended = true));
  await until(() => settling.length === 4, 'two ranges a worker wait');
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(read, 4);
  await until(() => (settling.shift()?.(), ended), 'all are settled');
  assert.equal(read, ranges.length);
});

storeTest(
  'notes are written in slices of a few milliseconds; the puts between them are synced',
  async (folder) => {
    const store = await folder.open({ threads: { count: 0 } });
    await Promise.all(Array.from({ length: 1000 }, (_, n) => store.put(noise(20, n))));
    await folder.closeAll();
    const catalog = openCatalogOf(folder.path);
    try {
      const place = catalog.sql.arrays('SELECT volume, max(n) FROM blobs').get() as [number, number];
      const [volume, last] = place;
      const noted = catalog.sql.values('SELECT count(*) FROM verified');
      // A row takes a tenth of a millisecond.
      const clock = { monotonic: () => Number(noted.get()) / 10 } as Clock;
      const slices: number[] = [];
      const range = { volume, fromExtent: 0, toExtent: 1_000_000 };
      const reached = Array.from({ length: last }, (_, n) => n + 1);
      const found = { damaged: [], orphans: [], unsoundRows: [], unsoundCopies: [], unreachable: [] };
      const { generation } = catalog.state();
      let before = 0;
      for (const _slice of noteVerified(catalog, clock, { range, reached, generation, ...found })) {
        slices.push(Number(noted.get()) - before);
        before += slices.at(-1)!;
        assert.equal(catalog.db.pragma('synchronous', { simple: true }), 2);
        // What is put between two slices was not verified.
        if (slices.length === 2) catalog.transaction((write) => write.touch(catalog.blobs.byNumber(last)!));
      }
      assert.equal(before, last - 1);
      assert.ok(slices.length > last / 80 && Math.max(...slices) <= 80, `slices of ${slices.join(' ')} rows`);
      const id = toHex(catalog.blobs.byNumber(1)!.id);
      const owner = { shown: 'owner', key: 'owner' };
      assert.throws(() => catalog.unsynced((write) => write.retain(id, owner)), /root log is synced/);
      assert.equal(catalog.db.pragma('synchronous', { simple: true }), 2);
      assert.equal(catalog.sql.values('SELECT count(*) FROM refs').get(), 0);
      // Nor is what is put synced less after one that failed, and could not even be rolled back.
      const { db } = catalog;
      const exec = db.exec.bind(db);
      db.exec = (sql) => {
        if (sql === 'COMMIT') throw Object.assign(new Error('the disk'), { code: 'SQLITE_IOERR' });
        if (sql === 'ROLLBACK') throw Object.assign(new Error('again'), { code: 'SQLITE_IOERR' });
        return exec(sql);
      };
      const note = (write: Transaction): void => void (write.changed = true);
      assert.throws(() => catalog.unsynced(note), { code: 'SQLITE_IOERR' });
      assert.throws(() => catalog.transaction(note), { code: 'SQLITE_IOERR' });
      db.exec = exec;
      const level = catalog.transaction(() => db.pragma('synchronous', { simple: true }));
      assert.equal(level, 2);
    } finally {
      catalog.close();
    }
  },
);
