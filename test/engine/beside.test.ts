/** Stores that are opened, collected, filled and closed beside each other: none trips over what another removes. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { type Host, type Store, nodeHost } from '../../engine/index.ts';
import { sample } from '../crash/sample.ts';
import { noise, smallParameters, storeTest } from './store-folder.ts';

const { smallMax } = smallParameters;

const turns = sample(8, 2);

storeTest('three that collect at once, again and again, each keep what they hold', async (folder) => {
  const stores = await Promise.all([1, 2, 3].map(() => folder.open({ threads: { count: 1 } })));
  const round = async (store: Store, owner: number, turn: number): Promise<void> => {
    const seed = 1000 * owner + turn;
    const held = await store.put(noise(100, seed), { owner: String(owner) });
    await Promise.all([store.put(noise(200, seed)), store.put(noise(smallMax + 1, seed))]);
    const { blocked } = await store.gc({ graceMs: 0 });
    assert.equal(blocked, undefined);
    assert.equal((await store.get(held.id))?.length, 100);
  };
  await Promise.all(
    stores.map(async (store, i) => {
      for (let turn = 0; turn < turns; turn++) await round(store, i, turn);
    }),
  );
  await stores[0]!.gc({ graceMs: 0 });
  assert.equal((await stores[0]!.stats()).blobs, 3 * turns);
});

storeTest('some open, collect and close while others do', async (folder) => {
  await (await folder.open()).close();
  const lane = async (lane: number): Promise<void> => {
    for (let turn = 0; turn < 2; turn++) {
      const store = await folder.open({ threads: { count: 1 } });
      await store.put(noise(smallMax + 1, 100 * lane + turn), { owner: 'x' });
      await store.gc({ graceMs: 0 });
      await store.close();
    }
  };
  await Promise.all([1, 2, 3].map(lane));
  const store = await folder.open();
  assert.equal((await store.stats()).blobs, 6);
});

storeTest(
  'a file that another process removes, or puts back, a moment earlier is no trouble',
  async (folder) => {
    const below = nodeHost({ inline: true });
    const beaten: string[] = [];
    const files: Host['files'] = {
      ...below.files,
      removeFile(path) {
        if (/ballast$|[.]library$|volumes/.test(path)) {
          beaten.push(path);
          rmSync(path, { force: true });
        }
        below.files.removeFile(path);
      },
      open(path, mode, permissions) {
        if (path.endsWith('ballast') && mode === 'create') {
          beaten.push(path);
          writeFileSync(path, 'by another');
        }
        return below.files.open(path, mode, permissions);
      },
    };
    await (await folder.open()).close();
    const host: Host = { ...below, files, threads: inlineThreads(() => host) };
    const store = await folder.open({ host });
    await store.put(noise(100));
    assert.equal((await store.gc({ graceMs: 0 })).deleted, 1);
    await store.put(noise(100), { owner: 'x' });
    await store.close();
    assert.ok(beaten.length >= 4, String(beaten));
  },
);
