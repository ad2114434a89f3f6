/** Extent records: what was written is read, every turned bit is seen, an extent is walked to its first damage. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  chunkCount,
  identityCodec,
  payloadPlace,
  readExtent,
  readRecord,
  recordBytes,
  type RecordHead,
  writeRecord,
} from '../../../engine/codec/record.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { bitFlips, bytes, damage, exactly, plainRecord, throwsCode, u53, unless } from './arbitrary.ts';

interface Drawn {
  readonly head: RecordHead;
  readonly payload: Uint8Array;
}

const drawn: fc.Arbitrary<Drawn> = fc
  .tuple(
    plainRecord<Omit<RecordHead, 'payloadBytes'>>({
      kind: fc.constantFrom('raw', 'node'),
      codec: fc.constant(identityCodec),
      id: exactly(32),
      incarnation: u53,
      part: fc.integer({ min: 0, max: 0xffff_ffff }),
      offset: u53,
      last: fc.boolean(),
      size: u53,
      chunkLog2: fc.integer({ min: 9, max: 30 }),
    }),
    fc.oneof(
      bytes(60),
      fc
        .tuple(fc.constantFrom(511, 512, 513, 1024, 2049), fc.nat(255))
        .map(([length, byte]) => new Uint8Array(length).fill(byte)),
    ),
  )
  .map(([head, payload]) => ({ head: { ...head, payloadBytes: payload.length }, payload }));

function written({ head, payload }: Drawn): Uint8Array {
  const target = new Uint8Array(recordBytes(payload.length, head.chunkLog2));
  assert.equal(writeRecord(provider, target, 0, { head, payload }), target.length);
  return target;
}

test('read undoes write, anywhere in a buffer', () => {
  fc.assert(
    fc.property(drawn, fc.nat(50), fc.nat(50), (record, before, after) => {
      const whole = written(record);
      const larger = new Uint8Array(before + whole.length + after).fill(0xaa);
      const place = larger.subarray(3 % (before + 1));
      const at = before - (3 % (before + 1));
      assert.equal(writeRecord(provider, place, at, record), at + whole.length);
      const read = readRecord(provider, place, at);
      assert.deepEqual(read, { ...record, length: whole.length });
      assert.deepEqual(larger.subarray(before, before + whole.length), whole);
      assert.ok(larger.subarray(before + whole.length).every((byte) => byte === 0xaa));
      assert.ok(larger.subarray(0, before).every((byte) => byte === 0xaa));
    }),
  );
});

test('a payload that already stands in its place is left there', () => {
  fc.assert(
    fc.property(drawn, ({ head, payload }) => {
      const target = new Uint8Array(recordBytes(payload.length, head.chunkLog2));
      const place = target.subarray(payloadPlace(payload.length, head.chunkLog2));
      place.set(payload);
      writeRecord(provider, target, 0, { head, payload: place });
      assert.deepEqual(target, written({ head, payload }));
    }),
  );
});

test('the payload read is a view, and both providers write the same', () => {
  fc.assert(
    fc.property(drawn, (record) => {
      const whole = written(record);
      assert.equal(readRecord(provider, whole, 0).payload.buffer, whole.buffer);
      const other = new Uint8Array(whole.length);
      writeRecord(portableProvider, other, 0, record);
      assert.deepEqual(other, whole);
    }),
  );
});

test('every turned bit is seen', () => {
  fc.assert(
    fc.property(drawn, (record) => {
      for (const { flipped, bit } of bitFlips(written(record))) {
        assert.equal(
          unless(['corrupt'], () => readRecord(provider, flipped, 0)),
          undefined,
          `bit ${bit}`,
        );
      }
    }),
    { numRuns: 25 },
  );
});

test('head only: every turned bit before the payload is seen, none in it', () => {
  fc.assert(
    fc.property(drawn, (record) => {
      const whole = written(record);
      const payloadAt = payloadPlace(record.payload.length, record.head.chunkLog2);
      for (const { flipped, bit } of bitFlips(whole)) {
        const read = unless(['corrupt'], () => readRecord(provider, flipped, 0, { headOnly: true }));
        assert.equal(read !== undefined, bit >> 3 >= payloadAt, `bit ${bit}`);
      }
    }),
    { numRuns: 25 },
  );
});

test('whatever is done to a record, it is refused or reads as it was', () => {
  fc.assert(
    fc.property(drawn, damage, (record, harm) => {
      const read = unless(['corrupt'], () => readRecord(provider, harm(written(record)), 0));
      if (read !== undefined) assert.deepEqual({ head: read.head, payload: read.payload }, record);
    }),
    { numRuns: 1000 },
  );
});

test('a cut record is refused at every length', () => {
  fc.assert(
    fc.property(drawn, (record) => {
      const whole = written(record);
      for (let length = 0; length < whole.length; length++) {
        throwsCode('corrupt', () => readRecord(provider, whole.subarray(0, length), 0));
      }
    }),
    { numRuns: 10 },
  );
});

test('an unknown codec is told apart from damage', () => {
  const head: RecordHead = {
    kind: 'raw',
    codec: 9,
    id: new Uint8Array(32),
    incarnation: 1,
    part: 0,
    offset: 0,
    last: true,
    size: 1,
    chunkLog2: 16,
    payloadBytes: 1,
  };
  throwsCode('incompatible-format', () =>
    readRecord(provider, written({ head, payload: new Uint8Array(1) }), 0),
  );
});

test('chunks are counted by their size', () => {
  assert.deepEqual(
    [0, 1, 512, 513, 1024].map((length) => chunkCount(length, 9)),
    [0, 1, 1, 2, 2],
  );
});

test('an extent is walked in order, up to the first damaged head', () => {
  fc.assert(
    fc.property(
      fc.array(drawn, { minLength: 1, maxLength: 6 }),
      fc.nat(),
      fc.boolean(),
      (records, which, harm) => {
        const parts = records.map(written);
        const starts = parts.map((_, index) =>
          parts.slice(0, index).reduce((sum, part) => sum + part.length, 0),
        );
        const bad = which % records.length;
        if (harm) parts[bad]![8]! ^= 1;
        const extent = Uint8Array.from(parts.flatMap((part) => [...part]));
        const found = [...readExtent(provider, extent)];
        const good = harm ? records.slice(0, bad) : records;
        assert.equal(found.length, good.length + (harm ? 1 : 0));
        found.forEach((step, index) => {
          assert.equal(step.at, starts[index]);
          if ('record' in step) assert.deepEqual(step.record.head, good[index]!.head);
          else assert.ok(harm && index === bad && step.damage.length > 0);
        });
      },
    ),
  );
});
