/** The offline stream: what it carries, what it refuses, and that nothing of a cut or damaged one becomes a root. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BlobId,
  type Store,
  StoreError,
  decodeNode,
  nodeProvider,
  openStore,
} from '../../engine/index.ts';
import { type SendStreamOptions, bookmarks, receiveStream, sendStream } from '../../sync/index.ts';
import { FrameReader, FrameWriter } from '../../sync/protocol/frame.ts';
import { type Message, decodeMessage, encodeMessage } from '../../sync/protocol/message.ts';
import { seededBytes, seededRandom } from '../crash/random.ts';
import { smallParameters, withCode } from '../engine/store-folder.ts';
import { goodHello } from './scripted-peer.ts';
import { assertSame, closureOf, pushOver, setTree } from './stores.ts';
import { sample } from '../crash/sample.ts';

const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);
const cutsWanted = Number(process.env['HOLDFAST_CUTS'] ?? sample(5, 3));
const options = { durability: 'relaxed', threads: { count: 0 }, parameters: smallParameters } as const;
const kib = 1024;

let base: string;
let source: Store;
let opened = 0;
before(async () => {
  base = mkdtempSync(join(tmpdir(), 'holdfast-stream-'));
  source = await openStore(join(base, 'source'), options);
});
after(async () => {
  await source.close();
  rmSync(base, { recursive: true });
});

/** An empty store for a test, scrubbed at its end. */
async function withReplica(work: (replica: Store) => Promise<void>): Promise<void> {
  const folder = join(base, `replica ${opened++}`);
  const replica = await openStore(folder, options);
  try {
    await work(replica);
    const { damaged, recounted } = await replica.scrub();
    assert.deepEqual([damaged, recounted], [[], 0]);
  } finally {
    await replica.close();
  }
  rmSync(folder, { recursive: true });
}

/** 40 small files, one of some frames, the same bytes twice. */
function someTree(first: number): Map<string, Uint8Array> {
  const tree = new Map(
    Array.from({ length: 40 }, (_, i) => [`file ${i}`, seededBytes(first + i, 200 + i * 90)]),
  );
  tree.set('large', seededBytes(first + 100, 300 * kib + 7));
  return tree.set('twice', tree.get('file 7')!);
}

async function streamOf(name: string, how: SendStreamOptions = {}): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const bytes of sendStream(source, name, how)) pieces.push(bytes);
  return Buffer.concat(pieces);
}

/** In pieces of odd sizes. */
async function* inPieces(bytes: Uint8Array, piece: number = 5000): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.slice(at, at + piece);
}

/** Where frames end. */
function frameEnds(stream: Buffer): { readonly at: number; readonly type: string }[] {
  const reader = new FrameReader(nodeProvider);
  reader.push(stream);
  const ends: { readonly at: number; readonly type: string }[] = [];
  let at = 0;
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    at += frame.head.length + frame.payload.length;
    ends.push({ at, type: decodeMessage(frame.header).type });
  }
  assert.equal(at, stream.length);
  return ends;
}

test('a stream carries a root with all it reaches, each blob once; then only what changed', async () => {
  const tree = someTree(1000);
  const first = await setTree(source, 'main', tree);
  const bytes = [...tree.values()].reduce((sum, { length }) => sum + length, 0) - tree.get('twice')!.length;
  const whole = await streamOf('main');
  assert.ok(whole.length < 1.02 * bytes + 8 * kib, `${whole.length} for ${bytes}`);
  tree.set('file 3', seededBytes(5, 500));
  const second = await setTree(source, 'main', tree);
  const rest = await streamOf('main', { since: first });
  assert.ok(rest.length < 12 * kib, `${rest.length} bytes`);
  await withReplica(async (replica) => {
    const one = await receiveStream(replica, inPieces(whole));
    const { storeId } = await source.stats();
    assert.deepEqual([one.id, one.base, one.changed, one.streamBytes], [first, null, true, whole.length]);
    assert.equal(one.blobs, (await closureOf(source, first)).size);
    const two = await receiveStream(replica, inPieces(rest));
    assert.deepEqual([two.base, two.changed, two.id], [first, true, second]);
    await assertSame(source, replica, ['main']);
    const again = await receiveStream(replica, inPieces(rest));
    assert.deepEqual([again.changed, again.blobs], [false, 0]);
    assert.deepEqual(await bookmarks(replica, 'main'), [{ peer: storeId, id: second }]);
    // An older one does not lead back: it builds on a base that the root has left.
    await replica.roots.set('main', await setTree(replica, 'other', someTree(1)));
    await assert.rejects(receiveStream(replica, inPieces(rest)), withCode('conflict'));
  });
});

