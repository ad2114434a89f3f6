/** Puts from every kind of source and of every size that matters: the id, the bytes back, one copy, the owner in the same commit. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { test } from 'node:test';
import { Readable } from 'node:stream';
import type { PutSource, Store } from '../../engine/index.ts';
import {
  type StoreFolder,
  noise,
  sha256,
  smallParameters,
  storeTest,
  text,
  withCode,
} from './store-folder.ts';

const { smallMax, chunkBytes } = smallParameters;
const sizes = [
  0,
  1,
  chunkBytes - 1,
  chunkBytes,
  chunkBytes + 1,
  smallMax - 1,
  smallMax,
  smallMax + 1,
  smallMax + chunkBytes,
  3 * 1024 * 1024 + 5,
];

/** The same buffer again and again, as real sources do. */
async function* inPieces(piece: Uint8Array, bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += piece.length) {
    const part = bytes.subarray(at, at + piece.length);
    piece.set(part);
    yield piece.subarray(0, part.length);
  }
}

const sources: Record<string, (bytes: Uint8Array, folder: StoreFolder) => PutSource> = {
  bytes: (bytes) => bytes,
  'a view into a larger buffer': (bytes) => {
    const larger = new Uint8Array(bytes.length + 100);
    larger.set(bytes, 50);
    return larger.subarray(50, 50 + bytes.length);
  },
  path: (bytes, folder) => ({ path: folder.file(`source-${bytes.length}`, bytes) }),
  'web stream': (bytes) => new Blob([bytes]).stream(),
  'Node stream': (bytes, folder) => createReadStream(folder.file(`streamed-${bytes.length}`, bytes)),
  'async iterable': (bytes) => inPieces(new Uint8Array(1000), bytes),
  'async iterable of one Buffer': (bytes) => inPieces(Buffer.alloc(1000), bytes),
};

async function cycle(store: Store, source: PutSource, bytes: Uint8Array): Promise<void> {
  const put = await store.put(source, { owner: 'keeper' });
  assert.deepEqual([put.id, put.size, put.deduplicated], [sha256(bytes), bytes.length, false]);
  assert.ok(put.storedSize >= bytes.length);
  const back = await store.get(put.id);
  assert.ok(back !== undefined && Buffer.compare(back, bytes) === 0, `${bytes.length} bytes come back`);
}

for (const [kind, make] of Object.entries(sources)) {
  storeTest(`a put from ${kind} is found again under its sha256, whatever its size`, async (folder) => {
    const store = await folder.open(
      kind === 'path' || kind === 'web stream' ? { threads: { count: 1 } } : {},
    );
    for (const [i, size] of sizes.entries()) {
      const bytes = noise(size, i + 1);
      await cycle(store, make(bytes, folder), bytes);
    }
    assert.equal((await store.stats()).blobs, sizes.length);
  });
}

storeTest('an id is what sha256sum says of the file', async (folder) => {
  const store = await folder.open();
  for (const size of [0, 1, 5000, 100_000]) {
    const path = folder.file(`sum-${size}`, noise(size));
    const said = execFileSync('sha256sum', [path], { encoding: 'utf8' }).slice(0, 64);
    assert.equal((await store.put({ path })).id, said);
  }
});

storeTest(
  'with the default parameters, blobs around the small limit are packed or made files, and come back',
  async (folder) => {
    const store = await folder.open({ parameters: {} });
    const limit = store.parameters.smallMax;
    for (const size of [limit - 1, limit, limit + 1]) {
      const bytes = noise(size, size);
      await cycle(store, bytes, bytes);
      assert.equal((await store.pathOf(sha256(bytes))) === undefined, size <= limit);
    }
  },
);

for (const size of [100, smallMax + 1]) {
  storeTest(`${size} bytes put 300 times at once are stored once`, async (folder) => {
    const store = await folder.open({ threads: { count: 2 } });
    const bytes = noise(size);
    const results = await Promise.all(Array.from({ length: 300 }, () => store.put(bytes)));
    assert.deepEqual(new Set(results.map(({ id }) => id)), new Set([sha256(bytes)]));
    assert.equal(results.filter(({ deduplicated }) => !deduplicated).length, 1);
    const stats = await store.stats();
    assert.deepEqual([stats.blobs, stats.bytes], [1, size]);
    assert.equal(folder.files('blobs').length, size > smallMax ? 1 : 0);
    assert.equal(folder.files('tmp').length, 0);
  });
}

