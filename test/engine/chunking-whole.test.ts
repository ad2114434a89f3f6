/** Blobs in chunks are blobs like any other: put from any source, read in any way, counted, shared, collected. */
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { type PutSource, type Store, decodeNode } from '../../engine/index.ts';
import { full, sample } from '../crash/sample.ts';
import { chunkedIn, chunkedParameters, even, inserted, partsOf } from './chunked-store.ts';
import { type StoreFolder, noise, sha256, smallParameters, storeTest, withCode } from './store-folder.ts';

const { smallMax } = smallParameters;
const MiB = 1024 * 1024;
const large = noise(600_000, 5);
const id = sha256(large);

const open = (folder: StoreFolder, threads = 0): Promise<Store> =>
  folder.open({ parameters: chunkedParameters, threads: { count: threads } });

async function* inPieces(bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

async function readBack(store: Store, folder: StoreFolder, content: Uint8Array): Promise<void> {
  const of = sha256(content);
  assert.equal(Buffer.compare((await store.get(of))!, content), 0, 'get');
  const streamed: Uint8Array[] = [];
  for await (const piece of (await store.stream(of)) as unknown as AsyncIterable<Uint8Array>)
    streamed.push(piece);
  assert.equal(Buffer.compare(Buffer.concat(streamed), content), 0, 'stream');
  const path = join(folder.side, 'out');
  assert.equal(await store.exportTo({ id: of, path }), true);
  assert.equal(Buffer.compare(readFileSync(path), content), 0, 'exportTo');
  rmSync(path);
}

for (const threads of [0, 2]) {
  storeTest(
    `bytes of any size, from memory, a stream or a file, come back the same; threads ${threads}`,
    async (folder) => {
      const store = await open(folder, threads);
      const sizes = [0, 1, smallMax, smallMax + 1, 32_768, 32_769, 65_536, 500_000];
      for (const [i, size] of sizes.entries()) {
        if (threads > 0 && !full && i % 2 === 0) continue;
        const contents = [noise(size, 10 * i), noise(size, 10 * i + 1), noise(size, 10 * i + 2)];
        const sources: PutSource[] = [
          contents[0]!,
          inPieces(contents[1]!, 70_001),
          { path: folder.file(`file-${i}`, contents[2]!) },
        ];
        for (const [j, source] of sources.entries()) {
          const content = contents[j]!;
          const put = await store.put(source, { owner: 'x' });
          assert.deepEqual([put.id, put.size], [sha256(content), size]);
          assert.equal(put.source?.size, j === 2 ? size : undefined);
          const stat = (await store.stat(put.id))!;
          assert.deepEqual([stat.kind, stat.size, stat.references, stat.suspect], ['raw', size, 1, false]);
          assert.equal(stat.volume === 'chunks', size > smallMax, `${size} bytes`);
          assert.equal(stat.path, undefined);
          assert.equal(await store.pathOf(put.id), undefined);
          await readBack(store, folder, content);
        }
      }
      assert.deepEqual(folder.files('blobs'), []);
    },
  );
}

storeTest('a blob that is one chunk is put as one record, with its owner', async (folder) => {
  const store = await open(folder);
  const put = await store.put(even(smallMax + 100), { owner: 'x' });
  const stat = (await store.stat(put.id))!;
  assert.deepEqual([stat.references, stat.volume === 'chunks'], [1, false]);
  assert.equal((await store.stats()).blobs, 1);
  await readBack(store, folder, even(smallMax + 100));
  // Two chunks of the same bytes: one link, listed twice.
  await store.put(even(65_536), { owner: 'x' });
  const { chunks, manifests } = await partsOf(store);
  assert.deepEqual([chunks.length, manifests.length], [1, 1]);
  await readBack(store, folder, even(65_536));
});

storeTest('any range is what it is in the whole', async (folder) => {
  const store = await open(folder);
  const content = noise(3_000_000, 12);
  const { id } = await store.put(content, { owner: 'x' });
  const { manifests } = await partsOf(store);
  assert.ok(manifests.length > 1, 'a manifest of two levels');
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: content.length + 10 }),
      fc.oneof(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: 0, max: content.length })),
      async (offset, length) => {
        const got = (await store.readRange(id, offset, length))!;
        assert.equal(Buffer.compare(got, content.subarray(offset, offset + length)), 0);
      },
    ),
    { numRuns: sample(60, 20) },
  );
  const parts: Uint8Array[] = [];
  const stream = await store.stream(id, { offset: 12_345, length: 300_000 });
  for await (const piece of stream as unknown as AsyncIterable<Uint8Array>) parts.push(piece);
  assert.equal(Buffer.compare(Buffer.concat(parts), content.subarray(12_345, 312_345)), 0);
});