test('without the base nothing is stored; a base that is not here makes no stream', async () => {
  const from = await setTree(source, 'base', someTree(2000));
  await setTree(source, 'next', someTree(2010));
  const stream = await streamOf('next', { since: from });
  await withReplica(async (replica) => {
    await assert.rejects(receiveStream(replica, inPieces(stream)), withCode('not-found'));
    assert.equal((await replica.stats()).blobs, 0);
    // As bytes alone the base has nothing below it.
    await replica.put((await source.get(from))!);
    await assert.rejects(receiveStream(replica, inPieces(stream)), withCode('not-found'));
    assert.equal((await replica.stats()).blobs, 1);
  });
  await assert.rejects(streamOf('next', { since: '0'.repeat(64) }), withCode('not-found'));
  await assert.rejects(streamOf('nothing'), withCode('not-found'));
  const { id } = await source.put(Buffer.from('bytes alone'));
  await source.roots.set('blob', id);
  const blob = await streamOf('blob');
  await withReplica(async (replica) => {
    await receiveStream(replica, inPieces(blob));
    assert.equal(await replica.roots.get('blob'), id);
  });
});

test('bookmarks outlive the snapshot: the peer that pulled is known, and what it has is a base', async () => {
  await withReplica(async (replica) => {
    const tree = someTree(3000);
    const first = await setTree(source, 'marked', tree);
    await pushOver(source, replica, { roots: ['marked'] });
    tree.set('file 1', seededBytes(6, 600));
    await setTree(source, 'marked', tree);
    const [mark] = await bookmarks(source, 'marked');
    assert.deepEqual(mark, { peer: (await replica.stats()).storeId, id: first });
    const stream = await streamOf('marked', { since: mark.id });
    assert.ok(stream.length < 12 * kib);
    await receiveStream(replica, inPieces(stream));
    await assertSame(source, replica, ['marked']);
    // The mark stays when the snapshot is gone; then nobody here knows what was in it.
    await source.gc({ graceMs: 0 });
    assert.deepEqual((await bookmarks(source, 'marked'))[0], mark);
    await assert.rejects(streamOf('marked', { since: mark.id }), withCode('not-found'));
  });
});

test(`cut anywhere it is unavailable and no root; it goes on after the last part (${cutsWanted} cuts)`, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  await setTree(source, 'cut', someTree(4000));
  const stream = await streamOf('cut', { partBytes: 15 * kib });
  const ends = frameEnds(stream);
  const seals = ends.filter(({ type }) => type === 'seal').map(({ at }) => at);
  assert.ok(seals.length > 4);
  const boundaries = ends.map(({ at }) => at).filter((at) => at < stream.length);
  const chosen = boundaries.filter(() => random.chance(cutsWanted / 2 / boundaries.length));
  while (chosen.length < cutsWanted) chosen.push(random.below(stream.length));
  chosen.push(0, seals[1]!, seals[1]! + 1, stream.length - 1);
  for (const at of chosen)
    await withReplica(async (replica) => {
      const cut = receiveStream(replica, inPieces(stream.subarray(0, at)));
      await assert.rejects(cut, withCode('unavailable'), `cut at ${at}`);
      assert.deepEqual(await replica.roots.list(), []);
      const again = random.below(2);
      if (again === 1) {
        const further = at + random.below(stream.length - at);
        const next = receiveStream(replica, inPieces(stream.subarray(0, further)), { resume: true });
        await assert.rejects(next, withCode('unavailable'), `cut at ${at}, then at ${further}`);
      }
      const opens: number[] = [];
      const from = (offset: number): AsyncIterable<Uint8Array> => {
        opens.push(offset);
        return inPieces(stream.subarray(offset));
      };
      const rest = await receiveStream(replica, random.chance(0.5) ? from : inPieces(stream), {
        resume: true,
      });
      if (opens.length > 0) assert.equal(opens[0], rest.resumedAt);
      if (again === 0) assert.equal(rest.resumedAt, seals.findLast((end) => end <= at) ?? 0, `cut at ${at}`);
      await assertSame(source, replica, ['cut']);
    });
});

