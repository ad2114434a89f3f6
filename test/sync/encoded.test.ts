/** Compressed stores over the wire: what travels is what is stored, cut or whole, encrypted or not, and what the two do not share still arrives. */
import assert from 'node:assert/strict';
import { type OpenOptions, type Store, nodeProvider } from '../../engine/index.ts';
import { type SendStreamOptions, pair, receiveStream, sendStream, serve } from '../../sync/index.ts';
import { noise, smallParameters, withCode } from '../engine/store-folder.ts';
import { cutTransfer } from './cutting.ts';
import { ScriptedPeer, goodHello } from './scripted-peer.ts';
import { assertSame, closureOf, openBoth, pullOver, pushOver, setTree, twoStores } from './stores.ts';

const kib = 1024;
const inline = { threads: { count: 0 } } as const;

/** As well compressible as source code is: a third is left. */
function quiet(seed: number, size: number): Uint8Array {
  const bytes = noise(size, seed);
  for (let at = 0; at < size; at += 64) bytes.fill(seed, at, at + 44);
  return bytes;
}

/** What a new tree takes in its store, and the content of its blobs that are new. */
async function setAgain(
  store: Store,
  tree: ReadonlyMap<string, Uint8Array>,
): Promise<{ readonly stored: number; readonly content: number }> {
  const old = await closureOf(store, (await store.roots.get('main'))!);
  const { storedBytes } = await store.stats();
  const root = await setTree(store, 'main', tree);
  const added = [...(await closureOf(store, root))].filter(([key]) => !old.has(key));
  const content = added.reduce((sum, [, bytes]) => sum + bytes.length, 0);
  return { stored: (await store.stats()).storedBytes - storedBytes, content };
}

const stores: readonly (readonly [string, OpenOptions])[] = [
  ['compressed by zstd', { compression: 'auto' }],
  [
    'by deflate, encrypted, each by keys of its own',
    {
      compression: { mode: 'auto', codec: 'deflate' },
      encryption: { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(7) } },
    },
  ],
  ['chunked', { compression: 'auto', chunking: 'fastcdc' }],
];

for (const [what, options] of stores)
  twoStores(`a second sync moves no more than what is new takes in its store: ${what}`, async (two, t) => {
    const { source, replica } = await openBoth(two, { ...options, ...inline });
    const tree = new Map(Array.from({ length: 60 }, (_, i) => [`file ${i}`, quiet(i, 6 * kib + i)]));
    tree.set('large', quiet(200, 100 * kib));
    await setTree(source, 'main', tree);
    await pullOver(source, replica);
    const changed = [3, 50, 51];
    for (const i of changed) tree.set(`file ${i}`, quiet(i + 1000, 60 * kib));
    tree.set('large', quiet(201, 300 * kib));
    const { stored, content } = await setAgain(source, tree);
    const { receivedBytes, bytes } = await pullOver(source, replica);
    await assertSame(source, replica, ['main']);
    const bar = stored + 8 * kib * (changed.length + 1);
    assert.ok(receivedBytes <= bar, `${receivedBytes} bytes moved, ${stored} stored anew, the bar is ${bar}`);
    assert.ok(bar < content / 2, 'else it would hold without');
    t.diagnostic(`${receivedBytes} bytes moved, ${stored} stored anew, ${content} of content`);
    assert.equal(bytes, content, 'what is counted is content');
    // Pushed back, to a store that has the tree but for one file: the same.
    tree.set('new', quiet(500, 200 * kib));
    const more = await setAgain(replica, tree);
    const { sentBytes } = await pushOver(replica, source);
    assert.ok(sentBytes <= more.stored + 8 * kib, `${sentBytes} bytes pushed, ${more.stored} stored`);
  });

