// Alternates: what each call does with a blob that another store has, and what is borrowed, kept, and copied in.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { nodeProvider, openStore, rebuildStore } from '../../engine/index.ts';
import { decodeSuperblock, encodeSuperblock } from '../../engine/codec/superblock.ts';
import {
  collect,
  noise,
  same,
  smallParameters,
  storeTest,
  text,
  unknownId,
  withCode,
} from './store-folder.ts';
import {
  closeOthers,
  largeContents,
  makeBase,
  openBeside,
  overBase,
  releaseAll,
  smallContents,
} from './tenants.ts';

storeTest(
  'a blob of an alternate is had, told and read by range and as a stream; it is not in the list',
  overBase(async (folder, base) => {
    // On threads of its own; the others run on this one.
    const store = await folder.open({ alternates: [base.path], threads: { count: 2 } });
    same(await store.get(base.small[0]!), smallContents[0]!);
    same(await store.get(base.large[1]!), largeContents[1]!);
    same(await store.readRange(base.large[0]!, 5000, 9000), largeContents[0]!.subarray(5000, 14_000));
    const pieces = await collect((await store.stream(base.large[0]!))!);
    same(Buffer.concat(pieces), largeContents[0]!);
    const target = join(folder.side, 'exported');
    assert.equal(await store.exportTo({ id: base.large[0]!, path: target }), true);
    same(readFileSync(target), largeContents[0]!);
    assert.deepEqual((await store.getNode(base.outer))!.links, [{ kind: 'node', id: base.inner }]);
    assert.equal(await store.has(base.inner), true);
    assert.deepEqual(
      [...(await store.hasMany([base.inner, unknownId, base.small[1]!]))],
      [base.inner, base.small[1]],
    );
    const stat = (await store.stat(base.small[2]!))!;
    assert.deepEqual([stat.borrowed, stat.size, stat.storedSize, stat.references], [true, 700, 0, 0]);
    assert.deepEqual(await collect(store.list()), []);
    assert.equal(await store.pathOf(base.large[0]!), undefined);
    assert.equal(await store.get(unknownId), undefined);
  }),
);

storeTest(
  'a put of what an alternate has stores nothing, and what is borrowed holds it there',
  overBase(async (folder, base) => {
    const store = await folder.open({ alternates: [base.path] });
    for (const [i, bytes] of [...smallContents, ...largeContents].entries()) {
      const put = await store.put(bytes, { owner: 'me' });
      assert.deepEqual([put.deduplicated, put.storedSize], [true, 0], String(i));
    }
    // Nobody holds it here, and it takes no room here.
    await store.put(text('held'), { owner: 'me' });
    await base.store.put(text('borrowed, and let go of'), { owner: 'it' });
    await store.put(text('borrowed, and let go of'));
    const { storedBytes, unreferenced } = await store.stats();
    assert.deepEqual([storedBytes > 0, unreferenced], [true, 0]);
    // By a link, by a root, by an owner.
    const mine = await store.put(text('mine'), { links: [{ kind: 'node', id: base.outer }], owner: 'me' });
    assert.equal(mine.deduplicated, false);
    await store.roots.set('main', base.inner);
    assert.deepEqual((await store.stat(base.outer))!.references, 1);
    assert.deepEqual((await store.stat(base.inner))!.references, 1);
    await releaseAll(base);
    assert.equal((await base.store.gc({ graceMs: 0 })).deleted, 0);
    for (const [i, id] of base.small.entries()) same(await store.get(id), smallContents[i]!);
    // What is let go of here is let go of there.
    for (const id of [...base.small.slice(1), base.large[1]!]) await store.release(id, 'me');
    assert.equal((await store.gc({ graceMs: 0 })).deleted, 7);
    const dry = await base.store.gc({ graceMs: 0, dryRun: true });
    assert.equal(dry.deleted, 6);
    assert.equal((await base.store.gc({ graceMs: 0 })).deleted, 6);
    assert.deepEqual((await base.store.scrub()).damaged, []);
    same(await store.get(base.large[0]!), largeContents[0]!);
  }),
);

storeTest(
  'what an alternate believes damaged, has lost, has only as bytes, or is about to delete is stored here',
  overBase(async (folder, base) => {
    const store = await folder.open({ alternates: [base.path] });
    const file = (await base.store.stat(base.large[0]!))!.path!;
    rmSync(file);
    assert.equal((await store.put(largeContents[0]!, { owner: 'me' })).deduplicated, false);
    await assert.rejects(base.store.get(base.large[0]!), withCode('corrupt'));
    const child = (await store.getNode(base.outer))!;
    const node = await base.store.put((await base.store.get(base.outer))!, { owner: 'x' });
    assert.equal(node.id, base.outer);
    const other = text('only bytes there');
    const encoded = await folder.open().then(async (mine) => {
      const { id } = await mine.put(other, { links: child.links, owner: 'me' });
      return (await mine.get(id))!;
    });
    await base.store.put(encoded, { owner: 'x' });
    const again = await openBeside(folder, 'second', { alternates: [base.path] });
    assert.equal((await again.put(other, { links: child.links, owner: 'me' })).deduplicated, false);
    await base.store.close();
    const db = new Database(join(base.path, 'index.db'));
    db.exec(`INSERT INTO dying SELECT n, 'somebody' FROM blobs`);
    db.close();
    assert.equal((await store.put(smallContents[0]!, { owner: 'me' })).deduplicated, false);
  }),
);

