/** What the codec's property tests draw from: ids, links, nodes, damage. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Link } from '../../../engine/api.ts';
import { toHex } from '../../../engine/codec/bytes.ts';
import { chunkCodecs, chunkCount } from '../../../engine/codec/chunks.ts';
import { type RecordHead, recordOverhead, writeRecord } from '../../../engine/codec/record.ts';
import { StoreError } from '../../../engine/errors.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { full } from '../../crash/sample.ts';

export const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
export const exactly = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });

/** A record with the usual prototype, so that deepEqual can be strict. */
export function plainRecord<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

/** Ids that are often near each other, so that order and duplicates matter. */
export const blobId: fc.Arbitrary<string> = fc.oneof(
  exactly(32).map(toHex),
  fc.constantFrom('0', '1', '8', 'f').map((digit) => digit.repeat(64)),
  fc.nat(3).map((n) => n.toString(16).padStart(64, '0')),
);

export const link: fc.Arbitrary<Link> = plainRecord<Link>({
  kind: fc.constantFrom('raw', 'node'),
  id: blobId,
});

/** Whole numbers that fit 53 bits, with their corners. */
export const u53: fc.Arbitrary<number> = fc.oneof(
  fc.nat(),
  fc.maxSafeNat(),
  fc.constantFrom(0, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER),
);

/** Ways to damage an encoding. */
export type Damage = (whole: Uint8Array) => Uint8Array;

export const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })).map(([at, xor]) => changed(at, xor)),
  // The head is where the decisions are.
  fc.tuple(fc.nat(80), fc.integer({ min: 1, max: 255 })).map(([at, xor]) => changed(at, xor)),
  fc.nat().map((at) => (whole: Uint8Array) => whole.slice(0, at % Math.max(1, whole.length))),
  bytes(8).map((tail) => (whole: Uint8Array) => Uint8Array.from([...whole, ...tail])),
  fc.tuple(fc.nat(), bytes(4)).map(([at, more]) => inserted(at, more)),
  fc.tuple(fc.nat(), fc.nat(4)).map(([at, count]) => removed(at, count)),
);

function changed(at: number, xor: number): Damage {
  return (whole) => {
    const copy = whole.slice();
    if (copy.length > 0) copy[at % copy.length]! ^= xor;
    return copy;
  };
}

function inserted(at: number, more: Uint8Array): Damage {
  return (whole) => {
    const place = at % (whole.length + 1);
    return Uint8Array.from([...whole.subarray(0, place), ...more, ...whole.subarray(place)]);
  };
}

function removed(at: number, count: number): Damage {
  return (whole) => {
    const place = at % (whole.length + 1);
    return Uint8Array.from([...whole.subarray(0, place), ...whole.subarray(place + count)]);
  };
}

/** Copies of these bytes with one bit turned: a third of all, others each time; with HOLDFAST_SAMPLES=full every one. */
export function* bitFlips(
  whole: Uint8Array,
): Generator<{ readonly flipped: Uint8Array; readonly bit: number }> {
  for (let bit = full ? 0 : Math.floor(Math.random() * 3); bit < whole.length * 8; bit += full ? 1 : 3) {
    const flipped = whole.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    yield { flipped, bit };
  }
}

/** What it returns, or undefined when it throws a StoreError with one of these codes; anything else thrown is a failure. */
export function unless<Result>(codes: readonly string[], decode: () => Result): Result | undefined {
  try {
    return decode();
  } catch (error) {
    assert.ok(StoreError.is(error), `not a StoreError: ${String(error)}`);
    assert.ok(codes.includes(error.code), `code ${error.code}: ${error.message}`);
    return undefined;
  }
}

export function throwsCode(code: string, call: () => unknown): void {
  assert.throws(call, (error) => StoreError.is(error) && error.code === code);
}

/** A record of content that is stored as it is. */
export function recordOf(head: Omit<RecordHead, 'contentBytes'>, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(recordOverhead(content.length, head.chunkLog2) + content.length);
  const step = 2 ** head.chunkLog2;
  const chunks = Array.from({ length: chunkCount(content.length, head.chunkLog2) }, (_, i) => ({
    codec: chunkCodecs.identity,
    bytes: content.subarray(i * step, (i + 1) * step),
  }));
  writeRecord(nodeProvider, bytes, 0, { head: { ...head, contentBytes: content.length }, chunks });
  return bytes;
}
