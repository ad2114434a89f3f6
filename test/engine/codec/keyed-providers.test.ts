/** Keyed functions of the native and the portable provider: known answers, and the same bytes on anything. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex } from '../../../engine/codec/bytes.ts';
import { type Provider, tagBytes } from '../../../engine/codec/provider.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { sample } from '../../crash/sample.ts';
import { bytes, exactly } from './arbitrary.ts';

const hex = (text: string): Uint8Array => fromHex(text.replaceAll(/\s/g, ''))!;
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** RFC 4231, test cases 1, 2 and 6. */
const macs = [
  {
    key: new Uint8Array(20).fill(0x0b),
    message: ascii('Hi There'),
    sha256: 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
    sha512:
      '87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854',
  },
  {
    key: ascii('Jefe'),
    message: ascii('what do ya want for nothing?'),
    sha256: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    sha512:
      '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737',
  },
  {
    key: new Uint8Array(131).fill(0xaa),
    message: ascii('Test Using Larger Than Block-Size Key - Hash Key First'),
    sha256: '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
    sha512:
      '80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598',
  },
] as const;

/** The GCM specification (McGrew, Viega), AES-256: test cases 13, 14 and 16. */
const boxes = [
  {
    key: '00'.repeat(32),
    nonce: '00'.repeat(12),
    aad: '',
    text: '',
    sealed: '530f8afbc74536b9a963b4f1c4cb738b',
  },
  {
    key: '00'.repeat(32),
    nonce: '00'.repeat(12),
    aad: '',
    text: '00'.repeat(16),
    sealed: 'cea7403d4d606b6e074ec5d3baf39d18 d0d1c8a799996bf0265b98b5d48ab919',
  },
  {
    key: 'feffe9928665731c6d6a8f9467308308 feffe9928665731c6d6a8f9467308308',
    nonce: 'cafebabefacedbaddecaf888',
    aad: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    text: `d9313225f88406e5a55909c5aff5269a 86a7a9531534f7da2e4c303d8a318a72
      1c3c0c95956809532fcf0e2449a6b525 b16aedf5aa0de657ba637b39`,
    sealed: `522dc1f099567d07f47f37a32a84427d 643a8cdcbfe5c0c97598a2bd2555d1aa
      8cb08e48590dbb3da7b08b1056828838 c5f61e6393ba7a0abcc9f662 76fc6ece0f4e1768cddf8853bb2d551b`,
  },
] as const;

for (const [name, provider] of Object.entries({ node: nodeProvider, portable: portableProvider })) {
  describe(`provider: ${name}`, () => {
    test('HMAC gives the answers of RFC 4231', () => {
      for (const { key, message, sha256, sha512 } of macs) {
        assert.equal(toHex(provider.hmacSha256(key, message)), sha256);
        assert.equal(toHex(provider.hmacSha512(key, message)), sha512);
      }
    });

    test('HKDF gives the answers of RFC 5869, test cases 1 and 3', () => {
      const [salt, info] = [hex('000102030405060708090a0b0c'), hex('f0f1f2f3f4f5f6f7f8f9')];
      const key = new Uint8Array(22).fill(0x0b);
      const first = '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf';
      assert.equal(toHex(provider.hkdfSha256(key, salt, info)), first);
      const third = '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d';
      assert.equal(toHex(provider.hkdfSha256(key, new Uint8Array(0), new Uint8Array(0))), third);
    });

    test('AES-256-GCM gives the answers of its specification, and opens them', () => {
      for (const box of boxes) {
        const aead = provider.aead(hex(box.key));
        const [nonce, aad, text, sealed] = [box.nonce, box.aad, box.text, box.sealed].map(hex);
        const target = new Uint8Array(sealed!.length + 3).fill(7);
        aead.seal({ nonce: nonce!, aad: aad!, bytes: text! }, target);
        assert.equal(toHex(target), `${toHex(sealed!)}070707`);
        const pieces = aead.sealed({ nonce: nonce!, aad: aad!, bytes: text! });
        assert.equal(toHex(concatBytes(...pieces)), toHex(sealed!));
        const opened = aead.open({ nonce: nonce!, aad: aad!, bytes: sealed! });
        assert.equal(toHex(opened!), toHex(text!));
      }
    });

    test('what is not whole does not open, however short', () => {
      const aead = provider.aead(new Uint8Array(32));
      const [nonce, aad] = [new Uint8Array(12), new Uint8Array(3)];
      const sealed = new Uint8Array(5 + tagBytes);
      aead.seal({ nonce, aad, bytes: ascii('hello') }, sealed);
      for (let length = 0; length < sealed.length; length++)
        assert.equal(aead.open({ nonce, aad, bytes: sealed.subarray(0, length) }), undefined);
      assert.equal(aead.open({ nonce, aad: new Uint8Array(2), bytes: sealed }), undefined);
      assert.equal(aead.open({ nonce: nonce.map(() => 1), aad, bytes: sealed }), undefined);
      assert.equal(toHex(aead.open({ nonce, aad, bytes: sealed })!), toHex(ascii('hello')));
    });

    test('a key of the wrong length is refused, never cut or filled', () => {
      const message = { nonce: new Uint8Array(12), aad: new Uint8Array(0), bytes: new Uint8Array(1) };
      for (const length of [0, 31, 33])
        assert.throws(() => provider.aead(new Uint8Array(length)).seal(message, new Uint8Array(17)));
    });

    test('scrypt gives the answers of RFC 7914', async () => {
      const cost = { log2N: 10, r: 8, p: 16 };
      const found = await provider.scrypt(ascii('password'), ascii('NaCl'), cost);
      assert.equal(toHex(found), 'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162');
    });

    test('Argon2id gives the answer of the reference implementation', async () => {
      const cost = { memoryKiB: 65_536, passes: 2, lanes: 1 };
      const found = await provider.argon2id(ascii('password'), ascii('somesalt'), cost);
      assert.equal(toHex(found), '09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7');
    });
  });
}

