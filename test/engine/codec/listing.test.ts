/** Folder listings: names and facts come back as they were packed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareBytes } from '../../../engine/codec/bytes.ts';
import {
  listingFacts,
  listingNames,
  listingRecordBytes,
  packListing,
} from '../../../engine/codec/listing.ts';
import type { FileFacts } from '../../../engine/host.ts';
import { plainRecord, u53 } from './arbitrary.ts';

const i64 = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const facts: fc.Arbitrary<FileFacts> = plainRecord({
  kind: fc.constantFrom('file', 'folder', 'link', 'other'),
  size: u53,
  mode: fc.integer({ min: 0, max: 0o7777 }),
  mtimeNs: i64,
  ctimeNs: i64,
  dev: u64,
  ino: u64,
  links: fc.integer({ min: 0, max: 0xffff_ffff }),
});
const name = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 20 })
  .filter((text) => !/[/\0]/.test(text) && text.isWellFormed() && !text.startsWith('\ufeff'));

test('what was packed is read back, name by name and fact by fact', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ name, facts }), { maxLength: 30 }), (drawn) => {
      const entries = drawn
        .map(({ name, facts }) => ({ name: new TextEncoder().encode(name), facts }))
        .sort((a, b) => compareBytes(a.name, b.name));
      const listing = packListing(entries, ['\\xff']);
      assert.equal(listing.count, entries.length);
      assert.equal(listing.records.length, entries.length * listingRecordBytes);
      assert.deepEqual(listing.badNames, ['\\xff']);
      assert.deepEqual(
        listingNames(listing),
        entries.map((entry) => Buffer.from(entry.name).toString()),
      );
      entries.forEach((entry, index) => assert.deepEqual(listingFacts(listing, index), entry.facts));
    }),
  );
});

test('names that begin with a byte order mark keep it', () => {
  const mark = '\ufeff';
  const same: FileFacts = {
    kind: 'file',
    size: 0,
    mode: 0o644,
    mtimeNs: 0n,
    ctimeNs: 0n,
    dev: 1n,
    ino: 1n,
    links: 1,
  };
  const names = [`${mark}first`, `${mark}second`];
  const entries = names.map((name) => ({ name: new TextEncoder().encode(name), facts: same }));
  assert.deepEqual(listingNames(packListing(entries, [])), names);
});

test('a listing reads the same from the middle of a larger buffer', () => {
  fc.assert(
    fc.property(facts, facts, (first, second) => {
      const packed = packListing(
        [first, second].map((facts, n) => ({ name: Uint8Array.of(0x61 + n), facts })),
        [],
      );
      const larger = new Uint8Array(packed.records.length + 7);
      larger.set(packed.records, 5);
      const moved = { ...packed, records: larger.subarray(5, 5 + packed.records.length) };
      assert.deepEqual([listingFacts(moved, 0), listingFacts(moved, 1)], [first, second]);
    }),
  );
});
