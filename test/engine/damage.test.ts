/** Damage of every kind to stored bytes: no wrong byte comes out, a scrub finds exactly what is bad, and a put heals it. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Damage, type OpenOptions, type Store, rebuildStore } from '../../engine/index.ts';
import { writeChunkSums } from '../../engine/commit/files.ts';
import { Digester } from '../../engine/content/digest.ts';
import { nodeProvider } from '../../engine/providers/node.ts';
import { SqliteVolume } from '../../engine/volumes/sqlite.ts';
import { openCatalogOf } from './open-catalog.ts';
import {
  type StoreFolder,
  collect,
  noise,
  putAll,
  same,
  sha256,
  smallParameters,
  storeTest,
  text,
  until,
  withCode,
} from './store-folder.ts';

const { smallMax, chunkBytes } = smallParameters;
const large = noise(100_000, 3);
const small = noise(9000, 4);

function change(path: string, work: (bytes: Buffer) => Uint8Array): void {
  const bytes = readFileSync(path);
  chmodSync(path, 0o644);
  writeFileSync(path, work(bytes));
  chmodSync(path, 0o444);
}

function flip(path: string, at: number): void {
  change(path, (bytes) => {
    bytes[at]! ^= 0x40;
    return bytes;
  });
}

/** Turns a bit in the stored copy of a small blob; what has the store open may know the page that it was in. */
function flipInVolume(folder: StoreFolder, content: Uint8Array, at: number): void {
  const sought = content.subarray(at, at + 40);
  let turned = 0;
  for (const path of folder.files('volumes').filter((name) => name.endsWith('.db'))) {
    const bytes = readFileSync(path);
    // SQLite leaves copies behind when it moves an extent to another page.
    for (let place = bytes.indexOf(sought); place >= 0; place = bytes.indexOf(sought, place + 1), turned++)
      bytes[place]! ^= 0x01;
    writeFileSync(path, bytes);
  }
  assert.ok(turned > 0, 'the blob is in no volume');
}

function damagesOf(store: Store): Damage[] {
  const seen: Damage[] = [];
  store.on('damage', (damage) => seen.push(damage));
  return seen;
}

function untilSuspect(store: Store, id: string): Promise<void> {
  return until(async () => (await store.stat(id))?.suspect === true, `${id} is suspect`);
}

/** Every way to read the whole blob fails, and none lets a wrong byte out. */
async function refusesToRead(store: Store, folder: StoreFolder, content: Uint8Array): Promise<void> {
  const id = sha256(content);
  await assert.rejects(store.get(id), withCode('corrupt'));
  const before: Uint8Array[] = [];
  await assert.rejects(async () => {
    for await (const piece of (await store.stream(id)) as unknown as AsyncIterable<Uint8Array>)
      before.push(piece);
  }, withCode('corrupt'));
  const got = Buffer.concat(before);
  assert.equal(Buffer.compare(got, content.subarray(0, got.length)), 0);
  assert.ok(got.length < content.length);
  const path = join(folder.side, `export-${id}`);
  await assert.rejects(store.exportTo({ id, path }), withCode('corrupt'));
  assert.equal(existsSync(path), false);
  assert.equal((await store.stats()).openHandles, 0);
}

async function heals(store: Store, content: Uint8Array): Promise<void> {
  const id = sha256(content);
  const healed: string[] = [];
  const off = store.on('healed', (event) => healed.push(event.id));
  const put = await store.put(content);
  off();
  assert.deepEqual([put.id, put.deduplicated, healed], [id, false, [id]]);
  assert.equal(Buffer.compare((await store.get(id))!, content), 0);
  assert.equal((await store.stat(id))?.suspect, false);
  assert.equal((await store.put(content)).deduplicated, true);
}