storeTest(
  'an alternate that is away: unknown is not absent, puts store here, collection waits, and it comes back',
  overBase(async (folder, base) => {
    const store = await folder.open({ alternates: [base.path] });
    await store.put(smallContents[0]!, { owner: 'me' });
    const gone = `${base.path}.gone`;
    renameSync(base.path, gone);
    const calls = [
      () => store.get(base.small[0]!),
      () => store.get(unknownId),
      () => store.has(unknownId),
      () => store.hasMany([unknownId]),
      () => store.stat(unknownId),
      () => store.stream(base.small[1]!),
      () => store.retain(base.small[1]!, 'me'),
      () => store.roots.set('main', base.small[1]!),
      () => store.put(text('a node'), { links: [{ kind: 'raw', id: base.small[1]! }] }),
    ];
    for (const call of calls) await assert.rejects(call(), withCode('unavailable'), String(call));
    assert.match((await store.alternates.list())[0]!.problem!, /no store/);
    const { state, reasons } = await store.health();
    assert.deepEqual([state, reasons.length], ['broken', 1]);
    assert.equal((await store.put(smallContents[1]!, { owner: 'me' })).deduplicated, false);
    same(await store.get(base.small[1]!), smallContents[1]!);
    const loose = await store.put(text('loose'));
    const { deleted, blocked } = await store.gc({ graceMs: 0 });
    assert.equal(deleted, 0);
    assert.match(blocked!, /no store/);
    assert.equal(await store.stat(base.small[0]!).then((stat) => stat?.borrowed), true);
    const scrubbed = await store.scrub();
    assert.deepEqual([scrubbed.unreachable, scrubbed.damaged], [1, []]);
    await folder.closeAll();
    const reopened = await folder.open({ alternates: [base.path] });
    renameSync(gone, base.path);
    same(await reopened.get(base.small[0]!), smallContents[0]!);
    assert.equal((await reopened.gc({ graceMs: 0 })).deleted, 1);
    assert.equal(await reopened.get(loose.id), undefined);
    assert.equal((await reopened.scrub()).unreachable, 0);
  }),
);

storeTest(
  'chains are followed, cycles and more than eight stores refused, whoever adds them',
  async (folder) => {
    try {
      const base = await makeBase(folder);
      let before = base.path;
      for (let i = 1; i < 8; i++) {
        await openBeside(folder, `link${i}`, { alternates: [before] });
        before = join(folder.side, `link${i}`);
      }
      const store = await folder.open({ alternates: [before] });
      assert.equal((await store.alternates.list()).length, 8);
      assert.equal((await store.put(smallContents[0]!, { owner: 'me' })).deduplicated, true);
      // The one that has the bytes was told.
      assert.deepEqual(
        (await base.store.alternates.borrowers()).map(({ path }) => path).includes(folder.path),
        true,
      );
      await releaseAll(base);
      await base.store.gc({ graceMs: 0 });
      same(await store.get(base.small[0]!), smallContents[0]!);
      await openBeside(folder, 'ninth');
      await assert.rejects(store.alternates.add(join(folder.side, 'ninth')), withCode('limit-exceeded'));
      await assert.rejects(base.store.alternates.add(folder.path), withCode('conflict'));
      await assert.rejects(store.alternates.add(folder.path), withCode('conflict'));
      assert.equal((await base.store.alternates.list()).length, 0);
    } finally {
      await closeOthers(folder);
    }
  },
);

storeTest(
  'a newer store, an encrypted one, an encrypted borrower and what is no store are refused',
  overBase(async (folder, base) => {
    const encryption = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(7) } } as const;
    const sealed = await openBeside(folder, 'sealed', { encryption });
    const store = await folder.open();
    await assert.rejects(store.alternates.add(join(folder.side, 'sealed')), withCode('wrong-key'));
    await assert.rejects(sealed.alternates.add(base.path), withCode('wrong-key'));
    await assert.rejects(store.alternates.add(join(folder.side, 'nothing')), withCode('not-a-store'));
    await assert.rejects(store.alternates.add(''), withCode('invalid-argument'));
    await store.alternates.add(base.path);
    await base.store.close();
    const path = join(base.path, 'superblock');
    const superblock = decodeSuperblock(nodeProvider, readFileSync(path));
    writeFileSync(path, encodeSuperblock(nodeProvider, { ...superblock, incompat: ['of-tomorrow'] }));
    await assert.rejects(store.get(unknownId), withCode('unavailable'));
    await folder.closeAll();
    const other = await openBeside(folder, 'other');
    await assert.rejects(other.alternates.add(base.path), withCode('incompatible-format'));
  }),
);

