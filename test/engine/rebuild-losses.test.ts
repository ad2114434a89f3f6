/** Rebuilding what is damaged or gone: files, volumes, the log; what is lost is said, and collection waits until it is accepted. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { BlobId, RebuildResult, Store } from '../../engine/index.ts';
import { fill, layouts, loseCatalog, rebuild, sameAsBefore, tell } from './rebuild-store.ts';
import {
  type StoreFolder,
  collect,
  noise,
  putAll,
  sha256,
  storeTest,
  text,
  withCode,
} from './store-folder.ts';

const hybrid = layouts['hybrid']!.options;

function change(path: string, work: (bytes: Buffer) => Uint8Array): void {
  const bytes = readFileSync(path);
  chmodSync(path, 0o644);
  writeFileSync(path, work(bytes));
}

async function told(folder: StoreFolder): Promise<Awaited<ReturnType<typeof tell>>> {
  const store = await folder.open({ mode: 'open' });
  const before = await tell(store);
  await store.close();
  return before;
}

/** Nothing is collected, and the reason given matches. */
async function waits(store: Store, reason: RegExp): Promise<void> {
  await store.put(noise(77, 4711));
  const { deleted, blocked } = await store.gc({ graceMs: 0 });
  assert.equal(deleted, 0);
  assert.match(blocked ?? 'not blocked', reason);
  assert.match((await store.health()).doubt ?? 'fine', reason);
}

/** The largest: there may be several, in no order. */
function volumeFile(folder: StoreFolder): string {
  const files = folder.files('volumes').filter((name) => name.endsWith('.db'));
  return files.toSorted((a, b) => statSync(b).size - statSync(a).size)[0]!;
}

storeTest(
  'a damaged file of a tree: the tree stays, the file is lost, and healed by a put',
  async (folder) => {
    const { file, node } = await fill(folder, 'hybrid');
    const before = await told(folder);
    const path = folder.files('blobs').find((name) => name.includes(file))!;
    change(path, (bytes) => bytes.fill(0, 100, 200));
    loseCatalog(folder);
    const result = await rebuild(folder);
    assert.equal(result.damagedCopies, 1);
    assert.match(result.damaged[0]!.name, new RegExp(`^${file}`));
    assert.equal(result.lostBlobs, 1);
    assert.deepEqual(result.lost.map(({ as, name }) => [as, as === 'node' ? '' : name]).sort(), [
      ['node', ''],
      ['owner', 'app'],
      ['root', 'file'],
    ]);
    assert.ok(existsSync(path), 'what is damaged is not deleted');
    const store = await folder.open({ mode: 'open' });
    assert.deepEqual((await store.getNode(node))?.links.length, 3);
    assert.equal((await store.stat(file))?.suspect, true);
    await assert.rejects(store.get(file), withCode('corrupt'));
    await assert.rejects(store.readRange(file, 0, 0), withCode('corrupt'));
    assert.deepEqual(
      (await store.roots.list()).map(({ name }) => name),
      ['file', 'main'],
    );
    await waits(store, /1 blob\(s\) that are referred to were not found.*accept-gap/);
    const content = noise(20_000 + 3 * 30_000, 1503);
    assert.equal(sha256(content), file);
    assert.deepEqual((await store.put(content)).deduplicated, false);
    assert.equal((await store.stat(file))?.references, 3);
    await store.close();
    const again = await rebuild(folder);
    assert.deepEqual([again.lostBlobs, again.lost], [0, []]);
    await sameAsBefore(folder, before);
  },
);