storeTest('the mode of a store and the mode of a put', async (folder) => {
  const store = await folder.open();
  assert.equal(store.parameters.chunking.mode, 'off');
  const file = await store.put(large, { owner: 'x' });
  assert.notEqual(await store.pathOf(file.id), undefined);
  const other = noise(300_000, 8);
  const cut = await store.put(other, { chunking: 'fastcdc', owner: 'x' });
  assert.equal((await store.stat(cut.id))!.volume, 'chunks');
  // What is here already stays as it is, and is found whatever is asked for.
  assert.equal((await store.put(large, { chunking: 'fastcdc' })).deduplicated, true);
  assert.notEqual(await store.pathOf(file.id), undefined);
  assert.equal((await store.put(other)).deduplicated, true);
  await store.close();
  // Fixed when the store was made: what is asked for later does not count.
  const again = await folder.open({ chunking: 'fastcdc' });
  assert.equal(again.parameters.chunking.mode, 'off');
  await assert.rejects(again.put(large, { chunking: 'rabin' as never }), withCode('invalid-argument'));
  await assert.rejects(
    folder.open({ chunking: { mode: 'fastcdc', average: 5000 } }),
    withCode('invalid-argument'),
  );
});

storeTest('a version of a blob adds what changed, and the same blob nothing', async (folder) => {
  const store = await open(folder);
  const first = await store.put(large, { owner: 'x' });
  const before = await store.stats();
  assert.deepEqual([first.deduplicated, first.storedSize], [false, before.storedBytes]);
  const second = await store.put(inserted(large, 1000, noise(300, 9)), { owner: 'x' });
  const after = await store.stats();
  assert.equal(second.storedSize, after.storedBytes - before.storedBytes);
  assert.ok(second.storedSize < 60_000, `${second.storedSize} bytes are new`);
  const again = await store.put(large, { owner: 'y' });
  assert.deepEqual([again.deduplicated, again.storedSize], [true, 0]);
  const { blobs, storedBytes, bytes } = await store.stats();
  assert.deepEqual([blobs, storedBytes], [after.blobs, after.storedBytes]);
  assert.equal(await chunkedIn(store), 2);
  assert.ok(bytes < large.length + 100_000, 'what is shared counts once');
  assert.equal((await store.stat(id))!.references, 2);
});

const wholeMiB = sample(64, 8);

storeTest(
  `1 KiB at the head of ${wholeMiB} MiB adds at most 1.2 MB, at the sizes of a new store`,
  async (folder) => {
    const store = await folder.open({ parameters: {}, chunking: 'fastcdc', threads: { count: 2 } });
    const whole = noise(wholeMiB * MiB, 3);
    const first = await store.put({ path: folder.file('first', whole) }, { owner: 'x' });
    assert.ok(first.storedSize < wholeMiB * MiB * 1.01);
    const edited = inserted(whole, 0, noise(1024, 4));
    const second = await store.put({ path: folder.file('second', edited) }, { owner: 'x' });
    assert.equal(second.id, sha256(edited));
    assert.ok(second.storedSize <= 1_200_000, `${second.storedSize} bytes are new`);
    const at = (wholeMiB - 6) * MiB;
    assert.deepEqual(await store.readRange(second.id, at, 999), edited.slice(at, at + 999));
  },
);

storeTest(
  'roots, owners and nodes refer to it, and only when none does it is collected, with all its parts',
  async (folder) => {
    const store = await open(folder);
    await store.put(large, { owner: 'x' });
    const edited = inserted(large, 300_000, noise(50, 1));
    const other = sha256(edited);
    await store.put(edited);
    const node = await store.put(new Uint8Array(3), { links: [{ kind: 'raw', id: other }], owner: 'x' });
    await store.roots.set('main', id);
    await store.release(id, 'x');
    assert.equal((await store.gc({ graceMs: 0 })).deleted, 0);
    const { blobs } = await store.stats();
    await store.roots.delete('main');
    const plan = await store.gc({ graceMs: 0, dryRun: true });
    assert.ok(
      plan.deleted > 1 && plan.deleted < 20,
      'the alias, its manifest, and what the other has not got',
    );
    assert.deepEqual(await store.gc({ graceMs: 0 }), plan);
    assert.equal((await store.stats()).blobs, blobs - plan.deleted);
    assert.equal(await store.has(id), false);
    assert.equal(Buffer.compare((await store.get(other))!, edited), 0);
    await store.release(node.id, 'x');
    const rest = await store.gc({ graceMs: 0, dryRun: true });
    assert.deepEqual(await store.gc({ graceMs: 0 }), rest);
    assert.deepEqual([(await store.stats()).blobs, folder.files('volumes')], [0, []]);
  },
);

