/** Rebuilding mirrored groups: further good copies are kept as copies, and what is damaged or away costs no blob. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { allHave, extendBy, filesOf, membersOf, putMixed, readsAll } from './mirror-store.ts';
import { loseCatalog, rebuild } from './rebuild-store.ts';
import { type StoreFolder, storeTest } from './store-folder.ts';

async function mirrored(folder: StoreFolder, copies: number): Promise<string[]> {
  const store = await folder.open();
  await extendBy(store, membersOf(folder));
  await store.volumes.mirror(copies);
  const ids = await putMixed(store);
  await store.close();
  return ids;
}

for (const copies of [2, 3])
  storeTest(
    `${copies} copies of each blob are ${copies} copies again, and no file is touched`,
    async (folder) => {
      const ids = await mirrored(folder, copies);
      const before = membersOf(folder).map((member) => filesOf(member).sort());
      loseCatalog(folder);
      await rebuild(folder);
      const store = await folder.open({ mode: 'open' });
      for (const id of ids) assert.equal((await store.stat(id))!.copies, copies);
      const { healed, adopted, missingCopies, damaged } = await store.scrub();
      assert.deepEqual([healed, adopted, missingCopies, damaged], [0, 0, 0, []]);
      await store.gc({ graceMs: 0 });
      assert.deepEqual(
        membersOf(folder).map((member) => filesOf(member).sort()),
        before,
      );
      allHave(folder, copies);
      await readsAll(store, ids);
    },
  );

storeTest(
  'with its own disk damaged and a member away nothing is lost, and a scrub makes the copies anew',
  async (folder) => {
    const ids = await mirrored(folder, 2);
    const [own, second] = membersOf(folder);
    // A copy of each file of the store's own directory is damaged, and its SQLite volumes are gone.
    for (const path of filesOf(own!)) {
      chmodSync(path, 0o644);
      writeFileSync(path, readFileSync(path).fill(0, 10, 50));
    }
    for (const path of folder.files('volumes')) rmSync(path);
    loseCatalog(folder);
    let result = await rebuild(folder);
    assert.deepEqual([result.lostBlobs, result.lost], [0, []]);
    assert.ok(result.damagedCopies > 0);
    let store = await folder.open({ mode: 'open' });
    assert.ok((await store.stats()).missingCopies > 0);
    await readsAll(store, ids);
    const { healed, missingCopies } = await store.scrub();
    assert.ok(healed > 0 && missingCopies === 0);
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
    await store.close();
    for (const path of [second!.files, second!.volumes]) renameSync(path, `${path}.away`);
    loseCatalog(folder);
    result = await rebuild(folder);
    assert.equal(result.lostBlobs, 0);
    assert.ok(result.missing.some(({ path }) => path === second!.files));
    store = await folder.open({ mode: 'open' });
    await readsAll(store, ids);
    assert.equal((await store.scrub()).missingCopies, 0);
    for (const path of [second!.files, second!.volumes]) renameSync(`${path}.away`, path);
    const { damaged, missingCopies: missing } = await store.scrub();
    assert.deepEqual([damaged, missing], [[], 0]);
    await readsAll(store, ids);
  },
);
