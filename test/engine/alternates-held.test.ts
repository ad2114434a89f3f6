// What holds borrowed blobs in the store that has them, whatever becomes of the borrower; and dissociation, finished or killed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { type BlobId, type Store, openStore } from '../../engine/index.ts';
import { collect, noise, same, storeTest, text, withCode } from './store-folder.ts';
import { largeContents, makeBase, openBeside, overBase, releaseAll, smallContents } from './tenants.ts';

/** Collects in the base, and says why it did not. */
async function blocked(base: Store): Promise<string | undefined> {
  const { deleted, blocked: why } = await base.gc({ graceMs: 0 });
  if (why !== undefined) assert.equal(deleted, 0);
  return why;
}

storeTest(
  'a borrower that cannot be asked stops collection in the base until it can be, or is forgotten',
  overBase(async (folder, base) => {
    const store = await folder.open({ alternates: [base.path] });
    await store.put(smallContents[0]!, { owner: 'me' });
    await folder.closeAll();
    await releaseAll(base);
    const away = `${folder.path}.away`;
    renameSync(folder.path, away);
    assert.match(
      (await blocked(base.store))!,
      /borrows from this store and cannot be asked.*there is no store/,
    );
    assert.match((await base.store.gc({ graceMs: 0, dryRun: true })).blocked!, /cannot be asked/);
    // Another store in its place is no answer.
    await (await openStore(folder.path, { threads: { count: 0 } })).close();
    assert.match((await blocked(base.store))!, /another store is in its place/);
    rmSync(folder.path, { recursive: true });
    renameSync(away, folder.path);
    // A catalog that is gone, and one whose rows are not what was written.
    renameSync(folder.at('index.db'), folder.at('index.gone'));
    assert.match((await blocked(base.store))!, /cannot be asked/);
    renameSync(folder.at('index.gone'), folder.at('index.db'));
    const row = 'SELECT size FROM blobs WHERE codec = 3';
    const size = new Database(folder.at('index.db')).prepare(row).pluck().get() as number;
    folder.edit((db) => db.prepare('UPDATE blobs SET size = 1 WHERE codec = 3').run());
    assert.match((await blocked(base.store))!, /damaged/);
    folder.edit((db) => db.prepare('UPDATE blobs SET size = ? WHERE codec = 3').run(size));
    cpSync(folder.at('index.db'), folder.at('index.whole'));
    folder.edit((db) => db.prepare('DELETE FROM blobs WHERE codec = 3').run());
    assert.match((await blocked(base.store))!, /damaged/);
    for (const end of ['-wal', '-shm']) rmSync(folder.at(`index.db${end}`), { force: true });
    renameSync(folder.at('index.whole'), folder.at('index.db'));
    const registered = readdirSync(join(base.path, 'borrowers'))[0]!;
    const note = join(base.path, 'borrowers', registered);
    const whole = readFileSync(note);
    writeFileSync(note, whole.subarray(1));
    assert.match((await blocked(base.store))!, /is damaged/);
    writeFileSync(note, whole);
    assert.equal(await blocked(base.store), undefined);
    const again = await folder.open();
    same(await again.get(base.small[0]!), smallContents[0]!);
    const { id } = (await base.store.alternates.borrowers())[0]!;
    await assert.rejects(base.store.alternates.forget('nobody'), withCode('invalid-argument'));
    assert.equal(await base.store.alternates.forget(id, join(folder.side, 'elsewhere')), 0);
    assert.equal(await base.store.alternates.forget(id), 1);
    assert.equal((await base.store.gc({ graceMs: 0 })).deleted, 1);
    // It was told so: the borrower finds out, and says which blob.
    const { damaged } = await again.scrub();
    assert.deepEqual(
      damaged.map(({ id: lost, reason }) => [lost, reason]),
      [[base.small[0], 'no alternate has it any more']],
    );
    await assert.rejects(again.get(base.small[0]!), withCode('corrupt'));
    assert.equal((await again.put(smallContents[0]!)).deduplicated, false);
    same(await again.get(base.small[0]!), smallContents[0]!);
  }),
);