storeTest(
  'a turned bit in a large blob: its chunk is refused, all others are read; a put heals, the bad file is set aside',
  async (folder) => {
    const store = await folder.open({ threads: { count: 1 } });
    const { id } = await store.put(large, { owner: 'x' });
    const path = (await store.pathOf(id))!;
    flip(path, 5 * chunkBytes + 7);
    const events: Damage[] = damagesOf(store);
    for (const [offset, length] of [
      [0, 5 * chunkBytes],
      [6 * chunkBytes, 1_000_000],
      [6 * chunkBytes + 1, 3],
    ] as const) {
      assert.equal(
        Buffer.compare((await store.readRange(id, offset, length))!, large.subarray(offset, offset + length)),
        0,
      );
    }
    assert.equal(events.length, 0);
    for (const [offset, length] of [
      [5 * chunkBytes, 1],
      [6 * chunkBytes - 1, 1],
      [0, 100_000],
      [5 * chunkBytes - 1, 2],
    ] as const) {
      await assert.rejects(store.readRange(id, offset, length), withCode('corrupt'));
    }
    await refusesToRead(store, folder, large);
    assert.ok(
      events.length >= 4 &&
        events.every(
          (event) => event.id === id && event.references === 1 && event.reason.includes('chunk 5'),
        ),
      JSON.stringify(events),
    );
    await untilSuspect(store, id);
    assert.equal(await store.pathOf(id), undefined, 'no file is given away that is known to be bad');
    const bad = readFileSync(path);
    await heals(store, large);
    assert.equal((await store.stat(id))?.references, 1);
    const aside = readdirSync(folder.at('quarantine'));
    assert.deepEqual(
      aside.map((name) => name.slice(0, 64)),
      [id],
    );
    assert.deepEqual(readFileSync(folder.at('quarantine', aside[0]!)), bad);
    assert.deepEqual([existsSync(path), folder.files('blobs').length], [false, 1]);
  },
);

const spoil: Record<string, (path: string) => void> = {
  'its first byte turned': (path) => flip(path, 0),
  'its last byte turned': (path) => flip(path, large.length - 1),
  'its end cut off': (path) => change(path, (bytes) => bytes.subarray(0, -1)),
  'nothing in it': (path) => change(path, () => new Uint8Array(0)),
  'a byte more': (path) => change(path, (bytes) => Buffer.concat([bytes, Uint8Array.of(0)])),
  'only zeros': (path) => change(path, (bytes) => bytes.fill(0)),
  'two chunks swapped': (path) =>
    change(path, (bytes) =>
      Buffer.concat([
        bytes.subarray(chunkBytes, 2 * chunkBytes),
        bytes.subarray(0, chunkBytes),
        bytes.subarray(2 * chunkBytes),
      ]),
    ),
  'no file': (path) => unlinkSync(path),
};

for (const [what, damage] of Object.entries(spoil)) {
  storeTest(
    `a large blob with ${what} is never read, is found by a scrub, and healed by a put`,
    async (folder) => {
      const store = await folder.open();
      const { id } = await store.put(large, { owner: 'x' });
      const others = await putAll(store, [noise(50_000, 8), noise(50_000, 9), small], 'x');
      damage((await store.pathOf(id))!);
      const events: Damage[] = damagesOf(store);
      const { damaged, blobs } = await store.scrub();
      assert.deepEqual([damaged.map((found) => [found.id, found.references]), blobs], [[[id, 1]], 4]);
      assert.deepEqual(
        events.map((event) => event.id),
        [id],
      );
      await refusesToRead(store, folder, large);
      for (const other of others) assert.ok((await store.get(other)) !== undefined);
      await heals(store, large);
      assert.deepEqual((await store.scrub()).damaged, []);
    },
  );
}

for (const [what, options] of Object.entries<OpenOptions>({
  compressed: { compression: 'always' },
  encrypted: { encryption: { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(5) } } },
}))
  storeTest(
    `a turned bit in the head of a file that is ${what}, which no read needs, is found by a scrub, and healed`,
    async (folder) => {
      const store = await folder.open(options);
      const content = text('the same again and again '.repeat(4000));
      const { id } = await store.put(content, { owner: 'x' });
      for (const at of [0, 7]) {
        flip(folder.files('blobs')[0]!, at);
        const reasons = (await store.scrub()).damaged.map((found) => `${found.id}: ${found.reason}`);
        assert.equal(reasons.length, 1, `byte ${at}`);
        assert.match(reasons[0]!, new RegExp(`^${id}.*another head`));
        same(await store.get(id), content);
        await heals(store, content);
        assert.deepEqual((await store.scrub()).damaged, []);
      }
      await folder.closeAll();
      if (what !== 'encrypted') return;
      // Without keys as well.
      flip(folder.files('blobs')[0]!, 6);
      const { encryption: _, ...keyless } = options;
      const locked = await folder.open({ ...keyless, mode: 'open' });
      assert.equal((await locked.scrub()).damaged.length, 1);
      await folder.closeAll();
      await heals(await folder.open(options), content);
    },
  );

