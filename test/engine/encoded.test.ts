/** Blobs that go from store to store as they are stored: what is read, what is kept as it came, and that nothing wrong is believed. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import {
  type EncodedPiece,
  type Host,
  type OpenOptions,
  type Store,
  nodeProvider,
} from '../../engine/index.ts';
import { encodeRun, readRun } from '../../engine/codec/chunk-run.ts';
import { StoreFolder, noise, smallParameters, storeTest, withCode } from './store-folder.ts';

const secret = { kind: 'raw-key', key: new Uint8Array(32).fill(7) } as const;
const { smallMax, chunkBytes } = smallParameters;
const runContent = 1024 * 1024;
const relaxed = { durability: 'relaxed' } as const;

/** Bytes that become half as long. */
function quiet(size: number, seed = 1): Uint8Array {
  const bytes = noise(size, seed);
  for (let at = 0; at < size; at += 2 * 256) bytes.fill(seed, at, at + 256);
  return bytes;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Every way a blob lies: small of one chunk and of several, with noise between, large, and what is not compressed at all. */
const contents = [
  quiet(1000, 2),
  quiet(3 * chunkBytes + 17, 3),
  joined(quiet(chunkBytes, 4), noise(chunkBytes, 5), quiet(100, 6)),
  joined(quiet(20 * chunkBytes, 7), noise(3 * chunkBytes, 8), quiet(30 * chunkBytes + 99, 9)),
  joined(noise(4 * chunkBytes, 11), quiet(12 * chunkBytes, 12)),
  noise(smallMax * 2, 10),
  quiet(20 * chunkBytes + 5, 13),
  new Uint8Array(0),
];

/** All pieces of a blob, each asked for where the one before ended. */
async function* piecesOf(
  store: Store,
  id: string,
  { length = 4 * chunkBytes, codecs = [1, 2], from = 0 } = {},
): AsyncGenerator<EncodedPiece, void, void> {
  for (let offset = from; ;) {
    const piece = await store.encoded.read(id, { offset, length }, codecs);
    assert.ok(piece !== undefined);
    assert.ok(piece.length > 0 || piece.size === offset, 'it goes on');
    if (piece.codec !== 0) assert.ok(piece.bytes.length < piece.length, 'else it goes as its content');
    yield piece;
    offset += piece.length;
    if (offset >= piece.size) return;
  }
}

async function* given(...pieces: readonly EncodedPiece[]): AsyncGenerator<EncodedPiece, void, void> {
  yield* pieces;
}

/** A second store beside the first, for copies of its blobs. */
function beside(folder: StoreFolder): StoreFolder {
  const base = join(folder.side, 'other');
  mkdirSync(base);
  return new StoreFolder(base);
}

const compression = { mode: 'auto', codec: 'zstd', level: 1 } as const;
const deflate = { mode: 'auto', codec: 'deflate', level: 1 } as const;
const shapes: readonly (readonly [string, OpenOptions])[] = [
  ['encrypted', { compression: deflate, encryption: { secret } }],
  ['on a thread', { compression, threads: { count: 1 } }],
];

for (const [shape, options] of shapes)
  storeTest(`blobs are copied as they are stored, and not compressed again: ${shape}`, async (folder) => {
    const other = beside(folder);
    const store = await folder.open({ ...relaxed, ...options });
    // Would become smaller, if it were compressed again.
    const best = { ...(options.compression as typeof compression), level: 9 };
    const copy = await other.open({ ...relaxed, ...options, compression: best });
    for (const content of contents) {
      const put = await store.put(content);
      let travelled = 0;
      let whole = true;
      const pieces = async function* (): AsyncGenerator<EncodedPiece, void, void> {
        for await (const piece of piecesOf(store, put.id)) {
          travelled += piece.bytes.length;
          whole &&= piece.codec !== 0;
          yield piece;
        }
      };
      const kept = await copy.encoded.put(pieces(), { expectId: put.id });
      assert.deepEqual(await copy.get(put.id), content);
      assert.ok(kept.storedSize <= put.storedSize, `${kept.storedSize}, not ${put.storedSize} bytes`);
      if (whole) assert.equal(kept.storedSize, put.storedSize, `of ${content.length} bytes`);
      assert.ok(travelled <= put.storedSize, `${travelled} of ${put.storedSize} bytes`);
    }
    await other.check();
  });

storeTest(
  'a store keeps to its own ways: what it would not have stored so is encoded anew',
  async (folder) => {
    const store = await folder.open({ ...relaxed, compression });
    const { id } = await store.put(contents[3]!);
    const small = await store.put(contents[1]!);
    const others: readonly OpenOptions[] = [
      { compression: 'off' },
      { compression: deflate },
      { compression, parameters: { ...smallParameters, chunkBytes: 8192 } },
      { compression, parameters: { ...smallParameters, smallMax: 4096 } },
    ];
    for (const [i, options] of others.entries()) {
      const base = join(folder.side, `other ${i}`);
      mkdirSync(base);
      const other = new StoreFolder(base);
      const copy = await other.open({ ...relaxed, ...options });
      const put = await copy.encoded.put(piecesOf(store, id), { expectId: id });
      assert.deepEqual(await copy.get(id), contents[3]);
      await copy.encoded.put(piecesOf(store, small.id));
      assert.deepEqual(await copy.get(small.id), contents[1]);
      if (options.compression === 'off') {
        assert.equal(put.storedSize, contents[3]!.length);
        assert.ok((await copy.pathOf(id)) !== undefined, 'its file is its content');
      } else assert.ok(put.storedSize < contents[3]!.length);
      await other.check();
    }
  },
);

storeTest('a piece comes as content where its codec is not taken, and from any offset', async (folder) => {
  const store = await folder.open({ ...relaxed, compression });
  for (const content of contents) {
    const { id } = await store.put(content);
    for (const codecs of [[1], [2]])
      for (const from of [0, 1, chunkBytes + 7, 21 * chunkBytes].filter((at) => at <= content.length)) {
        const parts: Uint8Array[] = [];
        for await (const piece of piecesOf(store, id, { codecs, from, length: 5 * chunkBytes + 1 })) {
          assert.ok(piece.codec === 0 || codecs.includes(piece.codec));
          if (piece.codec === 0) parts.push(piece.bytes);
          else
            for (const { codec, bytes, length } of readRun(piece.bytes))
              parts.push(codec === 0 ? bytes : nodeProvider.zstd!.decompress(bytes, length));
        }
        assert.deepEqual(joined(...parts), content.slice(from));
      }
  }
  assert.equal(await store.encoded.read('00'.repeat(32), { offset: 0, length: 1 }, []), undefined);
});

storeTest('what is borrowed is read as it lies in the alternate', async (folder) => {
  const lender = beside(folder);
  const lending = await lender.open({ ...relaxed, compression });
  const puts = [contents[1]!, contents[3]!].map((content) => lending.put(content, { owner: 'a' }));
  const ids = (await Promise.all(puts)).map(({ id }) => id);
  const store = await folder.open({ ...relaxed, alternates: [lender.path] });
  for (const id of ids) {
    const piece = await store.encoded.read(id, { offset: 0, length: 64 * 1024 }, [2]);
    assert.equal(piece?.codec, 2);
  }
  await folder.closeAll();
  await lender.check();
});

storeTest('nothing is stored of what is not what it says', async (folder) => {
  const store = await folder.open({ ...relaxed, compression });
  const good = quiet(chunkBytes, 3);
  const stored = nodeProvider.zstd!.compress(good, 3);
  const chunk = { codec: 2, bytes: stored, length: good.length } as const;
  const id = nodeProvider.sha256Hex(good);
  const piece = (bytes: Uint8Array, length: number): EncodedPiece => ({ bytes, codec: 2, length });
  const run = encodeRun([chunk]);
  const many = smallMax / chunkBytes + 1;
  const wrongs: readonly (readonly [what: string, code: string, pieces: readonly EncodedPiece[]])[] = [
    [
      'another blob',
      'conflict',
      [
        piece(
          encodeRun([{ ...chunk, bytes: nodeProvider.zstd!.compress(quiet(chunkBytes, 4), 3) }]),
          chunkBytes,
        ),
      ],
    ],
    [
      'a chunk that is shorter than it says',
      'corrupt',
      [piece(encodeRun([{ ...chunk, length: chunkBytes + 1 }]), chunkBytes + 1)],
    ],
    [
      'a chunk that is longer than it says',
      'corrupt',
      [piece(encodeRun([{ ...chunk, length: chunkBytes - 1 }]), chunkBytes - 1)],
    ],
    ['a run that ends early', 'corrupt', [piece(run.subarray(0, run.length - 1), chunkBytes)]],
    ['no codec', 'corrupt', [piece(encodeRun([{ ...chunk, codec: 9 as 2 }]), chunkBytes)]],
    [
      'bytes that are no zstd',
      'corrupt',
      [piece(encodeRun([{ ...chunk, bytes: noise(stored.length) }]), chunkBytes)],
    ],
    [
      'a bomb',
      'limit-exceeded',
      Array.from({ length: many }, () =>
        piece(encodeRun([{ ...chunk, length: 2 * runContent }]), chunkBytes),
      ),
    ],
    [
      'a small blob that is large',
      'limit-exceeded',
      [piece(encodeRun(Array.from({ length: many }, () => chunk)), 1)],
    ],
  ];
  for (const [what, code, pieces] of wrongs) {
    await assert.rejects(store.encoded.put(given(...pieces), { expectId: id }), withCode(code), what);
    assert.equal(await store.has(id), false, what);
  }
  assert.equal((await store.encoded.put(given(piece(run, chunkBytes)), { expected: () => id })).id, id);
  await assert.rejects(store.put(given(piece(run, chunkBytes)) as never), withCode('invalid-argument'));
});

storeTest(
  'a large blob that comes compressed late is framed in turns: reads beside it wait for a part',
  async (folder) => {
    const inline = nodeHost({ inline: true });
    const threads = inlineThreads(() => host);
    let inTurn = 0;
    let most = 0;
    const open: Host['files']['open'] = (path, ...how) => {
      const file = inline.files.open(path, ...how);
      const read = file.read.bind(file);
      file.read = (target, position) => {
        const count = read(target, position);
        most = Math.max(most, (inTurn += count));
        setImmediate(() => (inTurn = 0));
        return count;
      };
      return file;
    };
    const host: Host = { ...inline, threads, files: { ...inline.files, open } };
    const store = await folder.open({ ...relaxed, compression, host });
    const slice = noise(runContent, 3);
    const late = quiet(chunkBytes, 4);
    const run = encodeRun([{ codec: 2, bytes: nodeProvider.zstd!.compress(late, 3), length: chunkBytes }]);
    const begin = Array.from({ length: 12 }, () => ({ bytes: slice, codec: 0, length: slice.length }));
    const { id } = await store.encoded.put(given(...begin, { bytes: run, codec: 2, length: chunkBytes }));
    assert.equal(id, nodeProvider.sha256Hex(joined(...begin.map(({ bytes }) => bytes), late)));
    assert.ok(most > 0 && most <= 4 * runContent, `${most} bytes in one turn`);
  },
);

storeTest('a chunk that is damaged is told before it leaves; all others are read', async (folder) => {
  const store = await folder.open({ ...relaxed, compression });
  const large = await store.put(contents[3]!);
  const [file] = folder.files('blobs');
  const bytes = readFileSync(file!);
  const at = Math.floor(bytes.length / 3);
  bytes[at]! ^= 1;
  writeFileSync(file!, bytes);
  let [offset, damaged] = [0, 0];
  while (offset < large.size) {
    try {
      const piece = await store.encoded.read(large.id, { offset, length: chunkBytes }, [2]);
      offset += piece!.length;
    } catch (error) {
      withCode('corrupt')(error);
      damaged++;
      offset += chunkBytes;
    }
  }
  assert.equal(damaged, 1);
  folder.leaves([large.id]);
});