test(`damage anywhere is told, and is no root (${4 * cutsWanted} places)`, async () => {
  const random = seededRandom(seed, 1);
  await setTree(source, 'damaged', someTree(5000));
  const stream = await streamOf('damaged', { partBytes: 15 * kib });
  const [first] = frameEnds(stream);
  await withReplica(async (replica) => {
    // Half of it is here already: those payloads no blob's id looks at.
    await setTree(replica, 'half', new Map([...someTree(5000)].filter((_, i) => i % 2 === 0)));
    for (let i = 0; i < 4 * cutsWanted; i++) {
      const at = i === 0 ? first!.at + 20 : i === 1 ? stream.length - 1 : random.below(stream.length);
      const bytes = Buffer.from(stream);
      bytes[at]! ^= 1 << random.below(8);
      await assert.rejects(receiveStream(replica, inPieces(bytes)), (error) => {
        assert.ok(StoreError.is(error), String((error as Error).stack ?? error));
        assert.ok(['corrupt', 'unavailable', 'incompatible-format'].includes(error.code));
        return true;
      });
      assert.equal(await replica.roots.get('damaged'), undefined, `a bit at ${at}`);
    }
    // More behind the end, a part left out, parts of another stream.
    const seals = frameEnds(stream).filter(({ type }) => type === 'seal');
    await setTree(source, 'other', someTree(5000));
    const other = await streamOf('other', { partBytes: 15 * kib });
    const otherSeals = frameEnds(other).filter(({ type }) => type === 'seal');
    for (const bytes of [
      Buffer.concat([stream, Buffer.of(0)]),
      Buffer.concat([stream.subarray(0, seals[0]!.at), stream.subarray(seals[1]!.at)]),
      Buffer.concat([stream.subarray(0, seals[0]!.at), other.subarray(otherSeals[0]!.at)]),
    ])
      await assert.rejects(receiveStream(replica, inPieces(bytes)), withCode('corrupt'));
    assert.equal(await replica.roots.get('damaged'), undefined);
    await receiveStream(replica, inPieces(stream));
    await assertSame(source, replica, ['damaged']);
  });
});

test('a run of chunks that damage made too large is damage', async () => {
  const folder = join(base, 'compressed');
  const compressed = await openStore(folder, { ...options, compression: 'always' });
  await setTree(compressed, 'runs', new Map([['text', new Uint8Array(9000).fill(5)]]));
  const pieces: Uint8Array[] = [];
  for await (const bytes of sendStream(compressed, 'runs', { compressed: true })) pieces.push(bytes);
  await compressed.close();
  const stream = Buffer.concat(pieces);
  const reader = new FrameReader(nodeProvider);
  reader.push(stream);
  let run = 0;
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    const message = decodeMessage(frame.header);
    run += frame.head.length;
    if (message.type === 'blob' && message.form !== 'content') break;
    run += frame.payload.length;
  }
  const bytes = Buffer.from(stream);
  bytes[run + 7]! ^= 1; // of its first chunk 16 MiB more are said to come out
  await withReplica(async (replica) => {
    await assert.rejects(receiveStream(replica, inPieces(bytes)), withCode('corrupt'));
    await receiveStream(replica, inPieces(stream));
  });
});

