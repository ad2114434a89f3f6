/** Hex, 64-bit numbers and the order of bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  compareBytes,
  equalBytes,
  fromHex,
  isBlobId,
  readU64,
  release,
  toHex,
  writeU64,
} from '../../../engine/codec/bytes.ts';
import { blobId, bytes, u53 } from './arbitrary.ts';

test('hex is what Buffer says, both ways', () => {
  fc.assert(
    fc.property(bytes(100), (some) => {
      assert.equal(toHex(some), Buffer.from(some).toString('hex'));
      assert.deepEqual(fromHex(toHex(some)), some);
    }),
  );
});

test('only an even number of lower-case hex digits is hex', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('0', '9', 'a', 'f', 'A', 'F', 'g', ' ', '\n') }),
      (text) => {
        const parsed = fromHex(text);
        if (parsed === undefined) assert.ok(text.length % 2 === 1 || /[^0-9a-f]/.test(text));
        else assert.equal(toHex(parsed), text);
      },
    ),
  );
  for (const text of ['0', 'AB', '0x', 'é0', '00\n', '\n00', ' 0', '+1', '1.'])
    assert.equal(fromHex(text), undefined);
});

test('a blob id is 64 lower-case hex digits and nothing else', () => {
  fc.assert(fc.property(blobId, (id) => isBlobId(id)));
  const id = 'a'.repeat(64);
  const wrong = [
    undefined,
    null,
    1,
    '',
    id.slice(1),
    `${id}a`,
    `${id}\n`,
    id.toUpperCase(),
    `g${id.slice(1)}`,
    [id],
    { id },
  ];
  for (const value of wrong) assert.equal(isBlobId(value), false, String(value));
});

test('numbers below 2^53 are written as eight little-endian bytes', () => {
  fc.assert(
    fc.property(u53, fc.nat(5), (value, at) => {
      const view = new DataView(new ArrayBuffer(16));
      writeU64(view, at, value);
      assert.equal(view.getBigUint64(at, true), BigInt(value));
      assert.equal(readU64(view, at), value);
    }),
  );
});

test('a number that does not fit 53 bits reads as NaN', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (value) => {
      const view = new DataView(new ArrayBuffer(8));
      view.setBigUint64(0, value, true);
      const fits = value <= BigInt(Number.MAX_SAFE_INTEGER);
      assert.equal(readU64(view, 0), fits ? Number(value) : Number.NaN);
    }),
  );
});

test('equality and order are those of Buffer', () => {
  const short = bytes(4).map((some) => some.map((byte) => byte % 3));
  fc.assert(
    fc.property(short, short, (a, b) => {
      assert.equal(equalBytes(a, b), Buffer.compare(a, b) === 0);
      assert.equal(Math.sign(compareBytes(a, b)), Buffer.compare(a, b));
    }),
  );
});

test('memory is only given back where it is theirs alone', () => {
  const early = typeof (ArrayBuffer.prototype as Partial<ArrayBuffer>).transfer === 'function';
  const alone = Buffer.allocUnsafeSlow(65_536 + 64).subarray(0, 65_536);
  release(alone);
  assert.equal(alone.length, early ? 0 : 65_536);

  const whole = new Uint8Array(131_072).fill(7);
  const parts = [whole.subarray(0, 65_536), whole.subarray(65_536), new Uint8Array(whole.buffer, 32)];
  for (const part of parts) release(part);
  assert.ok(whole.every((byte) => byte === 7));
  assert.equal(whole.length, 131_072);

  // Small Buffers lie side by side in memory that Node keeps.
  const pooled = Array.from({ length: 64 }, (_, i) => Buffer.from(String(i).repeat(900)));
  for (const some of pooled.slice(0, 32)) release(some);
  assert.ok(pooled.every((some, i) => some.toString() === String(i).repeat(900)));
});