storeTest(
  'a copy whose head is damaged is healed from its mirror, and not copied where there is none',
  async (folder) => {
    const store = await folder.open({ compression: 'always' });
    await store.volumes.extend(join(folder.side, 'files'));
    await store.volumes.extend(join(folder.side, 'packs'), { kind: 'sqlite' });
    const contents = ['one', 'other'].map((word) => text(`the ${word} again and again `.repeat(4000)));
    const [mirrored, single] = await putAll(store, contents, 'x');
    const fileOf = (id: string): string => folder.files('blobs').find((path) => path.includes(id))!;
    flip(fileOf(single!), 2);
    await store.volumes.mirror(2);
    assert.deepEqual(
      (await store.scrub()).damaged.map(({ id }) => id),
      [single],
    );
    assert.equal((await store.stat(single!))?.copies, 0);
    flip(fileOf(mirrored!), 2);
    const { damaged, healed } = await store.scrub();
    assert.deepEqual([damaged.map(({ id }) => id), healed], [[single], 1]);
    same(await store.get(mirrored!), contents[0]!);
    await heals(store, contents[1]!);
  },
);

storeTest(
  'a large blob that is only found bad by its id, since its checksums fit, is refused as well',
  async (folder) => {
    const store = await folder.open();
    const { id } = await store.put(large, { owner: 'x' });
    const path = (await store.pathOf(id))!;
    await folder.closeAll();
    const forged = noise(large.length, 77);
    change(path, () => forged);
    const digester = new Digester(nodeProvider, chunkBytes);
    digester.update(forged);
    const catalog = openCatalogOf(folder.path);
    catalog.transaction((transaction) => {
      writeChunkSums(catalog, transaction.live(id).n, digester.finish().sums);
      transaction.changed = true;
    });
    catalog.close();
    const again = await folder.open();
    await assert.rejects(again.get(id), withCode('corrupt'));
    await assert.rejects(
      collect((await again.stream(id)) as unknown as AsyncIterable<Uint8Array>),
      withCode('corrupt'),
    );
    await assert.rejects(again.exportTo({ id, path: join(folder.side, 'out') }), withCode('corrupt'));
    assert.deepEqual(
      (await again.scrub()).damaged.map((found) => found.id),
      [id],
    );
    await heals(again, large);
  },
);

storeTest(
  'of checksums that were written wrong a scrub compares the first of each read, and all of a blob that a read found bad',
  async (folder) => {
    let store = await folder.open();
    const { id } = await store.put(large, { owner: 'x' });
    const damaged = async (): Promise<string[]> => (await store.scrub()).damaged.map((found) => found.id);
    const digester = new Digester(nodeProvider, chunkBytes);
    digester.update(large);
    const { sums: right } = digester.finish();
    for (const at of [0, right.length - 4]) {
      await folder.closeAll();
      const wrong = right.slice();
      wrong[at]! ^= 1;
      const catalog = openCatalogOf(folder.path);
      catalog.transaction((transaction) => {
        writeChunkSums(catalog, transaction.live(id).n, wrong);
        transaction.changed = true;
      });
      catalog.close();
      store = await folder.open();
      if (at > 0) {
        assert.deepEqual(await damaged(), []);
        await assert.rejects(store.get(id), withCode('corrupt'));
        await until(async () => (await store.stats()).suspect > 0, 'it is known to be damaged');
      }
      assert.deepEqual(await damaged(), [id]);
      await heals(store, large);
    }
  },
);

storeTest('damaged chunk checksums make a blob unreadable, not wrong; a put heals them', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(large, { owner: 'x' });
  for (const sql of ['UPDATE chunk_sums SET sums = zeroblob(length(sums))', 'DELETE FROM chunk_sums']) {
    await folder.closeAll();
    folder.edit((db) => db.exec(sql));
    const again = await folder.open();
    await refusesToRead(again, folder, large);
    assert.deepEqual(
      (await again.scrub()).damaged.map((found) => found.id),
      [id],
    );
    await heals(again, large);
  }
});

