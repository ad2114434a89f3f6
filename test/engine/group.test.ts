/** The group of volumes: extended, listed, emptied, removed, balanced; and what is away, swapped, older or there twice is named. */
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BlobId, Store, VolumeInfo } from '../../engine/index.ts';
import { planRebalance } from '../../engine/maintenance/rebalance.ts';
import { sample } from '../crash/sample.ts';
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

const large = (seed: number, extra = 0): Uint8Array => noise(smallParameters.smallMax + 1 + extra, seed);
const small = (seed: number): Uint8Array => noise(1000, seed);

async function readsAll(store: Store, ids: Iterable<BlobId>): Promise<void> {
  for (const id of ids) assert.equal(sha256((await store.get(id))!), id);
}

async function volumeOf(store: Store, id: string): Promise<VolumeInfo> {
  const found = (await store.volumes.list()).find((volume) => volume.id === id);
  assert.ok(found !== undefined, `volume ${id}`);
  return found;
}

/** Where blobs lie, by volume id. */
async function placesOf(store: Store, ids: readonly BlobId[]): Promise<Set<string>> {
  return new Set(await Promise.all(ids.map(async (id) => (await store.stat(id))!.volume)));
}

/** The newest label of a directory, decoded. */
function labelOf(path: string): {
  generation: number;
  volumeId: string;
  layout: { sequence: number; volumes: { id: string; path?: string }[] };
} {
  const names = readdirSync(path).filter((name) => name.startsWith('label.'));
  assert.equal(names.length, 1, names.join());
  return JSON.parse(readFileSync(join(path, names[0]!), 'utf8').split('\n')[1]!);
}

storeTest(
  'a new store has its directory, and an empty folder joins it, with a label that tells of both',
  async (folder) => {
    const store = await folder.open();
    const [only, ...more] = await store.volumes.list();
    assert.deepEqual(
      [only!.id, only!.kind, only!.state, only!.path, more],
      ['blobs', 'directory', 'open', folder.at('blobs'), []],
    );
    const path = join(folder.side, 'disk', 'deep');
    const added = await store.volumes.extend(path, { cap: 1_000_000 });
    assert.deepEqual(
      [added.kind, added.state, added.cap, added.path, added.blobs],
      ['directory', 'open', 1_000_000, path, 0],
    );
    const label = labelOf(path);
    assert.equal(label.volumeId, added.id);
    assert.deepEqual(
      label.layout.volumes.map(({ id }) => id),
      ['blobs', added.id],
    );
    const second = await store.volumes.extend(join(folder.side, 'other'), { kind: 'sqlite' });
    assert.equal(second.kind, 'folder');
    assert.ok(
      labelOf(path).layout.sequence > label.layout.sequence,
      'the first label learns of the second volume',
    );
    assert.equal(labelOf(path).layout.volumes.length, 3);
  },
);

storeTest('what cannot join the group is refused, and changes nothing', async (folder) => {
  const store = await folder.open();
  const path = join(folder.side, 'disk');
  const added = await store.volumes.extend(path);
  mkdirSync(join(folder.side, 'full'));
  writeFileSync(join(folder.side, 'full', 'letter'), 'mine');
  await assert.rejects(store.volumes.extend(join(folder.side, 'full')), withCode('invalid-argument'));
  await assert.rejects(store.volumes.extend(folder.at('blobs', 'in')), withCode('invalid-argument'));
  await assert.rejects(store.volumes.extend(path), withCode('conflict'));
  await assert.rejects(store.volumes.extend(join(path, 'in')), withCode('conflict'));
  cpSync(path, join(folder.side, 'copy'), { recursive: true });
  await assert.rejects(store.volumes.extend(join(folder.side, 'copy')), withCode('conflict'));
  await assert.rejects(store.volumes.extend(''), withCode('invalid-argument'));
  // What the system says of such a path is no reason to stop writing.
  writeFileSync(join(folder.side, 'file'), 'x');
  await assert.rejects(store.volumes.extend(join(folder.side, 'file')), withCode('invalid-argument'));
  await assert.rejects(store.volumes.extend(join(folder.side, 'file', 'in')), withCode('not-found'));
  await assert.rejects(
    store.volumes.locate(added.id, join(folder.side, 'file')),
    withCode('invalid-argument'),
  );
  await assert.rejects(store.volumes.extend('x', { cap: 0 }), withCode('invalid-argument'));
  await assert.rejects(store.volumes.reduce('blobs'), withCode('invalid-argument'));
  await assert.rejects(store.volumes.reduce('nobody'), withCode('not-found'));
  await assert.rejects(store.volumes.move(added.id, added.id), withCode('invalid-argument'));
  assert.equal((await store.volumes.list()).length, 2);
  await store.put(noise(9));
});

