/** Volumes whose disk is found at another path: known by their label, with all that lies on them; anything else is refused, and changes nothing. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BlobId, Store } from '../../engine/index.ts';
import {
  type StoreFolder,
  noise,
  putAll,
  sha256,
  smallParameters,
  storeTest,
  withCode,
} from './store-folder.ts';

const large = (seed: number): Uint8Array => noise(smallParameters.smallMax + seed, seed);
const small = (seed: number): Uint8Array => noise(1000, seed);

interface Group {
  readonly disk: { readonly id: string; readonly path: string };
  readonly packs: { readonly id: string; readonly path: string };
  /** What lies on them. */
  readonly ids: readonly BlobId[];
}

/** All blobs on a directory and in a folder of SQLite volumes beside the store. */
async function groupOf(store: Store, folder: StoreFolder): Promise<Group> {
  const ids = await putAll(store, [large(1), large(2), small(1), small(2)], 'x');
  const disk = await store.volumes.extend(join(folder.side, 'disk'));
  const packs = await store.volumes.extend(join(folder.side, 'packs'), {
    kind: 'sqlite',
    allocation: 'striped',
  });
  await store.volumes.move('blobs', disk.id);
  for (const { id } of (await store.volumes.list()).filter(({ kind }) => kind === 'sqlite'))
    await store.volumes.move(id, packs.id);
  return { disk, packs, ids };
}

async function readsAll(store: Store, ids: readonly BlobId[]): Promise<void> {
  for (const id of ids) assert.equal(sha256((await store.get(id))!), id);
}

storeTest('volumes that lie elsewhere are found there, read, written and collected', async (folder) => {
  let store = await folder.open();
  const { disk, packs, ids } = await groupOf(store, folder);
  // Also while the store is open, when its handles are of the old place.
  await readsAll(store, ids);
  for (const { id, path } of [disk, packs]) {
    renameSync(path, `${path}-2`);
    const located = await store.volumes.locate(id, `${path}-2`);
    assert.deepEqual([located.id, located.path, located.problem], [id, `${path}-2`, undefined]);
  }
  await readsAll(store, ids);
  await store.close();
  for (const { path } of [disk, packs]) renameSync(`${path}-2`, `${path}-3`);
  store = await folder.open({ mode: 'open' });
  for (const id of ids) await assert.rejects(store.get(id), withCode('unavailable'));
  assert.notEqual((await store.gc({ graceMs: 0 })).blocked, undefined);
  for (const { id, path } of [disk, packs]) await store.volumes.locate(id, `${path}-3`);
  await readsAll(store, ids);
  const more = await putAll(store, [large(3), small(3)], 'x');
  await store.release(ids[0]!, 'x');
  const gc = await store.gc({ graceMs: 0 });
  assert.deepEqual([gc.blocked, gc.deleted], [undefined, 1]);
  await store.close();
  store = await folder.open({ mode: 'open' });
  await readsAll(store, [...ids.slice(1), ...more]);
  const volumes = await store.volumes.list();
  assert.deepEqual(
    volumes.filter(({ problem }) => problem !== undefined),
    [],
  );
  for (const { path } of [disk, packs]) assert.equal(existsSync(path), false);
  assert.deepEqual((await store.scrub()).damaged, []);
  // Saying it once more changes nothing.
  const { path } = await store.volumes.locate(disk.id, `${disk.path}-3`);
  assert.equal(path, `${disk.path}-3`);
});

storeTest('what is not the volume is refused, and nothing is changed', async (folder) => {
  let store = await folder.open();
  const { disk, packs, ids } = await groupOf(store, folder);
  const { volumes } = store;
  const before = await volumes.list();
  const old = join(folder.side, 'old');
  cpSync(disk.path, old, { recursive: true });
  // A process that puts there raises the label: what was copied before is old.
  await store.close();
  store = await folder.open({ mode: 'open' });
  await putAll(store, [large(4), large(5), large(6)], 'x');
  const at = store.volumes;
  const copy = join(folder.side, 'copy');
  cpSync(disk.path, copy, { recursive: true });
  await assert.rejects(at.locate(disk.id, copy), withCode('conflict'), 'it is at its old path too');
  renameSync(disk.path, `${disk.path}-away`);
  mkdirSync(join(folder.side, 'empty'));
  await assert.rejects(at.locate(disk.id, join(folder.side, 'missing')), withCode('unavailable'));
  await assert.rejects(at.locate(disk.id, join(folder.side, 'empty')), withCode('unavailable'));
  await assert.rejects(at.locate(disk.id, old), withCode('unavailable'), 'it is older than the store knows');
  await assert.rejects(at.locate(disk.id, packs.path), withCode('conflict'), 'another volume lies there');
  await assert.rejects(at.locate(disk.id, join(packs.path, 'in')), withCode('unavailable'));
  await assert.rejects(at.locate(disk.id, folder.at('blobs')), withCode('invalid-argument'));
  await assert.rejects(at.locate('blobs', copy), withCode('invalid-argument'), 'it is the store’s own');
  const packed = before.find(({ kind }) => kind === 'sqlite')!;
  await assert.rejects(at.locate(packed.id, copy), withCode('invalid-argument'), 'it lies in a folder');
  await assert.rejects(at.locate('nobody', copy), withCode('not-found'));
  await assert.rejects(at.locate(disk.id, ''), withCode('invalid-argument'));
  // Another process has the store open.
  const other = await folder.open({ mode: 'open' });
  await assert.rejects(at.locate(disk.id, copy), withCode('busy'));
  await other.close();
  assert.deepEqual(
    (await at.list()).map(({ id, path }) => [id, path]),
    before.map(({ id, path }) => [id, path]),
  );
  await at.locate(disk.id, copy);
  await readsAll(store, ids);
  rmSync(old, { recursive: true });
});

storeTest(
  'a crash before the catalog is committed leaves the old path there, and saying it again does',
  async (folder) => {
    let store = await folder.open();
    const { disk, packs, ids } = await groupOf(store, folder);
    await store.close();
    for (const { path } of [disk, packs]) renameSync(path, `${path}-2`);
    const before = readFileSync(folder.at('index.db'));
    for (let tries = 0; tries < 2; tries++) {
      store = await folder.open({ mode: 'open' });
      await assert.rejects(store.get(ids[0]!), withCode('unavailable'));
      for (const { id, path } of [disk, packs]) await store.volumes.locate(id, `${path}-2`);
      await readsAll(store, ids);
      await store.close();
      // The labels tell of the new paths already; the catalog is as it was.
      if (tries === 0) writeFileSync(folder.at('index.db'), before);
    }
  },
);

storeTest(
  'a thread that was not told yet finds the files where they are, and calls none of them missing',
  async (folder) => {
    const store = await folder.open();
    const { disk, ids } = await groupOf(store, folder);
    await readsAll(store, ids);
    renameSync(disk.path, `${disk.path}-2`);
    // As the catalog is between the commit of locate and the message that tells the workers.
    const script = `const D = require('better-sqlite3'); new D(process.argv[1]).prepare('UPDATE volumes SET path = ? WHERE id = ?').run(process.argv[2], process.argv[3])`;
    execFileSync(process.execPath, ['-e', script, folder.at('index.db'), `${disk.path}-2`, disk.id]);
    await readsAll(store, ids);
    const { damaged } = await store.scrub();
    assert.deepEqual(damaged, []);
  },
);
