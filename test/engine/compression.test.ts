/** Compressed blobs: read back as they were whatever their size and source, damage seen and healed, files adopted and collected like others. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync, chmodSync } from 'node:fs';
import {
  type CompressionMode,
  type CompressionParameters,
  type Store,
  nodeProvider,
} from '../../engine/index.ts';
import { full } from '../crash/sample.ts';
import {
  type StoreFolder,
  collect,
  inPieces,
  noise,
  same,
  sha256,
  smallParameters,
  storeTest,
  text,
  withCode,
} from './store-folder.ts';

const { smallMax, chunkBytes } = smallParameters;

/** Bytes of six bits each: they shrink by a quarter at least. */
const quiet = (size: number, seed = 1): Uint8Array => noise(size, seed).map((byte) => byte & 0x3f);
/** Every way to read gives the bytes that were put. */
async function readsBack(store: Store, folder: StoreFolder, content: Uint8Array): Promise<void> {
  const id = sha256(content);
  same(await store.get(id), content);
  const stream = (await store.stream(id)) as unknown as AsyncIterable<Uint8Array>;
  same(Buffer.concat(await collect(stream)), content);
  const ends = [0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, content.length - 1, content.length];
  for (const offset of ends.filter((end) => end >= 0 && end <= content.length)) {
    for (const length of [0, 1, 3 * chunkBytes + 7, ...(offset === 1 ? [content.length] : [])])
      same(await store.readRange(id, offset, length), content.subarray(offset, offset + length));
  }
  const path = `${folder.side}/out-${id}`;
  if (!existsSync(path)) assert.equal(await store.exportTo({ id, path }), true);
  same(readFileSync(path), content);
}

const codecs: readonly CompressionParameters['codec'][] =
  nodeProvider.zstd === undefined ? ['deflate'] : ['deflate', 'zstd'];
const sizes = [0, 1, 63, 64, chunkBytes, chunkBytes + 1, smallMax - 1, smallMax, smallMax + 1, 150_001];

const combinations = (['auto', 'always'] as const).flatMap((mode) =>
  codecs.map((codec) => ({ mode, codec })),
);

for (const [turn, { mode, codec }] of combinations.entries()) {
  storeTest(`${mode}, ${codec}: any size, from bytes, path and stream, quiet and noisy`, async (folder) => {
    const store = await folder.open({ compression: { mode, codec } });
    assert.deepEqual(store.parameters.compression, { mode, codec, level: codec === 'zstd' ? 3 : 6 });
    let seed = 1;
    // Of the sizes that make no files each combination takes others, unless all are asked for.
    for (const [i, size] of sizes.entries()) {
      if (!full && size <= smallMax && (i + turn) % combinations.length > 1) continue;
      const contents = [quiet(size, ++seed), quiet(size, ++seed), quiet(size, ++seed), noise(size, ++seed)];
      const puts = [
        await store.put(contents[0]!, { owner: 'x' }),
        await store.put({ path: folder.file(`in-${size}`, contents[1]!) }, { owner: 'x' }),
        await store.put(inPieces(contents[2]!, 100_000), { owner: 'x' }),
        await store.put(contents[3]!, { owner: 'x' }),
      ];
      for (const [j, content] of contents.entries()) {
        assert.deepEqual([puts[j]!.id, puts[j]!.size], [sha256(content), size]);
        await readsBack(store, folder, content);
        assert.equal((await store.put(content)).deduplicated, true);
        const framed = size > smallMax && (j < 3 || mode === 'always');
        assert.equal((await store.pathOf(puts[j]!.id)) === undefined, size <= smallMax || framed);
        if (size >= chunkBytes && j < 3)
          assert.ok(puts[j]!.storedSize < 0.9 * size, `${puts[j]!.storedSize} of ${size}`);
        assert.ok(puts[j]!.storedSize <= size + 200 + size / 256);
      }
    }
    const files = folder.files('blobs');
    assert.equal(files.filter((file) => file.endsWith('.f')).length, mode === 'always' ? 8 : 6);
    for (const file of files) assert.equal(statSync(file).mode & 0o777, 0o444);
    assert.deepEqual((await store.scrub()).damaged, []);
    const { bytes, storedBytes } = await store.stats();
    assert.ok(storedBytes < bytes);
  });
}