storeTest('move takes large blobs to another disk and back, readable all the while', async (folder) => {
  const store = await folder.open({ threads: { count: 2 } });
  const ids = await putAll(
    store,
    Array.from({ length: 12 }, (_, i) => large(i, i * 5000)),
    'x',
  );
  // One of them compressed, and so a framed file.
  const framed = await store.put(text('the same words again and again '.repeat(5000)), {
    owner: 'x',
    compression: 'always',
  });
  assert.ok(framed.storedSize < framed.size / 2);
  ids.push(framed.id);
  const { id } = await store.volumes.extend(join(folder.side, 'disk'));
  const stream = (await store.stream(ids[0]!))!;
  const progress: number[] = [];
  const moved = await store.volumes.move('blobs', id, {
    onProgress: ({ blobs }) => void progress.push(blobs),
  });
  assert.deepEqual([moved.blobs, progress.at(-1)], [13, 13]);
  assert.equal(moved.bytes, (await volumeOf(store, id)).bytes);
  assert.deepEqual(await placesOf(store, ids), new Set([id]));
  assert.deepEqual(folder.files('blobs'), []);
  assert.equal(sha256(new Uint8Array(await new Response(stream).arrayBuffer())), ids[0]);
  await readsAll(store, ids);
  assert.equal((await volumeOf(store, 'blobs')).state, 'open');
  assert.ok((await store.pathOf(ids[0]!))!.startsWith(join(folder.side, 'disk')));
  assert.equal((await store.volumes.reduce(id)).blobs, 13);
  assert.deepEqual(await placesOf(store, ids), new Set(['blobs']));
  await readsAll(store, ids);
  assert.equal((await store.volumes.list()).length, 1);
  assert.deepEqual(readdirSync(join(folder.side, 'disk')), [], 'nothing is left there');
  assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
});

storeTest('records go to a folder on another disk and come back, nodes with them', async (folder) => {
  const store = await folder.open();
  const ids = await putAll(
    store,
    Array.from({ length: 400 }, (_, i) => small(i)),
    'x',
  );
  const node = await store.put(text('payload'), { links: [{ kind: 'raw', id: ids[0]! }], owner: 'x' });
  ids.push(node.id);
  const { id: home } = (await store.volumes.list())[1]!;
  const disk = await store.volumes.extend(join(folder.side, 'disk'), { kind: 'sqlite' });
  assert.equal((await store.volumes.move(home, disk.id)).blobs, 401);
  const after = await store.volumes.list();
  assert.deepEqual(
    after.map(({ kind }) => kind),
    ['directory', 'folder', 'sqlite'],
  );
  assert.equal(after[2]!.folder, disk.id);
  assert.deepEqual(folder.files('volumes'), []);
  await readsAll(store, ids);
  assert.equal((await store.volumes.reduce(disk.id)).blobs, 401);
  await readsAll(store, ids);
  assert.deepEqual(readdirSync(join(folder.side, 'disk')), []);
  assert.deepEqual((await store.volumes.list()).map(({ kind }) => kind).toSorted(), ['directory', 'sqlite']);
  assert.equal((await store.scrub()).adopted, 0);
});

