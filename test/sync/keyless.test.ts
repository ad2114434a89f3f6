/** Replicas without keys: they take a realm's roots by locators from whoever has them, give them on, heal, and are opened by the secret. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { concatBytes, fromHex } from '../../engine/codec/bytes.ts';
import { encodeHeader } from '../../engine/codec/seal-header.ts';
import {
  type ObjectSource,
  type OpenOptions,
  type Secret,
  type Store,
  openStore,
} from '../../engine/index.ts';
import { SealedSink } from '../../sync/peers/sealed-sink.ts';
import {
  type PullOptions,
  type RepairedFrom,
  fetchSeed,
  pair,
  pull,
  push,
  repairFrom,
  serve,
} from '../../sync/index.ts';
import { helloOf } from '../../sync/protocol/hello.ts';
import { nodeObjectBytesMax } from '../../sync/protocol/limits.ts';
import { full, sample } from '../crash/sample.ts';
import { harmHalf, harms } from '../engine/harm.ts';
import {
  StoreFolder,
  noise,
  sha256,
  smallParameters,
  storeTest,
  text,
  withCode,
} from '../engine/store-folder.ts';
import { ScriptedPeer } from './scripted-peer.ts';
import { cutWhenCome, setTree, twoStores } from './stores.ts';

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

/** What is left out of a sample, with `HOLDFAST_SAMPLES=full` it runs. */
const furtherTest: typeof storeTest = (...given) => {
  if (full) storeTest(...given);
};

const shapes: readonly (readonly [string, OpenOptions])[] = [
  ['as it is', {}],
  ['chunked', { chunking: 'fastcdc' }],
  ['sqlite-only', { layout: 'sqlite-only' }],
];