for (const at of [0, 5000, small.length - 40]) {
  storeTest(
    `a turned bit at byte ${at} of a small blob: it is refused, its neighbours are read; a put heals`,
    async (folder) => {
      let store = await folder.open();
      const neighbours = [noise(300, 20), noise(300, 21), noise(8000, 22)];
      await putAll(store, [neighbours[0]!, small, ...neighbours.slice(1)], 'x');
      await folder.closeAll();
      flipInVolume(folder, small, at);
      store = await folder.open({ threads: { count: at === 0 ? 1 : 0 } });
      for (const bytes of neighbours)
        assert.equal(Buffer.compare((await store.get(sha256(bytes)))!, bytes), 0);
      const events: Damage[] = damagesOf(store);
      await refusesToRead(store, folder, small);
      assert.ok(events.length > 0 && events.every(({ id }) => id === sha256(small)));
      assert.deepEqual(
        (await store.scrub()).damaged.map(({ id, references }) => [id, references]),
        [[sha256(small), 1]],
      );
      await heals(store, small);
      assert.deepEqual((await store.scrub()).damaged, []);
      await folder.closeAll();
      store = await folder.open();
      assert.equal((await store.get(sha256(small)))?.length, small.length);
    },
  );
}

storeTest(
  'a damaged node is found, healed by a put, and holds its children all the while',
  async (folder) => {
    let store = await folder.open();
    const child = await store.put(text('child'));
    const payload = noise(6000, 30);
    const node = await store.put(payload, { links: [{ kind: 'raw', id: child.id }], owner: 'x' });
    await folder.closeAll();
    flipInVolume(folder, payload, 3000);
    store = await folder.open();
    await assert.rejects(store.getNode(node.id), withCode('corrupt'));
    assert.deepEqual(
      (await store.scrub()).damaged.map(({ id }) => id),
      [node.id],
    );
    assert.deepEqual(
      [(await store.gc({ graceMs: 0 })).deleted, (await store.stat(child.id))?.references],
      [0, 1],
    );
    const again = await store.put(payload, { links: [{ kind: 'raw', id: child.id }] });
    assert.deepEqual(
      [again.id, again.deduplicated, (await store.stat(child.id))?.references],
      [node.id, false, 1],
    );
    assert.deepEqual((await store.getNode(node.id))?.links, [{ kind: 'raw', id: child.id }]);
    await store.release(node.id, 'x');
    assert.equal((await store.gc({ graceMs: 0 })).deleted, 2);
  },
);

storeTest('what a disk answered wrong once is no damage: it is asked again', async (folder, t) => {
  const content = noise(3000, 1);
  let store = await folder.open();
  const { id } = await store.put(content, { owner: 'test' });
  await store.close();
  const path = folder.files('volumes').find((name) => name.endsWith('.db'))!;
  const whole = readFileSync(path);
  for (const read of [() => store.get(id), () => store.readRange(id, 0, 3000)]) {
    flipInVolume(folder, content, 100);
    store = await folder.open();
    const { forget } = SqliteVolume.prototype as { readonly forget: (this: SqliteVolume) => void };
    // Before the second look.
    t.mock.method(SqliteVolume.prototype, 'forget', function (this: SqliteVolume) {
      writeFileSync(path, whole);
      forget.call(this);
    });
    assert.equal(sha256((await read())!), id);
    t.mock.restoreAll();
    assert.equal((await store.stat(id))!.suspect, false);
    await store.close();
  }
});

storeTest('a scrub sees damage of small blobs that this process has just read', async (folder) => {
  const store = await folder.open();
  const contents = [300, 3000, 12_000].map((size, i) => noise(size, i + 1));
  const ids: string[] = [];
  for (const content of contents) ids.push((await store.put(content, { owner: 'test' })).id);
  for (const [i, content] of contents.entries()) {
    for (const id of ids.slice(i)) await store.get(id);
    assert.equal((await store.scrub()).damaged.length, i);
    flipInVolume(folder, content, 100);
    assert.equal((await store.scrub()).damaged.length, i + 1);
  }
  folder.leaves(ids);
});

