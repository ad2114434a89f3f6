// Who has the bytes was told to keep them, whichever alternate that is by now; and what only an alternate knows of a node is not made up.
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { BlobRow } from '../../engine/catalog/blob-rows.ts';
import type { Transaction } from '../../engine/catalog/catalog.ts';
import { fromHex } from '../../engine/codec/bytes.ts';
import { borrowFirst, checkBorrowed } from '../../engine/commit/borrow.ts';
import type { CommitOperation } from '../../engine/commit/operations.ts';
import { type Store, rebuildStore } from '../../engine/index.ts';
import { openCatalogOf } from './open-catalog.ts';
import { type StoreFolder, same, sha256, storeTest, text, withCode } from './store-folder.ts';
import { type Base, closeOthers, openBeside, overBase, releaseAll, smallContents } from './tenants.ts';

/** A store that has the first blob, and is found over another one only. */
async function behindAnother(folder: StoreFolder): Promise<{ readonly near: string; readonly deep: Store }> {
  const deep = await openBeside(folder, 'deep');
  await deep.put(smallContents[0]!, { owner: 'x' });
  const near = await openBeside(folder, 'near');
  await near.alternates.add(join(folder.side, 'deep'));
  return { near: join(folder.side, 'near'), deep };
}

/** All that holds it there now is what other stores borrow. */
async function collectIn(store: Store): Promise<number> {
  await store.release(sha256(smallContents[0]!), 'x');
  return (await store.gc({ graceMs: 0 })).deleted;
}

storeTest(
  'an alternate is removed only once the one that has the blob instead was told to keep it',
  overBase(async (folder, base) => {
    const store = await folder.open();
    await store.alternates.add(base.path);
    await store.put(smallContents[0]!, { owner: 'me' });
    const { near, deep } = await behindAnother(folder);
    await store.alternates.add(near);
    await store.alternates.remove(base.path);
    assert.equal(await collectIn(deep), 0);
    same(await store.get(base.small[0]!), smallContents[0]!);
  }),
);

storeTest(
  'a put that relies on another alternate than the blob was borrowed from tells that one',
  overBase(async (folder, base) => {
    const store = await folder.open();
    await store.alternates.add(base.path);
    const { id } = await store.put(smallContents[0]!, { owner: 'me' });
    const { near, deep } = await behindAnother(folder);
    await store.alternates.add(near);
    for (const borrower of await base.store.alternates.borrowers())
      await base.store.alternates.forget(borrower.id);
    await releaseAll(base);
    assert.ok((await base.store.gc({ graceMs: 0 })).deleted > 0);
    await store.put(smallContents[0]!, { owner: 'me' });
    await collectIn(deep);
    same(await store.get(id), smallContents[0]!);
  }),
);

storeTest(
  'another alternate that has the bytes of a borrowed node, and not the node, is none to go on with',
  overBase(async (folder, base) => {
    const store = await folder.open();
    await store.alternates.add(base.path);
    await store.retain(base.outer, 'me');
    const other = await openBeside(folder, 'other');
    await other.put((await base.store.get(base.outer))!, { owner: 'x' });
    await store.alternates.add(join(folder.side, 'other'));
    await assert.rejects(store.alternates.remove(base.path), withCode('conflict'));
    await releaseAll(base);
    await base.store.gc({ graceMs: 0 });
    same(await store.get(base.small[0]!), smallContents[0]!);
  }),
);

storeTest(
  'an alternate is removed under the write lock: nobody borrows from it meanwhile',
  overBase(async (folder, base) => {
    const store = await folder.open();
    await store.alternates.add(base.path);
    await store.put(text('its own'), { owner: 'me' });
    await folder.closeAll();
    const threaded = await folder.open({ threads: { count: 1 } });
    const another = new Database(folder.at('index.db'));
    another.exec('BEGIN IMMEDIATE');
    let released = false;
    const removed = threaded.alternates.remove(base.path).then(() => released);
    await new Promise((resolve) => setTimeout(resolve, 500));
    released = true;
    another.exec('COMMIT');
    another.close();
    assert.equal(await removed, true);
  }),
);

