/** Blobs in chunks and what can go wrong: damage of a part, a put that dies, collection beside a put, aliases that were lost. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BlobId, Damage, Store } from '../../engine/index.ts';
import { fromHex } from '../../engine/codec/bytes.ts';
import { encodeManifest } from '../../engine/codec/manifest.ts';
import { sample } from '../crash/sample.ts';
import { chunkedIn, chunkedParameters, chunking, inserted, partsOf } from './chunked-store.ts';
import type { PutterReport } from './chunking-child.ts';
import { openCatalogOf } from './open-catalog.ts';
import { type StoreFolder, noise, sha256, storeTest, until, withCode } from './store-folder.ts';

const large = noise(600_000, 5);
const id = sha256(large);
const open = (folder: StoreFolder): Promise<Store> => folder.open({ parameters: chunkedParameters });

/** Turns a bit wherever some bytes lie in the volumes; nothing may have the store open. */
function flip(folder: StoreFolder, sought: Uint8Array): void {
  let turned = 0;
  for (const path of folder.files('volumes').filter((name) => name.endsWith('.db'))) {
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(sought); at >= 0; at = bytes.indexOf(sought, at + 1), turned++)
      bytes[at]! ^= 1;
    writeFileSync(path, bytes);
  }
  assert.ok(turned > 0, 'the bytes are in no volume');
}

function untilSuspect(store: Store, of: BlobId): Promise<void> {
  return until(async () => (await store.stat(of))?.suspect === true, `${of} is suspect`);
}

async function refuses(store: Store, folder: StoreFolder): Promise<void> {
  await assert.rejects(store.get(id), (error) => {
    withCode('corrupt')(error);
    assert.equal((error as { facts: { id: string } }).facts.id, id, 'the whole is what is damaged');
    return true;
  });
  const got: Uint8Array[] = [];
  await assert.rejects(async () => {
    for await (const piece of (await store.stream(id)) as unknown as AsyncIterable<Uint8Array>)
      got.push(piece);
  }, withCode('corrupt'));
  const before = Buffer.concat(got);
  assert.ok(before.length < large.length && before.equals(large.subarray(0, before.length)));
  const path = join(folder.side, 'out');
  await assert.rejects(store.exportTo({ id, path }), withCode('corrupt'));
  assert.equal(existsSync(path), false);
}

/** The chunk that holds a place of `large`. */
async function chunkAt(store: Store, place: number): Promise<BlobId> {
  for (const chunk of (await partsOf(store)).chunks) {
    const bytes = (await store.get(chunk))!;
    const at = Buffer.from(large).indexOf(bytes);
    if (at <= place && place < at + bytes.length) return chunk;
  }
  throw new Error('no chunk holds it');
}

storeTest(
  'damage of a chunk is damage of the whole where it is read; a put of the whole heals both',
  async (folder) => {
    let store = await open(folder);
    await store.put(large, { owner: 'x' });
    const chunk = await chunkAt(store, 300_000);
    await store.close();
    flip(folder, large.subarray(300_000, 300_032));
    store = await open(folder);
    const seen: Damage[] = [];
    store.on('damage', (damage) => seen.push(damage));
    assert.deepEqual(await store.readRange(id, 0, 100_000), large.slice(0, 100_000), 'elsewhere all is well');
    assert.deepEqual(await store.readRange(id, 400_000, 999_999), large.slice(400_000));
    await assert.rejects(store.readRange(id, 299_990, 50), withCode('corrupt'));
    await refuses(store, folder);
    assert.ok(seen.length >= 4 && seen.every((damage) => damage.id === id && damage.references === 1));
    await untilSuspect(store, id);
    await untilSuspect(store, chunk);
    const healed: string[] = [];
    store.on('healed', (event) => healed.push(event.id));
    const put = await store.put(large);
    assert.deepEqual([put.id, put.deduplicated, healed.toSorted()], [id, false, [id, chunk].toSorted()]);
    assert.equal(Buffer.compare((await store.get(id))!, large), 0);
    assert.equal((await store.put(large)).deduplicated, true);
    assert.deepEqual((await store.scrub()).damaged, []);
  },
);