storeTest('off, and a put that asks for another mode than the store', async (folder) => {
  const store = await folder.open();
  const put = (seed: number, compression?: CompressionMode) =>
    store.put(quiet(100_000, seed), compression === undefined ? { owner: 'x' } : { owner: 'x', compression });
  assert.equal((await put(1)).storedSize, 100_000);
  assert.ok((await put(2, 'auto')).storedSize < 90_000);
  assert.equal((await put(1, 'always')).storedSize, 100_000, 'what is here already stays as it is');
  await assert.rejects(put(3, 'zip' as CompressionMode), withCode('invalid-argument'));
  const typed = await store.put(quiet(100_000, 4), {
    owner: 'x',
    compression: 'auto',
    mediaType: 'video/mp4',
  });
  assert.equal(typed.storedSize, 100_000);
  await store.close();
  const again = await folder.open({ mode: 'open', compression: 'always' });
  assert.equal(again.parameters.compression.mode, 'off', 'fixed when the store was made');
});

storeTest('options that make no sense are refused, and no store is made', async (folder) => {
  folder.leavesNoStore();
  for (const compression of [
    'yes',
    { codec: 'lzma' },
    { mode: 'auto', level: 0 },
    { codec: 'deflate', level: 10 },
  ])
    await assert.rejects(folder.open({ compression: compression as never }), withCode('invalid-argument'));
  assert.equal(existsSync(folder.path), false);
});

storeTest(
  'a large blob that changes its nature: text stays compressed, media in it does not grow',
  async (folder) => {
    const store = await folder.open({ compression: 'auto' });
    const content = Buffer.concat([quiet(1_000_000), noise(1_000_000), quiet(1_000_000, 7)]);
    const { storedSize } = await store.put({ path: folder.file('mixed', content) }, { owner: 'x' });
    assert.ok(storedSize < 2_750_000, String(storedSize));
    await readsBack(store, folder, content);
  },
);

storeTest(
  'a turned bit anywhere in a frame is seen, by reads and by a scrub; a put heals',
  async (folder) => {
    const content = quiet(60_000);
    let store = await folder.open({ compression: 'auto' });
    const { id } = await store.put(content, { owner: 'x' });
    await store.close();
    const [path] = folder.files('blobs');
    const whole = readFileSync(path!);
    chmodSync(path!, 0o644);
    const step = Math.max(1, Math.floor(whole.length / 40));
    const places = Array.from({ length: 40 }, (_, i) => i * step);
    // More of the end, where each byte means something.
    for (let at = whole.length - 200; at < whole.length; at += 3) places.push(at);
    // A third of them by default, among which are the first and some of the end.
    for (const at of places.filter((_, i) => full || i % 3 === 0)) {
      const bad = Buffer.from(whole);
      bad[at]! ^= 1 << (at & 7);
      writeFileSync(path!, bad);
      store = await folder.open();
      const got = await store.get(id).catch((error: unknown) => error);
      const seen = !(got instanceof Uint8Array);
      if (seen)
        assert.ok(['corrupt', 'incompatible-format'].includes((got as { code: string }).code), String(got));
      else same(got, content);
      // The head is repeated in the trailer, and only that one counts.
      assert.equal(seen, at >= 8, `byte ${at} of ${whole.length}`);
      await store.close();
    }
    for (const length of [0, 10, 71, whole.length - 1]) {
      truncateSync(path!, length);
      store = await folder.open();
      await assert.rejects(store.get(id), withCode('corrupt'));
      const { damaged } = await store.scrub();
      assert.deepEqual(
        damaged.map((damage) => damage.id),
        [id],
      );
      await store.close();
      writeFileSync(path!, whole);
    }
    truncateSync(path!, 71);
    store = await folder.open();
    await assert.rejects(store.get(id), withCode('corrupt'));
    await store.put(content);
    same(await store.get(id), content);
    assert.deepEqual((await store.scrub()).damaged, []);
    assert.equal(folder.files('quarantine').length, 1);
  },
);

