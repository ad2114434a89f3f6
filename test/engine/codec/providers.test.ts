/** The native and the portable provider: known answers, and the same bytes on anything. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../engine/codec/bytes.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { sample } from '../../crash/sample.ts';
import { bytes } from './arbitrary.ts';

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** FIPS 180-4 examples and the empty string. */
const digests: readonly (readonly [Uint8Array, string])[] = [
  [ascii(''), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  [ascii('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  [
    ascii('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq'),
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ],
  [ascii('a'.repeat(1_000_000)), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
];
/** The check value of CRC-32/ISO-HDLC, and others that zlib gives. */
const sums: readonly (readonly [Uint8Array, number])[] = [
  [ascii(''), 0],
  [ascii('123456789'), 0xcbf4_3926],
  [ascii('The quick brown fox jumps over the lazy dog'), 0x414f_a339],
  [new Uint8Array(4), 0x2144_df1c],
  [new Uint8Array(4).fill(0xff), 0xffff_ffff],
];

for (const [name, provider] of Object.entries({ node: nodeProvider, portable: portableProvider })) {
  describe(`provider: ${name}`, () => {
    test('sha256 gives the known answers, in each of its three forms', () => {
      for (const [message, digest] of digests) {
        assert.equal(toHex(provider.sha256(message)), digest);
        assert.equal(provider.sha256Hex(message), digest);
        const hasher = provider.hasher();
        hasher.update(message);
        assert.equal(toHex(hasher.digest()), digest);
      }
    });

    test('crc32 gives the known answers', () => {
      for (const [message, sum] of sums) {
        assert.equal(provider.crc32(message), sum);
        for (let cut = 0; cut <= message.length; cut++) {
          const before = provider.crc32(message.subarray(0, cut));
          assert.equal(provider.crc32(message.subarray(cut), before), sum, `in two parts, cut at ${cut}`);
        }
      }
    });

    test('a hasher may be fed in any pieces; what it was fed may change afterwards', () => {
      fc.assert(
        fc.property(fc.array(bytes(150), { maxLength: 8 }), (pieces) => {
          const whole = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
          const hasher = provider.hasher();
          for (const piece of pieces) {
            const reused = piece.slice();
            hasher.update(reused);
            reused.fill(0);
          }
          assert.deepEqual(toHex(hasher.digest()), provider.sha256Hex(whole));
        }),
      );
    });

    test('a spent hasher is spent', () => {
      const hasher = provider.hasher();
      hasher.digest();
      assert.throws(() => hasher.digest());
      assert.throws(() => hasher.update(new Uint8Array(1)));
    });

    test('digests are 32 bytes of their own, also of a part of a buffer', () => {
      const larger = new Uint8Array(64).fill(9);
      larger.set(ascii('abc'), 10);
      const digest = provider.sha256(larger.subarray(10, 13));
      assert.equal(digest.length, 32);
      assert.equal(toHex(digest), digests[1]![1]);
      assert.equal(provider.crc32(larger.subarray(10, 13)), provider.crc32(ascii('abc')));
      provider.sha256(ascii('other'));
      assert.equal(toHex(digest), digests[1]![1]);
    });
  });
}

test('both providers agree on anything', () => {
  fc.assert(
    fc.property(bytes(2000), (some) => {
      assert.equal(portableProvider.sha256Hex(some), nodeProvider.sha256Hex(some));
      assert.equal(toHex(portableProvider.sha256(some)), toHex(nodeProvider.sha256(some)));
      assert.equal(portableProvider.crc32(some), nodeProvider.crc32(some));
    }),
    { numRuns: sample(300, 100) },
  );
});
