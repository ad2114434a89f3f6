/** Mirrored groups lose what is in one member, whole or in part: everything reads as it was, and is whole again after a scrub. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BlobId, type Store, nodeHost } from '../../engine/index.ts';
import { faultyHost } from '../world/faulty-host.ts';
import {
  harms,
  allHave,
  extendBy,
  filesOf,
  isWhole,
  membersOf,
  mirrored,
  putMixed,
  readsAll,
  volumeAt,
  volumesOf,
} from './mirror-store.ts';
import { noise, sha256, smallParameters, storeTest, withCode } from './store-folder.ts';

storeTest(
  'a member whose folders are gone: with a third one a scrub makes it whole there, and the lost one is removed',
  async (folder) => {
    const { ids, members } = await mirrored(folder, 2);
    for (const path of [members[1]!.files, members[1]!.volumes]) rmSync(path, { recursive: true });
    const store = await folder.open({ mode: 'open' });
    await readsAll(store, ids);
    const more = await putMixed(store, 3);
    const { damaged, missingCopies } = await store.scrub();
    assert.deepEqual([damaged, missingCopies], [[], 0]);
    for (const path of [members[1]!.files, members[1]!.volumes]) {
      // Two are left, as many as copies.
      await store.volumes.reduce((await volumeAt(store, path)).id);
    }
    allHave(folder, 2);
    await isWhole(store, [...ids, ...more], 2);
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
    assert.equal(
      (await store.volumes.list()).some(({ problem }) => problem !== undefined),
      false,
    );
  },
);

storeTest(
  'a member is lost where all are needed: what lacks is known, a new member takes it, the lost one is removed',
  async (folder) => {
    const { ids, members } = await mirrored(folder, 3);
    for (const path of [members[2]!.files, members[2]!.volumes]) rmSync(path, { recursive: true });
    const store = await folder.open({ mode: 'open' });
    await readsAll(store, ids);
    const { damaged, missingCopies } = await store.scrub();
    assert.deepEqual(damaged, []);
    assert.ok(missingCopies > ids.length * 0.9, String(missingCopies));
    await assert.rejects(
      store.volumes.reduce((await volumeAt(store, members[2]!.files)).id),
      withCode('invalid-argument'),
    );
    await store.volumes.extend(join(folder.side, 'new-files'));
    await store.volumes.extend(join(folder.side, 'new-volumes'), { kind: 'sqlite' });
    await store.volumes.mirror(3);
    for (const path of [members[2]!.files, members[2]!.volumes])
      await store.volumes.reduce((await volumeAt(store, path)).id);
    allHave(folder, 3);
    await isWhole(store, ids, 3);
  },
);

storeTest(
  "the store's own files and volumes are lost: everything is read from the others, and the place is taken again",
  async (folder) => {
    const { ids, members } = await mirrored(folder, 2);
    rmSync(members[0]!.files, { recursive: true });
    mkdirSync(members[0]!.files);
    for (const path of volumesOf(members[0]!)) rmSync(path);
    const store = await folder.open({ mode: 'open' });
    await readsAll(store, ids);
    assert.deepEqual((await store.scrub()).damaged, []);
    await store.volumes.move('blobs');
    assert.equal((await volumeAt(store, members[0]!.files)).problem, undefined);
    const more = await putMixed(store, 3);
    assert.ok(filesOf(members[0]!).length > 0, 'it takes files again');
    allHave(folder, 2);
    await isWhole(store, [...ids, ...more], 2);
  },
);

storeTest(
  'a member away during puts: they take the others; back, a scrub or mirror completes them',
  async (folder) => {
    const { ids, members } = await mirrored(folder, 3);
    const away = [members[1]!.files, members[1]!.volumes];
    for (const path of away) renameSync(path, `${path}-away`);
    let store = await folder.open({ mode: 'open' });
    const more = await putMixed(store, 3);
    await readsAll(store, [...ids, ...more]);
    assert.equal((await store.stat(more[0]!))!.copies, 2);
    assert.ok((await store.stats()).missingCopies >= more.length - 1);
    await folder.closeAll();
    for (const path of away) renameSync(`${path}-away`, path);
    store = await folder.open({ mode: 'open' });
    const { damaged, missingCopies } = await store.scrub();
    assert.deepEqual([damaged, missingCopies], [[], 0]);
    allHave(folder, 3);
    await isWhole(store, [...ids, ...more], 3);
  },
);

storeTest('with minCopies 2, puts that could make one copy fail, and say so', async (folder) => {
  const store = await folder.open();
  const members = membersOf(folder, 2);
  await extendBy(store, members);
  await store.volumes.mirror(2, { minCopies: 2 });
  const ids = await putMixed(store);
  const away = [members[1]!.files, members[1]!.volumes];
  for (const path of away) renameSync(path, `${path}-away`);
  await assert.rejects(store.put(noise(500, 9)), withCode('unavailable'));
  await assert.rejects(store.put(noise(smallParameters.smallMax + 5, 9)), withCode('unavailable'));
  await store.volumes.mirror(2, { minCopies: 1 });
  const { id } = await store.put(noise(500, 9), { owner: 'x' });
  for (const path of away) renameSync(`${path}-away`, path);
  await store.volumes.mirror(2);
  allHave(folder, 2);
  await store.gc({ graceMs: 0 });
  await isWhole(store, [...ids, id], 2);
});

/** Waits until an event came. */
async function events(
  store: Store,
  count: number,
): Promise<{ damage: BlobId[]; healed: BlobId[]; done: Promise<void> }> {
  const damage: BlobId[] = [];
  const healed: BlobId[] = [];
  store.on('damage', ({ id }) => void damage.push(id));
  const done = new Promise<void>((resolve) => {
    store.on('healed', ({ id }) => {
      healed.push(id);
      if (healed.length === count) resolve();
    });
  });
  return { damage, healed, done };
}