storeTest(
  'immutable: nothing is written to it; a read-only opening searches and remembers nothing',
  overBase(async (folder, base) => {
    const store = await folder.open();
    await store.alternates.add(base.path, { immutable: true });
    assert.equal((await store.put(smallContents[0]!, { owner: 'me' })).deduplicated, true);
    assert.equal(readdirSync(base.path).includes('borrowers'), false);
    await assert.rejects(store.alternates.remove(base.path), withCode('conflict'));
    await store.release(base.small[0]!, 'me');
    await store.gc({ graceMs: 0 });
    await store.alternates.remove(base.path);
    assert.deepEqual(await store.alternates.list(), []);
    await folder.closeAll();
    const reader = await openStore(folder.path, {
      mode: 'read-only',
      threads: { count: 0 },
      alternates: [base.path],
    });
    same(await reader.get(base.large[0]!), largeContents[0]!);
    await assert.rejects(reader.alternates.add(base.path), withCode('forbidden'));
    await reader.close();
    assert.equal(await (await folder.open()).get(base.large[0]!), undefined);
  }),
);

storeTest(
  'a lost catalog, made again, knows what was borrowed; one that lost its newest commits is told by the log',
  overBase(async (folder, base) => {
    const store = await folder.open({ alternates: [base.path] });
    await store.put(smallContents[0]!, { owner: 'me' });
    await folder.closeAll();
    copyFileSync(folder.at('index.db'), join(folder.side, 'older.db'));
    const later = await folder.open();
    await later.put(smallContents[1]!, { owner: 'me' });
    await later.put(text('mine'), { links: [{ kind: 'node', id: base.outer }], owner: 'me' });
    await folder.closeAll();
    copyFileSync(join(folder.side, 'older.db'), folder.at('index.db'));
    const regressed = await folder.open();
    assert.equal((await regressed.stat(base.small[1]!))!.references, 1);
    assert.equal((await regressed.stat(base.outer))!.references, 1);
    await folder.closeAll();
    rmSync(folder.at('index.db'));
    const result = await rebuildStore(folder.path, { threads: { count: 0 } });
    assert.deepEqual([result.lostBlobs, result.gap], [0, undefined]);
    const rebuilt = await folder.open();
    for (const id of [base.small[0]!, base.small[1]!, base.outer])
      assert.deepEqual(await rebuilt.stat(id).then((stat) => [stat?.references, stat?.borrowed]), [1, true]);
    await releaseAll(base);
    await base.store.gc({ graceMs: 0 });
    same(await rebuilt.get(base.small[1]!), smallContents[1]!);
    assert.equal((await rebuilt.getNode(base.inner))!.links.length, 2);
  }),
);

/** A hundred take a minute of disk time on a slow machine, and cost the same each. */
const tenants = 20;

storeTest('many stores over one base cost the base and their differences', async (folder) => {
  folder.leavesNoStore();
  try {
    const base = await openBeside(folder, 'base', { durability: 'relaxed' });
    const contents = Array.from({ length: 20 }, (_, i) => noise(4000, 500 + i));
    for (const bytes of contents) await base.put(bytes, { owner: 'x' });
    const whole = (await base.stats()).storedBytes;
    let more = 0;
    for (let i = 0; i < tenants; i++) {
      const path = join(folder.side, `tenant${i}`);
      const tenant = await openStore(path, {
        threads: { count: 0 },
        durability: 'relaxed',
        parameters: smallParameters,
        alternates: [join(folder.side, 'base')],
      });
      const puts = await Promise.all(contents.map((bytes) => tenant.put(bytes, { owner: 'me' })));
      assert.equal(
        puts.every(({ deduplicated }) => deduplicated),
        true,
      );
      await tenant.put(noise(1000, 9000 + i), { owner: 'me' });
      more += (await tenant.stats()).storedBytes;
      await tenant.close();
    }
    assert.ok(whole >= 80_000 && more < tenants * 1200, `${whole} and ${more} bytes`);
    assert.equal((await base.alternates.borrowers()).length, tenants);
    for await (const { id } of base.list()) await base.release(id, 'x');
    assert.equal((await base.gc({ graceMs: 0 })).deleted, 0);
  } finally {
    await closeOthers(folder);
  }
});

storeTest('a base that was moved is added again from where it is', async (folder) => {
  try {
    const base = await makeBase(folder);
    const store = await folder.open({ alternates: [base.path] });
    await store.put(smallContents[0]!, { owner: 'me' });
    await closeOthers(folder);
    const moved = join(folder.side, 'elsewhere');
    renameSync(base.path, moved);
    mkdirSync(base.path);
    await assert.rejects(store.get(base.small[0]!), withCode('unavailable'));
    await store.alternates.add(moved);
    assert.equal((await store.alternates.list()).length, 1);
    same(await store.get(base.small[0]!), smallContents[0]!);
    assert.ok(statSync(join(moved, 'borrowers')).isDirectory());
  } finally {
    await closeOthers(folder);
  }
});
