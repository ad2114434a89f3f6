/** A disk full of small blobs: a store there can be closed, opened, read and collected, though not a page is free. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, statfsSync, openSync, closeSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type BlobId, type PutResult, type Store, openStore } from '../../engine/index.ts';
import { sample } from '../crash/sample.ts';
import { type StoreFolder, noise, sha256, storeTest, withCode } from './store-folder.ts';

const skip = process.getuid?.() === 0 ? false : 'NOT TESTED: only root can mount a file system';

/** Runs a test on a small disk of its own. */
async function onDisk(
  folder: StoreFolder,
  t: TestContext,
  body: (disk: string) => Promise<void>,
): Promise<void> {
  folder.leavesNoStore();
  const disk = join(folder.side, 'disk');
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=10m', 'holdfast-test', disk], { stdio: 'pipe' });
  } catch (error) {
    t.skip(`NOT TESTED: mount is not allowed here: ${String(error)}`);
    return;
  }
  try {
    await body(disk);
  } finally {
    execFileSync('umount', ['-l', disk]);
  }
}

/** Takes the last page. */
function fillUp(disk: string): void {
  const fd = openSync(join(disk, `filler-${Date.now()}`), 'w');
  try {
    for (const size of [65_536, 4096]) for (;;) writeSync(fd, new Uint8Array(size).fill(1));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  } finally {
    closeSync(fd);
  }
  try {
    const last = openSync(join(disk, `filler-last`), 'w');
    try {
      for (;;) writeSync(last, new Uint8Array(4096));
    } finally {
      closeSync(last);
    }
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  }
  assert.equal(statfsSync(disk).bavail, 0);
}

/** Bytes; in full there are half as many again. */
const smallSize = sample(1000, 1500);

/** Small blobs until nothing goes in any more; those of even number have an owner. */
async function fillWithSmall(
  store: Store,
  ownerOf = (i: number) => (i % 2 === 0 ? 'x' : undefined),
): Promise<Map<BlobId, boolean>> {
  const acknowledged = new Map<BlobId, boolean>();
  const put = (i: number): Promise<PutResult> => {
    const owner = ownerOf(i);
    return store.put(noise(smallSize, i), owner === undefined ? {} : { owner });
  };
  for (let i = 0; ; i += 200) {
    const puts = Array.from({ length: 200 }, (_, k) => put(i + k));
    const results = await Promise.allSettled(puts);
    results.forEach((result, k) => {
      if (result.status === 'fulfilled') acknowledged.set(result.value.id, (i + k) % 2 === 0);
      else withCode('no-space')(result.reason);
    });
    if (results.some(({ status }) => status === 'rejected')) return acknowledged;
  }
}

async function readsAll(store: Store, ids: Iterable<BlobId>): Promise<void> {
  await Promise.all([...ids].map(async (id) => assert.equal(sha256((await store.get(id))!), id)));
}

storeTest(
  'thousands of small blobs fill a disk to its last page: all are read, also after a reopening, and room from elsewhere is enough to go on',
  async (folder, t) => {
    await onDisk(folder, t, async (disk) => {
      const path = join(disk, 'store');
      writeFileSync(join(disk, 'elsewhere'), new Uint8Array(4 * 1024 * 1024).fill(1));
      let store = await openStore(path, { threads: { count: 0 } });
      const acknowledged = await fillWithSmall(store);
      fillUp(disk);
      assert.ok(acknowledged.size > 2000, String(acknowledged.size));
      await readsAll(store, acknowledged.keys());
      await assert.rejects(store.put(noise(300_000)), withCode('no-space'));
      await store.close();
      store = await openStore(path, { threads: { count: 2 } });
      await readsAll(store, acknowledged.keys());
      rmSync(join(disk, 'elsewhere'));
      const unowned = [...acknowledged].filter(([, owned]) => !owned).length;
      const { deleted, blocked } = await store.gc({ graceMs: 0 });
      assert.deepEqual([blocked, deleted >= unowned], [undefined, true], `${deleted} of ${unowned}`);
      await readsAll(
        store,
        [...acknowledged].filter(([, owned]) => owned).map(([id]) => id),
      );
      await store.put(noise(1000, 1_000_000), { owner: 'x' });
      const { damaged, recounted, badRows } = await store.scrub();
      assert.deepEqual([damaged, recounted, badRows], [[], 0, 0]);
      await store.close();
    });
  },
  { skip },
);

storeTest(
  'a disk full of small blobs that nobody refers to is collected, and there is room again',
  async (folder, t) => {
    await onDisk(folder, t, async (disk) => {
      const store = await openStore(join(disk, 'store'), { threads: { count: 0 } });
      await fillWithSmall(store, () => undefined);
      fillUp(disk);
      assert.equal((await store.gc({ graceMs: 0 })).held, 0);
      await store.put(noise(1_000_000, 3), { owner: 'x' });
      assert.deepEqual((await store.scrub()).damaged, []);
      await store.close();
    });
  },
  { skip },
);

storeTest(
  'a store on a disk without a free page is closed, opened, read and collected',
  async (folder, t) => {
    await onDisk(folder, t, async (disk) => {
      const path = join(disk, 'store');
      let store = await openStore(path, { threads: { count: 0 } });
      const large = await store.put(noise(2_000_000), { owner: 'held' });
      const loose = await store.put(noise(3_000_000, 2));
      fillUp(disk);
      await store.close();
      fillUp(disk);
      store = await openStore(path, { threads: { count: 0 } });
      await readsAll(store, [large.id, loose.id]);
      assert.deepEqual((await store.gc({ graceMs: 0 })).deleted, 1);
      const { id } = await store.put(noise(1_000_000, 3), { owner: 'x' });
      assert.equal(sha256((await store.get(id))!), id);
      assert.deepEqual((await store.scrub()).damaged, []);
      await store.close();
    });
  },
  { skip },
);

storeTest(
  'a stream that finds no room is ended, however little of it was read',
  async (folder, t) => {
    await onDisk(folder, t, async (disk) => {
      const store = await openStore(join(disk, 'store'));
      let open = 0;
      async function* stream(seed: number): AsyncGenerator<Uint8Array, void, void> {
        open++;
        try {
          for (let i = 0; i < 8; i++) yield noise(60_000, seed * 8 + i);
        } finally {
          open--;
        }
      }
      fillUp(disk);
      for (const chunking of ['off', 'fastcdc'] as const) {
        const puts = Array.from({ length: 4 }, (_, i) => store.put(stream(i), { chunking }));
        for (const put of puts) await assert.rejects(put, withCode('no-space'));
        assert.equal(open, 0, `sources that wait, with chunking ${chunking}`);
      }
      await store.close();
    });
  },
  { skip },
);