storeTest(
  'who was registered and died before it borrowed holds nothing and stops nothing; a copy of a borrower is asked too',
  overBase(async (folder, base) => {
    const store = await folder.open({ alternates: [base.path] });
    await releaseAll(base);
    await base.store.retain(base.small[1]!, 'x');
    assert.equal(await blocked(base.store), undefined);
    assert.deepEqual(
      (await collect(base.store.list())).map(({ id }) => id),
      [base.small[1]],
    );
    await store.put(smallContents[1]!, { owner: 'me' });
    await folder.closeAll();
    const copy = join(folder.side, 'copy');
    cpSync(folder.path, copy, { recursive: true });
    const second = await openBeside(folder, 'copy');
    await second.put(text('its own'), { links: [{ kind: 'raw', id: base.small[1]! }], owner: 'me' });
    const first = await folder.open();
    await first.release(base.small[1]!, 'me');
    await first.gc({ graceMs: 0 });
    await base.store.release(base.small[1]!, 'x');
    // The first has it no more; the copy was never registered from where it lies, until it borrows.
    assert.equal((await base.store.alternates.borrowers()).length, 1);
    await base.store.put(smallContents[2]!);
    await second.put(smallContents[2]!, { owner: 'me' });
    assert.equal((await base.store.alternates.borrowers()).length, 2);
    assert.equal((await base.store.gc({ graceMs: 0 })).deleted, 0);
    same(await second.get(base.small[1]!), smallContents[1]!);
  }),
);

storeTest(
  'dissociation copies everything in, children before their parents, and the base is free again',
  overBase(async (folder, base) => {
    const store = await folder.open({ alternates: [base.path] });
    await store.put(smallContents[3]!, { owner: 'me' });
    await store.put(largeContents[1]!, { owner: 'me' });
    await store.put(text('mine'), { links: [{ kind: 'node', id: base.outer }], owner: 'me' });
    await assert.rejects(store.alternates.remove(base.path), withCode('conflict'));
    const stopped = new AbortController();
    await assert.rejects(
      store.dissociate({
        signal: stopped.signal,
        onProgress: ({ blobs }) => blobs === 1 && stopped.abort(new Error('enough')),
      }),
      /enough/,
    );
    assert.equal((await store.alternates.list()).length, 1);
    const { blobs } = await store.dissociate();
    assert.equal(blobs, 5);
    assert.deepEqual([await store.alternates.list(), await base.store.alternates.borrowers()], [[], []]);
    await releaseAll(base);
    assert.equal((await base.store.gc({ graceMs: 0 })).deleted, 10);
    same(await store.get(base.small[3]!), smallContents[3]!);
    same(await store.get(base.small[0]!), smallContents[0]!);
    same(await store.get(base.large[0]!), largeContents[0]!);
    assert.equal((await store.getNode(base.outer))!.links.length, 1);
    assert.deepEqual(
      [(await store.stat(base.inner))!.references, (await store.stat(base.small[0]!))!.references],
      [1, 1],
    );
  }),
);

storeTest(
  'dissociation that was killed goes on where it was',
  overBase(async (folder, base) => {
    const store = await folder.open({ alternates: [base.path] });
    const ids: BlobId[] = [];
    for (let i = 0; i < 12; i++) {
      const bytes = noise(i % 3 === 0 ? 30_000 : 600, 700 + i);
      await base.store.put(bytes, { owner: 'x' });
      ids.push((await store.put(bytes, { owner: 'me' })).id);
    }
    await folder.closeAll();
    const child = spawnSync(process.execPath, [
      join(import.meta.dirname, 'dissociate-child.ts'),
      folder.path,
      '5',
    ]);
    assert.equal(child.signal, 'SIGKILL', child.stderr.toString());
    const again = await folder.open();
    const borrowed = (await collect(again.list())).filter((stat) => stat.borrowed).length;
    assert.ok(borrowed > 0 && borrowed <= 7, `${borrowed} left`);
    assert.equal((await base.store.gc({ graceMs: 0 })).deleted, 0);
    assert.equal((await again.dissociate()).blobs, borrowed);
    for await (const { id } of base.store.list()) await base.store.release(id, 'x');
    await base.store.gc({ graceMs: 0 });
    for (const [i, id] of ids.entries())
      same(await again.get(id), noise(i % 3 === 0 ? 30_000 : 600, 700 + i));
  }),
);

storeTest(
  'a base that collects says so first: whoever borrows at that moment stores its own',
  async (folder) => {
    const base = await makeBase(folder, 'base');
    const store = await folder.open({ alternates: [base.path] });
    try {
      // Between the mark and the deletion, as another process would see it.
      await base.store.put(smallContents[0]!);
      const puts = await Promise.all([
        ...smallContents.map((bytes) => store.put(bytes, { owner: 'me' })),
        (async () => {
          await releaseAll(base);
          await base.store.gc({ graceMs: 0 });
        })(),
      ]);
      assert.equal(puts.length, 7);
      for (const [i, id] of base.small.entries()) same(await store.get(id), smallContents[i]!);
    } finally {
      await base.store.close();
    }
  },
);