storeTest('many blobs, a few of each kind damaged: a scrub names exactly those', async (folder) => {
  let store = await folder.open();
  const contents = Array.from({ length: 300 }, (_, i) =>
    noise(i % 10 === 0 ? smallMax + i + 1 : 50 + 7 * i, 1000 + i),
  );
  const ids = await putAll(store, contents, 'x');
  const bad = [10, 11, 77, 150, 151, 299];
  const paths = new Map<number, string | undefined>();
  for (const i of bad) paths.set(i, await store.pathOf(ids[i]!));
  await folder.closeAll();
  for (const i of bad) {
    const path = paths.get(i);
    if (path === undefined) flipInVolume(folder, contents[i]!, contents[i]!.length >> 1);
    else flip(path, 100 * i);
  }
  store = await folder.open({ threads: { count: 2 } });
  const wanted = bad.map((i) => ids[i]!).sort();
  for (let round = 0; round < 2; round++) {
    const { damaged, blobs } = await store.scrub();
    assert.deepEqual([damaged.map(({ id }) => id).sort(), blobs], [wanted, contents.length]);
    assert.equal((await store.stats()).suspect, bad.length);
  }
  const read = await Promise.allSettled(ids.map((id) => store.get(id)));
  assert.deepEqual(
    read.flatMap(({ status }, i) => (status === 'rejected' ? [i] : [])),
    bad,
  );
  assert.ok((await store.stat(ids[0]!))?.verifiedMs !== undefined);
  folder.leaves(wanted);
});

storeTest(
  'a bad row of the catalog makes its blob unreadable; a scrub that finds the bytes right mends it',
  async (folder) => {
    let store = await folder.open();
    const ids = await putAll(store, [large, small, text('fine')], 'x');
    await folder.closeAll();
    folder.edit((db) =>
      db.exec(
        'UPDATE blobs SET sum = zeroblob(length(sum)) WHERE n = 1; UPDATE blobs SET created = created + 1 WHERE n = 2',
      ),
    );
    store = await folder.open();
    const read = await Promise.allSettled(ids.map((id) => store.get(id)));
    assert.equal(read.filter(({ status }) => status === 'rejected').length, 2);
    for (const result of read) if (result.status === 'rejected') withCode('corrupt')(result.reason);
    const { damaged, badRows } = await store.scrub();
    assert.deepEqual([damaged, badRows >= 1], [[], true]);
    for (const id of ids) assert.ok((await store.get(id)) !== undefined);
    assert.deepEqual((await store.scrub()).badRows, 0);
    await store.release(ids[0]!, 'x');
    assert.equal((await store.gc({ graceMs: 0 })).deleted, 1);
  },
);

storeTest(
  'a copy without a row is taken back in by a scrub, without a reference, and only if it is what its name says',
  async (folder) => {
    const store = await folder.open();
    const stray = noise(40_000, 50);
    await store.put(large, { owner: 'x' });
    const { id } = await store.put(stray);
    const path = (await store.pathOf(id))!;
    const aside = join(folder.side, 'kept');
    writeFileSync(aside, readFileSync(path));
    await store.gc({ graceMs: 0 });
    renameSync(aside, path);
    const lie = path.replace(id, `${id.slice(0, 2)}${sha256('lie').slice(2)}`);
    writeFileSync(lie, 'not what the name says');
    writeFileSync(join(path, '..', 'thumbs.db'), 'a stranger');
    const { adopted, damaged } = await store.scrub();
    assert.deepEqual([adopted, damaged], [1, []]);
    assert.equal((await store.stat(id))?.references, 0);
    assert.equal(Buffer.compare((await store.get(id))!, stray), 0);
    assert.equal(existsSync(lie), false);
    assert.deepEqual(
      readdirSync(folder.at('quarantine')).map((name) => name.slice(0, 64)),
      [lie.split('/').at(-1)!.slice(0, 64)],
    );
  },
);

const spoilVolume: Record<string, (bytes: Buffer) => Uint8Array> = {
  'its end cut off': (bytes) => bytes.subarray(0, 16_384 * 10),
  'its first page overwritten': (bytes) => bytes.fill(0xa5, 0, 16_384),
  'a page in the middle zeroed': (bytes) => bytes.fill(0, 16_384 * 8, 16_384 * 9),
  'its inner pages overwritten': (bytes) => bytes.fill(0x11, 16_384, 16_384 * 4),
  'nothing in it': () => new Uint8Array(0),
  'something else in it': (bytes) => noise(bytes.length, 123),
};

