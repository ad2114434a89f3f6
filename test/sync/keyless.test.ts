/** Replicas without keys: they take a realm's roots by locators from whoever has them, give them on, heal, and are opened by the secret. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type OpenOptions, type Secret, type Store, openStore } from '../../engine/index.ts';
import { SealedSink } from '../../sync/peers/sealed-sink.ts';
import { type PullOptions, pair, pull, push, serve } from '../../sync/index.ts';
import { noise, smallParameters, storeTest, text, withCode } from '../engine/store-folder.ts';
import { setTree } from './stores.ts';

const secret: Secret = { kind: 'raw-key', key: new Uint8Array(32).fill(5) };
const inline = { threads: { count: 0 } } as const;
const by = 'locators' as const;

async function over(
  from: Store,
  to: Store,
  how: 'pull' | 'push',
  options: PullOptions = {},
): ReturnType<typeof pull> {
  const [near, far] = pair();
  const serving = serve(how === 'pull' ? from : to, far).catch(() => undefined);
  try {
    return await (how === 'pull' ? pull(to, near, { by, ...options }) : push(from, near, { by, ...options }));
  } finally {
    await serving;
  }
}

const shapes: readonly (readonly [string, OpenOptions])[] = [
  ['as it is', {}],
  ['chunked', { chunking: 'fastcdc' }],
  ['sqlite-only', { layout: 'sqlite-only' }],
];

for (const [name, shape] of shapes)
  storeTest(`a tree goes through replicas without keys, and back: ${name}`, async (folder) => {
    const store = await folder.open({ encryption: { secret }, ...shape });
    const seed = await store.sealed.seed();
    const at = (side: string): string => join(folder.side, side);
    const first = await openStore(at('first'), { ...inline, replicaOf: seed });
    const second = await openStore(at('second'), { ...inline, replicaOf: seed });
    const tree = new Map(Array.from({ length: 60 }, (_, i) => [`file ${i}`, noise(300 + i, i)]));
    tree.set('large', noise(1_500_000));
    const top = await setTree(store, 'main', tree);

    assert.equal((await over(store, first, 'push')).roots[0]!.changed, true);
    assert.equal((await over(first, second, 'pull')).roots[0]!.changed, true);
    assert.equal((await over(first, second, 'pull')).roots[0]!.changed, false);
    assert.deepEqual(await second.sealed.roots(), await store.sealed.roots());
    const same = async (deleted: number): Promise<void> => {
      for (const one of [first, second]) {
        assert.equal((await one.gc({ graceMs: 0 })).deleted, deleted);
        assert.deepEqual((await one.scrub()).damaged, []);
      }
    };
    await same(0);

    // A change costs what changed.
    tree.set('file 3', noise(500, 77));
    await setTree(store, 'main', tree);
    const again = await over(store, first, 'push');
    assert.ok(again.sentBytes < 60_000, `${again.sentBytes} bytes`);
    assert.equal((await over(first, second, 'pull')).roots[0]!.changed, true);
    await same(3); // the file as it was, and the nodes above it

    // A root goes back where that was meant, and not by a peer that never knew better.
    await store.roots.set('main', top);
    await over(store, second, 'pull');
    const third = await openStore(at('third'), { ...inline, replicaOf: seed });
    await over(second, third, 'pull');
    await assert.rejects(over(third, first, 'pull'), withCode('conflict'));
    await over(third, first, 'pull', { rollback: 'allow' });
    assert.deepEqual(await first.sealed.roots(), await store.sealed.roots());
    await first.close();
    await third.close();

    // Whoever has keys takes everything back from a replica, opened.
    const back = await openStore(at('back'), { ...inline, replicaOf: seed, encryption: { secret } });
    await over(second, back, 'pull');
    assert.equal(await back.roots.get('main'), top);
    assert.deepEqual((await back.scrub()).damaged, []);
    await back.close();
    await second.close();
    const opened = await openStore(at('second'), { ...inline, encryption: { secret } });
    assert.equal(await opened.roots.get('main'), top);
    assert.deepEqual((await opened.scrub()).damaged, []);
    await opened.close();
  });

storeTest(
  'peers by locators are of one realm, and those with keys take nothing that does not open',
  async (folder) => {
    const store = await folder.open({ encryption: { secret } });
    const plain = await openStore(join(folder.side, 'plain'), { ...inline, parameters: smallParameters });
    const other = await openStore(join(folder.side, 'other'), { ...inline, encryption: { secret } });
    const replica = await openStore(join(folder.side, 'replica'), {
      ...inline,
      replicaOf: await store.sealed.seed(),
    });
    const a = await store.put(text('a'));
    await store.roots.set('a', a.id);
    await assert.rejects(over(store, other, 'push'), withCode('wrong-key'));
    await assert.rejects(over(store, plain, 'push'), withCode('incompatible-format'));
    await assert.rejects(over(plain, store, 'push'), withCode('invalid-argument'));
    await over(store, replica, 'push');

    // What was planted under a locator that a root names.
    const [root] = await store.sealed.roots();
    const evil = await openStore(join(folder.side, 'evil'), {
      ...inline,
      replicaOf: await store.sealed.seed(),
    });
    const b = await store.put(text('b'));
    await store.roots.set('b', b.id);
    const planted = (await store.sealed.roots()).find(({ key }) => key !== root!.key)!;
    const object = (await store.sealed.read(planted.locator, { offset: 0, length: 1e6 }))!;
    await evil.sealed.put(object, { locator: root!.locator, kind: 'raw' });
    await evil.sealed.setRoot(root!);
    const back = await openStore(join(folder.side, 'back'), {
      ...inline,
      replicaOf: await store.sealed.seed(),
      encryption: { secret },
    });
    await assert.rejects(over(evil, back, 'pull'), withCode('tampered'));
    assert.deepEqual(await back.roots.list(), []);
    for (const one of [plain, other, replica, evil, back]) await one.close();
  },
);

storeTest('who comes and goes without a word is no failure of a server', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const [near, far] = pair();
  const serving = serve(store, far);
  await near.close();
  assert.deepEqual(await serving, []);
});

storeTest('a put that fails before it asks for bytes lets who brings them go on', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const sink = new SealedSink(store);
  await store.close();
  const id = 'ab'.repeat(32);
  const piece = { id, size: 100, offset: 0, from: 0, bytes: new Uint8Array(10), codec: 0, length: 10 };
  await sink.write(piece);
  await assert.rejects(sink.written(id), withCode('closed'));
});