storeTest(
  'a scrub finds the chunk and every blob that it is part of, and a put of one heals the chunk for all',
  async (folder) => {
    let store = await open(folder);
    const edited = inserted(large, 1000, noise(10, 1));
    const other = sha256(edited);
    await store.put(large, { owner: 'x' });
    await store.put(edited, { owner: 'x' });
    const chunk = await chunkAt(store, 300_000);
    await store.close();
    flip(folder, large.subarray(300_000, 300_032));
    store = await open(folder);
    const found = await store.scrub();
    assert.deepEqual(found.damaged.map((damage) => damage.id).toSorted(), [id, other, chunk].toSorted());
    assert.match(found.damaged.find((damage) => damage.id === id)!.reason, new RegExp(chunk));
    await store.put(edited);
    assert.equal(Buffer.compare((await store.get(id))!, large), 0);
    assert.deepEqual((await store.scrub()).damaged, []);
  },
);

storeTest('damage of a node of the manifest is found, refused and healed too', async (folder) => {
  let store = await open(folder);
  await store.put(large, { owner: 'x' });
  const [manifest] = (await partsOf(store)).manifests;
  const bytes = (await store.get(manifest!))!;
  await store.close();
  flip(folder, bytes.subarray(bytes.length - 100, bytes.length - 60));
  store = await open(folder);
  await refuses(store, folder);
  const { damaged } = await store.scrub();
  assert.deepEqual(damaged.map((damage) => damage.id).toSorted(), [id, manifest!].toSorted());
  await store.put(large);
  await refuses(store, folder).then(
    () => assert.fail('it was healed'),
    () => undefined,
  );
  assert.equal(Buffer.compare((await store.get(id))!, large), 0);
});

storeTest('a damaged blob in chunks is healed by a file, and a damaged file by chunks', async (folder) => {
  let store = await open(folder);
  await store.put(large, { owner: 'x' });
  await store.close();
  flip(folder, large.subarray(300_000, 300_032));
  store = await open(folder);
  await assert.rejects(store.get(id), withCode('corrupt'));
  await untilSuspect(store, id);
  await store.put(large, { chunking: 'off' });
  const path = (await store.pathOf(id))!;
  assert.deepEqual(new Uint8Array(readFileSync(path)), large);
  assert.ok((await store.gc({ graceMs: 0 })).deleted > 50, 'manifest and chunks go');
  assert.deepEqual([(await store.stats()).blobs, await chunkedIn(store)], [1, 0]);
  await store.close();
  rmSync(path);
  store = await open(folder);
  await assert.rejects(store.get(id), withCode('corrupt'));
  await untilSuspect(store, id);
  assert.equal((await store.put(large)).deduplicated, false);
  assert.equal(await store.pathOf(id), undefined);
  assert.equal(Buffer.compare((await store.get(id))!, large), 0);
});

storeTest(
  'collection without a grace, all the while, takes nothing of a put that is under way',
  async (folder) => {
    const store = await folder.open({ parameters: chunkedParameters, threads: { count: 2 } });
    const other = await folder.open({ threads: { count: 1 } });
    const stop = new AbortController();
    let rounds = 0;
    const collecting = (async () => {
      while (!stop.signal.aborted) {
        for (const one of [other, store]) assert.equal((await one.gc({ graceMs: 0 })).blocked, undefined);
        rounds++;
      }
    })();
    const contents = Array.from({ length: sample(6, 4) }, (_, i) =>
      inserted(noise(1_500_000, 2), i * 200_000, noise(9, i)),
    );
    // Released after it was put: what the next one shares with it loses its references while that is put.
    for (const content of contents) {
      const put = await store.put(content, { owner: 'x' });
      assert.equal(Buffer.compare((await store.get(put.id))!, content), 0);
      await store.release(put.id, 'x');
    }
    const kept = await Promise.all(contents.map((content) => store.put(content, { owner: 'x' })));
    stop.abort();
    await collecting;
    assert.ok(rounds > 3, `${rounds} rounds`);
    for (const [i, put] of kept.entries())
      assert.equal(Buffer.compare((await store.get(put.id))!, contents[i]!), 0);
  },
);