test('what was collected since the cut is told; another stream is no rest; without resume all begins anew', async () => {
  await setTree(source, 'collected', someTree(6000));
  const stream = await streamOf('collected', { partBytes: 15 * kib });
  const seals = frameEnds(stream).filter(({ type }) => type === 'seal');
  await setTree(source, 'another', someTree(7000));
  const another = await streamOf('another', { partBytes: 15 * kib });
  await withReplica(async (replica) => {
    const cut = (): Promise<unknown> =>
      receiveStream(replica, inPieces(stream.subarray(0, seals[2]!.at + 9)), { resume: true });
    await assert.rejects(cut(), withCode('unavailable'));
    await assert.rejects(receiveStream(replica, inPieces(another), { resume: true }), withCode('conflict'));
    await replica.gc({ graceMs: 0 });
    await assert.rejects(receiveStream(replica, inPieces(stream), { resume: true }), withCode('not-found'));
    assert.deepEqual(await replica.roots.list(), []);
    const whole = await receiveStream(replica, inPieces(stream), { resume: true });
    assert.equal(whole.resumedAt, 0);
    await assertSame(source, replica, ['collected']);
    await receiveStream(replica, inPieces(another));
    await assertSame(source, replica, ['another']);
  });
});

/** A stream of one part, made by hand, its digest right. */
function streamSaying(
  said: readonly { readonly message: Message; readonly payload?: Uint8Array }[],
  hello = goodHello,
): Buffer {
  const writer = new FrameWriter(nodeProvider);
  const frame = (message: Message, payload: Uint8Array = new Uint8Array(0)): Uint8Array[] => [
    writer.head(encodeMessage(message), payload.length),
    payload,
  ];
  const none = '0'.repeat(64);
  const bytes = Buffer.concat(
    [
      { message: hello },
      { message: { type: 'part', number: 0, digest: none, repeated: 0 } as const },
      ...said,
    ].flatMap(({ message, payload }: { readonly message: Message; readonly payload?: Uint8Array }) =>
      frame(message, payload),
    ),
  );
  const digest = nodeProvider.sha256Hex(Buffer.concat([Buffer.alloc(32), bytes]));
  return Buffer.concat([bytes, ...frame({ type: 'seal', last: true, digest })]);
}

test('a stream that was made to do harm is refused, and keeps nothing that its root does not name', async () => {
  const tree = someTree(9000);
  const root = await setTree(source, 'honest', tree);
  const rootBytes = (await source.get(root))!;
  const roots = (): { message: Message } => ({
    message: {
      type: 'roots',
      roots: [{ name: 'honest', id: root, kind: 'node', base: null }],
    },
  });
  const blob = (kind: 'raw' | 'node', bytes: Uint8Array, id: string = nodeProvider.sha256Hex(bytes)) => ({
    message: { type: 'blob', kind, id, form: 'content', size: bytes.length, offset: 0 } as Message,
    payload: bytes,
  });
  const named = tree.get('file 1')!;
  const strange = Buffer.from('nobody asked for this');
  const top = blob('node', rootBytes);
  const inner = decodeNode(rootBytes).links[0]!;
  const cases: [string, string, Parameters<typeof streamSaying>[0]][] = [
    ['a blob that nothing links to', 'forbidden', [roots(), top, blob('raw', strange)]],
    ['a blob before its parents', 'forbidden', [roots(), blob('raw', named), top]],
    ['the root twice', 'forbidden', [roots(), top, top]],
    ['other bytes', 'corrupt', [roots(), top, blob(inner.kind, strange, inner.id)]],
    ['less than all', 'not-found', [roots(), top]],
    ['nothing', 'not-found', [roots()]],
    ['two roots', 'corrupt', [{ message: { type: 'roots', roots: [] } }]],
    ['no root', 'corrupt', [top]],
    [
      'a question',
      'corrupt',
      [roots(), { message: { type: 'want', wants: [{ kind: 'raw', id: root, from: 0 }] } }],
    ],
    ['an end before the end', 'corrupt', [roots(), top, { message: { type: 'streamed', root: 0 } }]],
  ];
  await withReplica(async (replica) => {
    for (const [what, code, said] of cases) {
      await assert.rejects(receiveStream(replica, inPieces(streamSaying(said))), withCode(code), what);
      assert.deepEqual(await replica.roots.list(), [], what);
      assert.equal(await replica.has(nodeProvider.sha256Hex(strange)), false, what);
    }
    const encoded = { message: { ...top.message, form: 'deflate' } as Message, payload: rootBytes };
    const unspoken = [
      streamSaying([roots(), encoded], { ...goodHello, forms: [0] }),
      streamSaying([roots(), top], { ...goodHello, forms: [0, 9] }),
    ];
    for (const stream of unspoken)
      await assert.rejects(receiveStream(replica, inPieces(stream)), withCode('incompatible-format'));
    await assert.rejects(
      receiveStream(replica, inPieces(streamSaying([roots(), encoded]))),
      withCode('corrupt'),
    );
  });
});