storeTest('a cap bounds what is allocated, puts under way counted; striped spreads', async (folder) => {
  const store = await folder.open({ threads: { count: 2 } });
  const cap = 200_000;
  const disk = await store.volumes.extend(join(folder.side, 'disk'), { cap, allocation: 'striped' });
  const packs = await store.volumes.extend(join(folder.side, 'packs'), { kind: 'sqlite', cap: 400_000 });
  const ids = await putAll(
    store,
    Array.from({ length: 40 }, (_, i) => large(i)),
    'x',
  );
  const held = await volumeOf(store, disk.id);
  assert.ok(held.blobs >= 5 && held.bytes <= cap, JSON.stringify(held));
  assert.equal(held.blobs * large(0).length, held.bytes);
  for (let i = 0; i < sample(100, 50); i++)
    ids.push(
      ...(await putAll(
        store,
        Array.from({ length: 8 }, (_, k) => small(1000 + 8 * i + k)),
        'x',
      )),
    );
  const folderOfPacks = await volumeOf(store, packs.id);
  assert.ok(folderOfPacks.blobs > 50 && folderOfPacks.bytes <= 400_000, JSON.stringify(folderOfPacks));
  assert.ok((await placesOf(store, ids)).size >= 4);
  await readsAll(store, ids);
  await assert.rejects(store.volumes.move('blobs', disk.id), withCode('no-space'));
  assert.equal((await volumeOf(store, 'blobs')).state, 'open');
});

storeTest(
  'a disk that is away: its blobs are unavailable, all others are read and put; collection waits; back, all is well',
  async (folder) => {
    const path = join(folder.side, 'disk');
    let store = await folder.open();
    const kept = await putAll(store, [large(1), small(1)], 'x');
    const { id } = await store.volumes.extend(path);
    const packs = await store.volumes.extend(join(folder.side, 'packs'), { kind: 'sqlite' });
    await store.volumes.move('blobs', id);
    const home = (await store.volumes.list()).find(({ kind }) => kind === 'sqlite')!;
    await store.volumes.move(home.id, packs.id);
    const lost = kept;
    const here = await putAll(store, [large(2), small(2)], 'x');
    for (const how of ['gone', 'empty', 'open']) {
      if (how !== 'open') await store.close();
      for (const away of [path, packs.path]) {
        renameSync(away, `${away}.away`);
        if (how === 'empty') mkdirSync(away);
      }
      if (how !== 'open') store = await folder.open({ mode: 'open' });
      for (const blob of lost) {
        if (how === 'open' && blob === kept[1]) continue; // its volume is open here and can be read
        await assert.rejects(store.get(blob), (error: { code: string; facts: { volume: string } }) => {
          assert.deepEqual([error.code, typeof error.facts.volume], ['unavailable', 'string'], String(error));
          return true;
        });
        assert.equal(await store.has(blob), true);
      }
      await readsAll(store, here);
      here.push(...(await putAll(store, [large(10 + here.length), small(10 + here.length)], 'x')));
      await store.put(small(77));
      const collected = await store.gc({ graceMs: 0 });
      assert.equal(collected.deleted, 0);
      assert.match(collected.blocked!, /volume .* not there/);
      const problems = (await store.volumes.list()).filter(({ problem }) => problem !== undefined);
      assert.ok(
        problems.some((volume) => volume.id === id),
        'the list names it',
      );
      // All the rest is verified; of what is away nothing is said.
      const scrubbed = await store.scrub();
      assert.deepEqual([scrubbed.damaged, scrubbed.complete], [[], true]);
      assert.ok(scrubbed.unreachable === 2 || (how === 'open' && scrubbed.unreachable === 1));
      assert.ok(scrubbed.blobs >= here.length);
      await assert.rejects(store.volumes.reduce(id), withCode('unavailable'));
      for (const away of [path, packs.path]) {
        rmSync(away, { recursive: true, force: true });
        renameSync(`${away}.away`, away);
      }
    }
    await readsAll(store, [...lost, ...here]);
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
    assert.ok(
      (await Promise.all(lost.map(async (blob) => (await store.stat(blob))!.suspect))).every(
        (suspect) => !suspect,
      ),
    );
  },
);