twoStores('stores of other codecs, other chunks and none at all keep to their ways', async ({ a, b }) => {
  const source = await a.open({ compression: { mode: 'auto', codec: 'zstd' } });
  const tree = new Map([
    ['small', quiet(1, 3000)],
    ['chunks', quiet(2, 15_000)],
    ['large', quiet(3, 300_000)],
    ['noise', noise(50_000, 4)],
  ]);
  await setTree(source, 'main', tree);
  const replica = await b.open({ parameters: { ...smallParameters, chunkBytes: 8192 } });
  const { receivedBytes } = await pullOver(source, replica);
  await assertSame(source, replica, ['main']);
  const large = nodeProvider.sha256Hex(tree.get('large')!);
  assert.ok((await replica.pathOf(large)) !== undefined, 'a store that compresses nothing has plain files');
  assert.ok(receivedBytes < 230_000, `${receivedBytes} bytes: compressed on the way`);
});

twoStores('a peer that speaks no codec is sent content', async (two) => {
  const { source } = await openBoth(two, { compression: 'auto', ...inline });
  const content = quiet(1, 3000);
  const { id } = await source.put(content);
  await source.roots.set('x', id);
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const served = serve(source, here);
  await peer.say({ ...goodHello, forms: [0] });
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.hear('roots');
  await peer.say({ type: 'want', wants: [{ kind: 'raw', id, from: 0 }] });
  const { form } = await peer.hear('blob');
  assert.equal(form, 'content');
  await peer.say({ type: 'done', changed: [true], blobs: 1, bytes: content.length });
  await peer.say({ type: 'bye' });
  await there.close();
  await served;
});

twoStores('a large compressed blob that is cut goes on where it was', async (two) => {
  const { source, replica } = await openBoth(two, { compression: 'auto', ...inline });
  await setTree(source, 'main', new Map([['large', quiet(9, 4 * 1024 * kib)]]));
  let sent = 0;
  for (const after of [500 * kib, 501 * kib, Number.MAX_SAFE_INTEGER]) {
    const cut = await cutTransfer({ direction: 'pull', cutSide: 'source', after }, source, replica);
    sent += cut.sent.bytes;
    if (after < 1024 * kib) assert.equal(await replica.roots.get('main'), undefined);
  }
  await assertSame(source, replica, ['main']);
  const [large] = [...(await closureOf(source, (await source.roots.get('main'))!))].filter(
    ([, bytes]) => bytes.length > 1024 * kib,
  );
  const { storedSize } = (await source.stat(large![0].split(' ')[1]!))!;
  assert.ok(sent < storedSize + 2 * 450 * kib, `${sent} bytes, ${storedSize} stored`);
});

twoStores('an offline stream may be as it is stored, and goes on after a cut', async (two) => {
  const { source, replica } = await openBoth(two, { compression: 'auto', ...inline });
  const tree = new Map(Array.from({ length: 40 }, (_, i) => [`file ${i}`, quiet(i, 6 * kib + i)]));
  await setTree(source, 'main', tree.set('large', quiet(50, 300 * kib)));
  const streamOf = async (how: SendStreamOptions): Promise<Buffer> => {
    const pieces: Uint8Array[] = [];
    for await (const bytes of sendStream(source, 'main', how)) pieces.push(bytes);
    return Buffer.concat(pieces);
  };
  const plain = await streamOf({});
  const stream = await streamOf({ compressed: true, partBytes: 40 * kib });
  assert.ok(stream.length < plain.length / 2, `${stream.length} of ${plain.length} bytes`);
  const given = (from: number, to: number) =>
    async function* (): AsyncGenerator<Uint8Array, void, void> {
      yield stream.subarray(from, to);
    };
  await assert.rejects(receiveStream(replica, given(0, 100_000)()), withCode('unavailable'));
  assert.equal(await replica.roots.get('main'), undefined);
  const { resumedAt, changed } = await receiveStream(replica, (at) => given(at, stream.length)(), {
    resume: true,
  });
  assert.ok(resumedAt > 0 && changed);
  await assertSame(source, replica, ['main']);
  assert.equal((await replica.stats()).storedBytes, (await source.stats()).storedBytes);
});