storeTest(
  'what is here already costs nothing: put again it is deduplicated, whatever the source',
  async (folder) => {
    const store = await folder.open();
    for (const size of [100, smallMax + 1]) {
      const bytes = noise(size);
      const first = await store.put(bytes);
      const storedBytes = (await store.stats()).storedBytes;
      for (const make of Object.values(sources)) {
        const again = await store.put(make(bytes, folder));
        assert.deepEqual(
          [again.id, again.deduplicated, again.storedSize],
          [first.id, true, first.storedSize],
        );
      }
      assert.equal((await store.stats()).storedBytes, storedBytes);
    }
  },
);

storeTest('an owner retains in the commit of the put: new, deduplicated, small and large', async (folder) => {
  const store = await folder.open();
  for (const size of [10, smallMax + 1]) {
    const bytes = noise(size);
    const { id } = await store.put(bytes, { owner: 'a' });
    assert.equal((await store.stat(id))?.references, 1);
    await store.put(bytes, { owner: 'b' });
    await store.put(bytes, { owner: 'b' });
    assert.equal((await store.stat(id))?.references, 2);
    assert.deepEqual(
      [await store.release(id, 'a'), await store.release(id, 'b'), await store.release(id, 'b')],
      [true, true, false],
    );
  }
});

storeTest('expectId: the right bytes are stored, others are a conflict and leave nothing', async (folder) => {
  const store = await folder.open();
  for (const size of [10, smallMax + 1]) {
    const bytes = noise(size);
    for (const make of Object.values(sources)) {
      await assert.rejects(
        store.put(make(bytes, folder), { expectId: sha256('other'), owner: 'x' }),
        withCode('conflict'),
      );
    }
    assert.equal(await store.has(sha256(bytes)), false);
    assert.equal((await store.put(bytes, { expectId: sha256(bytes) })).deduplicated, false);
  }
  assert.deepEqual([folder.files('tmp'), (await store.stats()).blobs], [[], 2]);
});

storeTest('progress of a large put grows to its size', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  const bytes = noise(8 * 1024 * 1024);
  const seen: number[] = [];
  await store.put(new Blob([bytes]).stream(), {
    onProgress: (count) => seen.push(count),
  });
  assert.ok(seen.length > 1 && seen.every((count, i) => count >= (seen[i - 1] ?? 0)));
  assert.equal(seen.at(-1), bytes.length);
  const others: number[] = [];
  await store.put(
    { path: folder.file('progress', new Uint8Array(32 * 1024 * 1024).fill(2)) },
    { onProgress: (count) => others.push(count) },
  );
  assert.ok(others.every((count, i) => count >= (others[i - 1] ?? 0) && count <= 32 * 1024 * 1024));
});

storeTest('a put aborted before it begins rejects with the reason and stores nothing', async (folder) => {
  const store = await folder.open();
  const reason = new Error('changed my mind');
  for (const make of Object.values(sources)) {
    await assert.rejects(
      store.put(make(noise(smallMax + 1), folder), { signal: AbortSignal.abort(reason) }),
      reason,
    );
  }
  assert.equal((await store.stats()).blobs, 0);
});

storeTest(
  'a large put aborted half way rejects with the reason, leaves no temp, and ends its source',
  async (folder) => {
    const store = await folder.open({ threads: { count: 1 } });
    const reason = new Error('changed my mind');
    const controller = new AbortController();
    let ended = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield noise(64 * 1024);
      } finally {
        ended = true;
      }
    }
    const onProgress = (bytes: number): void => void (bytes > 1024 * 1024 && controller.abort(reason));
    await assert.rejects(store.put(endless(), { signal: controller.signal, onProgress }), reason);
    assert.equal(ended, true);
    const path = folder.file('aborted', new Uint8Array(48 * 1024 * 1024).fill(3));
    const second = new AbortController();
    const put = store.put({ path }, { signal: second.signal, onProgress: () => second.abort(reason) });
    setTimeout(() => second.abort(reason), 10);
    await assert.rejects(put, reason);
    assert.deepEqual([folder.files('tmp'), folder.files('blobs'), (await store.stats()).blobs], [[], [], 0]);
  },
);

