// Damage: wrong bytes never come out, a scrub finds exactly what is damaged, and putting the bytes again heals.
import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import Database from 'better-sqlite3';
import type { Damage, Store } from '../../engine/index.ts';
import { type StoreFolder, storeTest } from './store-folder.ts';

const large = (seed: number): Uint8Array => Uint8Array.from({ length: 60_000 }, (_, i) => (i * seed) & 0xff);
const small = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Changes bytes of the file of a large blob. */
async function hurt(store: Store, id: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  const path = (await store.pathOf(id))!;
  chmodSync(path, 0o644);
  writeFileSync(path, change(readFileSync(path)));
}

function flip(at: number): (bytes: Buffer) => Buffer {
  return (bytes) => {
    bytes[at]! ^= 1;
    return bytes;
  };
}

/** Flips a bit in every extent of the closed store's volumes, `at` bytes from its end. */
function hurtExtents(folder: StoreFolder, at: number): void {
  for (const path of folder.files('volumes').filter((file) => file.endsWith('.db'))) {
    const db = new Database(path);
    for (const { n, data } of db.prepare('SELECT n, data FROM extents').all() as {
      n: number;
      data: Buffer;
    }[]) {
      data[data.length - at]! ^= 1;
      db.prepare('UPDATE extents SET data = ? WHERE n = ?').run(data, n);
    }
    db.close();
  }
}

for (const [what, change, reason] of [
  ['a flipped bit', flip(30_000), /checksum of chunk 7/],
  ['a truncated file', (bytes: Buffer) => bytes.subarray(0, 50_000), /50000 bytes/],
  ['a file that grew', (bytes: Buffer) => Buffer.concat([bytes, bytes]), /120000 bytes/],
  ['zeros', (bytes: Buffer) => bytes.fill(0, 8192, 12_288), /checksum of chunk 2/],
] as const) {
  storeTest(`${what} in a large blob is corrupt, is found, and is healed by a put`, async (folder) => {
    const store = await folder.open();
    const events: Damage[] = [];
    const healed: string[] = [];
    store.on('damage', (event) => events.push(event));
    store.on('healed', ({ id }) => healed.push(id));
    const good = await store.put(large(3), { owner: 'me' });
    const bad = await store.put(large(5), { owner: 'me' });
    await hurt(store, bad.id, change);
    await assert.rejects(store.get(bad.id), { code: 'corrupt' });
    assert.equal(events[0]?.id, bad.id);
    assert.match(events[0].reason, reason);
    const { damaged } = await store.scrub();
    assert.deepEqual(damaged, [{ id: bad.id, reason: events[0].reason, references: 1 }]);
    assert.equal((await store.stat(bad.id))?.suspect, true);
    assert.deepEqual(await store.get(good.id), large(3));
    assert.equal((await store.put(large(5))).deduplicated, false);
    assert.deepEqual(healed, [bad.id]);
    assert.deepEqual(await store.get(bad.id), large(5));
    assert.equal((await store.stat(bad.id))?.references, 1, 'its owner still holds it');
    assert.equal(readdirSync(folder.at('quarantine')).length, 1, 'the bad file is kept for a look');
  });
}

storeTest('ranges outside the damaged chunk are still read', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(large(7), { owner: 'me' });
  await hurt(store, id, flip(20_000)); // chunk 4 of 4,096 bytes
  assert.deepEqual(await store.readRange(id, 0, 16_384), large(7).subarray(0, 16_384));
  assert.deepEqual(await store.readRange(id, 24_576, 30_000), large(7).subarray(24_576, 54_576));
  await assert.rejects(store.readRange(id, 19_999, 2), { code: 'corrupt' });
  folder.leaves([id]);
});

storeTest('a stream over damage errors and never ends cleanly', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(large(9), { owner: 'me' });
  await hurt(store, id, flip(59_999));
  const read = async (): Promise<void> => {
    for await (const _ of (await store.stream(id))!);
  };
  await assert.rejects(read(), { code: 'corrupt' });
  assert.equal((await store.stats()).openHandles, 0);
  folder.leaves([id]);
});

storeTest('a file that is gone is damage, not absence', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(large(11), { owner: 'me' });
  rmSync((await store.pathOf(id))!, { force: true });
  assert.equal(await store.has(id), true);
  await assert.rejects(store.get(id), { code: 'corrupt' });
  assert.equal((await store.scrub()).damaged[0]?.id, id);
  await store.put(large(11));
  assert.deepEqual(await store.get(id), large(11));
});

storeTest('a damaged record is corrupt, is found, and is healed by a put', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(small('small and soon damaged'), { owner: 'me' });
  await folder.closeAll();
  hurtExtents(folder, 3);
  const again = await folder.open();
  await assert.rejects(again.get(id), { code: 'corrupt' });
  const { damaged } = await again.scrub();
  assert.deepEqual(
    damaged.map((found) => found.id),
    [id],
  );
  await again.put(small('small and soon damaged'));
  assert.deepEqual(await again.get(id), small('small and soon damaged'));
  assert.deepEqual((await again.scrub()).damaged, []);
});

storeTest('of a hundred damaged blobs a scrub finds a hundred, and no other', async (folder) => {
  const store = await folder.open();
  const bad: string[] = [];
  for (let i = 0; i < 200; i++) {
    const { id } = await store.put(
      Uint8Array.from({ length: 17_000 }, (_, at) => (at * 31 + i * 7) & 0xff),
      { owner: 'me' },
    );
    if (i % 2 === 0) continue;
    bad.push(id);
    const path = (await store.pathOf(id))!;
    chmodSync(path, 0o644);
    if (i % 4 === 1) truncateSync(path, i * 50);
    else await hurt(store, id, flip(i * 80));
  }
  const { damaged } = await store.scrub();
  assert.deepEqual(damaged.map(({ id }) => id).sort(), bad.sort());
  folder.leaves(bad);
});

storeTest('a blob row that was changed is mended by a scrub when its bytes are right', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(small('my row was hit'), { owner: 'me' });
  await store.put(small('to be collected'));
  await folder.closeAll();
  folder.edit((db) => db.exec('UPDATE blobs SET created = created + 1 WHERE refcount > 0'));
  const again = await folder.open();
  await assert.rejects(again.get(id), { code: 'corrupt' });
  assert.match((await again.gc({ graceMs: 0 })).blocked ?? '', /blobs|row/);
  assert.equal((await again.scrub()).badRows, 1);
  assert.deepEqual(await again.get(id), small('my row was hit'));
  assert.equal((await again.gc({ graceMs: 0 })).blocked, undefined, 'the doubt is settled');
});

storeTest(
  'a file nobody knows is adopted when it is what its name says, and set aside when it is not',
  async (folder) => {
    const store = await folder.open();
    const { id } = await store.put(large(13), { owner: 'me' });
    const path = (await store.pathOf(id))!;
    await folder.closeAll();
    const lie = 'ab'.repeat(32);
    folder.edit((db) =>
      db.exec(`DELETE FROM refs; DELETE FROM blobs; DELETE FROM chunk_sums; DELETE FROM buckets`),
    );
    mkdirSync(folder.at('blobs', 'ab'), { recursive: true });
    writeFileSync(folder.at('blobs', 'ab', `${lie}.1`), 'something else');
    const again = await folder.open();
    const result = await again.scrub();
    assert.equal(result.adopted, 1);
    assert.deepEqual(await again.get(id), large(13));
    assert.deepEqual(readdirSync(folder.at('quarantine')), [`${lie}.1`]);
    assert.ok(path.includes(id));
  },
);
