/** Rebuilding: a catalog made again from volumes and root log says what the lost one said, whatever the layout. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { layoutOf } from '../../engine/catalog/layout.ts';
import { RebuildLock } from '../../engine/catalog/rebuild-lock.ts';
import { loadDriver } from '../../engine/driver.ts';
import { nodeHost, rebuildStore } from '../../engine/index.ts';
import { full } from '../crash/sample.ts';
import {
  fill,
  keysOf,
  layouts,
  leftovers,
  loseCatalog,
  rebuild,
  sameAsBefore,
  tell,
} from './rebuild-store.ts';
import { noise, putAll, sha256, storeTest, withCode } from './store-folder.ts';

/** Rebuilt a second time: with HOLDFAST_SAMPLES=full all, else those that have all features between them. */
const twice = full ? Object.keys(layouts) : ['sqlite-only', 'mirrored, encrypted, chunked'];
/** Left out of a sample: what is of these is of others too. */
const covered = ['compressed', 'encrypted, chunked', 'extended, linear'];

for (const layout of Object.keys(layouts).filter((name) => full || !covered.includes(name))) {
  storeTest(`${layout}: every blob, root, owner and count comes back`, async (folder) => {
    await fill(folder, layout);
    const keys = keysOf(layout);
    let store = await folder.open({ mode: 'open', ...keys });
    const before = await tell(store);
    await store.close();
    loseCatalog(folder);
    await assert.rejects(folder.open({ mode: 'open', ...keys }), withCode('needs-rebuild'));
    const result = await rebuild(folder, keys);
    const { damaged, missing, lost, lostBlobs, gap, salvaged } = result;
    assert.deepEqual(
      { damaged, missing, lost, lostBlobs, gap, salvaged },
      { damaged: [], missing: [], lost: [], lostBlobs: 0, gap: undefined, salvaged: 0 },
    );
    assert.deepEqual([result.roots, leftovers(folder)], [2, []]);
    assert.ok(
      result.chunked > 0 ===
        (layout.includes('chunked') || layout.includes('sqlite-only') || layout.includes('striped')),
    );
    await sameAsBefore(folder, before, layout);
    if (!twice.includes(layout)) return;
    // The same from a catalog that is there: it is set aside.
    await rebuild(folder, keys);
    assert.deepEqual(readdirSync(folder.at('quarantine')), ['index.db.1']);
    const blobs = before.blobs.filter(({ references }) => references > 0);
    await sameAsBefore(folder, { ...before, blobs }, layout);
    store = await folder.open({ mode: 'open', ...keys });
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
    assert.equal((await store.stats()).unreferenced, 0);
    await putAll(store, [noise(500, 77_000), noise(50_000, 77_001)], 'later');
    await store.roots.set('later', sha256(noise(500, 77_000)));
  });
}

storeTest('while a store is open it is not rebuilt', async (folder) => {
  const store = await folder.open();
  await store.put(noise(10), { owner: 'x' });
  await assert.rejects(rebuild(folder), withCode('busy'));
  await assert.rejects(rebuildStore(folder.path), withCode('busy'));
  await store.close();
  const reader = await folder.open({ mode: 'read-only' });
  await reader.has(sha256(noise(10)));
  await assert.rejects(rebuild(folder), withCode('busy'));
  await reader.close();
  assert.equal((await rebuild(folder)).owners, 1);
});

storeTest('while it is rebuilt, nobody opens it, and nobody else rebuilds it', async (folder) => {
  const store = await folder.open();
  await store.put(noise(10), { owner: 'x' });
  await store.close();
  const { files } = nodeHost({ inline: true });
  const layout = layoutOf(files, folder.path);
  const driver = await loadDriver({ module: import.meta.resolve('better-sqlite3') });
  const lock = new RebuildLock(driver, files, layout);
  await assert.rejects(folder.open({ mode: 'open' }), withCode('busy'));
  await assert.rejects(rebuild(folder), withCode('busy'));
  lock.release();
  await (await folder.open({ mode: 'open' })).close();
  const aborted = new AbortController();
  aborted.abort(new Error('enough'));
  await assert.rejects(rebuild(folder, { signal: aborted.signal }), /enough/);
});