storeTest('a scrub sees damage of a frame that reads of this process know', async (folder) => {
  const store = await folder.open({ compression: 'auto' });
  const ids: string[] = [];
  // From the end: in the trailer, in the index of one entry, in the only page.
  for (const [i, fromEnd] of [64 - 40, 64 + 6, 64 + 12 + 4].entries()) {
    const { id } = await store.put(quiet(60_000, i + 1), { owner: 'x' });
    ids.push(id);
    await store.readRange(id, 5000, 10);
    assert.deepEqual((await store.scrub()).damaged.length, i);
    const path = folder.files('blobs').find((file) => file.includes(id))!;
    const bytes = readFileSync(path);
    bytes[bytes.length - fromEnd]! ^= 1;
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
    assert.deepEqual((await store.scrub()).damaged.length, i + 1, `${fromEnd} bytes before its end`);
  }
  folder.leaves(ids);
});

storeTest(
  'a framed file without a row is taken back in by a scrub; one that is damaged is set aside',
  async (folder) => {
    const contents = [quiet(60_000, 1), quiet(70_000, 2)];
    let store = await folder.open({ compression: 'auto' });
    for (const content of contents) await store.put(content, { owner: 'x' });
    await store.close();
    folder.edit((db) => {
      for (const table of ['blobs', 'refs', 'buckets', 'verified']) db.exec(`DELETE FROM ${table}`);
    });
    const bad = folder.files('blobs').find((path) => path.includes(sha256(contents[1]!)))!;
    chmodSync(bad, 0o644);
    const bytes = readFileSync(bad);
    bytes[100]! ^= 1;
    writeFileSync(bad, bytes);
    store = await folder.open();
    const { adopted } = await store.scrub();
    assert.equal(adopted, 1);
    same(await store.get(sha256(contents[0]!)), contents[0]!);
    assert.equal(await store.has(sha256(contents[1]!)), false);
    assert.ok(folder.files('quarantine')[0]!.endsWith('.f'));
  },
);

storeTest('collection removes framed files, and leaves those in use', async (folder) => {
  const store = await folder.open({ compression: 'auto' });
  const kept = await store.put(quiet(60_000, 1), { owner: 'x' });
  await store.put(quiet(60_000, 2));
  const { deleted, blocked } = await store.gc({ graceMs: 0 });
  assert.deepEqual([deleted, blocked], [1, undefined]);
  assert.equal(folder.files('blobs').length, 1);
  same(await store.get(kept.id), quiet(60_000, 1));
});

storeTest(
  'the same bytes put twenty times at once by every kind of source are stored once',
  async (folder) => {
    const store = await folder.open({ compression: 'auto', threads: { count: 1 } });
    const content = quiet(500_000);
    const path = folder.file('same', content);
    const puts = Array.from({ length: 20 }, (_, i) =>
      store.put(i % 3 === 0 ? content : i % 3 === 1 ? { path } : inPieces(content, 70_000), {
        owner: `x${i}`,
      }),
    );
    const results = await Promise.all(puts);
    assert.equal(results.filter(({ deduplicated }) => !deduplicated).length, 1);
    assert.equal(folder.files('blobs').length, 1);
  },
);

storeTest('a node is compressed like any small blob, and still walked', async (folder) => {
  const store = await folder.open({ compression: 'always' });
  const child = await store.put(text('child'));
  const payload = new Uint8Array(5000).fill(7);
  const { id, storedSize } = await store.put(payload, { links: [{ kind: 'raw', id: child.id }] });
  assert.ok(storedSize < 1000, String(storedSize));
  await store.roots.set('main', id);
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 0);
  assert.deepEqual((await store.getNode(id))!.links, [{ kind: 'raw', id: child.id }]);
});

storeTest(
  'a put that is aborted while it is compressed leaves no temp, and the store goes on',
  async (folder) => {
    const store = await folder.open({ compression: 'auto', threads: { count: 1 } });
    // Long enough that progress is told before it is done.
    const content = new Uint8Array(Buffer.alloc(20_000_000, quiet(1_000_003)));
    const controller = new AbortController();
    const aborting = { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) };
    await assert.rejects(store.put({ path: folder.file('in', content) }, aborting), /enough/);
    const stopping = new AbortController();
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of inPieces(content, 500_000)) {
        yield piece;
        stopping.abort(new Error('stop'));
      }
    };
    await assert.rejects(store.put(pieces(), { signal: stopping.signal }), /stop/);
    assert.deepEqual(folder.files('tmp'), []);
    const rest = content.subarray(0, 2_000_000);
    await store.put(rest, { owner: 'x' });
    same(await store.get(sha256(rest)), rest);
  },
);