storeTest(
  'a blob whose disk is away is put again, and the second copy goes when the disk is back',
  async (folder) => {
    const path = join(folder.side, 'disk');
    let store = await folder.open();
    const [blob] = await putAll(store, [large(1)], 'x');
    const { id } = await store.volumes.extend(path);
    await store.volumes.move('blobs', id);
    await store.close();
    renameSync(path, `${path}.away`);
    store = await folder.open();
    assert.equal((await store.put(large(1), { owner: 'x' })).deduplicated, false);
    await readsAll(store, [blob!]);
    await store.close();
    renameSync(`${path}.away`, path);
    store = await folder.open();
    await readsAll(store, [blob!]);
    assert.equal((await store.scrub()).damaged.length, 0);
    assert.equal(
      readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) =>
        /^[0-9a-f]{64}/.test(entry.name),
      ).length,
      0,
    );
  },
);

/** A store with a directory and a folder of volumes outside; closed. */
async function extended(folder: StoreFolder): Promise<{ disk: string; packs: string; ids: BlobId[] }> {
  const store = await folder.open();
  const [disk, packs] = [join(folder.side, 'disk'), join(folder.side, 'packs')];
  const { id } = await store.volumes.extend(disk);
  const folderOf = await store.volumes.extend(packs, { kind: 'sqlite' });
  const ids = await putAll(store, [large(1), small(1)], 'x');
  await store.volumes.move('blobs', id);
  await store.volumes.move(
    (await store.volumes.list()).find(({ kind }) => kind === 'sqlite')!.id,
    folderOf.id,
  );
  await folder.closeAll();
  return { disk, packs, ids };
}

async function unavailable(store: Store, ids: readonly BlobId[]): Promise<void> {
  for (const id of ids) await assert.rejects(store.get(id), withCode('unavailable'), id);
}

storeTest(
  'disks that were swapped, or restored from yesterday, or copied from another store, are known for what they are',
  async (folder) => {
    const { disk, packs, ids } = await extended(folder);
    const yesterday = join(folder.side, 'yesterday');
    cpSync(disk, join(yesterday, 'disk'), { recursive: true });
    cpSync(packs, join(yesterday, 'packs'), { recursive: true });
    const swap = (): void => {
      renameSync(disk, `${disk}.x`);
      renameSync(packs, disk);
      renameSync(`${disk}.x`, packs);
    };
    swap();
    let store = await folder.open({ mode: 'open' });
    await unavailable(store, ids);
    assert.match((await store.gc({ graceMs: 0 })).blocked!, /is volume/);
    await folder.closeAll();
    swap();

    store = await folder.open({ mode: 'open' });
    await readsAll(store, ids);
    const blobs = await volumeOf(store, 'blobs');
    // One more blob on each: what was copied before is an older state of it.
    await store.volumes.move('blobs', (await store.volumes.list()).find(({ path }) => path === disk)!.id);
    const [big, little] = await putAll(store, [large(5), small(5)], 'x');
    assert.equal(blobs.blobs, 0);
    await store.volumes.move('blobs', (await store.volumes.list()).find(({ path }) => path === disk)!.id);
    await store.volumes.move(
      (await store.volumes.list()).find(
        ({ kind, folder: within }) => kind === 'sqlite' && within === undefined,
      )!.id,
      (await store.volumes.list()).find(({ path }) => path === packs)!.id,
    );
    await folder.closeAll();
    for (const path of [disk, packs]) renameSync(path, `${path}.today`);
    cpSync(join(yesterday, 'disk'), disk, { recursive: true });
    cpSync(join(yesterday, 'packs'), packs, { recursive: true });
    store = await folder.open({ mode: 'open' });
    await unavailable(store, [...ids, big!, little!]);
    assert.match((await store.gc({ graceMs: 0 })).blocked!, /older/);
    const put = await store.put(small(6), { owner: 'x' });
    await readsAll(store, [put.id]);
    await folder.closeAll();
    for (const path of [disk, packs]) {
      rmSync(path, { recursive: true });
      renameSync(`${path}.today`, path);
    }
    store = await folder.open({ mode: 'open' });
    await readsAll(store, [...ids, big!, little!, put.id]);
  },
);