for (const [what, spoiled] of Object.entries(spoilVolume)) {
  storeTest(
    `a volume with ${what}: what lay in it is an error, all else is read and put, and puts heal it`,
    async (folder) => {
      let store = await folder.open();
      const contents = Array.from({ length: 40 }, (_, i) => noise(9000, 400 + i));
      const ids = await putAll(store, contents, 'x');
      const { id } = await store.put(large, { owner: 'x' });
      await folder.closeAll();
      const [volume] = folder.files('volumes').filter((path) => path.endsWith('.db'));
      change(volume!, spoiled);
      chmodSync(volume!, 0o644);
      store = await folder.open();
      assert.equal(Buffer.compare((await store.get(id))!, large), 0);
      const read = await Promise.allSettled(ids.map((each) => store.get(each)));
      read.forEach((result, i) => {
        if (result.status === 'fulfilled') assert.equal(Buffer.compare(result.value!, contents[i]!), 0);
        else assert.match(String((result.reason as { code?: string }).code), /^(corrupt|unavailable)$/);
      });
      const lost = read.flatMap(({ status }, i) => (status === 'rejected' ? [ids[i]!] : []));
      assert.ok(lost.length > 0);
      for (const bytes of [noise(20_000, 9), text('a small one')]) {
        await store.put(bytes, { owner: 'x' });
        assert.equal(Buffer.compare((await store.get(sha256(bytes)))!, bytes), 0);
      }
      assert.deepEqual((await store.scrub()).damaged.map((found) => found.id).sort(), lost.sort());
      for (const bytes of contents) await store.put(bytes);
      for (const [i, each] of ids.entries())
        assert.equal(Buffer.compare((await store.get(each))!, contents[i]!), 0);
      await folder.closeAll();
      store = await folder.open();
      for (const [i, each] of ids.entries())
        assert.equal(Buffer.compare((await store.get(each))!, contents[i]!), 0);
    },
  );
}

storeTest('damage met in a store open for reading is told, and nothing is written', async (folder) => {
  let store = await folder.open();
  const { id } = await store.put(large, { owner: 'x' });
  flip((await store.pathOf(id))!, 5);
  await folder.closeAll();
  const before = readFileSync(folder.at('index.db'));
  store = await folder.open({ mode: 'read-only' });
  const events: Damage[] = damagesOf(store);
  await assert.rejects(store.get(id), withCode('corrupt'));
  assert.equal(events.length, 1);
  await folder.closeAll();
  assert.deepEqual(readFileSync(folder.at('index.db')), before);
  folder.leaves([id]);
});

/** What an engine that had lost its catalog would make of the log: the log is all that names these. */
async function rebuiltOf(folder: StoreFolder): Promise<unknown> {
  await folder.closeAll();
  const { gap, lost } = await rebuildStore(folder.path);
  const store = await folder.open();
  const owned = await store.gc({ graceMs: 0, dryRun: true });
  const roots = (await store.roots.list()).map(({ name, id }) => [name, id]);
  return { gap, lost, roots, blobs: (await store.stats()).blobs - owned.deleted };
}

const spoilt: Record<string, (log: Buffer) => Uint8Array> = {
  'in its midst': (log) => Buffer.concat([log.subarray(0, 150), noise(100), log.subarray(250)]),
  'at its beginning': (log) => Buffer.concat([log.subarray(0, 50), noise(100), log.subarray(150)]),
  'at its end': (log) => Buffer.concat([log.subarray(0, -40), noise(40)]),
  'in three places': (log) => {
    for (const at of [100, 500, 900]) log[at]! ^= 4;
    return log;
  },
  'all of it': (log) => Buffer.concat([log.subarray(0, 24), noise(log.length - 24)]),
  'cut, and damaged before': (log) => {
    log[300]! ^= 1;
    return log.subarray(0, -200);
  },
};