for (const [name, shape] of full ? shapes : shapes.slice(1, 2))
  storeTest(`a tree goes through replicas without keys, and back: ${name}`, async (folder) => {
    const store = await folder.open({ encryption: { secret }, ...shape });
    const seed = await store.sealed.seed();
    const at = (side: string): string => join(folder.side, side);
    const first = await openStore(at('first'), { ...inline, replicaOf: seed });
    const second = await openStore(at('second'), { ...inline, replicaOf: seed });
    const tree = new Map(Array.from({ length: sample(60, 12) }, (_, i) => [`file ${i}`, noise(300 + i, i)]));
    tree.set('large', noise(sample(1_500_000, 150_000)));
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
    await same(sample(3, 2)); // the file as it was, and the nodes above it

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

furtherTest(
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

    for (const how of ['pull', 'push'] as const)
      await assert.rejects(over(store, replica, how, { by: 'names' as 'ids' }), withCode('invalid-argument'));

    // A replica that is asked by ids says that it lacks the key, and gives nothing.
    for (const how of ['pull', 'push'] as const) {
      const [from, to] = how === 'pull' ? [replica, store] : [store, replica];
      await assert.rejects(over(from, to, how, { by: 'ids' }), withCode('wrong-key'));
    }
    const long = 'n'.repeat(434);
    await store.roots.set(long, a.id);
    await assert.rejects(over(store, replica, 'push'), withCode('limit-exceeded'));
    await store.roots.delete(long);

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

furtherTest('who comes and goes without a word is no failure of a server', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const [near, far] = pair();
  const serving = serve(store, far);
  await near.close();
  assert.deepEqual(await serving, []);
});

furtherTest('a put that fails before it asks for bytes lets who brings them go on', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const sink = new SealedSink(store);
  await store.close();
  const id = 'ab'.repeat(32);
  const piece = { id, size: 100, offset: 0, from: 0, bytes: new Uint8Array(10), codec: 0, length: 10 };
  await sink.write(piece);
  await assert.rejects(sink.written(id), withCode('closed'));
});

type Linked = readonly (readonly ['raw' | 'node', string])[];

/** What looks sealed to who has no keys. */
function forged(role: 'raw' | 'node', links: Linked = [], order: 'sorted' | 'turned' = 'sorted'): Uint8Array {
  const entries = links.map(
    ([kind, locator]) => new Uint8Array([kind === 'raw' ? 0 : 1, ...fromHex(locator)!]),
  );
  entries.sort((a, b) => Buffer.compare(a, b));
  if (order === 'turned') entries.reverse();
  const clear = concatBytes(...entries);
  const head = encodeHeader({ role, chunkLog2: 16, epoch: 1, nonce: noise(24), clear });
  return concatBytes(head, noise(32 + 16 + 80));
}

const [x, y, z] = ['x', 'y', 'z'].map(sha256) as [string, string, string];
const key = sha256('a root');
const shown = `${key}.${'5a'.repeat(60)}`;
/** The `n`th of a way that has no end. */
const at = (n: number): string => sha256(`way ${n}`);

interface Hostile {
  readonly code: string;
  readonly act: (peer: ScriptedPeer) => Promise<void>;
}

/** Names a root, and gives what is said for what is asked, as often as it is asked. */
function giving(
  code: string,
  give: (locator: string, peer: ScriptedPeer) => Promise<void>,
  root: { readonly id?: string; readonly kind?: 'raw' | 'node'; readonly name?: string } = {},
): Hostile {
  const act = async (peer: ScriptedPeer): Promise<void> => {
    await peer.hear('ask');
    const { id = x, kind = 'node', name = shown } = root;
    await peer.say({ type: 'roots', roots: [{ name, id, kind, base: null }] });
    for (;;) for (const want of (await peer.hear('want')).wants) await give(want.id, peer);
  };
  return { code, act };
}

const hostile: Readonly<Record<string, Hostile>> = {
  'a node that links to itself': giving('corrupt', (id, peer) =>
    peer.blob('node', id, forged('node', [['node', id]])),
  ),
  'two nodes that link to each other': giving('corrupt', (id, peer) =>
    peer.blob('node', id, forged('node', [['node', id === x ? y : x]])),
  ),
  'a chunked blob that its manifest links to': giving(
    'corrupt',
    (id, peer) =>
      id === x
        ? peer.blob('raw', x, fromHex(y)!, { form: 'manifest' })
        : peer.blob('node', id, forged('node', [['raw', x]])),
    { kind: 'raw' },
  ),
  'nodes without end': (() => {
    let n = 0;
    return giving('limit-exceeded', (id, peer) => peer.blob('node', id, forged('node', [['node', at(n++)]])));
  })(),
  'manifests of manifests without end': (() => {
    let n = 0;
    return giving(
      'limit-exceeded',
      (id, peer) =>
        n % 2 === 0
          ? peer.blob('raw', id, fromHex(at(n++))!, { form: 'manifest' })
          : peer.blob('node', id, forged('node', [['raw', at(n++)]])),
      { kind: 'raw' },
    );
  })(),
  'a raw object for a node': giving('corrupt', (id, peer) => peer.blob('node', id, forged('raw'))),
  'a node for a raw object': giving('tampered', (id, peer) => peer.blob('raw', id, forged('node')), {
    kind: 'raw',
  }),
  'no object at all': giving('corrupt', (id, peer) => peer.blob('raw', id, noise(400)), { kind: 'raw' }),
  'an object that ends in its head': giving('corrupt', (id, peer) =>
    peer.blob('node', id, forged('node', [['raw', z]]).subarray(0, 60)),
  ),
  'links out of order': giving('corrupt', (id, peer) =>
    peer.blob(
      'node',
      id,
      forged(
        'node',
        [
          ['raw', y],
          ['node', z],
        ],
        'turned',
      ),
    ),
  ),
  'a node larger than any': giving('limit-exceeded', (id, peer) =>
    peer.blob('node', id, noise(1000), { size: nodeObjectBytesMax + 1 }),
  ),
  'a manifest of a node': giving('corrupt', (id, peer) =>
    peer.blob('node', id, fromHex(y)!, { form: 'manifest' }),
  ),
  'a manifest of two locators': giving(
    'corrupt',
    (id, peer) => peer.blob('raw', id, noise(64), { form: 'manifest' }),
    { kind: 'raw' },
  ),
  'a manifest that nothing asked for': giving('forbidden', (_, peer) =>
    peer.blob('raw', z, fromHex(y)!, { form: 'manifest' }),
  ),
  'content compressed, which is not agreed': giving(
    'incompatible-format',
    (id, peer) => peer.blob('raw', id, noise(40), { form: 'deflate' }),
    { kind: 'raw' },
  ),
  'a root in the clear': giving('corrupt', () => Promise.resolve(), { name: 'main' }),
  'a root with half a key': giving('corrupt', () => Promise.resolve(), { name: `${key.slice(1)}.5a` }),
  'a sealed name that is none': giving(
    'invalid-argument',
    (id, peer) => peer.blob('node', id, forged('node')),
    {
      name: `${key}.nothing`,
    },
  ),
  'a root of another key': giving('corrupt', (id, peer) => peer.blob('node', id, forged('node')), {
    name: `${'0'.repeat(64)}.${'5a'.repeat(60)}`,
  }),
};

storeTest(
  'a replica without keys: what a hostile peer says ends in a typed error, and moves no root',
  async (folder) => {
    const store = await folder.open({ encryption: { secret } });
    const replicaOf = await store.sealed.seed();
    const replica = await openStore(join(folder.side, 'replica'), { ...inline, replicaOf });
    const realm = fromHex(replica.parameters.encryption!.realm)!;
    const hello = helloOf({ storeId: 'hostile', namespace: by, realm }, ['content', 'manifest']);
    for (const [name, { code, act }] of Object.entries(hostile)) {
      const [near, far] = pair();
      const peer = new ScriptedPeer(far);
      peer.helloAs(hello);
      const acting = peer
        .hello()
        .then(() => act(peer))
        .catch(() => undefined);
      const roots = name === 'a root of another key' ? { roots: [key] } : {};
      await assert.rejects(pull(replica, near, { by, stallMs: 60_000, ...roots }), withCode(code), name);
      await acting;
      assert.deepEqual(await replica.sealed.roots(), [], name);
    }
    assert.deepEqual((await replica.scrub()).damaged, []);
    await replica.gc({ graceMs: 0 });
    assert.equal((await replica.stats()).blobs, 0);
    await replica.close();
  },
);

furtherTest('without keys no node comes to lead back to itself', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const replica = await openStore(join(folder.side, 'replica'), {
    ...inline,
    replicaOf: await store.sealed.seed(),
  });
  await replica.sealed.put(forged('raw'), { locator: x, kind: 'raw' });
  await assert.rejects(
    replica.sealed.put(forged('node', [['node', y]]), { locator: y, kind: 'node' }),
    withCode('corrupt'),
  );
  await replica.sealed.put(forged('node'), { locator: y, kind: 'node' });
  await assert.rejects(
    replica.sealed.put(forged('node', [['node', y]]), { locator: y, kind: 'node' }),
    withCode('corrupt'),
  );
  await replica.sealed.put(forged('node'), { locator: z, kind: 'node' });
  await assert.rejects(replica.sealed.putChunked(z, z), withCode('corrupt'));

  // Nor does a manifest take the place of what is here, and whoever brings it is told.
  await assert.rejects(replica.sealed.putChunked(x, y), withCode('conflict'));
  await replica.sealed.putChunked(key, y);
  await replica.sealed.putChunked(key, y);
  await assert.rejects(replica.sealed.putChunked(key, z), withCode('conflict'));
  assert.deepEqual(
    (await replica.sealed.stat([x, key])).map((facts) => facts?.manifest),
    [undefined, y],
  );
  await replica.close();
});

