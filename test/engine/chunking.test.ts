/** Chunked blobs: one blob to every caller, shared parts stored once, damage told and healed, nothing left of what a crash or an error cut short. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { Store } from '../../engine/index.ts';
import {
  type StoreFolder,
  collect,
  inPieces,
  noise,
  same,
  sha256,
  smallParameters,
  storeTest,
  withCode,
} from './store-folder.ts';

const chunking = { mode: 'fastcdc', least: 4096, average: 16_384, greatest: 65_536 } as const;
const { smallMax } = smallParameters;
const content = noise(3_000_000, 5);

async function readsBack(store: Store, folder: StoreFolder, want: Uint8Array): Promise<void> {
  const id = sha256(want);
  same(await store.get(id), want);
  same(Buffer.concat(await collect((await store.stream(id)) as unknown as AsyncIterable<Uint8Array>)), want);
  for (const [offset, length] of [
    [0, 1],
    [12_345, 100_000],
    [want.length - 5, 100],
    [want.length, 10],
    [0, want.length],
  ] as const)
    same(await store.readRange(id, offset, length), want.subarray(offset, offset + length));
  const path = `${folder.side}/out-${id}`;
  if (!existsSync(path)) assert.equal(await store.exportTo({ id, path }), true);
  same(readFileSync(path), want);
}

storeTest(
  'from bytes, path and stream: the id of the whole, every way of reading, no file',
  async (folder) => {
    const store = await folder.open({ chunking, threads: { count: 1 } });
    assert.deepEqual(store.parameters.chunking, chunking);
    const contents = [1, 2, 3].map((seed) => noise(1_000_000 + seed, seed));
    const path = folder.file('in', contents[1]!);
    const progress: number[] = [];
    const puts = [
      await store.put(contents[0]!, { owner: 'x' }),
      await store.put({ path }, { owner: 'x', onProgress: (bytes) => progress.push(bytes) }),
      await store.put(inPieces(contents[2]!, 77_777), { owner: 'x' }),
    ];
    assert.equal(progress.at(-1), contents[1]!.length);
    assert.equal(puts[1]!.source?.size, contents[1]!.length);
    for (const [i, want] of contents.entries()) {
      assert.deepEqual(
        [puts[i]!.id, puts[i]!.size, puts[i]!.deduplicated],
        [sha256(want), want.length, false],
      );
      await readsBack(store, folder, want);
      const stat = (await store.stat(puts[i]!.id))!;
      assert.deepEqual(
        [stat.size, stat.storedSize, stat.volume, stat.kind],
        [want.length, 0, 'chunks', 'raw'],
      );
      assert.equal(await store.pathOf(puts[i]!.id), undefined);
      assert.equal((await store.put(want)).deduplicated, true);
    }
    assert.deepEqual(
      folder.files('blobs').filter((file) => !file.endsWith('volume')),
      [],
    );
    const { bytes } = await store.stats();
    assert.ok(bytes >= 3_000_000 && bytes < 3_100_000, `content is counted once: ${bytes}`);
  },
);

storeTest('sizes around the limit: what fits a record is never chunked', async (folder) => {
  const store = await folder.open({ chunking });
  for (const size of [0, 1, smallMax, smallMax + 1, 65_536, 65_537, 200_000]) {
    // Nothing to cut at: chunks are as large as they may be.
    const want = new Uint8Array(size).fill(size & 0xff);
    const { id, deduplicated } = await store.put(want, { owner: 'x' });
    // What is one chunk is that chunk.
    assert.equal((await store.stat(id))?.volume === 'chunks', size > 65_536, String(size));
    assert.equal(deduplicated, false);
    assert.equal((await store.put(want)).deduplicated, true);
    same(await store.get(id), want);
  }
});

storeTest('per put: chunked in a store that does not, and the other way', async (folder) => {
  const store = await folder.open();
  const chunked = await store.put(noise(300_000, 1), { owner: 'x', chunking: 'fastcdc' });
  const plain = await store.put(noise(300_000, 2), { owner: 'x' });
  assert.equal((await store.stat(chunked.id))?.volume, 'chunks');
  assert.ok(existsSync((await store.pathOf(plain.id))!));
  await assert.rejects(store.put(noise(1), { chunking: 'rabin' as 'off' }), withCode('invalid-argument'));
});

storeTest('options that make no sense are refused', async (folder) => {
  folder.leavesNoStore();
  for (const wrong of ['yes', { average: 5000 }, { least: 0 }, { greatest: 2 ** 30 }])
    await assert.rejects(folder.open({ chunking: wrong as never }), withCode('invalid-argument'));
});

/** Where a chunk of the content lies: the volume's file, its extent. */
function harmChunk(folder: StoreFolder, id: string): void {
  let place: { volume: string; extent: number; start: number } | undefined;
  folder.edit((db) => {
    place = db
      .prepare(
        `SELECT v.id AS volume, b.extent, b.start FROM blobs b JOIN volumes v ON v.n = b.volume
         WHERE b.kind = 0 AND b.codec = 0 AND v.kind = 'sqlite' AND hex(b.id) != upper(?) ORDER BY b.n LIMIT 1 OFFSET 20`,
      )
      .get(id) as typeof place;
  });
  const db = new Database(folder.at('volumes', `${place!.volume}.db`));
  const data = db.prepare('SELECT data FROM extents WHERE n = ?').pluck().get(place!.extent) as Buffer;
  data[place!.start + 300]! ^= 1;
  db.prepare('UPDATE extents SET data = ? WHERE n = ?').run(data, place!.extent);
  db.close();
}