storeTest(
  'a SQLite volume that lies in two folders of the group is named, and nothing is collected until one is gone',
  async (folder) => {
    const { packs, ids } = await extended(folder);
    const [file] = readdirSync(packs).filter((name) => name.endsWith('.db'));
    cpSync(join(packs, file!), folder.at('volumes', file!));
    const store = await folder.open({ mode: 'open' });
    await readsAll(store, ids);
    assert.match((await store.gc({ graceMs: 0 })).blocked!, /twice/);
    assert.match((await store.volumes.list()).find(({ kind }) => kind === 'sqlite')!.problem!, /twice/);
    rmSync(folder.at('volumes', file!));
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
  },
);

storeTest('compaction gives back what died in a volume, and only copies what lives', async (folder) => {
  const store = await folder.open();
  const kept = await putAll(
    store,
    Array.from({ length: 50 }, (_, i) => small(i)),
    'kept',
  );
  await putAll(
    store,
    Array.from({ length: 500 }, (_, i) => small(1000 + i)),
  );
  await store.gc({ graceMs: 0 });
  const [, before] = await store.volumes.list();
  assert.ok(before!.deadBytes > before!.bytes / 2);
  const result = await store.compact();
  assert.deepEqual([result.blobs, result.volumes], [50, 1]);
  const [, after, ...more] = await store.volumes.list();
  assert.ok(after!.bytes < before!.bytes / 3 && after!.id !== before!.id && more.length === 0);
  assert.ok(!existsSync(before!.path));
  await readsAll(store, kept);
  assert.deepEqual(await store.compact(), { blobs: 0, bytes: 0, volumes: 0 });
});

storeTest(
  'damage in a volume stops its removal: it stays in use, and what could be moved is moved',
  async (folder) => {
    const { disk, ids } = await extended(folder);
    const [file] = readdirSync(disk, { recursive: true, withFileTypes: true }).filter(({ name }) =>
      name.startsWith(ids[0]!),
    );
    const path = join(file!.parentPath, file!.name);
    const bytes = readFileSync(path);
    bytes[5000]! ^= 1;
    rmSync(path);
    writeFileSync(path, bytes);
    const store = await folder.open({ mode: 'open' });
    const { id } = (await store.volumes.list()).find((volume) => volume.path === disk)!;
    await assert.rejects(store.volumes.reduce(id), withCode('corrupt'));
    const { state, blobs } = await volumeOf(store, id);
    assert.deepEqual([state, blobs], ['open', 1]);
    folder.leaves([ids[0]!]);
  },
);

storeTest('a move that is stopped goes on where it was', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  const ids = await putAll(
    store,
    Array.from({ length: 20 }, (_, i) => large(i)),
    'x',
  );
  const { id } = await store.volumes.extend(join(folder.side, 'disk'));
  const stop = new AbortController();
  const stopped = store.volumes.move('blobs', id, {
    signal: stop.signal,
    onProgress: ({ blobs }) => void (blobs === 5 && stop.abort(new Error('enough'))),
  });
  await assert.rejects(stopped, /enough/);
  assert.equal((await volumeOf(store, 'blobs')).state, 'draining');
  await readsAll(store, ids);
  // While it is drained, nothing new goes there.
  const [fresh] = await putAll(store, [large(99)], 'x');
  assert.equal((await store.stat(fresh!))!.volume, id);
  const first = store.volumes.move('blobs', id);
  await assert.rejects(store.volumes.move('blobs', id), withCode('busy'));
  assert.ok((await first).blobs < 20);
  assert.deepEqual(await placesOf(store, ids), new Set([id]));
  await readsAll(store, [...ids, fresh!]);
});

