/** Root log records: chained, so that a turned bit, a torn tail, a lost or moved record are all seen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RootLogEntry } from '../../../engine/api.ts';
import {
  chainBytes,
  decodeLogHead,
  decodeLogRecord,
  encodeLogHead,
  encodeLogRecord,
  logHeadBytes,
  nameBytesMax,
} from '../../../engine/codec/root-record.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { sample } from '../../crash/sample.ts';
import { bitFlips, blobId, damage, exactly, plainRecord, u53 } from './arbitrary.ts';

const name = fc
  .oneof(fc.string({ unit: 'binary', maxLength: 30 }), fc.constant('n'.repeat(nameBytesMax)))
  .filter((text) => text.isWellFormed() && !text.startsWith('\ufeff'));
const base = { sequence: u53, timeMs: u53, name };
const entry: fc.Arbitrary<RootLogEntry> = fc.oneof(
  plainRecord<RootLogEntry>({ ...base, change: fc.constantFrom('set', 'retain', 'release'), id: blobId }),
  plainRecord<RootLogEntry>({ ...base, change: fc.constant('delete') }),
);
const previous = exactly(chainBytes);

test('decode undoes encode', () => {
  fc.assert(
    fc.property(entry, previous, fc.nat(20), (entry, previous, at) => {
      const { bytes, hash } = encodeLogRecord(provider, entry, previous);
      const larger = new Uint8Array(at + bytes.length + 3);
      larger.set(bytes, at);
      assert.deepEqual(decodeLogRecord(provider, larger, at, previous), {
        entry,
        hash,
        length: bytes.length,
      });
      assert.equal(hash.length, chainBytes);
    }),
  );
});

test('a name that begins with a byte order mark keeps it', () => {
  const entry: RootLogEntry = { sequence: 1, timeMs: 0, change: 'delete', name: '\ufeffname' };
  const { bytes } = encodeLogRecord(provider, entry, new Uint8Array(chainBytes));
  assert.deepEqual(decodeLogRecord(provider, bytes, 0, new Uint8Array(chainBytes))?.entry, entry);
});

test('every turned bit is seen, in the record and in the hash before it', () => {
  fc.assert(
    fc.property(entry, previous, (entry, previous) => {
      const { bytes } = encodeLogRecord(provider, { ...entry, name: entry.name.slice(0, 10) }, previous);
      for (const { flipped, bit } of bitFlips(bytes)) {
        assert.equal(decodeLogRecord(provider, flipped, 0, previous), undefined, `bit ${bit}`);
      }
      for (const { flipped } of bitFlips(previous)) {
        assert.equal(decodeLogRecord(provider, bytes, 0, flipped), undefined);
      }
    }),
    { numRuns: sample(20, 10) },
  );
});

test('whatever is done to a record, it is refused or reads as it was', () => {
  fc.assert(
    fc.property(entry, previous, damage, (entry, previous, harm) => {
      const changed = harm(encodeLogRecord(provider, entry, previous).bytes);
      const read = decodeLogRecord(provider, changed, 0, previous);
      if (read !== undefined) assert.deepEqual(read.entry, entry);
    }),
    { numRuns: sample(1000, 400) },
  );
});

test('a torn tail is refused at every length', () => {
  fc.assert(
    fc.property(entry, previous, (entry, previous) => {
      const { bytes } = encodeLogRecord(provider, entry, previous);
      for (let length = 0; length < bytes.length; length++) {
        assert.equal(decodeLogRecord(provider, bytes.subarray(0, length), 0, previous), undefined);
      }
    }),
    { numRuns: 10 },
  );
});

test('a chain reads to its end; without one of its records it stops there', () => {
  fc.assert(
    fc.property(fc.array(entry, { minLength: 2, maxLength: 8 }), fc.nat(), (entries, which) => {
      const start = new Uint8Array(chainBytes);
      const records: Uint8Array[] = [];
      let hash = start;
      for (const entry of entries) {
        const encoded = encodeLogRecord(provider, entry, hash);
        records.push(encoded.bytes);
        hash = new Uint8Array(encoded.hash);
      }
      assert.deepEqual(readChain(records, start), entries);
      const lost = which % (entries.length - 1);
      assert.deepEqual(readChain(records.toSpliced(lost, 1), start), entries.slice(0, lost));
    }),
  );
});

function readChain(records: readonly Uint8Array[], start: Uint8Array): RootLogEntry[] {
  const log = Uint8Array.from(records.flatMap((record) => [...record]));
  const entries: RootLogEntry[] = [];
  let [at, hash] = [0, start];
  for (let read = decodeLogRecord(provider, log, at, hash); read !== undefined;) {
    entries.push(read.entry);
    at += read.length;
    hash = new Uint8Array(read.hash);
    read = decodeLogRecord(provider, log, at, hash);
  }
  return entries;
}

test('the head names the store, and is known by its first bytes', () => {
  fc.assert(
    fc.property(exactly(16), (storeId) => {
      const head = encodeLogHead(storeId);
      assert.equal(head.length, logHeadBytes);
      assert.deepEqual(decodeLogHead(head), storeId);
      for (const { flipped, bit } of bitFlips(head)) {
        if (bit < 64) assert.equal(decodeLogHead(flipped), undefined);
        else assert.notDeepEqual(decodeLogHead(flipped), storeId);
      }
      assert.equal(decodeLogHead(head.subarray(0, logHeadBytes - 1)), undefined);
    }),
    { numRuns: sample(20, 10) },
  );
});