for (const [where, spoil] of Object.entries(spoilt))
  storeTest(`a scrub sees damage of the root log ${where}, and mends it from the catalog`, async (folder) => {
    let store = await folder.open();
    const ids = await putAll(store, [text('a'), text('b'), text('c'), text('d')], 'app');
    for (const [i, name] of ['one', 'two', 'three', 'four'].entries()) await store.roots.set(name, ids[i]!);
    await store.roots.set('one', ids[3]!);
    await store.roots.delete('two');
    await store.release(ids[1]!, 'app');
    await store.release(ids[2]!, 'app');
    const roots = (await store.roots.list()).map(({ name, id }) => [name, id]);
    await folder.closeAll();
    change(folder.at('roots.log'), spoil);
    const catalog = readFileSync(folder.at('index.db'));
    await (await folder.open()).scrub();
    await folder.closeAll();
    // As after a crash before the commit: mended, and the catalog knows nothing of it.
    writeFileSync(folder.at('index.db'), catalog);
    store = await folder.open();
    await store.roots.set('three', ids[1]!);
    await store.scrub();
    await store.roots.set('three', ids[2]!);
    await folder.closeAll();
    change(folder.at('roots.log'), spoil);
    store = await folder.open();
    const beside = await folder.open();
    const found = await store.scrub();
    assert.equal(found.rootLog?.mended, true, found.rootLog?.problem);
    assert.match(found.rootLog.problem, /roots\.log/);
    assert.ok(readdirSync(folder.at('quarantine')).some((name) => name.startsWith('roots.log')));
    const { state } = await store.health();
    assert.notEqual(state, 'damage');
    assert.equal((await store.scrub()).rootLog, undefined);
    // Whoever had it open appends to what is read from now on.
    await beside.roots.set('later', ids[0]!);
    assert.equal((await store.scrub()).rootLog, undefined);
    const sequences = (await store.roots.log()).map(({ sequence }) => sequence);
    assert.deepEqual(
      sequences,
      [...new Set(sequences)].toSorted((a, b) => a - b),
    );
    const { blobs } = await store.stats();
    const { deleted, blocked } = await store.gc({ graceMs: 0, dryRun: true });
    assert.equal(blocked, undefined);
    assert.deepEqual(await rebuiltOf(folder), {
      gap: undefined,
      lost: [],
      roots: [...roots, ['later', ids[0]!]].toSorted((a, b) => (a[0]! < b[0]! ? -1 : 1)),
      blobs: blobs - deleted,
    });
  });

storeTest('a damaged root log of an encrypted store is mended by who has no key', async (folder) => {
  const encryption = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(7) } } as const;
  let store = await folder.open({ encryption });
  const ids = await putAll(store, [text('a'), text('b')], 'app');
  for (const [i, name] of ['one', 'two', 'three'].entries()) await store.roots.set(name, ids[i % 2]!);
  const roots = async (): Promise<unknown> => (await store.roots.list()).map(({ name, id }) => [name, id]);
  const before = await roots();
  await folder.closeAll();
  change(folder.at('roots.log'), (log) =>
    Buffer.concat([log.subarray(0, 300), noise(300), log.subarray(600)]),
  );
  store = await folder.open();
  assert.equal((await store.scrub()).rootLog?.mended, true);
  await folder.closeAll();
  store = await folder.open({ encryption });
  assert.equal((await store.scrub()).rootLog, undefined);
  await store.roots.set('four', ids[0]!);
  await folder.closeAll();
  const { gap, lost } = await rebuildStore(folder.path, { encryption });
  assert.deepEqual([gap, lost], [undefined, []]);
  store = await folder.open({ encryption });
  await store.roots.delete('four');
  assert.deepEqual(await roots(), before);
  for (const id of ids) assert.equal(await store.release(id, 'app'), true);
  assert.equal((await store.roots.log()).at(-1)?.name, 'app');
});

storeTest('a root log that is gone under an open store is told, and stops collection', async (folder) => {
  const store = await folder.open();
  const [id] = await putAll(store, [text('a')], 'app');
  const aside = folder.at('aside');
  renameSync(folder.at('roots.log'), aside);
  const { rootLog } = await store.scrub();
  assert.equal(rootLog?.mended, false);
  assert.match(rootLog.problem, /roots\.log is gone.*in the catalog/);
  assert.match((await store.gc({ graceMs: 0 })).blocked!, /roots\.log is gone/);
  const { state, reasons } = await store.health();
  assert.equal(state, 'damage');
  assert.match(reasons.join(), /roots\.log is gone/);
  renameSync(aside, folder.at('roots.log'));
  assert.equal((await store.scrub()).rootLog, undefined);
  assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
  assert.equal(await store.has(id!), true);
});
