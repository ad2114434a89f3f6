/** Encrypted stores through the Store's door: what callers see is what they see of any store; what is on disk tells nothing of it. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type OpenOptions, type Secret, readParameters } from '../../engine/index.ts';
import {
  type StoreFolder,
  collect,
  noise,
  same,
  sha256,
  storeTest,
  text,
  unknownId,
  withCode,
} from './store-folder.ts';

const secret: Secret = { kind: 'raw-key', key: new Uint8Array(32).fill(7) };
const shapes: readonly (readonly [name: string, options: OpenOptions])[] = [
  ['as it is', {}],
  ['compressed', { compression: 'auto' }],
  ['chunked', { chunking: 'fastcdc' }],
  ['sqlite-only', { layout: 'sqlite-only' }],
  ['padded', { encryption: { secret, padding: 'padme' } }],
];

/** Known content, found in nothing that is on disk. */
const words = 'these are words that everybody knows, and they are said again and again. ';
const small = text(words.repeat(40));
const large = Buffer.concat([text(words.repeat(2000)), noise(300_000)]);

for (const [name, shape] of shapes) {
  storeTest(`an encrypted store reads, lists and counts like any other: ${name}`, async (folder) => {
    const store = await folder.open({ encryption: { secret }, ...shape });
    const { id: a } = await store.put(small, { owner: 'an owner' });
    const { id: b } = await store.put(large);
    const { id: empty } = await store.put(new Uint8Array(0));
    assert.deepEqual([a, b, empty], [small, large, new Uint8Array(0)].map(sha256));
    assert.equal((await store.put(large)).deduplicated, true);
    const links = [a, b].map((id) => ({ kind: 'raw', id }) as const);
    const { id: node } = await store.put(text('a payload'), { links });
    await store.roots.set('a root', node);
    await store.sideTable('a table').set([['a key', text('a value')]]);

    same(await store.get(a), small);
    same(await store.get(b), large);
    same(await store.get(empty), new Uint8Array(0));
    same(await store.readRange(b, 100_000, 99_999), large.subarray(100_000, 199_999));
    assert.deepEqual((await store.getNode(node))?.links.length, 2);
    assert.equal((await store.stat(b))?.size, large.length);
    assert.equal(await store.roots.get('a root'), node);
    assert.deepEqual(
      (await store.roots.list()).map((root) => [root.name, root.id]),
      [['a root', node]],
    );
    assert.deepEqual(
      (await store.roots.log()).map((entry) => [entry.change, entry.name, entry.id]),
      [
        ['retain', 'an owner', a],
        ['set', 'a root', node],
      ],
    );
    assert.deepEqual(await store.sideTable('a table').get(['a key', 'b']), [text('a value'), undefined]);
    const listed = (await collect(store.list())).map(({ id }) => id);
    for (const id of [a, b, empty, node]) assert.ok(listed.includes(id));
    assert.deepEqual(
      (await collect(store.list({ prefix: node.slice(0, 8) }))).map(({ id }) => id),
      [node],
    );
    assert.equal(await store.release(a, 'an owner'), true);
    assert.equal(await store.roots.delete('a root'), true);
    assert.deepEqual((await store.scrub()).damaged, []);
    await store.close();
    tellsNothing(folder, [a, b, node], ['everybody knows', 'a root', 'an owner', 'a value', 'a payload']);
  });
}

/** No file holds an id, as bytes or as text, or any of these words. */
function tellsNothing(folder: StoreFolder, ids: readonly string[], spoken: readonly string[]): void {
  const wanted = [...spoken, ...ids, ...ids.map((id) => Buffer.from(id, 'hex'))];
  for (const path of folder.files('.')) {
    const bytes = readFileSync(path);
    for (const one of wanted) assert.equal(bytes.includes(one), false, `${String(one)} is in ${path}`);
  }
}

storeTest('errors speak of ids and names as the caller does', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const { id } = await store.put(small);
  await assert.rejects(store.retain(unknownId, 'x'), (error: unknown) => {
    assert.ok(withCode('not-found')(error));
    return (error as Error).message.includes(unknownId);
  });
  await assert.rejects(
    store.put(text('x'), { links: [{ kind: 'raw', id: unknownId }] }),
    (error: unknown) => {
      assert.deepEqual((error as { facts: unknown }).facts, { missing: [unknownId] });
      return withCode('not-found')(error);
    },
  );
  await store.roots.set('main', id);
  await assert.rejects(store.roots.set('main', id, { expect: null }), (error: unknown) => {
    assert.equal((error as Error).message, `root main is there already, as ${id}`);
    return withCode('conflict')(error);
  });
});