storeTest(
  'puts that are killed leave nothing but what can be collected; what was acknowledged stands',
  async (folder) => {
    const script = fileURLToPath(new URL('./chunking-child.ts', import.meta.url));
    const acknowledged: BlobId[] = [];
    for (let round = 0; round < sample(3, 1); round++) {
      const args = [folder.path, join(folder.side, 'source'), String(round * 100)];
      const child = fork(script, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: [] });
      const ended = new Promise<string>((resolve) =>
        child.on('close', (code, signal) => resolve(String(signal ?? code))),
      );
      let taken = 0;
      await new Promise<void>((resolve) => {
        child.on('message', (report: PutterReport) => {
          if ('put' in report) acknowledged.push(report.put);
          else taken++;
          // In the middle of a put, at another place each time.
          if (taken > round + 1) setTimeout(() => child.kill('SIGKILL'), 13 * round);
          if (taken > round + 1) resolve();
        });
        void ended.then(() => resolve());
      });
      assert.equal(await ended, 'SIGKILL');
      const store = await folder.open({ mode: 'open' });
      for (const put of acknowledged) assert.equal(sha256((await store.get(put))!), put);
      assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
      const chunked = await chunkedIn(store);
      const { deleted } = await store.gc({ graceMs: 0, dryRun: true });
      assert.equal(deleted, 0);
      assert.ok(chunked >= new Set(acknowledged).size);
      await store.close();
    }
    const store = await folder.open({ mode: 'open' });
    for (const { id: of } of await all(store)) await store.release(of, 'x');
    await store.gc({ graceMs: 0 });
    assert.equal((await store.stats()).blobs, 0);
  },
);

async function all(store: Store): Promise<{ id: BlobId }[]> {
  const found: { id: BlobId }[] = [];
  for await (const stat of store.list()) found.push(stat);
  return found;
}

/** What a node claims is not believed: one that says it is the manifest of another blob. */
function impostor(chunks: readonly { id: BlobId; size: number }[], claimed: BlobId): Uint8Array {
  const size = chunks.reduce((sum, chunk) => sum + chunk.size, 0);
  const { least, average, greatest } = chunking;
  return encodeManifest({
    level: 0,
    parts: chunks,
    root: { id: claimed, size, cuts: { least, average, greatest } },
  });
}

storeTest(
  'a catalog from an older copy takes blobs in chunks in again, with what refers to them',
  async (folder) => {
    let store = await open(folder);
    await store.put(noise(100), { owner: 'x' });
    await store.close();
    const old = join(folder.side, 'index.db');
    copyFileSync(folder.at('index.db'), old);
    store = await open(folder);
    await store.put(large, { owner: 'later' });
    await store.roots.set('main', id);
    const node = await store.put(new Uint8Array(1), { links: [{ kind: 'raw', id }], owner: 'trees' });
    const chunks = (await partsOf(store)).chunks.slice(0, 2);
    const sized = await Promise.all(
      chunks.map(async (chunk) => ({ id: chunk, size: (await store.stat(chunk))!.size })),
    );
    const claimed = sha256('never put');
    await store.put(impostor(sized, claimed), { kind: 'node', owner: 'later' });
    await store.close();
    for (const name of ['index.db', 'index.db-wal', 'index.db-shm']) rmSync(folder.at(name), { force: true });
    copyFileSync(old, folder.at('index.db'));
    for (let round = 0; round < 2; round++) {
      store = await folder.open({ mode: 'open' });
      assert.equal(Buffer.compare((await store.get(id))!, large), 0);
      assert.deepEqual([(await store.stat(id))!.references, await chunkedIn(store)], [3, 1]);
      assert.equal(await store.roots.get('main'), id);
      assert.deepEqual((await store.getNode(node.id))!.links, [{ kind: 'raw', id }]);
      assert.equal(await store.has(claimed), false, 'what does not hash to it is not it');
      const { deleted, blocked } = await store.gc({ graceMs: 0 });
      assert.deepEqual([deleted, blocked], [0, undefined]);
      await store.close();
    }
  },
);

storeTest('a scrub takes a blob back in whose alias was lost from the catalog', async (folder) => {
  let store = await open(folder);
  await store.put(large);
  await store.close();
  const catalog = openCatalogOf(folder.path);
  catalog.transaction((transaction) => {
    transaction.changed = true;
    catalog.blobs.delete(catalog.blobs.byId(fromHex(id)!)!);
  });
  catalog.close();
  store = await open(folder);
  assert.equal(await store.has(id), false);
  const { adopted } = await store.scrub();
  assert.equal(adopted, 1);
  assert.equal(Buffer.compare((await store.get(id))!, large), 0);
  assert.equal((await store.scrub()).adopted, 0);
  await store.gc({ graceMs: 0 });
  assert.equal((await store.stats()).blobs, 0, 'taken in as unreferenced, and collected with all its parts');
});
