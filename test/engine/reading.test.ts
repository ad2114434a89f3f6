/** Reads of every kind: whole, ranges, streams, exports, facts, lists; handles come back, nothing wrong ever comes out. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../../engine/index.ts';
import {
  collect,
  noise,
  putAll,
  sha256,
  smallParameters,
  storeTest,
  unknownId,
  until,
  withCode,
} from './store-folder.ts';

const { chunkBytes } = smallParameters;
const large = noise(600_000, 5);
const small = noise(10_000, 6);

async function openHandles(store: Store): Promise<number> {
  return (await store.stats()).openHandles;
}

async function bytesOf(stream: ReadableStream<Uint8Array> | undefined): Promise<Uint8Array> {
  assert.ok(stream !== undefined);
  return Buffer.concat(await collect(stream as unknown as AsyncIterable<Uint8Array>));
}

storeTest(
  'a range gives just these bytes, clamped at the end, whatever chunk borders it crosses',
  async (folder) => {
    const store = await folder.open({ threads: { count: 1 } });
    for (const bytes of [large, small, noise(1), noise(0)]) {
      const { id } = await store.put(bytes, { owner: 'x' });
      const edges = [
        0,
        1,
        chunkBytes - 1,
        chunkBytes,
        chunkBytes + 1,
        bytes.length - 1,
        bytes.length,
        bytes.length + 1,
        10 * bytes.length + 7,
      ].filter((n) => n >= 0);
      const lengths = [0, 1, chunkBytes, 70_000, 200_000, Number.MAX_SAFE_INTEGER - 100_000_000];
      const reads = edges.flatMap((offset) => lengths.map((length) => ({ offset, length })));
      const results = await Promise.all(
        reads.map(({ offset, length }) => store.readRange(id, offset, length)),
      );
      results.forEach((result, i) => {
        const { offset, length } = reads[i]!;
        assert.ok(
          result !== undefined && Buffer.compare(result, bytes.subarray(offset, offset + length)) === 0,
          `${bytes.length} bytes, ${offset} + ${length}`,
        );
      });
    }
  },
);

storeTest('a stream gives the range asked for, small and large, alone and many at once', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  for (const bytes of [large, small, noise(0)]) {
    const { id } = await store.put(bytes, { owner: 'x' });
    assert.deepEqual(Buffer.compare(await bytesOf(await store.stream(id)), bytes), 0);
    const ranges = [
      { offset: 5 },
      { offset: chunkBytes, length: chunkBytes },
      { offset: bytes.length },
      { length: 0 },
      { offset: 100, length: 300_000 },
      { offset: 2 * bytes.length },
    ];
    const all = await Promise.all(ranges.map(async (range) => await bytesOf(await store.stream(id, range))));
    all.forEach((got, i) => {
      const { offset = 0, length = bytes.length } = ranges[i]!;
      assert.equal(Buffer.compare(got, bytes.subarray(offset, offset + length)), 0);
    });
  }
  assert.equal(await openHandles(store), 0);
});

storeTest(
  'a stream is lazy, and gives its handle back when it is cancelled, aborted, or read to the end',
  async (folder) => {
    const store = await folder.open({ threads: { count: 1 } });
    const { id } = await store.put(noise(2_000_000), { owner: 'x' });
    const lazy = await store.stream(id);
    assert.equal(await openHandles(store), 0);
    const reader = lazy!.getReader();
    await reader.read();
    assert.equal(await openHandles(store), 1);
    await reader.cancel('enough');
    assert.equal(await openHandles(store), 0);

    const controller = new AbortController();
    const aborted = (await store.stream(id, { signal: controller.signal }))!.getReader();
    await aborted.read();
    const reason = new Error('enough');
    controller.abort(reason);
    await assert.rejects(aborted.read(), reason);
    assert.equal(await openHandles(store), 0);

    const idle = new AbortController();
    const held = (await store.stream(id, { signal: idle.signal }))!.getReader();
    await held.read();
    idle.abort(reason);
    await until(
      async () => (await openHandles(store)) === 0,
      'an abort frees the handle though nobody reads on',
    );

    for (let i = 0; i < 20; i++)
      for await (const piece of (await store.stream(id)) as unknown as AsyncIterable<Uint8Array>)
        if (piece.length > 0) break;
    assert.equal(await openHandles(store), 0);
  },
);

storeTest('a reader with its own buffer reads a stream to its end', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(small, { owner: 'x' });
  const reader = (await store.stream(id))!.getReader({ mode: 'byob' });
  const parts: Uint8Array[] = [];
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(777));
    if (done) break;
    parts.push(value);
  }
  assert.equal(Buffer.compare(Buffer.concat(parts), small), 0);
});

storeTest(
  'a stream of a blob that was collected before the first read errors, and never ends cleanly',
  async (folder) => {
    const store = await folder.open();
    const { id } = await store.put(large);
    const stream = await store.stream(id);
    await store.gc({ graceMs: 0 });
    await assert.rejects(bytesOf(stream), withCode('not-found'));
  },
);

storeTest(
  'a blob that is collected while it streams keeps coming, or errors; it is never cut short in silence',
  async (folder) => {
    const store = await folder.open({ threads: { count: 1 } });
    const bytes = noise(3_000_000);
    const { id } = await store.put(bytes);
    const reader = (await store.stream(id))!.getReader();
    const first = await reader.read();
    assert.equal((await store.gc({ graceMs: 0 })).deleted, 1);
    let count = first.value!.length;
    for (let next = await reader.read(); !next.done; next = await reader.read()) count += next.value.length;
    assert.equal(count, bytes.length);
  },
);

storeTest(
  'an export writes the bytes with mode and time, once; a failed one leaves no file',
  async (folder) => {
    const store = await folder.open({ threads: { count: 1 } });
    for (const [i, bytes] of [large, small, noise(0)].entries()) {
      const { id } = await store.put(bytes, { owner: 'x' });
      const path = join(folder.side, `out-${i}`);
      assert.equal(
        await store.exportTo({ id, path, mode: 0o600, mtimeNs: 1_500_000_000_123_456_789n }),
        true,
      );
      assert.equal(Buffer.compare(readFileSync(path), bytes), 0);
      const facts = statSync(path, { bigint: true });
      assert.equal(Number(facts.mode) & 0o777, 0o600);
      assert.ok(facts.mtimeNs / 1000n === 1_500_000_000_123_456n, String(facts.mtimeNs));
      await assert.rejects(store.exportTo({ id, path }), withCode('conflict'));
      assert.equal(Buffer.compare(readFileSync(path), bytes), 0, 'what was there is untouched');
      await assert.rejects(
        store.exportTo({ id, path: join(folder.side, 'no', 'such', 'folder') }),
        (error) => withCode('unavailable')(error) || true,
      );
      const reason = new Error('enough');
      await assert.rejects(
        store.exportTo({ id, path: join(folder.side, 'aborted') }, { signal: AbortSignal.abort(reason) }),
        reason,
      );
      assert.equal(existsSync(join(folder.side, 'aborted')), false);
    }
    assert.equal(await store.exportTo({ id: unknownId, path: join(folder.side, 'unknown') }), false);
    assert.equal(existsSync(join(folder.side, 'unknown')), false);
    assert.equal(await openHandles(store), 0);
  },
);

storeTest('get keeps its limit, and says to stream instead', async (folder) => {
  const store = await folder.open();
  for (const bytes of [large, small]) {
    const { id } = await store.put(bytes, { owner: 'x' });
    await assert.rejects(store.get(id, { maxBytes: bytes.length - 1 }), withCode('limit-exceeded'));
    assert.equal((await store.get(id, { maxBytes: bytes.length }))?.length, bytes.length);
    assert.equal((await store.readRange(id, 0, 10))?.length, 10);
  }
});

storeTest('an aborted read rejects with its reason', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  const { id } = await store.put(Buffer.alloc(20_000_000, noise(1021)), { owner: 'x' });
  const reason = new Error('enough');
  await assert.rejects(store.get(id, { signal: AbortSignal.abort(reason) }), reason);
  await assert.rejects(store.readRange(id, 0, 5, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const read = store.get(id, { signal: controller.signal });
  setTimeout(() => controller.abort(reason), 2);
  await assert.rejects(read, reason);
});

storeTest('stat tells what a blob is; pathOf gives a file exactly for large raw ones', async (folder) => {
  const store = await folder.open();
  const before = Date.now() - 1;
  const [largeId, smallId] = await putAll(store, [large, small], 'x');
  const facts = await store.stat(largeId!);
  assert.ok(facts !== undefined && facts.createdMs >= before && facts.createdMs <= Date.now());
  assert.deepEqual(
    { ...facts, createdMs: 0, path: '' },
    {
      id: largeId,
      kind: 'raw',
      size: large.length,
      storedSize: large.length,
      references: 1,
      createdMs: 0,
      suspect: false,
      volume: 'blobs',
      copies: 1,
      path: '',
    },
  );
  const path = await store.pathOf(largeId!);
  assert.equal(path, facts.path);
  assert.equal(Buffer.compare(readFileSync(path!), large), 0);
  assert.equal(statSync(path!).mode & 0o777, 0o444);
  assert.equal(await store.pathOf(smallId!), undefined);
  assert.deepEqual(
    [(await store.stat(smallId!))?.path, (await store.stat(smallId!))?.size],
    [undefined, small.length],
  );
  await store.scrub();
  assert.ok((await store.stat(smallId!))!.verifiedMs! >= before);
});

storeTest(
  'a list is all blobs in id order, from any point, with any prefix, over many pages',
  async (folder) => {
    const store = await folder.open();
    const ids = (
      await putAll(
        store,
        Array.from({ length: 1234 }, (_, i) => noise(20, i + 1)),
        'x',
      )
    ).sort();
    const list = async (options?: Parameters<Store['list']>[0]): Promise<string[]> =>
      (await collect(store.list(options))).map(({ id }) => id);
    assert.deepEqual(await list(), ids);
    assert.deepEqual(await list({ after: ids[700]! }), ids.slice(701));
    assert.deepEqual(await list({ after: ids.at(-1)! }), []);
    for (const prefix of ['0', 'f', 'a7', ids[5]!.slice(0, 9), ids[5]!, ''])
      assert.deepEqual(
        await list({ prefix }),
        ids.filter((id) => id.startsWith(prefix)),
        prefix,
      );
    assert.deepEqual(
      await list({ prefix: 'a', after: ids[700]! }),
      ids.slice(701).filter((id) => id.startsWith('a')),
    );
    assert.deepEqual(
      await list({ prefix: 'f', after: ids[3]! }),
      ids.filter((id) => id.startsWith('f')),
    );
    const reason = new Error('enough');
    await assert.rejects(list({ signal: AbortSignal.abort(reason) }), reason);
    for (const prefix of ['x', 'A', 'a'.repeat(65)])
      await assert.rejects(list({ prefix }), withCode('invalid-argument'));
    const found = await store.hasMany([...ids, unknownId]);
    assert.deepEqual([found.size, found.has(unknownId)], [ids.length, false]);
  },
);

storeTest('an unknown id is undefined or false everywhere, never an error', async (folder) => {
  const store = await folder.open();
  assert.equal(await store.get(unknownId), undefined);
  assert.equal(await store.getNode(unknownId), undefined);
  assert.equal(await store.readRange(unknownId, 0, 10), undefined);
  assert.equal(await store.readRange(unknownId, 0, 10_000_000), undefined);
  assert.equal(await store.stream(unknownId), undefined);
  assert.equal(await store.stat(unknownId), undefined);
  assert.equal(await store.pathOf(unknownId), undefined);
  assert.equal(await store.has(unknownId), false);
  assert.equal(await store.release(unknownId, 'x'), false);
  assert.equal((await store.hasMany([])).size, 0);
  await assert.rejects(store.retain(unknownId, 'x'), withCode('not-found'));
  await assert.rejects(store.roots.set('main', unknownId), withCode('not-found'));
});

const calls: Record<string, (store: Store, id: string) => Promise<unknown>> = {
  get: (store, id) => store.get(id),
  getNode: (store, id) => store.getNode(id),
  readRange: (store, id) => store.readRange(id, 0, 1),
  stream: (store, id) => store.stream(id),
  exportTo: (store, id) => store.exportTo({ id, path: '/tmp/never-written' }),
  has: (store, id) => store.has(id),
  hasMany: (store, id) => store.hasMany([sha256('x'), id]),
  stat: (store, id) => store.stat(id),
  'list after': (store, id) => collect(store.list({ after: id })),
  pathOf: (store, id) => store.pathOf(id),
  retain: (store, id) => store.retain(id, 'x'),
  release: (store, id) => store.release(id, 'x'),
  'roots.set': (store, id) => store.roots.set('main', id),
  'roots.set expecting': (store, id) => store.roots.set('main', sha256('x'), { expect: id }),
  'roots.delete expecting': (store, id) => store.roots.delete('main', { expect: id }),
  'put expecting': (store, id) => store.put(noise(3), { expectId: id }),
  'put linking': (store, id) => store.put(noise(3), { links: [{ kind: 'raw', id }] }),
};

for (const [name, call] of Object.entries(calls)) {
  storeTest(`${name}: a malformed id rejects as an invalid argument, and is never thrown`, async (folder) => {
    const store = await folder.open();
    for (const id of [
      '',
      'abc',
      sha256('x').toUpperCase(),
      `${sha256('x')}0`,
      sha256('x').slice(1),
      `${sha256('x').slice(1)}g`,
      ` ${sha256('x').slice(1)}`,
      7,
      {},
    ]) {
      let promise: Promise<unknown> | undefined;
      assert.doesNotThrow(() => (promise = call(store, id as string)));
      await assert.rejects(promise!, withCode('invalid-argument'), `id ${JSON.stringify(id)}`);
    }
  });
}

storeTest('ranges and numbers that make no sense are invalid arguments', async (folder) => {
  const store = await folder.open();
  const { id } = await store.put(small, { owner: 'x' });
  for (const [offset, length] of [
    [-1, 1],
    [0, -1],
    [0.5, 1],
    [0, Number.NaN],
    [Number.POSITIVE_INFINITY, 1],
    [2 ** 53, 1],
  ] as const) {
    await assert.rejects(store.readRange(id, offset, length), withCode('invalid-argument'));
    await assert.rejects(store.stream(id, { offset, length }), withCode('invalid-argument'));
  }
  await assert.rejects(store.gc({ graceMs: -1 }), withCode('invalid-argument'));
  await assert.rejects(store.gc({ graceMs: Number.NaN }), withCode('invalid-argument'));
});

storeTest(
  'a closed store refuses everything with `closed`; closing waits for what is under way, and twice is fine',
  async (folder) => {
    const store = await folder.open({ threads: { count: 1 } });
    const { id } = await store.put(small, { owner: 'x' });
    const session = await store.session();
    const held = await store.stream(id);
    const late = store.put(large, { owner: 'late' });
    const closing = store.close();
    const more: Record<string, () => Promise<unknown>> = {
      put: () => store.put(small),
      roots: () => store.roots.list(),
      'roots.log': () => store.roots.log(),
      session: () => store.session(),
      'session.end': () => session.end(),
      gc: () => store.gc(),
      scrub: () => store.scrub(),
      stats: () => store.stats(),
      files: () => store.files.list('/tmp'),
      'side table': () => store.sideTable('x').get(['a']),
      stream: () => held!.getReader().read(),
      ...Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, () => call(store, id)])),
    };
    for (const [name, call] of Object.entries(more)) await assert.rejects(call, withCode('closed'), name);
    assert.equal((await late).size, large.length);
    await Promise.all([closing, store.close(), store[Symbol.asyncDispose]()]);
    for (const [name, call] of Object.entries(more))
      if (name !== 'stream') await assert.rejects(call, withCode('closed'), name);
  },
);

storeTest('a side table keeps, replaces and forgets values, over a reopening', async (folder) => {
  let store = await folder.open();
  const table = store.sideTable('cache');
  await table.set([
    ['a', noise(5)],
    ['b', noise(3)],
    ['c', noise(0)],
  ]);
  await table.set([
    ['a', noise(9)],
    ['b', undefined],
  ]);
  await store.close();
  store = await folder.open();
  const [a, b, c] = await store.sideTable('cache').get(['a', 'b', 'c']);
  assert.deepEqual([a, b, c], [noise(9), undefined, noise(0)]);
  assert.deepEqual(await store.sideTable('other').get(['a']), [undefined]);
});
