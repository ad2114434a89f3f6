/** Compression of chunks: what is worth it is found out early, nothing becomes longer, and both providers read what the other wrote. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { chunkCodecs, decodeChunk } from '../../../engine/codec/chunks.ts';
import {
  ChunkCompressor,
  type CompressOptions,
  entropyOf,
  isCompressedMedia,
  looksCompressed,
} from '../../../engine/codec/compress.ts';
import type { Compressor, Provider } from '../../../engine/codec/provider.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { sample } from '../../crash/sample.ts';
import { throwsCode } from './arbitrary.ts';

const chunkBytes = 65_536;
const words = new TextEncoder().encode('the quick brown fox jumps over the lazy dog, and then once more; ');
const prose = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => words[(i * i + i) % words.length]!);

/** Counts what is really compressed. */
function counting(provider: Provider): { readonly provider: Provider; calls: number } {
  const count = { provider, calls: 0 };
  const wrap = (inner: Compressor): Compressor => ({
    ...inner,
    compress: (bytes, level) => {
      count.calls++;
      return inner.compress(bytes, level);
    },
  });
  Object.assign(count, { provider: { ...provider, deflate: wrap(provider.deflate) } });
  return count;
}

const options = (change: Partial<CompressOptions> = {}): CompressOptions => ({
  mode: 'auto',
  codec: 'deflate',
  level: 6,
  ...change,
});

test('whatever a chunk is, it comes back, and is never longer than it was', async () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 3000 }),
    fc.tuple(fc.nat(200_000), fc.nat(255)).map(([length, byte]) => new Uint8Array(length).fill(byte)),
    fc.nat(100_000).map(prose),
  );
  const mode = fc.constantFrom('off', 'auto', 'always');
  const codecs = nodeProvider.zstd === undefined ? ['deflate'] : ['deflate', 'zstd'];
  const codec = fc.constantFrom(...(codecs as ['deflate', 'zstd']));
  await fc.assert(
    fc.asyncProperty(
      content,
      mode,
      codec,
      fc.integer({ min: 1, max: 9 }),
      async (bytes, mode, codec, level) => {
        const make = (): ChunkCompressor =>
          new ChunkCompressor(nodeProvider, options({ mode, codec, level }));
        const stored = make().encode(bytes);
        assert.ok(stored.bytes.length <= bytes.length);
        const entry = { codec: stored.codec, length: stored.bytes.length, crc: 0 };
        assert.deepEqual(
          Buffer.from(decodeChunk(nodeProvider, entry, stored.bytes, bytes.length)),
          Buffer.from(bytes),
        );
        const later = await make().encodeLater(bytes);
        assert.deepEqual([later.codec, Buffer.from(later.bytes)], [stored.codec, Buffer.from(stored.bytes)]);
        if (mode === 'off') assert.equal(stored.codec, chunkCodecs.identity);
      },
    ),
    { numRuns: sample(60, 30) },
  );
});

test('deflate of either provider is read by the other', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: 5000 }), fc.nat(150_000).map(prose)),
      fc.integer({ min: 1, max: 9 }),
      (bytes, level) => {
        for (const [from, to] of [
          [nodeProvider, portableProvider],
          [portableProvider, nodeProvider],
        ] as const) {
          const packed = from.deflate.compress(bytes, level);
          assert.deepEqual(Buffer.from(to.deflate.decompress(packed, bytes.length)), Buffer.from(bytes));
          for (const wrong of [bytes.length - 1, bytes.length + 1])
            if (wrong >= 0)
              assert.throws(() => to.deflate.decompress(packed, wrong), `${bytes.length}, ${wrong}`);
        }
      },
    ),
    { numRuns: sample(100, 30) },
  );
});

test('damaged compressed bytes are corrupt, or the same length; never an endless or a raw error', () => {
  fc.assert(
    fc.property(
      fc.nat(20_000).map(prose),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (bytes, at, change) => {
        for (const provider of [nodeProvider, portableProvider]) {
          const packed = nodeProvider.deflate.compress(bytes, 6).slice();
          if (packed.length === 0) return;
          packed[at % packed.length]! ^= change;
          const entry = { codec: chunkCodecs.deflate, length: packed.length, crc: 0 };
          try {
            assert.equal(decodeChunk(provider, entry, packed, bytes.length).length, bytes.length);
          } catch (error) {
            throwsCode('corrupt', () => {
              throw error;
            });
          }
        }
      },
    ),
    { numRuns: sample(300, 100) },
  );
});