storeTest(
  'a lost node: what lies below it waits for collection until the loss is accepted',
  async (folder) => {
    const store = await folder.open(hybrid);
    const leaf = noise(30_000, 5);
    await store.put(leaf);
    const inner = await store.put(text('inner'), { links: [{ kind: 'raw', id: sha256(leaf) }] });
    const top = await store.put(text('top'), { links: [{ kind: 'node', id: inner.id }] });
    await store.roots.set('main', top.id);
    await store.close();
    change(volumeFile(folder), (bytes) => {
      for (let at = bytes.indexOf('inner'); at >= 0; at = bytes.indexOf('inner', at + 1)) bytes[at]! ^= 1;
      return bytes;
    });
    loseCatalog(folder);
    const result = await rebuild(folder);
    assert.deepEqual(result.lost, [{ as: 'node', name: top.id, id: inner.id }]);
    const opened = await folder.open({ mode: 'open' });
    await waits(opened, /not found/);
    assert.equal((await opened.stat(inner.id))?.kind, 'node');
    await opened.scrub();
    await waits(opened, /not found/);
    await opened.close();
    await rebuild(folder, { acceptGap: true });
    const accepted = await folder.open({ mode: 'open' });
    assert.equal((await accepted.gc({ graceMs: 0 })).blocked, undefined);
    assert.equal(await accepted.has(sha256(leaf)), false, 'nothing that is known refers to it');
    folder.leaves([inner.id]);
  },
);

storeTest(
  'a SQLite volume that SQLite refuses is salvaged into a fresh one, and set aside',
  async (folder) => {
    await fill(folder, 'chunked');
    const before = await told(folder);
    const path = volumeFile(folder);
    change(path, (bytes) => bytes.fill(0xee, 0, 16_384));
    loseCatalog(folder);
    const result = await rebuild(folder);
    assert.ok(result.salvaged > 100, `${result.salvaged}`);
    assert.deepEqual([result.damagedCopies, result.lostBlobs, result.damaged[0]?.name], [1, 0, path]);
    assert.equal(existsSync(path), false);
    assert.ok(readdirSync(folder.at('quarantine')).some((name) => path.includes(name.slice(0, 32))));
    await sameAsBefore(folder, before);
  },
);

storeTest(
  'an extent that cannot be read, a cell that fell off its page: SQLite is not believed',
  async (folder) => {
    await fill(folder, 'hybrid');
    const before = await told(folder);
    for (const damage of [
      // The first leaf has one row less than it has.
      (bytes: Buffer) => {
        for (let at = 16_384; at < bytes.length; at += 16_384)
          if (bytes[at] === 0x0d && bytes.readUInt16BE(at + 3) > 2) {
            bytes.writeUInt16BE(bytes.readUInt16BE(at + 3) - 1, at + 3);
            return bytes;
          }
        throw new Error('no leaf');
      },
      // A leaf that is none.
      (bytes: Buffer) => {
        for (let at = 16_384; at < bytes.length; at += 16_384) if (bytes[at] === 0x0d) bytes[at] = 0x77;
        return bytes;
      },
    ]) {
      change(volumeFile(folder), damage);
      loseCatalog(folder);
      const result = await rebuild(folder);
      assert.ok(result.salvaged > 0);
      assert.equal(result.lostBlobs, 0);
    }
    const blobs = before.blobs.filter(({ references }) => references > 0);
    await sameAsBefore(folder, { ...before, blobs });
  },
);

