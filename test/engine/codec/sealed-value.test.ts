/** Sealed values, locators of links, padding: small things with one rule each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Link } from '../../../engine/api.ts';
import { toHex } from '../../../engine/codec/bytes.ts';
import { decodeLinkLocators, encodeLinkLocators, locatorOf } from '../../../engine/codec/locator.ts';
import { padme } from '../../../engine/codec/padding.ts';
import { padmeArea } from '../../../engine/codec/seal-layout.ts';
import { nonceBytes } from '../../../engine/codec/seal-header.ts';
import { lookupOf, openValue, sealValue, valueOverheadBytes } from '../../../engine/codec/sealed-value.ts';
import { StoreError } from '../../../engine/errors.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { sample } from '../../crash/sample.ts';
import { bitFlips, bytes, exactly, link, throwsCode, unless } from './arbitrary.ts';

const nameKey = (epoch: number): Uint8Array => {
  if (epoch > 2) throw new StoreError('wrong-key', `no epoch ${epoch}`);
  return new Uint8Array(32).fill(epoch);
};
const cell = fc.record({ column: fc.constantFrom('roots.name', 'refs.owner', 'blobs.id'), row: bytes(40) });

function seal(value: Uint8Array, nonce: Uint8Array, at: { column: string; row: Uint8Array }): Uint8Array {
  return sealValue(provider, value, { key: { epoch: 2, nameKey: nameKey(2) }, nonce, cell: at });
}

test('a value opens in its cell, by either provider, and nowhere else', () => {
  fc.assert(
    fc.property(bytes(80), exactly(nonceBytes), cell, cell, (value, nonce, here, there) => {
      const sealed = seal(value, nonce, here);
      assert.equal(sealed.length, value.length + valueOverheadBytes);
      for (const each of [provider, portableProvider])
        assert.equal(toHex(openValue(each, sealed, { nameKey, cell: here })), toHex(value));
      const same = here.column === there.column && toHex(here.row) === toHex(there.row);
      if (!same) throwsCode('tampered', () => openValue(provider, sealed, { nameKey, cell: there }));
    }),
  );
});

test('column and row do not run into each other', () => {
  const at = (column: string, row: string): { column: string; row: Uint8Array } => ({
    column,
    row: new TextEncoder().encode(row),
  });
  const sealed = seal(new Uint8Array(3), new Uint8Array(nonceBytes), at('ab', 'c'));
  throwsCode('tampered', () => openValue(provider, sealed, { nameKey, cell: at('a', 'bc') }));
});

test('every turned bit and every cut of a sealed value is seen', () => {
  const at = { column: 'roots.name', row: new Uint8Array(4) };
  const sealed = seal(new TextEncoder().encode('main'), new Uint8Array(nonceBytes).fill(3), at);
  const codes = ['tampered', 'wrong-key', 'incompatible-format', 'corrupt'];
  const open = (some: Uint8Array): unknown =>
    unless(codes, () => openValue(provider, some, { nameKey, cell: at }));
  for (const { flipped, bit } of bitFlips(sealed)) assert.equal(open(flipped), undefined, `bit ${bit}`);
  for (let length = 0; length < sealed.length; length++)
    assert.equal(open(sealed.slice(0, length)), undefined);
});

test('equal values of one column are found equal, others are not', () => {
  const find = (column: string, value: string): string =>
    toHex(lookupOf(provider, new Uint8Array(32).fill(1), { column, value: new TextEncoder().encode(value) }));
  assert.equal(find('roots.name', 'main'), find('roots.name', 'main'));
  const all = [
    find('roots.name', 'main'),
    find('refs.owner', 'main'),
    find('roots.name', 'Main'),
    find('r', ''),
  ];
  assert.equal(new Set(all).size, all.length);
});

test('the locators of links are sorted by themselves, and read without keys', () => {
  const key = new Uint8Array(32).fill(8);
  fc.assert(
    fc.property(fc.uniqueArray(link, { selector: ({ kind, id }) => kind + id, maxLength: 20 }), (links) => {
      const clear = encodeLinkLocators(provider, key, links);
      const read = decodeLinkLocators(clear);
      const expected = links.map(({ kind, id }: Link) => ({
        kind,
        locator: toHex(locatorOf(provider, key, Uint8Array.from(Buffer.from(id, 'hex')))),
      }));
      const order = (a: { kind: string; locator: string }, b: { kind: string; locator: string }): number =>
        (a.kind === 'raw' ? 0 : 1) - (b.kind === 'raw' ? 0 : 1) || (a.locator < b.locator ? -1 : 1);
      assert.deepEqual(read, expected.sort(order));
      if (links.length > 1) {
        const swapped = new Uint8Array([...clear.slice(33, 66), ...clear.slice(0, 33), ...clear.slice(66)]);
        throwsCode('corrupt', () => decodeLinkLocators(swapped));
      }
    }),
  );
  throwsCode('corrupt', () => decodeLinkLocators(new Uint8Array(32)));
  throwsCode('corrupt', () => decodeLinkLocators(new Uint8Array(33).fill(2)));
});

test('Padmé rounds up, by at most 12 %, to few lengths, and padded lengths stay', () => {
  assert.deepEqual([0, 1, 8, 9, 10, 100, 1000, 65_537].map(padme), [0, 1, 8, 10, 10, 104, 1024, 67_584]);
  fc.assert(
    fc.property(
      fc.maxSafeNat().map((n) => Math.floor(n / 4)),
      (length) => {
        const padded = padme(length);
        assert.ok(padded >= length && padded <= Math.ceil(length * 1.12), `${length} became ${padded}`);
        assert.equal(padme(padded), padded);
        const area = padmeArea(length);
        assert.ok(area === 0 || area >= 16);
        assert.equal(padme(length + area), length + area);
      },
    ),
    { numRuns: sample(2000, 500) },
  );
  const lengths = new Set(Array.from({ length: 100_000 }, (_, length) => padme(length)));
  assert.ok(lengths.size < 300, `${lengths.size} lengths`);
});