test('noise is given up on without compressing it; text behind it is found again', () => {
  const count = counting(nodeProvider);
  const compressor = new ChunkCompressor(count.provider, options());
  for (let i = 0; i < 100; i++)
    assert.equal(compressor.encode(randomBytes(chunkBytes)).codec, chunkCodecs.identity);
  assert.equal(count.calls, 0);
  const found = Array.from({ length: 40 }, () => compressor.encode(prose(chunkBytes)).codec);
  const first = found.indexOf(chunkCodecs.deflate);
  assert.ok(first >= 0 && first < 16, String(first));
  assert.ok(found.slice(first).every((codec) => codec === chunkCodecs.deflate));
});

test('chunks that only look promising cost a few tries', () => {
  // Seven bits of noise a byte: low entropy by its histogram, and deflate saves an eighth at best.
  const count = counting(nodeProvider);
  const compressor = new ChunkCompressor(count.provider, options());
  const seven = (): Uint8Array => Uint8Array.from(randomBytes(chunkBytes), (byte) => byte & 0x7f);
  const stored = Array.from({ length: 64 }, () => compressor.encode(seven()).codec);
  if (stored.every((codec) => codec === chunkCodecs.identity))
    assert.ok(count.calls <= 8, String(count.calls));
});

test('media are known by type or by their first bytes, and are left alone in auto, not in always', () => {
  for (const type of ['image/jpeg', 'video/mp4', 'audio/mpeg', 'application/zip', 'IMAGE/PNG', 'audio/flac'])
    assert.equal(isCompressedMedia(type), true, type);
  for (const type of [
    'text/plain',
    'image/svg+xml',
    'audio/wav',
    'audio/x-wav',
    'application/json',
    'image/bmp',
    undefined,
  ])
    assert.equal(isCompressedMedia(type), false, type);
  assert.equal(looksCompressed(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0)), true);
  assert.equal(looksCompressed(words), false);
  assert.equal(looksCompressed(new Uint8Array(0)), false);
  const jpeg = prose(chunkBytes);
  jpeg.set([0xff, 0xd8, 0xff]);
  const auto = new ChunkCompressor(nodeProvider, options());
  assert.equal(auto.encode(jpeg).codec, chunkCodecs.identity);
  assert.equal(
    auto.encode(prose(chunkBytes)).codec,
    chunkCodecs.identity,
    'and what follows is left alone too',
  );
  assert.equal(
    new ChunkCompressor(nodeProvider, options({ mode: 'always' })).encode(jpeg).codec,
    chunkCodecs.deflate,
  );
  const typed = new ChunkCompressor(nodeProvider, options({ mediaType: 'video/mp4' }));
  assert.equal(typed.encode(prose(chunkBytes)).codec, chunkCodecs.identity);
  assert.equal(typed.isWorthwhile([prose(16_384)]), false);
});

test('a large blob is judged by samples from all over', () => {
  const judge = (samples: Uint8Array[], change: Partial<CompressOptions> = {}): boolean =>
    new ChunkCompressor(nodeProvider, options(change)).isWorthwhile(samples);
  const noise = (): Uint8Array => randomBytes(16_384);
  assert.equal(judge([prose(16_384), prose(16_384)]), true);
  assert.equal(judge([noise(), noise(), noise()]), false);
  assert.equal(judge([noise(), prose(16_384), prose(16_384)]), true);
  assert.equal(judge([prose(16_384), ...Array.from({ length: 7 }, noise)]), false);
  assert.equal(judge([noise()], { mode: 'always' }), true);
  assert.equal(judge([]), false);
});

test('entropy: nothing for one value, eight bits for all of them', () => {
  assert.equal(entropyOf(new Uint8Array(4096)), 0);
  assert.equal(entropyOf(new Uint8Array(0)), 0);
  assert.equal(entropyOf(Uint8Array.from({ length: 4096 }, (_, i) => i & 0xff)), 8);
});

test('where there is no zstd, a store that asks for it is written by deflate', async () => {
  const provider: Provider = { ...nodeProvider, zstd: undefined };
  const make = (): ChunkCompressor => new ChunkCompressor(provider, options({ codec: 'zstd', level: 19 }));
  assert.equal(make().encode(prose(chunkBytes)).codec, chunkCodecs.deflate);
  assert.equal((await make().encodeLater(prose(chunkBytes))).codec, chunkCodecs.deflate);
  assert.equal(make().isWorthwhile([prose(16_384)]), true);
});