test('a quota, an abort and a root that moves meanwhile end it without a root', async () => {
  await setTree(source, 'ended', someTree(8000));
  const stream = await streamOf('ended');
  await withReplica(async (replica) => {
    await assert.rejects(
      receiveStream(replica, inPieces(stream), { quota: { bytes: 100 * kib } }),
      withCode('limit-exceeded'),
    );
    const stop = new AbortController();
    const onProgress = (): void => stop.abort(new Error('enough'));
    await assert.rejects(
      receiveStream(replica, inPieces(stream), { signal: stop.signal, onProgress }),
      /enough/,
    );
    assert.deepEqual(await replica.roots.list(), []);
    const elsewhere: BlobId = await setTree(replica, 'mine', someTree(9));
    let moved: Promise<unknown> | undefined;
    const move = (): void => void (moved ??= replica.roots.set('ended', elsewhere));
    await assert.rejects(
      receiveStream(replica, inPieces(stream), { onProgress: move }),
      withCode('conflict'),
    );
    await moved;
    assert.equal(await replica.roots.get('ended'), elsewhere);
  });
});

/** What makes an input end as it does: with an error of the system, or never; and pieces of no bytes. */
async function* endingWith(
  bytes: Uint8Array,
  end: () => Promise<void>,
): AsyncGenerator<Uint8Array, void, void> {
  yield new Uint8Array(0);
  yield bytes;
  await end();
  yield new Uint8Array(0);
}

test(
  'an input that fails where it should end, or never begins, is told as that',
  { timeout: 20_000 },
  async () => {
    await setTree(source, 'inputs', someTree(8100));
    const stream = await streamOf('inputs');
    await withReplica(async (replica) => {
      const failing = (): Promise<never> => Promise.reject(new Error('read EIO'));
      await assert.rejects(receiveStream(replica, endingWith(stream, failing)), withCode('unavailable'));
      assert.deepEqual(await replica.roots.list(), []);
      const stop = new AbortController();
      const silent = endingWith(new Uint8Array(0), () => new Promise(() => undefined));
      const waiting = receiveStream(replica, silent, { signal: stop.signal });
      setTimeout(() => stop.abort(new Error('enough')), 50);
      await assert.rejects(waiting, /enough/);
      const received = await receiveStream(replica, () => endingWith(stream, async () => undefined));
      assert.equal(received.changed, true);
    });
  },
);

test('a note that is no place in a stream is no note', async () => {
  await setTree(source, 'noted', someTree(8200));
  const stream = await streamOf('noted', { partBytes: 15 * kib });
  const good = { offset: 10, frames: 1, number: 1, digest: 'a'.repeat(64) };
  const wrong: unknown[] = [
    { ...good, offset: -1 },
    { ...good, offset: 0.5 },
    { ...good, frames: '1' },
    { ...good, number: null },
    { ...good, digest: 'x' },
    null,
    7,
  ];
  for (const note of ['{', ...wrong.map((one) => JSON.stringify(one))])
    await withReplica(async (replica) => {
      await replica.sideTable('sync').set([['stream', Buffer.from(note)]]);
      const { resumedAt } = await receiveStream(replica, inPieces(stream), { resume: true });
      assert.equal(resumedAt, 0, note);
    });
  // One that has the form, and of another stream, is no beginning of this one.
  await withReplica(async (replica) => {
    await replica.sideTable('sync').set([['stream', Buffer.from(JSON.stringify(good))]]);
    await assert.rejects(receiveStream(replica, inPieces(stream), { resume: true }), withCode('conflict'));
    assert.deepEqual(await replica.roots.list(), []);
  });
});