const keyed = (n: number): { readonly encryption: { readonly secret: Secret } } => ({
  encryption: { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(n) } },
});

function waiting(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.startsWith('keys.offered.'));
}

storeTest('changes of keys travel with what is sealed under them', async (folder) => {
  const open = (name: string, options: OpenOptions = {}): Promise<Store> =>
    openStore(join(folder.side, name), { ...inline, ...options });
  const store = await folder.open(keyed(1));
  const change = async (name: string): Promise<string> => {
    const { id } = await store.put(text(`sealed: ${name}`));
    await store.roots.set(name, id);
    return id;
  };
  const first = await change('first');
  const replicaOf = await store.sealed.seed();
  const holder = await open('holder', { replicaOf, ...keyed(1) });
  let replica = await open('replica', { replicaOf });
  const again = async (name: string, one: Store, options: OpenOptions): Promise<Store> => {
    await one.close();
    return await open(name, options);
  };
  await over(store, replica, 'push');
  assert.deepEqual(waiting(join(folder.side, 'replica')), []);

  // A way in, and an epoch: who has keys follows at once, who has none keeps the new file beside the old one.
  await store.keys.add(keyed(2).encryption.secret);
  await store.keys.rotate();
  const second = await change('second');
  await over(store, replica, 'push');
  await over(store, replica, 'push');
  assert.equal((await replica.keys.list()).slots.length, 1);
  assert.equal(waiting(join(folder.side, 'replica')).length, 1);
  // One that was damaged since is not taken for the one that comes.
  const [kept] = waiting(join(folder.side, 'replica'));
  writeFileSync(join(folder.side, 'replica', kept!), noise(300));
  assert.equal((await replica.sealed.seed()).offered, undefined);
  await over(store, replica, 'push');
  await over(store, holder, 'pull');
  assert.equal(await holder.roots.get('second'), second);
  assert.deepEqual(
    [
      (await holder.keys.list()).epoch,
      (await holder.keys.list()).slots.length,
      waiting(join(folder.side, 'holder')),
    ],
    [2, 2, []],
  );
  // What the replica gives on opens by the new way in.
  const seed = await replica.sealed.seed();
  assert.equal(seed.offered?.length, 1);
  const third = await open('third', { replicaOf: seed, ...keyed(2) });
  await over(replica, third, 'pull');
  assert.deepEqual(
    [await third.roots.get('first'), await third.roots.get('second'), (await third.scrub()).damaged],
    [first, second, []],
  );
  assert.deepEqual([(await third.keys.list()).slots.length, waiting(join(folder.side, 'third'))], [2, []]);
  await third.close();

  // Ways in that are all new: nobody who has keys follows by them. The secret does, wherever the new file has come to.
  const old = await store.sealed.seed();
  await store.keys.renew([keyed(3).encryption.secret]);
  await change('renewed');
  await assert.rejects(over(store, holder, 'pull'), withCode('needs-reopen'));
  await over(store, replica, 'push');
  const renewed = await again('holder', holder, keyed(3));
  await over(store, renewed, 'pull');
  assert.equal((await renewed.roots.list()).length, 3);
  assert.deepEqual(waiting(join(folder.side, 'holder')), []);
  await assert.rejects(open('holder', keyed(1)), withCode('wrong-key'));
  replica = await again('replica', replica, keyed(3));
  assert.deepEqual([(await replica.scrub()).damaged, (await replica.roots.list()).length], [[], 3]);
  assert.deepEqual(waiting(join(folder.side, 'replica')), []);

  // Whoever was killed on the way left what is no newer, a draft, or half a file: the first two go, the last is passed over.
  const at = (name: string): string => join(folder.side, 'replica', `keys.offered.${name}`);
  copyFileSync(join(folder.side, 'replica', 'keys'), at('0'.repeat(16)));
  writeFileSync(at(`${'1'.repeat(16)}.new`), noise(100));
  writeFileSync(at('2'.repeat(16)), (await replica.sealed.seed()).keys.subarray(0, 200));
  replica = await again('replica', replica, keyed(3));
  assert.deepEqual(waiting(join(folder.side, 'replica')), [`keys.offered.${'2'.repeat(16)}`]);
  rmSync(at('2'.repeat(16)));

  // Who was shut out makes a file that is newer still, and it shuts nobody out: it does not come after the one in use.
  const shut = await open('shut out', { replicaOf: old, ...keyed(1) });
  for (let i = 0; i < 3; i++) await shut.keys.rotate();
  const forged = (await shut.sealed.seed()).keys;
  await shut.close();
  assert.equal(await replica.sealed.takeKeys(forged), 'ahead');
  await assert.rejects(open('replica', keyed(1)), withCode('wrong-key'));
  replica = await again('replica', replica, keyed(3));
  assert.deepEqual([(await replica.keys.list()).slots.length, (await replica.scrub()).damaged], [1, []]);
  assert.equal(waiting(join(folder.side, 'replica')).length, 1);
  assert.equal(await replica.sealed.takeKeys(old.keys), 'old');

  // None waits of another realm, and nothing that is no file of keys.
  const other = await open('other', keyed(1));
  await assert.rejects(replica.sealed.takeKeys((await other.sealed.seed()).keys), withCode('wrong-key'));
  await other.close();
  await assert.rejects(replica.sealed.takeKeys(noise(300)), withCode('corrupt'));
  for (const one of [renewed, replica]) await one.close();
});