for (const before of [0, smallMax + 1]) {
  storeTest(`a put whose source stalls after ${before} bytes is aborted all the same`, async (folder) => {
    const store = await folder.open();
    const controller = new AbortController();
    const reason = new Error('tired of waiting');
    const stalled = new ReadableStream<Uint8Array>({
      start: (stream) => before > 0 && stream.enqueue(noise(before)),
      pull: () => new Promise(() => {}),
    });
    const put = store.put(stalled, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 20);
    const late = new Promise((resolve) => void setTimeout(() => resolve('still waiting'), 2000).unref());
    assert.equal(await Promise.race([put.catch((error: unknown) => error), late]), reason);
  });
}

storeTest(
  'a source that fails in the middle fails the put with its own error and leaves nothing',
  async (folder) => {
    const store = await folder.open();
    const broken = new Error('the wire was cut');
    for (const size of [10, smallMax + 1]) {
      const failing = async function* (): AsyncGenerator<Uint8Array> {
        yield noise(size);
        throw broken;
      };
      await assert.rejects(store.put(failing()), broken);
      await assert.rejects(store.put(Readable.from(failing())), broken);
    }
    assert.deepEqual([folder.files('tmp'), (await store.stats()).blobs], [[], 0]);
  },
);

/** What the threads of this process worked meanwhile: what else the machine does does not count. */
async function processorMs(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return Math.round((user + system) / 1000);
}

storeTest('a large array is taken in in time that grows with its size, not its square', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  const filled = (fill: number, MiB: number): Uint8Array => new Uint8Array(MiB * 1024 * 1024).fill(fill);
  const parts = await processorMs(async () => {
    for (let i = 0; i < 8; i++) await store.put(filled(i, 4), { owner: 'x' });
  });
  const whole = await processorMs(async () => void (await store.put(filled(99, 32), { owner: 'x' })));
  assert.ok(whole < 4 * parts + 200, `32 MiB took ${whole} ms, in parts ${parts} ms`);
});

storeTest('views into one large buffer do not carry it along', async (folder) => {
  const store = await folder.open({ threads: { count: 1 } });
  const views = (of: number, seed: number): Promise<number> => {
    const bytes = new Uint8Array(of);
    bytes.set(noise(5000, seed));
    return processorMs(async () => {
      for (let i = 0; i < 50; i++) await store.put(bytes.subarray(i * 100, i * 100 + 90));
    });
  };
  await views(5000, 1);
  const [small, large] = [await views(5000, 2), await views(128 * 1024 * 1024, 3)];
  assert.ok(large < 4 * small + 300, `50 small views took ${large} ms, of small buffers ${small} ms`);
});

storeTest('what is not a source at all is an invalid argument', async (folder) => {
  const store = await folder.open();
  for (const source of [undefined, null, 5, 'text', {}, [1, 2], new Map(), { path: '' }, { path: 7 }]) {
    await assert.rejects(
      async () => await store.put(source as unknown as PutSource),
      withCode('invalid-argument'),
      `source ${JSON.stringify(source)}`,
    );
  }
  const strings = async function* (): AsyncGenerator<string> {
    yield 'text';
  };
  await assert.rejects(
    store.put(strings() as unknown as AsyncIterable<Uint8Array>),
    withCode('invalid-argument'),
  );
  const later = async function* (): AsyncGenerator<unknown> {
    yield noise(smallMax + 1);
    yield 'text';
  };
  await assert.rejects(store.put(later() as AsyncIterable<Uint8Array>), withCode('invalid-argument'));
  await assert.rejects(store.put(text('x'), { owner: '' }), withCode('invalid-argument'));
  await assert.rejects(store.put(text('x'), { owner: 'x'.repeat(1025) }), withCode('invalid-argument'));
  await assert.rejects(store.put(text('x'), { owner: 'nul\0' }), withCode('invalid-argument'));
  await assert.rejects(store.put(text('x'), { expectId: 'abc' }), withCode('invalid-argument'));
  assert.equal((await store.stats()).blobs, 0);
});

test('noise is reproducible and differs by seed', () => {
  assert.deepEqual(noise(100, 3), noise(100, 3));
  assert.notDeepEqual(noise(100, 3), noise(100, 4));
});