async function asMereBytes(folder: StoreFolder, base: Base, hold: boolean): Promise<void> {
  const store = await folder.open();
  await store.alternates.add(base.path);
  const bytes = (await base.store.get(base.outer))!;
  await store.retain(base.outer, 'me');
  if (!hold) {
    await store.release(base.outer, 'me');
    await store.roots.set('tree', base.outer);
    await store.roots.delete('tree');
    assert.equal((await store.roots.deleted()).length, 1);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await closeOthers(folder);
  renameSync(base.path, `${base.path}.away`);
  const put = store.put(bytes, { owner: 'again' });
  if (hold) await assert.rejects(put, withCode('unavailable'));
  else assert.equal((await put).deduplicated, false);
  mkdirSync(base.path, { recursive: true });
  rmSync(base.path, { recursive: true });
  renameSync(`${base.path}.away`, base.path);
  const again = await openBeside(folder, 'base');
  await releaseAll({ ...base, store: again });
  const { deleted } = await again.gc({ graceMs: 0 });
  if (hold) {
    assert.equal((await store.getNode(base.outer))!.links.length, 1);
    same(await store.get(base.small[0]!), smallContents[0]!);
  } else {
    assert.equal(deleted, 10);
    assert.equal((await store.stat(base.outer))!.kind, 'raw');
    assert.deepEqual(await store.roots.deleted(), [], 'what it led to is not here');
    same(await store.get(base.outer), bytes);
  }
}

storeTest(
  'while the alternate is away, the bytes of a borrowed node that something holds do not take its place without what it links to',
  overBase((folder, base) => asMereBytes(folder, base, true)),
);

storeTest(
  'nothing holds the borrowed node: its bytes are put as what they are put as',
  overBase((folder, base) => asMereBytes(folder, base, false)),
);

storeTest(
  'a borrower that a rebuild could not bring back whole stops collection until that is accepted',
  overBase(async (folder, base) => {
    const store = await folder.open();
    await store.alternates.add(base.path);
    await store.put(text('mine'), { links: [{ kind: 'raw', id: base.small[0]! }], owner: 'me' });
    await folder.closeAll();
    rmSync(folder.at('roots.log'));
    rmSync(folder.at('index.db'));
    await rebuildStore(folder.path, { threads: { count: 0 } });
    await releaseAll(base);
    const { deleted, blocked } = await base.store.gc({ graceMs: 0 });
    assert.match(blocked ?? '', /accept-gap/);
    assert.equal(deleted, 0);
    await rebuildStore(folder.path, { threads: { count: 0 }, acceptGap: true });
    assert.equal((await base.store.gc({ graceMs: 0 })).blocked, undefined);
  }),
);

storeTest(
  'a borrower that was moved tells where it lies now by adding the alternate again',
  overBase(async (folder, base) => {
    const store = await folder.open();
    await store.alternates.add(base.path);
    await store.put(smallContents[0]!, { owner: 'me' });
    await folder.closeAll();
    renameSync(folder.path, join(folder.side, 'moved'));
    folder.leavesNoStore();
    const moved = await openBeside(folder, 'moved');
    await moved.alternates.add(base.path);
    const { id } = (await base.store.alternates.borrowers())[0]!;
    assert.equal(await base.store.alternates.forget(id, folder.path), 1);
    await releaseAll(base);
    await base.store.gc({ graceMs: 0 });
    same(await moved.get(base.small[0]!), smallContents[0]!);
  }),
);

storeTest(
  'what turns out to be going is taken back, but not from another who has put it meanwhile',
  async (folder) => {
    await (await folder.open()).close();
    const catalog = openCatalogOf(folder.path);
    const lent = { kind: 0, size: 100, lender: '0'.repeat(32) };
    /** Another process, between the borrowing and the second look. */
    const others: Readonly<Record<string, (transaction: Transaction, row: BlobRow) => void>> = {
      nobody: () => undefined,
      'has put it again': (transaction, row) => transaction.touch(row),
      'has stored its own': (transaction, row) => {
        catalog.blobs.update(Object.assign(row, { codec: 0, stored: 100, volume: 1 }));
        transaction.changed = true;
      },
    };
    for (const [other, work] of Object.entries(others)) {
      const id = sha256(other);
      let looks = 0;
      const alternates = {
        look() {
          if (++looks === 2)
            catalog.transaction((transaction) => work(transaction, catalog.blobs.byId(fromHex(id)!)!));
          return true;
        },
        lend: () => lent,
        stillLends: () => false,
      };
      borrowFirst(catalog, alternates, [
        { op: 'retain', id, owner: { key: 'me', shown: 'me' } } as unknown as CommitOperation,
      ]);
      assert.equal(looks, 2);
      const row = catalog.blobs.byId(fromHex(id)!);
      assert.equal(row !== undefined, other !== 'nobody', other);
      if (row === undefined) continue;
      catalog.transaction((transaction) => {
        catalog.blobs.delete(row);
        transaction.changed = true;
      });
    }
    // What is not put yet may be taken back: nobody may refer to it unless the lender says that it stays.
    const early = sha256('early');
    catalog.transaction((transaction) => transaction.borrow(early, lent));
    const fresh = catalog.blobs.byId(fromHex(early)!)!;
    const says = (held: boolean): { holds(): boolean } => ({ holds: () => held });
    assert.throws(() => checkBorrowed(catalog, says(false), fresh), withCode('unavailable'));
    assert.throws(() => checkBorrowed(catalog, undefined, fresh), withCode('unavailable'));
    checkBorrowed(catalog, says(true), fresh);
    catalog.transaction((transaction) => transaction.touch(fresh));
    const put = catalog.blobs.byId(fromHex(early)!)!;
    checkBorrowed(catalog, says(false), put);
    catalog.transaction((transaction) => {
      catalog.blobs.delete(put);
      transaction.changed = true;
    });
    // Another was faster by a whole put: its row is not ours to take back.
    const id = sha256('faster');
    const faster = { look: () => true, lend, stillLends: () => false };
    function lend(): typeof lent {
      catalog.transaction((transaction) => transaction.borrow(id, lent));
      return lent;
    }
    borrowFirst(catalog, faster, [
      { op: 'retain', id, owner: { key: 'me', shown: 'me' } } as unknown as CommitOperation,
    ]);
    const row = catalog.blobs.byId(fromHex(id)!);
    assert.ok(row !== undefined);
    catalog.transaction((transaction) => {
      catalog.blobs.delete(row);
      transaction.changed = true;
    });
    catalog.close();
  },
);

storeTest(
  'a borrower in which a borrowed blob is not found by its id is damaged, and stops collection',
  overBase(async (folder, base) => {
    const store = await folder.open();
    await store.alternates.add(base.path);
    await store.put(smallContents[0]!, { owner: 'me' });
    await folder.closeAll();
    await releaseAll(base);
    // As a flipped bit in a page of the index would have it: the row holds, and nobody gets to it.
    folder.edit((db) => db.prepare('UPDATE blobs SET prefix = prefix + 1 WHERE codec = 3').run());
    const { deleted, blocked } = await base.store.gc({ graceMs: 0 });
    assert.match(blocked ?? '', /is damaged/);
    assert.equal(deleted, 0);
    folder.edit((db) => db.prepare('UPDATE blobs SET prefix = prefix - 1 WHERE codec = 3').run());
    assert.equal((await base.store.gc({ graceMs: 0 })).blocked, undefined);
    same(await (await folder.open()).get(base.small[0]!), smallContents[0]!);
  }),
);