/** A newer file of keys, as who has none of them makes it. */
function forgedKeys(file: Uint8Array, sequence: number, epoch: number): Uint8Array {
  const summed = Buffer.from(file.subarray(0, -32));
  summed.writeBigUInt64LE(BigInt(sequence), 24);
  summed.writeUInt32LE(epoch, 32);
  return concatBytes(new Uint8Array(summed), fromHex(sha256(summed))!);
}

furtherTest('who was shut out makes no newer file for a replica that has not heard of it', async (folder) => {
  const store = await folder.open(keyed(1));
  const replicaOf = await store.sealed.seed();
  const replica = await openStore(join(folder.side, 'replica'), { ...inline, replicaOf });
  const shut = await openStore(join(folder.side, 'shut out'), { ...inline, replicaOf, ...keyed(1) });
  for (let i = 0; i < 3; i++) await shut.keys.rotate();
  await replica.sealed.takeKeys((await shut.sealed.seed()).keys);
  await shut.close();
  // The secret stays, its slot is new.
  await store.keys.renew([keyed(1).encryption.secret]);
  await store.roots.set('a', (await store.put(text('a'))).id);
  await over(store, replica, 'push');
  await replica.close();
  const opened = await openStore(join(folder.side, 'replica'), { ...inline, ...keyed(1) });
  assert.equal(await opened.roots.get('a'), await store.roots.get('a'));
  assert.deepEqual((await opened.sealed.seed()).keys, (await store.sealed.seed()).keys);
  await opened.close();
});

