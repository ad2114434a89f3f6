/** Stores that were committed as they were made: this build opens them, reads everything, and finds them sound. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { formatVersion } from '../../engine/codec/superblock.ts';
import { type Store, openStore } from '../../engine/index.ts';
import {
  type Manifest,
  contents,
  emptyFolders,
  goldenFolder,
  optionsOf,
  readManifest,
  secrets,
  shapes,
} from '../golden/recipe.ts';
import { SecondStore } from './keys/second-store.ts';
import { collect, same, sha256, storeTest } from './store-folder.ts';

/** A copy that may be opened, as openers make files anew that were not kept. */
function copyOf(shape: string, to: string): string {
  cpSync(join(goldenFolder, shape), to, { recursive: true });
  for (const name of emptyFolders) mkdirSync(join(to, name), { recursive: true });
  return to;
}

async function isAsItWas(store: Store, manifest: Manifest): Promise<void> {
  const listed = await collect(store.list());
  const blobs = listed.map(({ id, kind, size, references }) => ({ id, kind, size, references }));
  assert.deepEqual(
    blobs.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    manifest.blobs,
  );
  for (const { id, size } of manifest.blobs) {
    const bytes = await store.get(id);
    assert.deepEqual([sha256(bytes!), bytes!.length], [id, size]);
  }
  for (const content of Object.values(contents)) {
    same(await store.get(sha256(content)), content);
    same(await store.readRange(sha256(content), 4000, 200), content.subarray(4000, 4200));
  }
  assert.deepEqual(
    (await store.roots.list()).map(({ name, id }) => ({ name, id })),
    manifest.roots,
  );
  assert.equal((await store.roots.log()).length, manifest.log);
  const values = await store.sideTable('golden').get(manifest.side.map(({ key }) => key));
  assert.deepEqual(
    values.map((value) => Buffer.from(value!).toString()),
    manifest.side.map(({ value }) => value),
  );
}

for (const shape of Object.keys(shapes))
  storeTest(`the golden store "${shape}" is read, sound, and can be gone on with`, async (folder) => {
    const path = copyOf(shape, join(folder.side, shape));
    const manifest = readManifest(shape);
    assert.equal(manifest.format, formatVersion, 'make them anew: node test/golden/make-stores.ts');
    let store = await openStore(path, { ...optionsOf(shape), mode: 'read-only' });
    await isAsItWas(store, manifest);
    await store.close();
    store = await openStore(path, optionsOf(shape));
    const { damaged, recounted, badRows, adopted, blobs } = await store.scrub();
    assert.deepEqual([damaged, recounted, badRows, adopted, blobs], [[], 0, 0, 0, manifest.blobs.length]);
    await isAsItWas(store, manifest);
    assert.equal((await store.put(contents['a file']!)).deduplicated, true);
    for (const { owner, id } of manifest.owners) assert.equal(await store.release(id, owner), true, owner);
    for (const { name } of manifest.roots) assert.equal(await store.roots.delete(name), true);
    const { blocked } = await store.gc({ graceMs: 0 });
    assert.deepEqual([blocked, (await store.stats()).blobs], [undefined, 0]);
    await store.close();
    folder.leavesNoStore();
  });

storeTest(
  'the encrypted golden store opens by its other secret, and without one tells nothing',
  async (folder) => {
    const path = copyOf('encrypted', join(folder.side, 'encrypted'));
    const manifest = readManifest('encrypted');
    const other = await openStore(path, { threads: { count: 0 }, encryption: { secret: secrets[1]! } });
    await isAsItWas(other, manifest);
    await other.close();
    const locked = await openStore(path, { threads: { count: 0 } });
    const told = new Set((await collect(locked.list())).map(({ id }) => id));
    assert.equal(told.size, manifest.blobs.length);
    assert.ok(manifest.blobs.every(({ id }) => !told.has(id)));
    assert.deepEqual((await locked.scrub()).damaged, []);
    await locked.close();
    folder.leavesNoStore();
  },
);

storeTest(
  'a reader that shares no line with ours finds every blob of it by its id, and every root',
  async (folder) => {
    const path = copyOf('encrypted', join(folder.side, 'encrypted'));
    const manifest = readManifest('encrypted');
    const second = new SecondStore(path, new Uint8Array(32).fill(0x2a));
    for (const { id, size } of manifest.blobs) {
      const bytes = second.read(id);
      assert.deepEqual([sha256(bytes), bytes.length], [id, size]);
    }
    assert.deepEqual(second.epochs, new Set([1, 2]), 'objects of both epochs are there');
    assert.throws(() => second.read(sha256('nothing of the kind')), /is nowhere/);
    const locators = new Map(manifest.blobs.map(({ id }) => [second.locatorOf(id), id]));
    const roots = [...second.roots()].map(([name, locator]) => ({ name, id: locators.get(locator) }));
    assert.deepEqual(
      roots.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      manifest.roots,
    );
    folder.leavesNoStore();
  },
);
