/** Sealed objects by locator: a store without keys takes them from one with keys, serves, scrubs and collects them, and gives them back. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type OpenOptions, type SealedRoot, type Secret, type Store, openStore } from '../../engine/index.ts';
import { type StoreFolder, noise, same, storeTest, text, withCode } from './store-folder.ts';

const secret: Secret = { kind: 'raw-key', key: new Uint8Array(32).fill(9) };
const small = text('something small, said again and again. '.repeat(20));
const large = noise(70_000);

/** A replica with nothing in it of the store in the folder. */
async function twin(folder: StoreFolder, options: OpenOptions): Promise<string> {
  const store = await folder.open({ encryption: { secret }, ...options });
  const path = join(folder.side, 'twin');
  const replica = await openTwin(path, { replicaOf: await store.sealed.seed() });
  assert.deepEqual(replica.parameters, store.parameters);
  assert.notEqual((await replica.stats()).storeId, (await store.stats()).storeId);
  await assert.rejects(replica.put(small), withCode('wrong-key'));
  await replica.close();
  await store.close();
  return path;
}

async function openTwin(path: string, options: OpenOptions = {}): Promise<Store> {
  return await openStore(path, { threads: { count: 0 }, ...options });
}

/** Everything below a locator, what is linked to first, into another store. */
async function copyBelow(from: Store, to: Store, locator: string, seen: Set<string>): Promise<void> {
  if (seen.has(locator)) return;
  seen.add(locator);
  const [facts] = await from.sealed.stat([locator]);
  assert.ok(facts);
  const { kind, size, manifest } = facts;
  if (manifest !== undefined) {
    await copyBelow(from, to, manifest, seen);
    return await to.sealed.putChunked(locator, manifest);
  }
  for (const link of (await from.sealed.links(locator))!) await copyBelow(from, to, link.locator, seen);
  const bytes = (await from.sealed.read(locator, { offset: 0, length: size }))!;
  assert.equal(bytes.length, size);
  const result = await to.sealed.put(streamOf(bytes, 10_000), { locator, kind });
  assert.equal(result.digest, await from.sealed.digest(locator));
}