storeTest('files of keys that nobody made keep nothing from who has keys', async (folder) => {
  const store = await folder.open(keyed(1));
  const replicaOf = await store.sealed.seed();
  const replica = await openStore(join(folder.side, 'replica'), { ...inline, replicaOf });
  const holder = await openStore(join(folder.side, 'holder'), { ...inline, replicaOf, ...keyed(1) });
  await store.roots.set('a', (await store.put(text('a'))).id);
  await over(store, replica, 'push');
  for (let i = 0; i < 16; i++) await replica.sealed.takeKeys(forgedKeys(replicaOf.keys, 100 + i, 50));
  await assert.rejects(
    replica.sealed.takeKeys(forgedKeys(replicaOf.keys, 99, 50)),
    withCode('limit-exceeded'),
  );
  assert.equal(waiting(join(folder.side, 'replica')).length, 16);
  await over(replica, holder, 'pull');
  assert.equal(await holder.roots.get('a'), await store.roots.get('a'));
  for (let i = 0; i < 16; i++)
    await holder.sealed.takeKeys(forgedKeys(replicaOf.keys, 200 + i, 50)).catch(() => undefined);
  assert.equal(waiting(join(folder.side, 'holder')).length, 16);
  await store.roots.set('b', (await store.put(text('b'))).id);
  await over(store, replica, 'push');
  await over(replica, holder, 'pull');
  assert.equal(await holder.roots.get('b'), await store.roots.get('b'));

  // What is of an epoch that came with no room for its keys says so.
  await store.keys.renew([keyed(3).encryption.secret]);
  await store.roots.set('c', (await store.put(text('c'))).id);
  await assert.rejects(over(store, holder, 'pull'), withCode('limit-exceeded'));
  assert.equal((await holder.roots.list()).length, 2);
  for (const one of [replica, holder]) await one.close();
});

