/** Roots and owners: compare-and-swap, the log of every change, and the set that retain and release keep. */
import assert from 'node:assert/strict';
import { putAll, storeTest, text, withCode } from './store-folder.ts';

storeTest('a root is set, read, listed, moved and deleted, and outlives a reopening', async (folder) => {
  let store = await folder.open();
  const [a, b] = await putAll(store, [text('a'), text('b')]);
  assert.equal(await store.roots.get('main'), undefined);
  await store.roots.set('main', a!);
  await store.roots.set('other/näme 2', b!);
  assert.equal(await store.roots.get('main'), a);
  assert.deepEqual(
    (await store.roots.list()).map(({ name, id }) => [name, id]),
    [
      ['main', a],
      ['other/näme 2', b],
    ],
  );
  assert.deepEqual([(await store.stat(a!))?.references, (await store.stat(b!))?.references], [1, 1]);
  await store.roots.set('main', b!);
  assert.deepEqual([(await store.stat(a!))?.references, (await store.stat(b!))?.references], [0, 2]);
  await store.close();
  store = await folder.open();
  assert.equal(await store.roots.get('main'), b);
  assert.deepEqual([await store.roots.delete('main'), await store.roots.delete('main')], [true, false]);
  assert.deepEqual(
    [await store.roots.get('main'), (await store.stat(b!))?.references, (await store.stats()).roots],
    [undefined, 1, 1],
  );
});

storeTest('compare-and-swap: only the one who knows what is there moves it', async (folder) => {
  const store = await folder.open();
  const [a, b] = await putAll(store, [text('a'), text('b')]);
  await assert.rejects(store.roots.set('main', a!, { expect: b! }), withCode('conflict'));
  await store.roots.set('main', a!, { expect: null });
  await assert.rejects(store.roots.set('main', b!, { expect: null }), withCode('conflict'));
  await assert.rejects(store.roots.set('main', b!, { expect: b! }), withCode('conflict'));
  await store.roots.set('main', b!, { expect: a! });
  await assert.rejects(store.roots.delete('main', { expect: a! }), withCode('conflict'));
  assert.equal(await store.roots.get('main'), b);
  assert.equal(await store.roots.delete('main', { expect: b! }), true);
  assert.equal((await store.roots.log()).length, 3, 'a conflict is no change');
});

storeTest('of many who swap at once, one wins', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  const other = await folder.open({ threads: { count: 1 } });
  const ids = await putAll(
    store,
    Array.from({ length: 20 }, (_, i) => text(`v${i}`)),
  );
  const results = await Promise.allSettled(
    ids.map((id, i) => (i % 2 === 0 ? store : other).roots.set('main', id, { expect: null })),
  );
  const won = results.flatMap(({ status }, i) => (status === 'fulfilled' ? [ids[i]] : []));
  assert.deepEqual(won, [await store.roots.get('main')]);
});

storeTest('the log tells every change in order, and nothing that changed nothing', async (folder) => {
  let store = await folder.open();
  const [a, b] = await putAll(store, [text('a'), text('b')]);
  await store.roots.set('main', a!);
  await store.roots.set('main', a!);
  await store.retain(a!, 'app');
  await store.retain(a!, 'app');
  await store.release(b!, 'app');
  await store.release(a!, 'app');
  await store.put(text('c'), { owner: 'in one commit' });
  await store.roots.delete('main');
  await store.close();
  store = await folder.open();
  const log = await store.roots.log();
  assert.deepEqual(
    log.map(({ change, name }) => [change, name]),
    [
      ['set', 'main'],
      ['retain', 'app'],
      ['release', 'app'],
      ['retain', 'in one commit'],
      ['delete', 'main'],
    ],
  );
  assert.deepEqual(
    log.map(({ sequence }) => sequence),
    [1, 2, 3, 4, 5],
  );
  assert.deepEqual(
    (await store.roots.log({ after: 2, limit: 2 })).map(({ sequence }) => sequence),
    [3, 4],
  );
  assert.deepEqual(await store.roots.log({ after: 5 }), []);
  assert.ok(log.every(({ timeMs }) => Math.abs(timeMs - Date.now()) < 60_000));
});

storeTest(
  'owners are a set: retaining twice is once, releasing what is not held is false',
  async (folder) => {
    const store = await folder.open();
    const { id } = await store.put(text('a'));
    assert.deepEqual(
      [await store.retain(id, 'x'), await store.retain(id, 'x'), await store.retain(id, 'y')],
      [true, false, true],
    );
    assert.equal((await store.stat(id))?.references, 2);
    assert.deepEqual(
      [await store.release(id, 'z'), await store.release(id, 'x'), await store.release(id, 'x')],
      [false, true, false],
    );
    assert.equal((await store.stat(id))?.references, 1);
    const results = await Promise.all(Array.from({ length: 100 }, () => store.retain(id, 'many')));
    assert.equal(results.filter(Boolean).length, 1);
    assert.equal((await store.stat(id))?.references, 2);
  },
);

storeTest('a root, an owner and a node of one name are three references', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(text('a'), { owner: 'main' });
  await store.roots.set('main', id);
  await store.put(text('node'), { links: [{ kind: 'raw', id }], owner: 'n' });
  assert.equal((await store.stat(id))?.references, 3);
  await store.release(id, 'main');
  await store.roots.delete('main');
  assert.equal((await store.stat(id))?.references, 1);
});

storeTest('names that cannot be names are invalid arguments', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(text('a'), { owner: 'x'.repeat(1024) });
  for (const name of ['', 'x'.repeat(1025), 'é'.repeat(513), 'nul\0', '\ud800', 7, null, undefined]) {
    const bad = name as string;
    await assert.rejects(store.roots.set(bad, id), withCode('invalid-argument'), String(name).slice(0, 20));
    await assert.rejects(store.roots.get(bad), withCode('invalid-argument'));
    await assert.rejects(store.roots.delete(bad), withCode('invalid-argument'));
    await assert.rejects(store.retain(id, bad), withCode('invalid-argument'));
    await assert.rejects(store.release(id, bad), withCode('invalid-argument'));
  }
});