storeTest(
  'without one of its SQLite volumes a store is rebuilt in part; back, it is whole',
  async (folder) => {
    const store = await folder.open(hybrid);
    const first = Array.from({ length: 150 }, (_, i) => noise(9000, i));
    for (let at = 0; at < first.length; at += 30) await putAll(store, first.slice(at, at + 30), 'x');
    const node = await store.put(text('tree'), {
      links: first.map((bytes) => ({ kind: 'raw', id: sha256(bytes) })),
    });
    await store.roots.set('main', node.id);
    await store.close();
    const before = await told(folder);
    const paths = folder.files('volumes').filter((name) => name.endsWith('.db'));
    assert.ok(paths.length > 1);
    const size = (path: string): number => readFileSync(path).length;
    const lost = paths.toSorted((a, b) => size(b) - size(a))[0]!;
    renameSync(lost, join(folder.side, 'away.db'));
    loseCatalog(folder);
    const result = await rebuild(folder);
    assert.deepEqual(
      result.missing.map(({ path }) => path),
      [lost],
    );
    assert.ok(result.lostBlobs > 50 && result.lostBlobs < 150, `${result.lostBlobs}`);
    let opened = await folder.open({ mode: 'open' });
    await waits(opened, /not found/);
    const suspects = (await collect(opened.list())).filter(({ suspect }) => suspect);
    assert.equal(suspects.length, result.lostBlobs);
    await opened.close();
    // Back: recovery and a scrub take in what lies in it.
    renameSync(join(folder.side, 'away.db'), lost);
    opened = await folder.open({ mode: 'open' });
    await opened.scrub();
    await opened.close();
    const now = await told(folder);
    assert.deepEqual(
      now.blobs.filter(({ suspect }) => suspect),
      [],
    );
    assert.equal((await rebuild(folder)).lostBlobs, 0);
    await sameAsBefore(folder, before);
  },
);

storeTest(
  'without a disk of the group a store is rebuilt in part, and not taken for whole',
  async (folder) => {
    const { file } = await fill(folder, 'extended, striped');
    const before = await told(folder);
    for (const name of ['disk', 'packs'])
      renameSync(join(folder.side, name), join(folder.side, `${name}-away`));
    loseCatalog(folder);
    const result = await rebuild(folder);
    const paths = result.missing.map(({ path }) => path);
    assert.ok(paths.includes(join(folder.side, 'disk')) && paths.includes(join(folder.side, 'packs')));
    assert.ok(result.lostBlobs > 0);
    let store = await folder.open({ mode: 'open' });
    await waits(store, /is not there|not found/);
    assert.ok(await store.has(file));
    await store.close();
    for (const name of ['disk', 'packs'])
      renameSync(join(folder.side, `${name}-away`), join(folder.side, name));
    assert.deepEqual((await rebuild(folder)).lost, []);
    store = await folder.open({ mode: 'open' });
    assert.deepEqual(
      (await store.volumes.list()).filter(({ problem }) => problem !== undefined),
      [],
    );
    await store.close();
    await sameAsBefore(folder, before);
  },
);

/** What happens to the log, and whether the first root is still known. */
const logs: Readonly<
  Record<string, { readonly spoil: (path: string) => void; readonly gap: RegExp; readonly first: boolean }>
> = {
  'that is gone': { spoil: (path) => rmSync(path), gap: /is missing/, first: false },
  'of another store': {
    spoil: (path) => change(path, (bytes) => bytes.fill(0x11, 8, 24)),
    gap: /of another store/,
    first: false,
  },
  'with a damaged head': {
    spoil: (path) => change(path, (bytes) => bytes.fill(0, 0, 4)),
    gap: /head of roots.log/,
    first: true,
  },
  'with a bad record in the middle': {
    spoil: (path) => change(path, (bytes) => bytes.fill(1, 300, 304)),
    gap: /cannot be read behind record 3 /,
    first: true,
  },
  'that is torn in its last record': {
    spoil: (path) => truncateSync(path, readFileSync(path).length - 5),
    gap: /cannot be read behind record 9 /,
    first: true,
  },
  'with junk behind it': {
    spoil: (path) => appendFileSync(path, noise(50)),
    gap: /behind record 10 /,
    first: true,
  },
};
for (const [what, { spoil, gap, first }] of Object.entries(logs)) {
  storeTest(`a root log ${what}: what stands before counts, collection waits to be told`, async (folder) => {
    let store = await folder.open(hybrid);
    const ids = await putAll(
      store,
      Array.from({ length: 10 }, (_, i) => noise(100 + i, i)),
    );
    for (const [i, id] of ids.entries()) await store.roots.set(`root ${i}`, id);
    await store.close();
    const whole = readFileSync(folder.at('roots.log'));
    spoil(folder.at('roots.log'));
    const damaged = existsSync(folder.at('roots.log')) ? readFileSync(folder.at('roots.log')) : undefined;
    loseCatalog(folder);
    let result: RebuildResult;
    for (let round = 0; round < 2; round++) {
      result = await rebuild(folder);
      if (round === 0) assert.match(result.gap ?? '', gap);
      store = await folder.open({ mode: 'open' });
      await waits(store, gap);
      assert.equal(await store.roots.get('root 0'), first ? ids[0] : undefined);
      await store.roots.set(`round ${round}`, ids[0]!);
      assert.deepEqual(
        (await store.roots.log()).map(({ sequence }) => sequence),
        (await store.roots.log()).map((_, i) => i + 1),
      );
      await store.scrub();
      await waits(store, gap); // a scrub does not settle it
      assert.equal((await store.hasMany(ids)).size, 10);
      await store.close();
    }
    if (damaged !== undefined) {
      const kept = readdirSync(folder.at('quarantine')).filter((name) => name.startsWith('roots.log'));
      assert.ok(
        kept.some((name) => readFileSync(folder.at('quarantine', name)).equals(damaged)),
        'a copy of the log is kept',
      );
    }
    await rebuild(folder, { acceptGap: true });
    store = await folder.open({ mode: 'open' });
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
    assert.equal((await store.roots.list()).length, result!.roots + 1);
    assert.ok(whole.length > 0);
  });
}

