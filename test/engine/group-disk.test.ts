/** Volumes on real small disks: linear fills one after the other, and a volume whose content fits nowhere else stays in use, whole. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type BlobId, type Store, openStore } from '../../engine/index.ts';
import { type StoreFolder, noise, putAll, sha256, storeTest, withCode } from './store-folder.ts';

const skip = process.getuid?.() === 0 ? false : 'NOT TESTED: only root can mount a file system';

/** Runs a test with small disks of their own, sizes in MiB. */
async function onDisks(
  folder: StoreFolder,
  t: TestContext,
  {
    sizes,
    body,
  }: { readonly sizes: readonly number[]; readonly body: (disks: readonly string[]) => Promise<void> },
): Promise<void> {
  folder.leavesNoStore();
  const disks = sizes.map((_, i) => join(folder.side, `disk-${i}`));
  const mounted: string[] = [];
  try {
    for (const [i, disk] of disks.entries()) {
      mkdirSync(disk);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizes[i]!}m`, 'holdfast-test', disk], {
        stdio: 'pipe',
      });
      mounted.push(disk);
    }
  } catch (error) {
    t.skip(`NOT TESTED: mount is not allowed here: ${String(error)}`);
  }
  try {
    if (mounted.length === disks.length) await body(disks);
  } finally {
    for (const disk of mounted) execFileSync('umount', ['-l', disk]);
  }
}

function fillUp(disk: string): void {
  const fd = openSync(join(disk, 'filler'), 'w');
  try {
    for (const size of [65_536, 4096]) {
      try {
        for (;;) writeSync(fd, new Uint8Array(size).fill(1));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
      }
    }
  } finally {
    closeSync(fd);
  }
}

async function readsAll(store: Store, ids: readonly BlobId[]): Promise<void> {
  for (const id of ids) assert.equal(sha256((await store.get(id))!), id);
}

const large = (i: number): Uint8Array => noise(1_000_000 + i, i);

storeTest(
  'a disk that fills up in the middle of a reduce: no-space, nothing lost, the volume in use; with room it is removed',
  async (folder, t) => {
    const body = async ([home, disk]: readonly string[]): Promise<void> => {
      let store = await openStore(join(home!, 'store'), { threads: { count: 1 } });
      const { id } = await store.volumes.extend(join(disk!, 'volume'));
      const ids: BlobId[] = [];
      for (const round of [0, 1, 2]) {
        ids.push(
          ...(await putAll(
            store,
            Array.from({ length: 8 }, (_, i) => large(10 * round + i)),
            'x',
          )),
        );
        await store.volumes.move('blobs', id);
      }
      const state = async (): Promise<string> =>
        (await store.volumes.list()).find((volume) => volume.id === id)!.state;
      // 24 MB do not fit on a disk of 20.
      await assert.rejects(store.volumes.reduce(id), withCode('no-space'));
      assert.equal(await state(), 'open');
      for (const blob of ids.slice(12)) await store.release(blob, 'x');
      await store.gc({ graceMs: 0 });
      // 12 MB do, until somebody else takes the rest.
      const onProgress = ({ blobs }: { readonly blobs: number }): void => void (blobs === 3 && fillUp(home!));
      await assert.rejects(store.volumes.reduce(id, { onProgress }), withCode('no-space'));
      assert.equal(await state(), 'open');
      await readsAll(store, ids.slice(0, 12));
      await store.close();
      store = await openStore(join(home!, 'store'), { threads: { count: 1 } });
      await readsAll(store, ids.slice(0, 12));
      assert.deepEqual((await store.scrub()).damaged, []);
      // New blobs go where there is room.
      const [fresh] = await putAll(store, [large(99)], 'x');
      assert.equal((await store.stat(fresh!))!.volume, id);
      rmSync(join(home!, 'filler'));
      await store.volumes.reduce(id);
      await readsAll(store, [...ids.slice(0, 12), fresh!]);
      const { damaged, adopted } = await store.scrub();
      assert.deepEqual([damaged, adopted, (await store.volumes.list()).length], [[], 0, 1]);
      await store.close();
    };
    await onDisks(folder, t, { sizes: [20, 40], body });
  },
  { skip },
);

storeTest(
  'linear goes on to the next disk where the first is full, with large blobs and with small ones',
  async (folder, t) => {
    const body = async ([home, files, records]: readonly string[]): Promise<void> => {
      const store = await openStore(join(home!, 'store'), { threads: { count: 1 } });
      const { id } = await store.volumes.extend(files!);
      const packs = await store.volumes.extend(records!, { kind: 'sqlite' });
      const ids: BlobId[] = [];
      for (let i = 0; i < 28; i++) ids.push(...(await putAll(store, [large(i)], 'x')));
      const on = new Set(await Promise.all(ids.map(async (blob) => (await store.stat(blob))!.volume)));
      assert.deepEqual(on, new Set(['blobs', id]));
      for (let i = 0; i < 40; i++)
        ids.push(
          ...(await putAll(
            store,
            Array.from({ length: 10 }, (_, k) => noise(50_000, 1000 + 10 * i + k)),
            'x',
          )),
        );
      assert.ok((await store.volumes.list()).find((volume) => volume.id === packs.id)!.blobs > 100);
      await readsAll(store, ids);
      assert.deepEqual((await store.scrub()).damaged, []);
      await store.close();
    };
    await onDisks(folder, t, { sizes: [16, 32, 32], body });
  },
  { skip },
);

storeTest(
  'a volume of records that fits nowhere else stays where it is',
  async (folder, t) => {
    const body = async ([home, records]: readonly string[]): Promise<void> => {
      const store = await openStore(join(home!, 'store'), { threads: { count: 1 } });
      const packs = await store.volumes.extend(records!, { kind: 'sqlite' });
      const ids: BlobId[] = [];
      for (let i = 0; i < 60; i++)
        ids.push(
          ...(await putAll(
            store,
            Array.from({ length: 8 }, (_, k) => noise(50_000, 8 * i + k)),
            'x',
          )),
        );
      const held = (await store.volumes.list()).find((volume) => volume.id === packs.id)!;
      assert.ok(held.bytes > 8_000_000, String(held.bytes));
      fillUp(home!);
      await assert.rejects(store.volumes.reduce(packs.id), withCode('no-space'));
      assert.equal((await store.volumes.list()).find((volume) => volume.id === packs.id)!.state, 'open');
      await readsAll(store, ids);
      assert.deepEqual((await store.scrub()).damaged, []);
      await store.close();
    };
    await onDisks(folder, t, { sizes: [16, 64], body });
  },
  { skip },
);