storeTest(
  'a damaged chunk is damage of the blob: reads refuse it, a scrub tells both, a put heals both',
  async (folder) => {
    let store = await folder.open({ chunking });
    const { id } = await store.put(content, { owner: 'x' });
    await store.close();
    harmChunk(folder, id);
    store = await folder.open();
    const told: string[] = [];
    store.on('damage', (damage) => told.push(damage.id));
    await assert.rejects(store.get(id), withCode('corrupt'));
    assert.deepEqual(told, [id]);
    same(await store.readRange(id, 0, 10_000), content.subarray(0, 10_000));
    const { damaged } = await store.scrub();
    assert.equal(damaged.length, 2);
    assert.ok(damaged.some((damage) => damage.id === id));
    const again = await store.put(content);
    assert.equal(again.deduplicated, false);
    await readsBack(store, folder, content);
    assert.deepEqual((await store.scrub()).damaged, []);
  },
);

storeTest('a lost row of a chunk, or of the manifest, is damage; put again it is whole', async (folder) => {
  let store = await folder.open({ chunking });
  const { id } = await store.put(content, { owner: 'x' });
  await store.close();
  folder.edit((db) => db.exec('DELETE FROM blobs WHERE kind = 1'));
  store = await folder.open();
  await assert.rejects(store.get(id), withCode('corrupt'));
  await store.put(content);
  same(await store.get(id), content);
  assert.deepEqual((await store.scrub()).damaged, []);
  // The bucket of a row that was lost never adds up again.
  folder.leavesNoStore();
});

storeTest('a manifest that is taken back in brings its blob back with it', async (folder) => {
  let store = await folder.open({ chunking });
  await store.put(content, { owner: 'x' });
  await store.close();
  folder.edit((db) => {
    for (const table of ['blobs', 'refs', 'buckets', 'verified']) db.exec(`DELETE FROM ${table}`);
  });
  store = await folder.open();
  assert.ok((await store.scrub()).adopted > 50);
  await readsBack(store, folder, content);
});

storeTest('sqlite-only: no content outside SQLite volumes, whatever a put asks for', async (folder) => {
  const store = await folder.open({ layout: 'sqlite-only', parameters: {}, compression: 'auto' });
  assert.equal(store.parameters.layout, 'sqlite-only');
  const contents = [noise(5_000_000, 1), new Uint8Array(2_000_000).fill(9), noise(1000, 2)];
  for (const want of contents) {
    const { id } = await store.put(want, { owner: 'x', chunking: 'off' });
    assert.equal(await store.pathOf(id), undefined);
    if (want.length > 100_000) await readsBack(store, folder, want);
  }
  assert.deepEqual(
    folder.files('blobs').filter((file) => !/volume[^/]*$/.test(file)),
    [],
  );
  await store.close();
  const again = await folder.open();
  assert.equal(again.parameters.layout, 'sqlite-only');
  await readsBack(again, folder, contents[0]!);
});

storeTest('a layout that is none is refused', async (folder) => {
  folder.leavesNoStore();
  await assert.rejects(folder.open({ layout: 'folders' as 'hybrid' }), withCode('invalid-argument'));
});

storeTest('a put that shares chunks with a blob that is collected meanwhile keeps them', async (folder) => {
  const first = await folder.open({ chunking });
  // Several batches of chunks, of which the first are committed long before the put ends.
  const whole = noise(20_000_000, 6);
  const old = await first.put(whole, { owner: 'x' });
  await first.release(old.id, 'x');
  const second = await folder.open({ mode: 'open' });
  const shared = whole.length - 500_000;
  const want = Buffer.concat([whole.subarray(0, shared), noise(400_000, 77)]);
  async function* source(): AsyncGenerator<Uint8Array> {
    yield whole.slice(0, shared);
    // By now most of the shared chunks were put, as nothing that was not here.
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (let times = 0; times < 3; times++) assert.equal((await first.gc({ graceMs: 0 })).blocked, undefined);
    assert.equal(await first.has(old.id), false);
    yield want.subarray(shared);
  }
  const put = await second.put(source(), { owner: 'y' });
  same(await second.get(put.id), want);
  await second.gc({ graceMs: 0 });
  same(await first.get(put.id), want);
});