async function* streamOf(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array, void, void> {
  await Promise.resolve();
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

const shapes: readonly (readonly [name: string, options: OpenOptions])[] = [
  ['as it is', {}],
  ['chunked', { chunking: 'fastcdc' }],
  ['sqlite-only', { layout: 'sqlite-only' }],
];

for (const [name, shape] of shapes)
  storeTest(`a tree goes through a store without keys and back: ${name}`, async (folder) => {
    const path = await twin(folder, shape);
    const store = await folder.open({ encryption: { secret } });
    const ids = await Promise.all([small, large].map(async (bytes) => (await store.put(bytes)).id));
    const links = ids.map((id) => ({ kind: 'raw', id }) as const);
    const { id: node } = await store.put(text('a payload'), { links });
    const { id: top } = await store.put(text('above'), { links: [{ kind: 'node', id: node }] });
    await store.roots.set('a root', top);
    const [root] = await store.sealed.roots();
    assert.ok(root);

    const replica = await openTwin(path);
    await assert.rejects(replica.sealed.setRoot(root), withCode('not-found'));
    await copyBelow(store, replica, root.locator, new Set());
    await replica.sealed.setRoot(root, { expect: null });
    assert.deepEqual(await replica.sealed.roots(), [root]);
    await assert.rejects(replica.sealed.setRoot(root, { expect: null }), withCode('conflict'));
    const { damaged, recounted } = await replica.scrub();
    assert.deepEqual([damaged, recounted], [[], 0]);
    assert.equal((await replica.gc({ graceMs: 0 })).deleted, 0);
    assert.deepEqual(await replica.sealed.stat(['0'.repeat(64)]), [undefined]);

    // A store with keys that has lost everything takes it all back, opened.
    await store.roots.delete('a root');
    await store.gc({ graceMs: 0 });
    assert.equal((await store.stats()).blobs, 0);
    await copyBelow(replica, store, root.locator, new Set());
    await store.sealed.setRoot(root, { expect: null });
    assert.deepEqual(
      (await store.roots.list()).map(({ id }) => id),
      [top],
    );
    same(await store.get(ids[0]!), small);
    same(await store.get(ids[1]!), large);
    assert.equal((await store.stat(ids[1]!))?.size, large.length);
    await replica.close();

    // Who has the secret opens the replica.
    const opened = await openTwin(path, { encryption: { secret } });
    assert.equal(await opened.roots.get('a root'), top);
    same(await opened.get(ids[1]!), large);
    assert.deepEqual((await opened.scrub()).damaged, []);
    assert.deepEqual(
      (await opened.roots.log()).map(({ change, name: root, id }) => [change, root, id]),
      [['set', 'a root', top]],
    );
    await opened.roots.delete('a root');
    assert.ok((await opened.gc({ graceMs: 0 })).deleted >= 4);
    assert.equal((await opened.stats()).blobs, 0);
    await opened.close();
  });

storeTest('what another store says is judged before it is taken in', async (folder) => {
  const path = await twin(folder, {});
  const store = await folder.open({ encryption: { secret } });
  const rootOf = async (bytes: Uint8Array, ...links: string[]): Promise<SealedRoot & { id: string }> => {
    const to = links.map((id) => ({ kind: 'raw', id }) as const);
    const { id } = await store.put(bytes, to.length === 0 ? {} : { links: to });
    const before = await store.sealed.roots();
    await store.roots.set(`root ${before.length}`, id);
    const added = (await store.sealed.roots()).find((root) => !before.some(({ key }) => key === root.key));
    return { ...added!, id };
  };
  const [first, second, third] = [await rootOf(small), await rootOf(text('other')), await rootOf(large)];
  const [a, b, bigAt] = [first.locator, second.locator, third.locator];
  const { locator: nodeAt } = await rootOf(text('p'), third.id);
  const read = async (locator: string): Promise<Uint8Array> =>
    (await store.sealed.read(locator, { offset: 0, length: 1e6 }))!;
  const [objectA, objectB, objectBig, objectNode] = await Promise.all([a, b, bigAt, nodeAt].map(read));
  const replica = await openTwin(path);
  const raw = 'raw' as const;

  // Form: by anybody.
  for (const to of [replica, store]) {
    await assert.rejects(to.sealed.put(objectA!, { locator: a, kind: 'node' }), withCode('tampered'));
    await assert.rejects(to.sealed.put(objectNode!, { locator: nodeAt, kind: raw }), withCode('tampered'));
    await assert.rejects(to.sealed.put(noise(300), { locator: a, kind: raw }), withCode('corrupt'));
    await assert.rejects(
      to.sealed.put(objectA!.subarray(0, 120), { locator: a, kind: raw }),
      withCode('corrupt'),
    );
    await assert.rejects(
      to.sealed.put(new Uint8Array(9 * 1024 * 1024), { locator: nodeAt, kind: 'node' }),
      withCode('limit-exceeded'),
    );
    await assert.rejects(
      to.sealed.put(streamOf(noise(100_000), 9_000), { locator: bigAt, kind: raw }),
      withCode('corrupt'),
    );
    await assert.rejects(to.sealed.put(objectA!, { locator: 'x', kind: raw }), withCode('invalid-argument'));
  }
  await assert.rejects(
    replica.sealed.put(objectNode!, { locator: nodeAt, kind: 'node' }),
    withCode('not-found'),
  );

  // Belonging: only with keys.
  const unknown = 'ab'.repeat(32);
  await assert.rejects(store.sealed.put(objectA!, { locator: unknown, kind: raw }), withCode('tampered'));
  await assert.rejects(store.sealed.put(objectBig!, { locator: unknown, kind: raw }), withCode('tampered'));
  assert.equal(await store.sealed.digest(unknown), undefined);

  // Without keys a planted object is taken in, and nothing that comes later replaces it: who puts it is told.
  assert.equal((await replica.sealed.put(objectB!, { locator: a, kind: raw })).deduplicated, false);
  assert.equal((await replica.sealed.put(objectB!, { locator: a, kind: raw })).deduplicated, true);
  await assert.rejects(replica.sealed.put(objectA!, { locator: a, kind: raw }), withCode('conflict'));
  const planted = await replica.sealed.digest(a);
  assert.equal(planted, await store.sealed.digest(b));
  await replica.sealed.put(streamOf(objectBig!, 9_000), { locator: bigAt, kind: raw });
  await assert.rejects(replica.sealed.put(objectNode!, { locator: a, kind: 'node' }), withCode('conflict'));
  await assert.rejects(
    replica.sealed.setRoot({ key: a, shown: 'x', locator: a }),
    withCode('invalid-argument'),
  );
  await replica.sealed.setRoot(first);
  await replica.close();

  // A name that was sealed for another locator does not open, and what was planted is found and replaced by whoever has keys.
  const opened = await openTwin(path, { encryption: { secret } });
  await assert.rejects(opened.sealed.setRoot({ ...second, locator: a }), withCode('tampered'));
  assert.equal((await opened.sealed.put(objectA!, { locator: a, kind: raw })).deduplicated, false);
  assert.equal(await opened.sealed.digest(a), await store.sealed.digest(a));
  assert.deepEqual((await opened.scrub()).damaged, []);
  assert.equal((await opened.roots.list()).length, 1);
  await opened.close();
});

storeTest(
  'objects of two stores for one blob: with keys both are right, without the first stays',
  async (folder) => {
    const path = await twin(folder, {});
    const [store, other] = [
      await folder.open({ encryption: { secret } }),
      await openTwin(path, { encryption: { secret } }),
    ];
    for (const one of [store, other]) await one.roots.set('r', (await one.put(small)).id);
    const [{ locator }] = (await store.sealed.roots()) as [SealedRoot];
    const object = (await store.sealed.read(locator, { offset: 0, length: 1e6 }))!;
    const before = await other.sealed.digest(locator);
    assert.notEqual(await store.sealed.digest(locator), before);
    assert.equal((await other.sealed.put(object, { locator, kind: 'raw' })).deduplicated, true);
    assert.equal(await other.sealed.digest(locator), before);
    await other.close();
    const locked = await openTwin(path);
    await assert.rejects(locked.sealed.put(object, { locator, kind: 'raw' }), withCode('conflict'));
    await locked.close();
  },
);

storeTest('a put of the right object heals one that is damaged', async (folder) => {
  const path = await twin(folder, {});
  const store = await folder.open({ encryption: { secret } });
  await store.roots.set('r', (await store.put(large)).id);
  const [{ locator }] = (await store.sealed.roots()) as [SealedRoot];
  const object = (await store.sealed.read(locator, { offset: 0, length: 1e6 }))!;
  const putTo = async (to: Store): Promise<boolean> =>
    (await to.sealed.put(object, { locator, kind: 'raw' })).deduplicated;
  const first = await openTwin(path);
  assert.equal(await putTo(first), false);
  await first.close();
  for (const options of [{}, { encryption: { secret } }]) {
    const file = readdirSync(path, { recursive: true, encoding: 'utf8' }).find(
      (name) => name.includes(locator) && !name.includes('quarantine'),
    )!;
    const bytes = readFileSync(join(path, file));
    bytes[40_000]! ^= 1;
    chmodSync(join(path, file), 0o600);
    writeFileSync(join(path, file), bytes);
    const to = await openTwin(path, options);
    assert.equal(await putTo(to), false);
    assert.equal(await putTo(to), true);
    assert.deepEqual((await to.scrub()).damaged, []);
    await to.close();
  }
});

storeTest('a replica is made of what fits together, where nothing else is', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const seed = await store.sealed.seed();
  const path = join(folder.side, 'twin');
  const bad = {
    ...seed,
    parameters: { ...seed.parameters, encryption: { realm: '0'.repeat(32), padding: 'none' } },
  } as const;
  await assert.rejects(openTwin(path, { replicaOf: bad }), withCode('invalid-argument'));
  const keys = seed.keys.slice();
  keys[60]! ^= 1;
  await assert.rejects(openTwin(path, { replicaOf: { ...seed, keys } }), withCode('corrupt'));
  for (const none of [
    {},
    null,
    { keys: seed.keys },
    { keys: 'text', parameters: seed.parameters },
    { keys: seed.keys, parameters: { ...seed.parameters, encryption: null } },
    { keys: seed.keys, offered: ['text'], parameters: seed.parameters },
  ])
    await assert.rejects(
      openTwin(path, { replicaOf: none as unknown as typeof seed }),
      withCode('invalid-argument'),
    );
  const other = await openTwin(path, { encryption: { secret } });
  await other.close();
  await assert.rejects(openTwin(path, { replicaOf: seed }), withCode('conflict'));
});

storeTest(
  'a root whose name no key opens is told of, deleted by its key, and hides no other',
  async (folder) => {
    const path = await twin(folder, {});
    const store = await folder.open({ encryption: { secret } });
    const { id } = await store.put(small);
    await store.roots.set('good', id);
    const [good] = (await store.sealed.roots()) as [SealedRoot];
    const object = (await store.sealed.read(good.locator, { offset: 0, length: 1e6 }))!;
    const replica = await openTwin(path);
    await replica.sealed.put(object, { locator: good.locator, kind: 'raw' });
    await replica.sealed.setRoot(good);
    const key = 'ab'.repeat(32);
    const junk = ['tampered', 'wrong-key', 'tampered'].map((unopened, i) => {
      const at = `${i}${key.slice(1)}`;
      // The second is of an epoch that nobody has.
      const sealed = i === 2 ? '5a'.repeat(60) : good.shown.slice(65);
      return {
        key: at,
        shown: `${at}.${i === 1 ? `${sealed.slice(0, 4)}ff${sealed.slice(6)}` : sealed}`,
        locator: good.locator,
        unopened,
      };
    });
    for (const { unopened: _, ...one } of junk) await replica.sealed.setRoot(one);
    assert.equal((await replica.health()).unopenedRoots, 0);
    assert.equal(await replica.sealed.deleteRoot(key), false);
    await replica.close();

    const opened = await openTwin(path, { encryption: { secret } });
    assert.deepEqual(
      (await opened.roots.list()).map(({ name }) => name),
      ['good'],
    );
    const told = (await opened.sealed.roots()).filter(({ unopened }) => unopened !== undefined);
    assert.deepEqual(told, junk);
    const { state, reasons, unopenedRoots } = await opened.health();
    assert.deepEqual([state, unopenedRoots], ['broken', 3]);
    assert.match(reasons.join(), /3 root\(s\) have names that no key here opens/);
    await opened.keys.rotate();
    await opened.keys.reseal();
    await assert.rejects(
      opened.sealed.deleteRoot(junk[0]!.key, { expect: '0'.repeat(64) }),
      withCode('conflict'),
    );
    for (const one of junk) {
      assert.equal(await opened.sealed.deleteRoot(one.key), true);
      assert.equal(await opened.sealed.deleteRoot(one.key), false);
    }
    assert.equal((await opened.health()).unopenedRoots, 0);
    // The log keeps what it took in, and is read on: names that do not open are told by their keys.
    const log = (await opened.roots.log()).map(({ change, name }) => `${change} ${name}`);
    assert.deepEqual(log.slice(0, 4), ['set good', ...junk.map((one) => `set ${one.key}`)]);
    assert.deepEqual(
      (await opened.roots.deleted()).map(({ name }) => name),
      junk.map((one) => one.key).reverse(),
    );
    await opened.close();

    // What was deleted without keys is brought back by its name.
    const locked = await openTwin(path);
    assert.equal(await locked.sealed.deleteRoot(good.key, { expect: good.locator }), true);
    await locked.close();
    const again = await openTwin(path, { encryption: { secret } });
    assert.equal(await again.roots.restore('good'), id);
    await again.close();
  },
);

storeTest('a store that is not encrypted has no sealed objects', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(small);
  const refused = withCode('invalid-argument');
  for (const call of [
    () => store.sealed.seed(),
    () => store.sealed.deleteRoot(id),
    () => store.sealed.stat([id]),
    () => store.sealed.read(id, { offset: 0, length: 1 }),
    () => store.sealed.links(id),
    () => store.sealed.digest(id),
    () => store.sealed.put(small, { locator: id, kind: 'raw' }),
    () => store.sealed.putChunked(id, id),
    () => store.sealed.roots(),
    () => store.sealed.setRoot({ key: id, shown: `${id}.${'00'.repeat(60)}`, locator: id }),
  ])
    await assert.rejects(call(), refused, String(call));
});