storeTest(
  'reads, streams, puts, scrubs and collections go on while everything moves to and fro',
  async (folder) => {
    const store = await folder.open({
      threads: { count: 2 },
      parameters: { ...smallParameters, volumeBytesMax: 1024 * 1024 },
    });
    const damaged: unknown[] = [];
    store.on('damage', (damage) => void damaged.push(damage));
    const ids = await putAll(
      store,
      Array.from({ length: sample(300, 120) }, (_, i) => (i % 10 === 0 ? large(i, 50_000) : noise(8000, i))),
      'x',
    );
    const disk = await store.volumes.extend(join(folder.side, 'disk'));
    const packs = await store.volumes.extend(join(folder.side, 'packs'), { kind: 'sqlite' });
    const moved = new AbortController();
    const movers = (async () => {
      for (let round = 0; round < sample(3, 2); round++) {
        const [from, to] = round % 2 === 0 ? ['blobs', disk.id] : [disk.id, 'blobs'];
        await store.volumes.move(from, to);
        const there = (await store.volumes.list()).filter(
          ({ kind, folder: within }) => kind === 'sqlite' && (within === undefined) === (round % 2 === 0),
        );
        for (const { id } of there) await store.volumes.move(id, round % 2 === 0 ? packs.id : 'volumes');
        await store.compact();
      }
    })().finally(() => moved.abort());
    const readers = Array.from({ length: 3 }, async (_, lane) => {
      for (let i = lane; !moved.signal.aborted; i++) {
        const id = ids[(i * 7) % ids.length]!;
        assert.equal(sha256((await store.get(id))!), id);
        const other = ids[(i * 10) % ids.length]!;
        const stream = (await store.stream(other))!;
        assert.equal(sha256(new Uint8Array(await new Response(stream).arrayBuffer())), other);
      }
    });
    const others = [
      (async () => {
        for (let i = 0; !moved.signal.aborted; i++)
          ids.push(...(await putAll(store, [i % 3 === 0 ? large(5000 + i) : small(5000 + i)], 'x')));
      })(),
      (async () => {
        while (!moved.signal.aborted) assert.deepEqual((await store.scrub()).damaged, []);
      })(),
      (async () => {
        while (!moved.signal.aborted) assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
      })(),
    ];
    await Promise.all([movers, ...readers, ...others]);
    await readsAll(store, ids);
    assert.deepEqual(damaged, []);
  },
);

test('rebalancing moves from the fullest to the emptiest, and leaves small differences alone', () => {
  assert.deepEqual(
    planRebalance([
      { n: 1, used: 80, capacity: 100 },
      { n: 2, used: 0, capacity: 100 },
    ]),
    [{ from: 1, to: 2, bytes: 40 }],
  );
  assert.deepEqual(
    planRebalance([
      { n: 1, used: 50, capacity: 100 },
      { n: 2, used: 49, capacity: 100 },
    ]),
    [],
  );
  assert.deepEqual(planRebalance([{ n: 1, used: 10, capacity: 100 }]), []);
  assert.deepEqual(planRebalance([]), []);
  const three = planRebalance([
    { n: 1, used: 90, capacity: 100 },
    { n: 2, used: 0, capacity: 100 },
    { n: 3, used: 0, capacity: 100 },
  ]);
  assert.deepEqual(
    three.map(({ to, bytes }) => [to, bytes]),
    [
      [2, 30],
      [3, 30],
    ],
  );
});

storeTest('rebalancing empties a small disk that is full into a large one that is not', async (folder) => {
  const store = await folder.open();
  const disk = await store.volumes.extend(join(folder.side, 'disk'), { cap: 400_000 });
  const ids = await putAll(
    store,
    Array.from({ length: 20 }, (_, i) => large(i)),
    'x',
  );
  await store.volumes.move('blobs', disk.id);
  const before = await volumeOf(store, disk.id);
  const { blobs } = await store.volumes.rebalance();
  assert.ok(before.blobs === 20 && blobs >= 18, String(blobs));
  assert.ok((await volumeOf(store, disk.id)).blobs <= 2);
  await readsAll(store, ids);
  assert.equal((await store.volumes.rebalance()).blobs, 0);
});

storeTest('an only directory stays in use when it is told to move: puts go on', async (folder) => {
  const store = await folder.open();
  const moves = Array.from({ length: 5 }, () => store.volumes.move('blobs').catch((error: unknown) => error));
  const puts = Array.from({ length: 5 }, (_, i) => store.put(large(60 + i), { owner: 'x' }));
  await readsAll(
    store,
    (await Promise.all(puts)).map(({ id }) => id),
  );
  await Promise.all(moves);
  assert.equal((await volumeOf(store, 'blobs')).state, 'open');
});
