/** The superblock: comes back as written, every turned bit is seen, later formats and bad parameters are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StoreParameters } from '../../../engine/api.ts';
import {
  checkParameters,
  decodeSuperblock,
  defaultParameters,
  encodeSuperblock,
  formatVersion,
  type Superblock,
} from '../../../engine/codec/superblock.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { sample } from '../../crash/sample.ts';
import { bitFlips, damage, plainRecord, throwsCode, u53, unless } from './arbitrary.ts';

const flags = fc.array(fc.stringMatching(/^[a-z-]{1,12}$/), { maxLength: 3 });
const superblock: fc.Arbitrary<Superblock> = plainRecord<Superblock>({
  format: fc.constant(formatVersion),
  storeId: fc.stringMatching(/^[0-9a-f]{32}$/),
  createdMs: u53,
  compat: flags,
  roCompat: flags,
  incompat: fc.constant([]),
  parameters: plainRecord<StoreParameters>({
    smallMax: u53,
    extentBytes: u53,
    chunkBytes: u53,
    volumeBytesMax: u53,
    layout: fc.constantFrom('hybrid', 'sqlite-only'),
    encryption: fc.option(
      plainRecord({
        realm: fc.stringMatching(/^[0-9a-f]{32}$/),
        padding: fc.constantFrom('none', 'padme'),
      }),
    ),
    chunking: plainRecord({
      mode: fc.constantFrom('off', 'fastcdc'),
      least: fc.integer({ min: 64, max: 65_536 }),
      average: fc.constantFrom(65_536, 262_144),
      greatest: fc.integer({ min: 262_144, max: 16 * 1024 * 1024 }),
    }),
    compression: fc.oneof(
      plainRecord({
        mode: fc.constantFrom('off', 'auto', 'always'),
        codec: fc.constant('deflate'),
        level: fc.integer({ min: 1, max: 9 }),
      }),
      plainRecord({
        mode: fc.constantFrom('off', 'auto', 'always'),
        codec: fc.constant('zstd'),
        level: fc.integer({ min: 1, max: 19 }),
      }),
    ),
  }),
});
const refusals = ['not-a-store', 'corrupt'];

test('decode undoes encode, and a person can read it', () => {
  fc.assert(
    fc.property(superblock, (block) => {
      const bytes = encodeSuperblock(provider, block);
      assert.deepEqual(decodeSuperblock(provider, bytes), block);
      const lines = new TextDecoder().decode(bytes).split('\n');
      assert.deepEqual([lines.length, lines[0]], [4, 'holdfast store']);
    }),
  );
});

test('every turned bit is seen', () => {
  fc.assert(
    fc.property(superblock, (block) => {
      for (const { flipped, bit } of bitFlips(encodeSuperblock(provider, block))) {
        assert.equal(
          unless(refusals, () => decodeSuperblock(provider, flipped)),
          undefined,
          `bit ${bit}`,
        );
      }
    }),
    { numRuns: 10 },
  );
});

test('whatever is done to it, it is refused or reads as it was', () => {
  fc.assert(
    fc.property(superblock, damage, (block, harm) => {
      const changed = harm(encodeSuperblock(provider, block));
      const read = unless(refusals, () => decodeSuperblock(provider, changed));
      if (read !== undefined) assert.deepEqual(read, block);
    }),
    { numRuns: sample(1000, 400) },
  );
});

test('there is one encoding', () => {
  const bytes = encodeSuperblock(provider, { ...blank, compat: [] });
  for (const [front, back] of [
    [[0xef, 0xbb, 0xbf], []],
    [[], [0x0a]],
    [[], [0x0a, 0x78]],
  ] as const) {
    const other = Uint8Array.from([...front, ...bytes, ...back]);
    assert.equal(
      unless(refusals, () => decodeSuperblock(provider, other)),
      undefined,
    );
  }
});

const blank: Superblock = {
  format: formatVersion,
  storeId: '0'.repeat(32),
  createdMs: 0,
  compat: [],
  roCompat: [],
  incompat: [],
  parameters: defaultParameters,
};

test('flags as in ext4: compat and ro-compat pass, incompat and a later format are refused', () => {
  const decode = (change: Partial<Superblock>): Superblock =>
    decodeSuperblock(provider, encodeSuperblock(provider, { ...blank, ...change }));
  assert.deepEqual(decode({ compat: ['new'] }).compat, ['new']);
  assert.deepEqual(decode({ roCompat: ['newer'] }).roCompat, ['newer']);
  throwsCode('incompatible-format', () => decode({ incompat: ['newest'] }));
  throwsCode('incompatible-format', () => decode({ format: formatVersion + 1 }));
  throwsCode('incompatible-format', () => decode({ format: formatVersion - 1 }));
});

test('what is no superblock is not a store', () => {
  for (const text of ['', 'holdfast', 'holdfast store ', '{}', 'PK\u0003\u0004']) {
    throwsCode('not-a-store', () => decodeSuperblock(provider, new TextEncoder().encode(text)));
  }
  throwsCode('corrupt', () => decodeSuperblock(provider, new TextEncoder().encode('holdfast store\n')));
});

test('parameters that could not work are refused', () => {
  assert.equal(checkParameters(defaultParameters), defaultParameters);
  const wrong: readonly Partial<StoreParameters>[] = [
    { chunkBytes: 65_537 },
    { chunkBytes: 2048 },
    { chunkBytes: 2 ** 25 },
    { chunkBytes: 0 },
    { chunkBytes: -65_536 },
    { chunkBytes: Number.NaN },
    { smallMax: -1 },
    { smallMax: 0.5 },
    { smallMax: 16 * 1024 * 1024 + 1 },
    { extentBytes: 4095 },
    { extentBytes: 1024 * 1024 + 1 },
    { volumeBytesMax: 1024 },
    { volumeBytesMax: Number.POSITIVE_INFINITY },
    { volumeBytesMax: '1073741824' as unknown as number },
    { compression: { mode: 'auto', codec: 'deflate', level: 10 } },
    { compression: { mode: 'auto', codec: 'deflate', level: 0 } },
    { compression: { mode: 'auto', codec: 'zstd', level: 20 } },
    { compression: { mode: 'auto', codec: 'lzma' as 'zstd', level: 3 } },
    { compression: { mode: 'yes' as 'auto', codec: 'zstd', level: 3 } },
    { layout: 'folders' as 'hybrid' },
    { compression: 'auto' as never },
    { chunking: { mode: 'rabin' as 'off', least: 64, average: 4096, greatest: 8192 } },
    { chunking: { mode: 'off', least: 64, average: 5000, greatest: 8192 } },
    { chunking: { mode: 'fastcdc', least: 8192, average: 4096, greatest: 16_384 } },
    { chunking: { mode: 'fastcdc', least: 64, average: 4096, greatest: 2 ** 25 } },
  ];
  for (const change of wrong) {
    throwsCode('invalid-argument', () => checkParameters({ ...defaultParameters, ...change }));
  }
});