storeTest('the same blob put many times at once is stored once', async (folder) => {
  const store = await open(folder, 2);
  const path = folder.file('large', large);
  const sources: PutSource[] = [{ path }, large, { path }, inPieces(large, 100_000), { path }, large];
  const puts = await Promise.all(sources.map((source) => store.put(source, { owner: 'x' })));
  assert.deepEqual([...new Set(puts.map((put) => put.id))], [id]);
  assert.equal(puts.filter((put) => !put.deduplicated).length, 1);
  const { storedBytes } = await store.stats();
  assert.equal(await chunkedIn(store), 1);
  assert.ok(storedBytes < large.length * 1.1);
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 0);
});

storeTest(
  'another id than expected, an abort, a source that fails or changes: no blob, and all parts are collectable',
  async (folder) => {
    const store = await open(folder);
    const expected = sha256('something else');
    await assert.rejects(store.put(large, { expectId: expected, owner: 'x' }), withCode('conflict'));
    await assert.rejects(store.put({ path: folder.side }, { owner: 'x' }), withCode('invalid-argument'));
    const stop = new AbortController();
    const reason = new Error('enough');
    const stalls = async function* (): AsyncIterable<Uint8Array> {
      yield large;
      stop.abort(reason);
      yield large;
    };
    await assert.rejects(store.put(stalls(), { signal: stop.signal }), (error) => error === reason);
    const fails = async function* (): AsyncIterable<Uint8Array> {
      yield large;
      throw reason;
    };
    await assert.rejects(store.put(fails()), (error) => error === reason);
    const path = folder.file('grows', noise(9 * MiB, 6));
    const grow = (): void => appendFileSync(path, 'more');
    await assert.rejects(store.put({ path }, { onProgress: grow }), withCode('source-changed'));
    assert.equal(await chunkedIn(store), 0);
    await store.gc({ graceMs: 0 });
    assert.equal((await store.stats()).blobs, 0);
    assert.equal((await store.put(large, { expectId: id, owner: 'x' })).id, id);
  },
);

storeTest('progress tells how much was taken in, up to all of it', async (folder) => {
  const store = await open(folder);
  const content = noise(9 * MiB, 2);
  for (const source of [{ path: folder.file('file', content) }, inPieces(content, MiB)]) {
    const told: number[] = [];
    await store.put(source, { onProgress: (bytes) => told.push(bytes), owner: 'x' });
    assert.ok(told.length >= 3);
    assert.deepEqual(
      told,
      told.toSorted((a, b) => a - b),
    );
    assert.equal(told.at(-1), content.length);
  }
});

storeTest('chunks are compressed where the store compresses', async (folder) => {
  const store = await folder.open({ parameters: chunkedParameters, compression: 'auto' });
  const lines = Array.from(
    { length: 20_000 },
    (_, i) => `line ${i * 7919} of a text that says little\n`,
  ).join('');
  const content = new TextEncoder().encode(lines);
  const put = await store.put(content, { owner: 'x' });
  assert.ok(put.storedSize < content.length / 2, `${put.storedSize} of ${content.length}`);
  await readBack(store, folder, content);
});

storeTest(
  'a node over the bytes of a blob in chunks takes its place, and its manifest goes',
  async (folder) => {
    const store = await open(folder);
    const child = await store.put(new Uint8Array([1]), { owner: 'x' });
    const made = await store.put(noise(100_000, 4), { links: [{ kind: 'raw', id: child.id }] });
    const bytes = (await store.get(made.id))!;
    await store.gc({ graceMs: 0 });
    await store.put(bytes, { owner: 'raw' });
    assert.equal((await store.stat(made.id))!.volume, 'chunks');
    await store.put(bytes, { kind: 'node', owner: 'node' });
    const stat = (await store.stat(made.id))!;
    assert.deepEqual([stat.kind, stat.volume === 'chunks', stat.references], ['node', false, 2]);
    assert.equal((await store.stat(child.id))!.references, 2);
    assert.deepEqual(decodeNode((await store.get(made.id))!).links, [{ kind: 'raw', id: child.id }]);
    assert.ok((await store.gc({ graceMs: 0 })).deleted > 10);
    assert.deepEqual([(await store.stats()).blobs, await chunkedIn(store)], [2, 0]);
  },
);

storeTest('closing waits for a put in chunks, which then stands', async (folder) => {
  const store = await open(folder, 1);
  let begun = (): void => undefined;
  const first = new Promise<void>((resolve) => (begun = resolve));
  const put = store.put({ path: folder.file('big', noise(12 * MiB, 3)) }, { onProgress: begun, owner: 'x' });
  await first;
  await store.close();
  const again = await open(folder);
  assert.equal((await again.stat((await put).id))!.size, 12 * MiB);
});
