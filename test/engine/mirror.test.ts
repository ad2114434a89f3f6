/** Mirrored groups: copies on different members, made by puts and by `mirror`, kept by moves, freed by collection. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { type Host, nodeHost } from '../../engine/index.ts';
import {
  allHave,
  copiesByMember,
  extendBy,
  filesOf,
  isWhole,
  membersOf,
  mixed,
  mixedWhole,
  putMixed,
  readsAll,
  volumeAt,
  volumesOf,
} from './mirror-store.ts';
import { noise, putAll, smallParameters, storeTest, withCode } from './store-folder.ts';

for (const copies of [2, 3])
  storeTest(`puts make ${copies} copies, each on a member of its own`, async (folder) => {
    const store = await folder.open();
    await extendBy(store, membersOf(folder));
    assert.deepEqual(await store.volumes.mirror(copies), { blobs: 0, bytes: 0, missing: 0 });
    const ids = await putMixed(store);
    for (const id of ids) assert.equal((await store.stat(id))!.copies, copies);
    allHave(folder, copies);
    await isWhole(store, ids, copies);
    const again = await putMixed(store);
    assert.deepEqual(again, ids);
    allHave(folder, copies);
    const stats = await store.stats();
    const files = stats.volumes.filter(({ kind }) => kind === 'directory');
    assert.ok(stats.storedBytes > copies * stats.bytes * 0.9);
    assert.equal(files.length, 3);
  });

storeTest(
  'mirror copies what is there while puts and reads go on, ends as it was begun, and frees all with 1',
  async (folder) => {
    const store = await folder.open({ threads: { count: 2 } });
    const members = membersOf(folder);
    const ids = await putMixed(store);
    await extendBy(store, members);
    const progress: number[] = [];
    const [done, more] = await Promise.all([
      store.volumes.mirror(2, { onProgress: ({ blobs }) => void progress.push(blobs) }),
      putMixed(store, 2),
    ]);
    assert.ok(
      done.blobs > mixed.small && progress.at(-1) === done.blobs && done.missing === 0,
      JSON.stringify(done),
    );
    await store.volumes.mirror(2);
    allHave(folder, 2);
    await isWhole(store, [...ids, ...more], 2);
    const aborted = new AbortController();
    const third = store.volumes.mirror(3, {
      signal: aborted.signal,
      onProgress: () => aborted.abort(new Error('enough')),
    });
    await assert.rejects(third, /enough/);
    assert.ok((await store.stats()).missingCopies > 0, 'blobs with too few copies are known');
    await store.volumes.mirror(3);
    allHave(folder, 3);
    await isWhole(store, [...ids, ...more], 3);
    await store.volumes.mirror(1);
    allHave(folder, 1);
    await isWhole(store, [...ids, ...more], 1);
    assert.equal(
      members.slice(1).flatMap(filesOf).length + filesOf(members[0]!).length,
      2 * (mixed.large + 1),
    );
  },
);

storeTest('what a group cannot do is refused, and changes nothing', async (folder) => {
  const store = await folder.open();
  const members = membersOf(folder);
  await assert.rejects(store.volumes.mirror(2), withCode('invalid-argument'));
  await store.volumes.extend(members[1]!.files);
  await assert.rejects(store.volumes.mirror(3), withCode('invalid-argument'));
  assert.deepEqual(
    readdirSync(members[1]!.files).filter((name) => name === 'volumes'),
    [],
  );
  await store.volumes.extend(members[1]!.volumes, { kind: 'sqlite' });
  for (const bad of [0, 5, 1.5, Number.NaN])
    await assert.rejects(store.volumes.mirror(bad), withCode('invalid-argument'));
  await assert.rejects(store.volumes.mirror(2, { minCopies: 3 }), withCode('invalid-argument'));
  await store.volumes.mirror(2);
  const ids = await putMixed(store);
  for (const path of [members[1]!.files, members[1]!.volumes]) {
    const { id } = await volumeAt(store, path);
    await assert.rejects(store.volumes.reduce(id), withCode('invalid-argument'));
    await assert.rejects(store.volumes.move(id), withCode('invalid-argument'));
    assert.equal((await volumeAt(store, path)).state, 'open');
  }
  await assert.rejects(store.volumes.move('blobs'), withCode('invalid-argument'));
  allHave(folder, 2);
  await isWhole(store, ids, 2);
});

for (const kind of ['directory', 'sqlite'] as const)
  storeTest(
    `disks added as ${kind} take copies of everything; one is lost, moved, removed`,
    async (folder) => {
      let store = await folder.open();
      const disks = [1, 2].map((n) => join(folder.side, `disk${n}`));
      for (const disk of disks) await store.volumes.extend(disk, { kind, cap: 100_000_000 });
      const ids = await putMixed(store);
      await store.volumes.mirror(2);
      allHave(folder, 2);
      const inner = kind === 'directory' ? 'volumes' : 'blobs';
      for (const disk of disks) assert.equal((await volumeAt(store, join(disk, inner))).cap, 100_000_000);
      await isWhole(store, ids, 2);
      await folder.closeAll();
      for (const disk of disks) rmSync(disk, { recursive: true });
      store = await folder.open({ mode: 'open' });
      await readsAll(store, ids);
      // A spare one, of which only one kind was asked for too.
      const gone = disks.splice(0, 2, join(folder.side, 'elsewhere'), join(folder.side, 'spare'));
      await store.volumes.extend(disks[1]!, { kind, cap: 100_000_000 });
      await store.volumes.mirror(2);
      for (const disk of gone) await store.volumes.reduce((await volumeAt(store, disk)).id);
      allHave(folder, 2);
      await isWhole(store, ids, 2);
      await folder.closeAll();
      // What lies in a disk goes with it.
      renameSync(disks[1]!, disks[0]!);
      store = await folder.open({ mode: 'open' });
      const { id } = await volumeAt(store, disks[1]!);
      await store.volumes.locate(id, disks[0]!);
      await isWhole(store, ids, 2);
      await assert.rejects(store.volumes.reduce(id), withCode('invalid-argument'));
      await store.volumes.mirror(1);
      await store.volumes.reduce(id);
      assert.deepEqual(readdirSync(disks[0]!), []);
      await isWhole(store, ids, 1);
    },
  );

storeTest(
  'what lies within a member takes no member of its own: that would be the same disk',
  async (folder) => {
    const store = await folder.open();
    const [first, second] = ['first', 'second'].map((name) => join(folder.side, name)) as [string, string];
    await store.volumes.extend(first, { kind: 'sqlite' });
    await store.volumes.mirror(2);
    await assert.rejects(store.volumes.mirror(3), withCode('invalid-argument'));
    await store.volumes.extend(second);
    await store.volumes.mirror(3);
    const added = (await store.volumes.list())
      .map(({ path }) => path)
      .filter((path) => path.startsWith(folder.side));
    const within = (path: string): boolean => !path.endsWith('.db');
    assert.deepEqual(added.filter(within), [first, join(first, 'blobs'), second, join(second, 'volumes')]);
    await isWhole(store, await putMixed(store), 3);
  },
);

for (const torn of [false, true])
  storeTest(
    `a disk can be removed and added again after a mirror that came not to its end${torn ? ', nor to that of a label' : ''}`,
    async (folder) => {
      const store = await folder.open();
      const [disk, other] = ['disk', 'other'].map((name) => join(folder.side, name)) as [string, string];
      for (const path of [disk, other]) await store.volumes.extend(path);
      mkdirSync(join(other, 'volumes', 'of others'), { recursive: true });
      await assert.rejects(store.volumes.mirror(2), withCode('invalid-argument'));
      assert.ok(existsSync(join(disk, 'volumes')));
      // A process that dies may leave one that is torn.
      if (torn) truncateSync(join(disk, 'volumes', 'label.1'));
      await store.volumes.reduce((await volumeAt(store, disk)).id);
      assert.deepEqual(readdirSync(disk), []);
      await store.volumes.extend(disk);
      await store.volumes.reduce((await volumeAt(store, other)).id);
      assert.deepEqual(readdirSync(join(other, 'volumes')), ['of others']);
    },
  );

storeTest('what lies in a disk may be told first where it is now, and the disk then', async (folder) => {
  let store = await folder.open();
  const [disk, elsewhere] = ['disk', 'elsewhere'].map((name) => join(folder.side, name)) as [string, string];
  await store.volumes.extend(disk, { cap: 1_000_000_000 });
  await store.volumes.mirror(2);
  const [outer, inner] = [await volumeAt(store, disk), await volumeAt(store, join(disk, 'volumes'))];
  const ids = await putMixed(store);
  await folder.closeAll();
  renameSync(disk, elsewhere);
  store = await folder.open({ mode: 'open' });
  await store.volumes.locate(inner.id, join(elsewhere, 'volumes'));
  await store.volumes.locate(outer.id, elsewhere);
  await isWhole(store, ids, 2);
  await store.volumes.mirror(1);
  await store.volumes.reduce(outer.id);
  assert.deepEqual(readdirSync(elsewhere), []);
});

storeTest('what cannot become a member is refused, and the store goes on', async (folder) => {
  const below = nodeHost({ inline: true });
  const [disk, file] = ['disk', 'file'].map((name) => join(folder.side, name)) as [string, string];
  let failing = '';
  const files: Host['files'] = {
    ...below.files,
    makeFolder(path) {
      if (path === failing) throw Object.assign(new Error('EIO'), { code: 'EIO' });
      below.files.makeFolder(path);
    },
  };
  const host: Host = { ...below, files, threads: inlineThreads(() => host) };
  const store = await folder.open({ host });
  await store.volumes.extend(disk);
  const { id } = await volumeAt(store, disk);
  for (const path of [file, join(disk, 'volumes')]) writeFileSync(path, 'a file');
  await assert.rejects(store.volumes.extend(file), withCode('invalid-argument'));
  await assert.rejects(store.volumes.extend(join(file, 'below')), withCode('not-found'));
  await assert.rejects(store.volumes.locate(id, file), withCode('invalid-argument'));
  await assert.rejects(store.volumes.mirror(2), withCode('invalid-argument'));
  rmSync((failing = join(disk, 'volumes')));
  await assert.rejects(store.volumes.mirror(2), withCode('unavailable'));
  failing = '';
  await store.volumes.mirror(2);
  await isWhole(store, await putMixed(store), 2);
});

storeTest('the cap of a disk holds for all that lies there', async (folder) => {
  const store = await folder.open();
  const disk = join(folder.side, 'disk');
  await store.volumes.extend(disk, { cap: 3_000_000 });
  await store.volumes.mirror(2);
  const some = await putAll(
    store,
    Array.from({ length: 8 }, (_, i) => noise(200_000, i)),
    'x',
  );
  const many = Array.from({ length: 400 }, (_, i) => noise(4000, 100 + i));
  await assert.rejects(putAll(store, many, 'x'), withCode('no-space'));
  const taken = (await store.volumes.list()).filter(
    ({ path, kind }) => path.startsWith(disk) && kind !== 'folder',
  );
  assert.ok(taken.reduce((sum, { bytes }) => sum + bytes, 0) <= 3_000_000, JSON.stringify(taken));
  await readsAll(store, some);
});

storeTest('a move to where copies lie already is refused, and the volume is in use again', async (folder) => {
  const store = await folder.open();
  const members = membersOf(folder);
  await extendBy(store, members);
  await store.volumes.mirror(2);
  const ids = await putMixed(store);
  const { id } = await volumeAt(store, members[1]!.files);
  await assert.rejects(store.volumes.move('blobs', id), withCode('unavailable'));
  assert.equal((await volumeAt(store, members[0]!.files)).state, 'open');
  await store.compact();
  allHave(folder, 2);
  await isWhole(store, ids, 2);
});

storeTest('reduce, move, rebalance and compact keep copies on different members', async (folder) => {
  const store = await folder.open({ parameters: { ...smallParameters, volumeBytesMax: 1024 * 1024 } });
  const members = membersOf(folder);
  await extendBy(store, members);
  await store.volumes.mirror(2);
  const ids = [...(await putMixed(store, 1, mixedWhole)), ...(await putMixed(store, 2, mixedWhole))];
  await store.volumes.move('blobs');
  assert.deepEqual(filesOf(members[0]!), []);
  allHave(folder, 2);
  await store.volumes.rebalance();
  allHave(folder, 2);
  await isWhole(store, ids, 2);
  for (const path of [members[2]!.files, members[2]!.volumes])
    await store.volumes.reduce((await volumeAt(store, path)).id);
  allHave(folder, 2);
  await isWhole(store, ids, 2);
  const passing = await putAll(
    store,
    Array.from({ length: 300 }, (_, i) => noise(5000, 7000 + i)),
  );
  const kept = ids.concat(passing.slice(0, 5));
  for (const id of passing.slice(0, 5)) await store.retain(id, 'x');
  await store.gc({ graceMs: 0 });
  const compacted = await store.compact();
  assert.ok(compacted.volumes > 0);
  allHave(folder, 2);
  await isWhole(store, kept, 2);
});

storeTest('collection leaves no copy', async (folder) => {
  const store = await folder.open();
  const members = membersOf(folder);
  await extendBy(store, members);
  await store.volumes.mirror(3);
  const ids = await putMixed(store);
  for (const id of ids) await store.release(id, 'x');
  const plan = await store.gc({ graceMs: 0, dryRun: true });
  const done = await store.gc({ graceMs: 0 });
  assert.deepEqual([done.deleted, done.blocked], [plan.deleted, undefined]);
  assert.equal(plan.freedBytes, done.freedBytes);
  assert.deepEqual(members.flatMap(filesOf), []);
  assert.deepEqual(members.flatMap(volumesOf), []);
  assert.equal(copiesByMember(folder).size, 0);
  assert.equal((await store.stats()).storedBytes, 0);
});

storeTest(
  'without mirrors nothing is written of copies, and a group that is not mirrored says nothing of them',
  async (folder) => {
    const store = await folder.open();
    await extendBy(store, membersOf(folder));
    const ids = await putMixed(store);
    await readsAll(store, ids);
    assert.equal((await store.scrub()).healed, 0);
    await folder.closeAll();
    folder.edit((db) => {
      assert.equal(db.prepare('SELECT count(*) FROM copies').pluck().get(), 0);
      const group = db.prepare(`SELECT value FROM meta WHERE key = 'group'`).pluck().get() as string;
      assert.doesNotMatch(group, /copies/i);
    });
  },
);

storeTest('a put heals all copies of a blob that is damaged everywhere', async (folder) => {
  const store = await folder.open();
  const members = membersOf(folder);
  await extendBy(store, members);
  await store.volumes.mirror(2);
  const bytes = noise(50_000, 5);
  const { id } = await store.put(bytes, { owner: 'x' });
  for (const path of members.flatMap(filesOf)) rmSync(path);
  await assert.rejects(store.get(id), withCode('corrupt'));
  const { damaged } = await store.scrub();
  assert.ok(damaged.length > 0);
  assert.equal((await store.put(bytes, { owner: 'x' })).deduplicated, false);
  allHave(folder, 2);
  await isWhole(store, [id], 2);
});
