// MurmurHash3 x86_128 gives the values its author's implementation gives.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../../engine/codec/bytes.ts';
import { murmur128 } from '../../../engine/codec/murmur.ts';

function hash(text: string, seed: number): string {
  const bytes = new Uint8Array(text.length + 16);
  bytes.set(new TextEncoder().encode(text));
  return toHex(murmur128(new DataView(bytes.buffer), text.length, seed));
}

/** The words of the reference come out as big-endian text; ours are stored little-endian. */
function words(hex: string): string {
  return hex.replace(/(..)(..)(..)(..)/g, '$4$3$2$1');
}

test('known answers', () => {
  assert.equal(words(hash('', 0)), '00000000000000000000000000000000');
  assert.equal(words(hash('', 1)), '88c4adec54d201b954d201b954d201b9');
  assert.equal(
    words(hash("I will not buy this tobacconist's, it is scratched.", 0)),
    '9b5b7ba2ef3f7866889adeaf00f3f98e',
  );
});

test('every single-bit change of a row changes the hash', () => {
  const bytes = new Uint8Array(170 + 16);
  for (let i = 0; i < 170; i++) bytes[i] = (i * 37) & 0xff;
  const view = new DataView(bytes.buffer);
  const seen = new Set([toHex(murmur128(view, 170, 1))]);
  for (let bit = 0; bit < 170 * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    seen.add(toHex(murmur128(view, 170, 1)));
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  assert.equal(seen.size, 170 * 8 + 1);
});