storeTest(
  'a read of a damaged copy gives the right bytes, tells of the damage, and the copy is made anew behind it',
  async (folder) => {
    const { ids, members } = await mirrored(folder, 2);
    harms['bits turned']!(members[0]!);
    const store = await folder.open({ mode: 'open', threads: { count: 2 } });
    const large = ids.find((id) => filesOf(members[0]!).some((path) => path.includes(id)))!;
    const before = filesOf(members[0]!).find((path) => path.includes(large))!;
    const told = await events(store, 1);
    const stream = await store.stream(large);
    assert.equal(sha256(new Uint8Array(await new Response(stream).arrayBuffer())), large);
    await told.done;
    assert.deepEqual([told.damage[0], told.healed], [large, [large]]);
    assert.equal((await store.stat(large))!.copies, 2);
    assert.ok(!existsSync(before), 'the damaged file is out of the way');
    assert.equal(folder.files('quarantine').length, 1);
    const target = join(folder.side, 'export');
    assert.equal(await store.exportTo({ id: large, path: target }), true);
    assert.equal(sha256(readFileSync(target)), large);
    await readsAll(store, ids);
    await folder.closeAll();
    const again = await folder.open({ mode: 'open' });
    assert.deepEqual((await again.scrub()).damaged, []);
    allHave(folder, 2);
    await isWhole(again, ids, 2);
  },
);

storeTest(
  'both copies of a large blob are damaged, in different places: it is read whole, and made whole',
  async (folder) => {
    const store = await folder.open();
    const members = membersOf(folder, 2);
    await extendBy(store, members);
    await store.volumes.mirror(2);
    const bytes = noise(400_000, 3);
    const { id } = await store.put(bytes, { owner: 'x' });
    members.flatMap(filesOf).forEach((path, i) => {
      const held = readFileSync(path);
      held[50_000 + 200_000 * i]! ^= 1;
      chmodSync(path, 0o644);
      writeFileSync(path, held);
    });
    assert.equal(sha256((await store.get(id))!), id);
    const { damaged, missingCopies } = await store.scrub();
    assert.deepEqual([damaged, missingCopies], [[], 0]);
    allHave(folder, 2);
    await isWhole(store, [id], 2);
  },
);

storeTest(
  'a row of a further copy is damaged or lost: the copy is found again where it lies',
  async (folder) => {
    const { ids, members } = await mirrored(folder, 3);
    folder.edit((db) => {
      db.prepare('UPDATE copies SET start = start + 1 WHERE blob % 3 = 0').run();
      db.prepare('DELETE FROM copies WHERE blob % 3 = 1').run();
    });
    const files = members.flatMap(filesOf).length;
    const store = await folder.open({ mode: 'open' });
    await readsAll(store, ids);
    const { damaged, badRows, adopted, missingCopies } = await store.scrub();
    assert.deepEqual([damaged, missingCopies], [[], 0]);
    assert.ok(badRows > 0 && adopted > 0, `${badRows} ${adopted}`);
    allHave(folder, 3);
    await isWhole(store, ids, 3);
    assert.equal(members.flatMap(filesOf).length, files, 'nothing was copied that was there');
  },
);

storeTest(
  'a disk that answers reads with EIO: they take the other copies, and a scrub makes new ones elsewhere',
  async (folder) => {
    const { ids, members } = await mirrored(folder, 2);
    const host = faultyHost(nodeHost());
    const store = await folder.open({ mode: 'open', host });
    const path = new RegExp(`^${members[0]!.files}/[0-9a-f]{2}/`);
    host.arm({ operations: ['file.read'], path, code: 'EIO', lasts: 'sticky' });
    await readsAll(store, ids);
    assert.ok(host.struck > 0);
    const { damaged, healed, missingCopies } = await store.scrub();
    assert.deepEqual([damaged, missingCopies], [[], 0]);
    assert.ok(healed > 0);
    allHave(folder, 2);
    host.disarm();
    await isWhole(store, ids, 2);
  },
);

storeTest(
  'with fewer copies than before, what stays is what is good, though nobody knew of the damage',
  async (folder) => {
    const { ids, members } = await mirrored(folder, 2);
    harms['bits turned']!(members[0]!);
    const store = await folder.open({ mode: 'open' });
    await store.volumes.mirror(1);
    allHave(folder, 1);
    await isWhole(store, ids, 1);
  },
);