storeTest(
  'without its key a store is scrubbed, collected and told about, not read or put into',
  async (folder) => {
    const store = await folder.open({ encryption: { secret } });
    const { id } = await store.put(small);
    const { id: kept } = await store.put(large, { owner: 'me' });
    await store.close();

    const locked = await folder.open();
    for (const call of [
      () => locked.get(kept),
      () => locked.readRange(kept, 0, 1),
      () => locked.has(kept),
      () => locked.stat(kept),
      () => locked.put(small),
      () => locked.retain(kept, 'x'),
      () => locked.roots.set('x', kept),
      () => locked.roots.get('x'),
      () => locked.keys.rotate(),
      () => locked.keys.add(secret),
    ])
      await assert.rejects(call(), withCode('wrong-key'), String(call));
    assert.deepEqual((await locked.scrub()).damaged, []);
    assert.equal((await locked.gc({ graceMs: 0 })).deleted, 1);
    assert.equal((await locked.stats()).blobs, 1);
    assert.deepEqual(
      (await locked.keys.list()).slots.map(({ kind }) => kind),
      ['raw-key'],
    );
    await locked.close();

    const again = await folder.open({ encryption: { secret } });
    assert.equal(await again.has(id), false);
    same(await again.get(kept), large);
  },
);

storeTest('slots come and go, epochs turn, and everything is sealed anew', async (folder) => {
  const phrase: Secret = { kind: 'passphrase', passphrase: 'correct horse' };
  const store = await folder.open({ encryption: { secret } });
  const { id: a } = await store.put(small, { owner: 'me' });
  const { id: b } = await store.put(large, { owner: 'me' });
  const { id: chunked } = await store.put(noise(1_500_000, 3), { owner: 'me', chunking: 'fastcdc' });
  await store.roots.set('main', a);
  const { recoveryKey } = await store.keys.add('recovery-key');
  await store.keys.add(phrase);
  const [first] = (await store.keys.list()).slots;
  await store.keys.remove(first!.id);
  await assert.rejects(store.keys.remove(first!.id), withCode('invalid-argument'));
  await store.keys.rotate();
  const { behind, epoch } = await store.keys.list();
  assert.equal(epoch, 2);
  assert.ok(behind! > 3);
  assert.equal((await store.keys.reseal()).blobs, behind);
  assert.equal((await store.keys.list()).behind, 0);
  assert.equal(await store.roots.get('main'), a);
  await store.close();

  await assert.rejects(folder.open({ encryption: { secret } }), withCode('wrong-key'));
  const again = await folder.open({ encryption: { secret: { kind: 'recovery-key', text: recoveryKey! } } });
  same(await again.get(a), small);
  same(await again.get(b), large);
  same(await again.get(chunked), noise(1_500_000, 3));
  assert.deepEqual((await again.scrub()).damaged, []);
  await again.keys.renew([secret]);
  await again.close();
  await assert.rejects(folder.open({ encryption: { secret: phrase } }), withCode('wrong-key'));
});

storeTest('a key for a store that is not encrypted is refused', async (folder) => {
  await (await folder.open()).close();
  await assert.rejects(folder.open({ encryption: { secret } }), withCode('wrong-key'));
});

storeTest('whether a store asks for a key is told without opening it', async (folder) => {
  await assert.rejects(readParameters(folder.path), withCode('not-a-store'));
  const store = await folder.open({ encryption: { secret, padding: 'padme' } });
  assert.deepEqual(await readParameters(folder.path), store.parameters);
  assert.equal(store.parameters.encryption?.padding, 'padme');
  const before = folder.files('.').sort();
  await readParameters(folder.path);
  assert.deepEqual(folder.files('.').sort(), before);
  await store.close();

  const bytes = readFileSync(folder.at('superblock'));
  bytes[bytes.indexOf('padme')]! ^= 1;
  chmodSync(folder.at('superblock'), 0o644);
  writeFileSync(folder.at('superblock'), bytes);
  await assert.rejects(readParameters(folder.path), withCode('corrupt'));
  bytes[bytes.indexOf('qadme')]! ^= 1;
  writeFileSync(folder.at('superblock'), bytes);
});

storeTest('what is damaged is left as it is when the rest is sealed anew', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const { id: one } = await store.put(noise(300_000, 1), { owner: 'me' });
  const { id: other } = await store.put(noise(300_000, 2), { owner: 'me' });
  await store.put(small, { owner: 'me' });
  await store.close();
  const [file] = folder.files('blobs');
  const bytes = readFileSync(file!);
  bytes[150_000]! ^= 1;
  chmodSync(file!, 0o644);
  writeFileSync(file!, bytes);
  folder.leaves([basename(file!).slice(0, 64)]);
  const again = await folder.open({ encryption: { secret } });
  await again.keys.rotate();
  assert.equal((await again.keys.reseal()).blobs, 2);
  assert.equal((await again.keys.list()).behind, 1);
  const read = await Promise.allSettled([one, other].map((id) => again.get(id)));
  assert.deepEqual(read.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
});