const pairs: readonly (readonly [Provider, Provider])[] = [
  [nodeProvider, portableProvider],
  [portableProvider, nodeProvider],
];

test('both providers agree on anything, and open what the other sealed', () => {
  const box = fc.record({ key: exactly(32), nonce: exactly(12), aad: bytes(60), text: bytes(400) });
  fc.assert(
    fc.property(box, bytes(200), ({ key, nonce, aad, text }, longKey) => {
      for (const [one, two] of pairs) {
        const sealed = new Uint8Array(text.length + tagBytes);
        one.aead(key).seal({ nonce, aad, bytes: text }, sealed);
        assert.equal(toHex(two.aead(key).open({ nonce, aad, bytes: sealed })!), toHex(text));
        sealed[sealed.length - 1]! ^= 0x80;
        assert.equal(two.aead(key).open({ nonce, aad, bytes: sealed }), undefined);
      }
      const answers = pairs.map(([provider]) => [
        toHex(provider.hmacSha256(longKey, text)),
        toHex(provider.hmacSha512(longKey, text)),
        toHex(provider.hkdfSha256(key, nonce, aad)),
      ]);
      assert.deepEqual(answers[0], answers[1]);
    }),
    { numRuns: sample(300, 100) },
  );
});

test('both providers derive the same from any passphrase, at the costs of slots', async () => {
  const costs = { memoryKiB: 19 * 1024, passes: 2, lanes: 4 };
  for (const passphrase of [ascii('x'), new Uint8Array(10_240).fill(0xc3)]) {
    const salt = nodeProvider.sha256(passphrase);
    const argon = pairs.map(async ([provider]) => toHex(await provider.argon2id(passphrase, salt, costs)));
    const [one, two] = await Promise.all(argon);
    assert.equal(one, two);
    const scrypts = pairs.map(async ([provider]) =>
      toHex(await provider.scrypt(passphrase, salt, { log2N: 15, r: 8, p: 1 })),
    );
    const [three, four] = await Promise.all(scrypts);
    assert.equal(three, four);
  }
});

test('a large message is the same by both, and its bytes may be used again', () => {
  const text = new Uint8Array(65_536 + 5).map((_, i) => i & 0xff);
  const [key, nonce, aad] = [new Uint8Array(32).fill(3), new Uint8Array(12), new Uint8Array(42)];
  const made = [nodeProvider, portableProvider].map((provider) => {
    const aead = provider.aead(key);
    const sealed = new Uint8Array(text.length + tagBytes);
    const message = { nonce: nonce.slice(), aad: aad.slice(), bytes: text.slice() };
    aead.seal(message, sealed);
    for (const part of Object.values(message)) part.fill(0xff);
    return nodeProvider.sha256Hex(sealed);
  });
  assert.equal(made[0], made[1]);
});
