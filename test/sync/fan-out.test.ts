/** One store pushed to several at once: read once, whoever is slow or dead; memory that is bounded; each peer remembered. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Store, StoreError, openStore } from '../../engine/index.ts';
import { type Transport, bookmarks, fanOut, pair, serve } from '../../sync/index.ts';
import type { Piece, Source } from '../../sync/peer.ts';
import { SharedReads } from '../../sync/peers/shared-reads.ts';
import { noise, text, withCode } from '../engine/store-folder.ts';
import { assertSame, setTree, twoStores } from './stores.ts';

const fast = { durability: 'relaxed', threads: { count: 0 } } as const;

/** A transport to a store that serves a push. */
function to(store: Store): Transport {
  const [here, there] = pair();
  serve(store, there).catch(() => undefined); // the one who pushes is told
  return here;
}

/** Takes nothing in until it is let go. */
function held(inner: Transport, until: Promise<void>): Transport {
  return {
    send: (bytes) => inner.send(bytes),
    close: (reason) => inner.close(reason),
    receive: async () => {
      await until;
      return await inner.receive();
    },
  };
}

twoStores(
  'three at once: each blob is read once, one that is slow and one that is dead hold up nobody',
  async ({ a, b }) => {
    const source = await a.open({ durability: 'relaxed' });
    const tree = new Map<string, Uint8Array>([['large', noise(5_000_000, 3)]]);
    for (let i = 0; i < 60; i++) tree.set(`file ${i}`, noise(3000 + i, i));
    await setTree(source, 'main', tree);
    await setTree(source, 'other', new Map([['x', text('x')]]));
    const replicas = [await b.open({ durability: 'relaxed' })];
    for (const name of ['second', 'third', 'slow']) replicas.push(await openStore(`${b.path} ${name}`, fast));
    const { push, reads } = fanOut(source);
    const letGo = Promise.withResolvers<void>();
    const [first, second, third, slow] = replicas;
    const silent = pair()[0];
    const dead = push(silent, { stallMs: 300 });
    dead.catch(() => undefined); // looked at below
    const slowly = push(held(to(slow!), letGo.promise));
    const done = await Promise.all([first, second, third].map((replica) => push(to(replica!))));
    for (const { roots, blobs } of done) assert.deepEqual([roots.length, blobs > 61], [2, true]);
    // 61 files, some nodes, and 5 pieces of the large one: once.
    const { read, shared } = reads;
    assert.ok(read < 110 && shared >= 2 * read, `${read} read, ${shared} shared`);
    await assert.rejects(dead, withCode('unavailable'));
    letGo.resolve();
    await slowly;
    for (const replica of replicas) await assertSame(source, replica, ['main', 'other']);
    const ids = await Promise.all(replicas.map(async (replica) => (await replica.stats()).storeId));
    for (const name of ['main', 'other'])
      assert.deepEqual((await bookmarks(source, name)).map(({ peer }) => peer).sort(), ids.sort());
    for (const replica of replicas.slice(1)) await replica.close();
  },
);

/** A source of pieces that counts what is read. */
function counting(): { readonly source: Source; reads: number; fail: boolean } {
  const counted = {
    reads: 0,
    fail: false,
    source: {
      begin: () => Promise.resolve(),
      end: () => Promise.resolve(),
      read: async (id: string): Promise<Piece> => {
        counted.reads++;
        await Promise.resolve();
        if (counted.fail) throw new StoreError('unavailable', 'a disk is away');
        return { bytes: Buffer.alloc(1000, Number(id)), size: 1000 };
      },
    } as unknown as Source,
  };
  return counted;
}

test('what is kept is bounded: who is too far behind reads for himself, and gets bytes of his own', async () => {
  const counted = counting();
  const shared = new SharedReads(10_000);
  const [one, two] = [shared.share(counted.source), shared.share(counted.source)];
  await one.begin();
  await one.read('1', 0, 1000);
  assert.equal(shared.bytes, 0, 'one alone keeps nothing');
  await two.begin();
  for (let i = 1; i <= 50; i++) {
    const piece = (await one.read(String(i), 0, 1000))!;
    piece.bytes.fill(0); // it belongs to a transport now
    assert.ok(shared.bytes <= 10_000);
    if (i > 5) assert.deepEqual([...new Set((await two.read(String(i - 5), 0, 1000))!.bytes)], [i - 5]);
  }
  assert.equal(counted.reads, 51);
  await two.read('3', 0, 1000);
  assert.equal(counted.reads, 52);
  // Both at once, of what cannot be read now: both are told, and nothing of it is kept.
  counted.fail = true;
  const failed = await Promise.allSettled([one.read('99', 0, 1000), two.read('99', 0, 1000)]);
  assert.deepEqual(
    failed.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  counted.fail = false;
  assert.equal((await two.read('99', 0, 1000))?.size, 1000);
  await one.end({ how: 'cut' });
  await two.end({ how: 'cut' });
  assert.equal(shared.bytes, 0);
});

test('small pieces, and what is not there, count with the memory that they take besides', async () => {
  for (const piece of [{ bytes: new Uint8Array(1), size: 1 }, undefined]) {
    const shared = new SharedReads(100_000);
    const source = {
      begin: () => Promise.resolve(),
      read: () => Promise.resolve(piece),
    } as unknown as Source;
    const [fast, slow] = [shared.share(source), shared.share(source)];
    await fast.begin();
    await slow.begin();
    // A peer may ask for what nobody has, without end.
    for (let i = 1; i <= 1000; i++) await fast.read(String(i), 0, 1000);
    await slow.read('1000', 0, 1000);
    assert.deepEqual(shared.counts, { read: 1000, shared: 1 });
    await slow.read('1', 0, 1000);
    assert.deepEqual(shared.counts, { read: 1001, shared: 1 }, 'it was not kept');
  }
});

test('each reader may free its piece at once, also one that is a part of a larger buffer', async () => {
  const shared = new SharedReads();
  const source = {
    begin: () => Promise.resolve(),
    read: async () => {
      await Promise.resolve();
      return { bytes: new Uint8Array(1_000_000).fill(7, 0, 20_000).subarray(0, 20_000), size: 20_000 };
    },
  } as unknown as Source;
  const takers = [shared.share(source), shared.share(source), shared.share(source)];
  for (const taker of takers) await taker.begin();
  const free = async (read: Promise<Piece | undefined>): Promise<number[]> => {
    const { bytes } = (await read)!;
    const seen = [bytes[0]!, bytes.at(-1)!];
    (bytes.buffer as ArrayBuffer).transfer(0);
    return seen;
  };
  const both = await Promise.all(takers.slice(0, 2).map((taker) => free(taker.read('1', 0, 65_536))));
  assert.deepEqual(
    [...both, await free(takers[2]!.read('1', 0, 65_536))],
    [
      [7, 7],
      [7, 7],
      [7, 7],
    ],
  );
  assert.deepEqual(shared.counts, { read: 1, shared: 2 });
});