furtherTest(
  'a peer gives what a replica is made of to who may pull, and nothing else to who is of no realm',
  async (folder) => {
    const store = await folder.open({ encryption: { secret } });
    await store.roots.set('a', (await store.put(text('a'))).id);
    const asking = async (
      from: Store,
      allow: 'pull' | 'push' | 'append' | 'both',
    ): ReturnType<typeof fetchSeed> => {
      const [near, far] = pair();
      const serving = serve(from, far, { allow }).catch(() => undefined);
      try {
        return await fetchSeed(near);
      } finally {
        await serving;
      }
    };
    const replica = await openStore(join(folder.side, 'replica'), {
      ...inline,
      replicaOf: await asking(store, 'both'),
    });
    assert.deepEqual(replica.parameters, store.parameters);
    assert.deepEqual(await asking(replica, 'pull'), await store.sealed.seed());
    for (const allow of ['push', 'append'] as const)
      await assert.rejects(asking(store, allow), withCode('forbidden'));
    const plain = await openStore(join(folder.side, 'plain'), { ...inline, parameters: smallParameters });
    await assert.rejects(asking(plain, 'both'), withCode('incompatible-format'));
    for (const message of [
      { type: 'ask', all: true, roots: [] },
      { type: 'offer', roots: [{ name: shown, id: x, marks: [] }] },
      { type: 'want', wants: [{ kind: 'raw', id: x, from: 0 }] },
      { type: 'keys', file: (await store.sealed.seed()).keys, parameters: new Uint8Array() },
    ] as const) {
      const [near, far] = pair();
      const peer = new ScriptedPeer(near);
      peer.helloAs(helloOf({ storeId: 'nobody', namespace: by, realm: new Uint8Array() }, ['content']));
      const acting = peer
        .hello()
        .then(() => peer.say(message))
        .catch(() => undefined);
      await assert.rejects(serve(store, far, { stallMs: 60_000 }), withCode('forbidden'));
      await acting;
      await near.close();
    }
    // What a hostile peer gives for a seed.
    const { keys } = await store.sealed.seed();
    const json = (value: unknown): Uint8Array => text(JSON.stringify(value));
    for (const [code, parameters, make] of [
      ['corrupt', text('{'), false],
      ['corrupt', text('7'), false],
      ['incompatible-format', json({ ...store.parameters, later: 1 }), false],
      ['invalid-argument', json({}), true],
      ['invalid-argument', json({ ...store.parameters, volumeBytesMax: -5 }), true],
      ['invalid-argument', json({ ...store.parameters, encryption: { realm: 'x', padding: 'none' } }), true],
    ] as const) {
      const [near, far] = pair();
      const peer = new ScriptedPeer(far);
      const realm = fromHex(store.parameters.encryption!.realm)!;
      peer.helloAs(helloOf({ storeId: 'hostile', namespace: by, realm }, ['content', 'manifest']));
      const acting = peer
        .hello()
        .then(() => peer.say({ type: 'keys', file: keys, parameters }))
        .catch(() => undefined);
      const got = fetchSeed(near, { stallMs: 60_000 });
      if (make) {
        const replicaOf = await got;
        await assert.rejects(openStore(join(folder.side, 'never'), { ...inline, replicaOf }), withCode(code));
      } else await assert.rejects(got, withCode(code));
      await acting;
      await far.close();
    }
    for (const one of [plain, replica]) await one.close();
  },
);

/** What is damaged in one store, had from another over a connection. */
async function repaired(
  store: Store,
  other: Store,
  { by: how, cut }: { readonly by?: 'locators'; readonly cut?: number } = {},
): Promise<RepairedFrom> {
  const serving: Promise<unknown>[] = [];
  let connections = 0;
  const result = await repairFrom(
    store,
    () => {
      const [near, far] = pair();
      serving.push(serve(other, far, { allow: 'pull' }).catch(() => undefined));
      return Promise.resolve(
        cut !== undefined && ++connections < 3 ? cutWhenCome(near, connections * cut) : near,
      );
    },
    how === undefined ? {} : { by: how },
  );
  await Promise.all(serving);
  return result;
}

for (const [name, shape] of full ? shapes.slice(1) : [])
  twoStores(`damage is had by locators, whichever side is without keys: ${name}`, async (two) => {
    const source = { ...shape, parameters: smallParameters, durability: 'relaxed' } as const;
    let a = await two.a.open({ encryption: { secret }, ...source });
    const replicaOf = await a.sealed.seed();
    const tree = new Map(Array.from({ length: 12 }, (_, i) => [`file ${i}`, noise(900 * (i + 1), i)]));
    tree.set('large', noise(300_000));
    const top = await setTree(a, 'main', tree);
    let b = await two.b.open({ replicaOf });
    await over(a, b, 'push');

    // The replica from who has keys, as a store and as a folder, which is opened without.
    const harmed = async (folder: StoreFolder, open: OpenOptions): Promise<Store> => {
      await folder.closeAll();
      harmHalf(folder, harms['4 KiB of zeros']!);
      return await folder.open(open);
    };
    for (const from of [a, two.a.path]) {
      b = await harmed(two.b, {});
      const alone = await b.repair();
      assert.ok(alone.remaining.length > 3, `${alone.remaining.length}`);
      const { healed, remaining, sources } = await b.repair({ from });
      assert.deepEqual([remaining, sources.from], [[], healed]);
      assert.deepEqual((await b.scrub()).damaged, []);
    }

    // Who has keys from the replica, over a connection that is cut, opening what comes.
    a = await harmed(two.a, { encryption: { secret } });
    const cut = await repaired(a, b, { by, cut: 4000 });
    assert.deepEqual([cut.failure, cut.healed > 3], [undefined, true]);
    const rest = await repaired(a, b, { by });
    assert.deepEqual([rest.remaining, rest.failure, (await a.scrub()).damaged], [[], undefined, []]);
    assert.equal(await a.roots.get('main'), top);

    // And the replica from a replica: without keys that is how it goes by itself.
    b = await harmed(two.b, {});
    await two.a.closeAll();
    const locked = await two.a.open({});
    const found = await repaired(b, locked);
    assert.deepEqual([found.remaining, found.failure, found.healed > 3], [[], undefined, true]);
  });