storeTest('a log from an older copy is seen where the catalog is still there', async (folder) => {
  const store = await folder.open(hybrid);
  const ids: BlobId[] = await putAll(store, [noise(10), noise(20)], 'x');
  await store.close();
  copyFileSync(folder.at('roots.log'), join(folder.side, 'old'));
  const later = await folder.open({ mode: 'open' });
  await later.roots.set('main', ids[0]!);
  await later.close();
  copyFileSync(join(folder.side, 'old'), folder.at('roots.log'));
  assert.match(
    (await rebuild(folder)).gap ?? '',
    /ends with record 2; the catalog that was there knew of record 3/,
  );
});

storeTest('a copy in another volume, a second file: one is kept, the other goes', async (folder) => {
  const store = await folder.open(hybrid);
  const large = noise(50_000, 3);
  const { id } = await store.put(large, { owner: 'x' });
  const path = (await store.pathOf(id))!;
  await store.close();
  copyFileSync(path, path.replace(/\.[0-9a-f]+$/, '.abc'));
  loseCatalog(folder);
  const { damaged, blobs } = await rebuild(folder);
  assert.deepEqual([damaged, blobs], [[], 1]);
  assert.equal(folder.files('blobs').length, 2, 'nothing is removed while it is rebuilt');
  const opened = await folder.open({ mode: 'open' });
  assert.equal(folder.files('blobs').length, 1);
  assert.equal(Buffer.compare((await opened.get(id))!, large), 0);
});

storeTest('a node that was healed by a put of its plain bytes is a node again', async (folder) => {
  const store = await folder.open(hybrid);
  const leaf = await store.put(noise(30_000, 8));
  const node = await store.put(text('healed'), { links: [{ kind: 'raw', id: leaf.id }] });
  await store.roots.set('main', node.id);
  const bytes = (await store.get(node.id))!;
  await store.close();
  change(volumeFile(folder), (file) => {
    for (let at = file.indexOf('healed'); at >= 0; at = file.indexOf('healed', at + 1)) file[at]! ^= 1;
    return file;
  });
  const again = await folder.open({ mode: 'open' });
  await again.scrub();
  await again.put(bytes);
  await again.close();
  loseCatalog(folder);
  assert.equal((await rebuild(folder)).lostBlobs, 0);
  const opened = await folder.open({ mode: 'open' });
  assert.equal((await opened.stat(node.id))?.kind, 'node');
  assert.equal((await opened.stat(leaf.id))?.references, 1);
});
