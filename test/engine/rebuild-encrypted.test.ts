/** Rebuilding encrypted stores: only with keys, under the epochs that things were sealed under, with the ids of what is lost. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { encryption, fill, keysOf, loseCatalog, rebuild, sameAsBefore, tell } from './rebuild-store.ts';
import {
  type StoreFolder,
  noise,
  putAll,
  sha256,
  smallParameters,
  storeTest,
  text,
  withCode,
} from './store-folder.ts';

const parameters = smallParameters;
const keys = { encryption };
const otherKey = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(8) } } as const;

/** Turns bits in all files of SQLite volumes where these bytes stand. */
function spoil(folder: StoreFolder, wanted: Uint8Array): void {
  for (const path of folder.files('volumes').filter((name) => name.endsWith('.db'))) {
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) bytes[at + 80]! ^= 1;
    writeFileSync(path, bytes);
  }
}

storeTest(
  'without its key an encrypted store is left as it was; with any of its secrets it is rebuilt',
  async (folder) => {
    const layout = 'encrypted, chunked';
    await fill(folder, layout);
    let store = await folder.open({ mode: 'open', ...keysOf(layout) });
    await store.keys.add(otherKey.secret);
    const before = await tell(store);
    await store.close();
    loseCatalog(folder);
    const all = folder.files('.').sort();
    await assert.rejects(rebuild(folder), withCode('wrong-key'));
    const wrong = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(9) } } as const;
    await assert.rejects(rebuild(folder, { encryption: wrong }), withCode('wrong-key'));
    assert.deepEqual(folder.files('.').sort(), all);
    rmSync(folder.at('keys'));
    assert.equal((await rebuild(folder, { encryption: otherKey })).lostBlobs, 0);
    store = await folder.open({ mode: 'open' });
    const { damaged, adopted, recounted } = await store.scrub();
    assert.deepEqual([damaged, adopted, recounted], [[], 0, 0], 'without keys nothing is amiss either');
    await store.close();
    await sameAsBefore(folder, before, layout);
  },
);

storeTest('a key given for a store that is not encrypted is refused', async (folder) => {
  await (await folder.open({ parameters })).close();
  await assert.rejects(rebuild(folder, keys), withCode('wrong-key'));
});

storeTest(
  'what is sealed under an old epoch is known to be, and what was sealed anew is what counts',
  async (folder) => {
    let store = await folder.open({ parameters, ...keys });
    const contents = [noise(500, 1), noise(60_000, 2), text('three')];
    const ids = await putAll(store, contents, 'x');
    const node = await store.put(text('node'), { links: ids.map((id) => ({ kind: 'raw' as const, id })) });
    await store.roots.set('main', node.id);
    await store.keys.rotate();
    await putAll(store, [noise(600, 3)], 'x');
    await store.close();
    loseCatalog(folder);
    await rebuild(folder, keys);
    store = await folder.open({ mode: 'open', ...keys });
    assert.equal((await store.keys.list()).behind, 4);
    await store.keys.reseal();
    assert.equal((await store.keys.list()).behind, 0);
    await store.close();
    loseCatalog(folder);
    const { lostBlobs, blobs } = await rebuild(folder, keys);
    assert.deepEqual([lostBlobs, blobs], [0, 5]);
    store = await folder.open({ mode: 'open', ...keys });
    assert.equal((await store.keys.list()).behind, 0, 'the older copies that lie there still are not taken');
    assert.equal(await store.roots.get('main'), node.id);
    for (const content of contents)
      assert.equal(Buffer.compare((await store.get(sha256(content)))!, content), 0);
    assert.deepEqual((await store.scrub()).damaged, []);
  },
);

storeTest('what is lost is told by its id where a node links to it, and healed by a put', async (folder) => {
  let store = await folder.open({ parameters, ...keys });
  const large = noise(50_000, 4);
  const { id } = await store.put(large, { owner: 'an owner' });
  const node = await store.put(text('above'), { links: [{ kind: 'raw', id }] });
  const lone = await store.put(noise(40_000, 5));
  await store.roots.set('main', node.id);
  await store.roots.set('a name', lone.id);
  await store.close();
  for (const path of folder.files('blobs').filter((name) => name.endsWith('.f'))) {
    chmodSync(path, 0o644);
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
  }
  loseCatalog(folder);
  const result = await rebuild(folder, keys);
  assert.deepEqual([result.damagedCopies, result.lostBlobs], [2, 2]);
  const told = result.lost.map(({ as, name, id: lost }) => [as, name, lost === id]).sort();
  assert.deepEqual(told, [
    ['node', node.id, true],
    ['owner', 'an owner', true],
    ['root', 'a name', false],
  ]);
  store = await folder.open({ mode: 'open', ...keys });
  await assert.rejects(store.get(id), withCode('corrupt'));
  assert.equal((await store.stat(id))?.suspect, true);
  assert.equal((await store.roots.list()).length, 2);
  assert.match((await store.gc({ graceMs: 0 })).blocked ?? '', /not found/);
  await store.put(large);
  await store.put(noise(40_000, 5));
  assert.equal((await store.stat(id))?.size, large.length);
  assert.equal((await store.stat(id))?.references, 2);
  await store.close();
  assert.equal((await rebuild(folder, keys)).lostBlobs, 0);
  store = await folder.open({ mode: 'open', ...keys });
  assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
  assert.equal((await store.scrub()).damaged.length, 0);
});

storeTest('a node that was healed by a put of its plain bytes is a node again', async (folder) => {
  let store = await folder.open({ parameters, ...keys });
  const leaf = await store.put(noise(30_000, 8));
  const node = await store.put(text('healed'), { links: [{ kind: 'raw', id: leaf.id }] });
  await store.roots.set('main', node.id);
  const bytes = (await store.get(node.id))!;
  await store.close();
  let records: Uint8Array[] = [];
  folder.edit((db) => {
    records = db.prepare('SELECT id FROM blobs WHERE kind = 1').pluck().all() as Uint8Array[];
  });
  spoil(folder, records[0]!);
  store = await folder.open({ mode: 'open', ...keys });
  assert.equal((await store.scrub()).damaged.length, 1);
  await store.put(bytes);
  await store.close();
  loseCatalog(folder);
  assert.equal((await rebuild(folder, keys)).lostBlobs, 0);
  store = await folder.open({ mode: 'open', ...keys });
  assert.equal((await store.stat(node.id))?.kind, 'node');
  assert.equal((await store.stat(leaf.id))?.references, 1);
});

storeTest('with the keys of before a rotation what is newer is not taken for lost', async (folder) => {
  const store = await folder.open({ parameters, ...keys });
  await putAll(store, [noise(500, 1)], 'x');
  const old = readFileSync(folder.at('keys'));
  await store.keys.rotate();
  await putAll(store, [noise(600, 2), noise(60_000, 3)], 'x');
  await store.close();
  const now = readFileSync(folder.at('keys'));
  for (const name of ['keys', 'keys.copy']) writeFileSync(folder.at(name), old);
  loseCatalog(folder);
  await assert.rejects(rebuild(folder, keys), withCode('wrong-key'));
  await assert.rejects(folder.open({ mode: 'open', ...keys }), withCode('needs-rebuild'));
  for (const name of ['keys', 'keys.copy']) writeFileSync(folder.at(name), now);
  assert.deepEqual((await rebuild(folder, keys)).lost, []);
  assert.equal((await (await folder.open({ mode: 'open', ...keys })).stats()).blobs, 3);
});