furtherTest('a repair by locators takes nothing that does not fit, and tells why', async (folder) => {
  const store = await folder.open({ encryption: { secret } });
  const { id } = await store.put(noise(5000));
  const other = await store.put(noise(5000, 2));
  await store.roots.set('r', id);
  const [locator, elsewhere] = (await store.sealed.locatorsOf([id, other.id])) as [string, string];
  const read = async (at: string): Promise<Uint8Array> =>
    (await store.sealed.read(at, { offset: 0, length: 1e6 }))!;
  const [right, wrong] = [await read(locator), await read(elsewhere)];
  const replicaOf = await store.sealed.seed();
  mkdirSync(join(folder.side, 'replica'));
  const place = new StoreFolder(join(folder.side, 'replica'));
  const { path } = place;
  const first = await openStore(path, { ...inline, replicaOf });
  await over(store, first, 'push');
  await first.close();
  const giving = (bytes: Uint8Array): ObjectSource => ({
    object: (at) =>
      Promise.resolve(at === locator ? { size: bytes.length, bytes: pieceOf(bytes) } : undefined),
  });
  harmHalf(place, harms['4 KiB of zeros']!);
  const locked = await openStore(path, inline);
  const reasons = async (one: Store, from: ObjectSource): Promise<string> =>
    (await one.repair({ from })).remaining.map(({ reason }) => reason).join();
  assert.match(await reasons(locked, giving(noise(60))), /has 60 bytes, and what was here/);
  assert.match(await reasons(locked, giving(noise(right.length))), /sealed|head|magic|suite|version/);
  const plain = await openStore(join(folder.side, 'plain'), { ...inline, parameters: smallParameters });
  await assert.rejects(locked.repair({ from: plain }), withCode('wrong-key'));
  await plain.close();
  await locked.close();
  const opened = await openStore(path, { ...inline, encryption: { secret } });
  assert.match(await reasons(opened, giving(wrong)), /does not|other|another|not the/);
  await opened.repair({ from: giving(right) });
  assert.deepEqual(Buffer.from((await opened.get(id))!), Buffer.from(noise(5000)));
  await opened.close();
});

if (full)
  twoStores(
    'one large object of another length keeps no other from being repaired over the same connection',
    async (two) => {
      const source = { parameters: smallParameters, durability: 'relaxed' } as const;
      const a = await two.a.open({ encryption: { secret }, ...source });
      const replicaOf = await a.sealed.seed();
      const ids: string[] = [];
      for (const size of [1_300_000, 900, 1_500_000]) ids.push((await a.put(noise(size, size))).id);
      const [first, second, longer] = ids;
      const [wrong, , right] = await a.sealed.locatorsOf([first!, second!, longer!]);
      const b = await two.b.open({ replicaOf });
      const object: Uint8Array[] = [];
      for (
        let at = 0, piece;
        (piece = (await a.sealed.read(right!, { offset: at, length: 1e6 }))!).length > 0;
        at += piece.length
      )
        object.push(piece);
      await a.roots.set('second', second!);
      await over(a, b, 'push');
      await b.sealed.put(concatBytes(...object), { locator: wrong!, kind: 'raw' });
      await a.roots.set('first', first!);
      await a.gc({ graceMs: 0 });
      await two.a.closeAll();
      harmHalf(two.a, harms['4 KiB of zeros']!);
      const locked = await two.a.open({});
      const found = await repaired(locked, b);
      assert.deepEqual([found.failure, found.healed], [undefined, 1]);
      assert.match(found.remaining.map(({ reason }) => reason).join(), /bytes, and what was here/);
      two.a.leaves(found.remaining.map(({ id }) => id));
    },
  );

async function* pieceOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  await Promise.resolve();
  yield bytes;
}
