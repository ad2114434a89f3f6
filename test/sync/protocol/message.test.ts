/** Frames and messages: what is written is read back, every other form is refused, and no number goes over its limit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encode as cborg, rfc8949EncodeOptions } from 'cborg';
import { StoreError, errorCodes, nodeProvider } from '../../../engine/index.ts';
import { fromHex } from '../../../engine/codec/bytes.ts';
import { FrameReader, FrameWriter, prefixBytes } from '../../../sync/protocol/frame.ts';
import * as limits from '../../../sync/protocol/limits.ts';
import { type Message, decodeMessage, encodeMessage } from '../../../sync/protocol/message.ts';
import { withCode } from '../../engine/store-folder.ts';

const runs = { numRuns: Number(process.env['HOLDFAST_RUNS'] ?? 300) };
const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const kind = fc.constantFrom('raw' as const, 'node' as const);
const whole = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  .filter((text) => text.isWellFormed() && !text.includes('\0') && Buffer.byteLength(text) <= 1024);
const ids = fc.array(id, { maxLength: limits.havesMax });
const named = <Root extends { readonly name: string }>(root: fc.Arbitrary<Root>): fc.Arbitrary<Root[]> =>
  fc.uniqueArray(root, { selector: (one) => one.name, maxLength: 5 });

const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    type: fc.constant('hello' as const),
    versions: fc.record({ min: fc.constant(1), max: fc.integer({ min: 1, max: 65_535 }) }),
    storeId: fc.uuid(),
    namespace: fc.constantFrom('ids' as const, 'locators' as const),
    realm: fc.uint8Array({ maxLength: 64 }),
    payloadBytes: fc.integer({ min: limits.payloadBytesMin, max: 2 ** 20 }),
    windowBytes: fc.integer({ min: 2 ** 20, max: limits.windowBytesMax }),
    forms: fc.uniqueArray(fc.nat(255), { maxLength: 16 }).map((all) => all.sort((a, b) => a - b)),
  }),
  fc.record({
    type: fc.constant('ask' as const),
    all: fc.boolean(),
    roots: named(fc.record({ name, haves: ids, seen: ids })),
  }),
  fc.record({
    type: fc.constant('offer' as const),
    roots: named(
      fc.oneof(
        fc.record({ name, id, marks: ids }),
        fc.record({ name, id, marks: ids, force: fc.constant(true as const) }),
        fc.record({ name, id, marks: ids, expect: fc.oneof(id, fc.constant(null)) }),
      ),
    ).filter((roots) => roots.length > 0),
  }),
  fc.record({
    type: fc.constant('roots' as const),
    roots: named(
      fc.oneof(
        fc.record({ name, id: fc.constant(null), kind, base: fc.constant(null) }),
        fc.record({ name, id, kind, base: fc.oneof(id, fc.constant(null)) }),
      ),
    ),
  }),
  fc.record({
    type: fc.constant('want' as const),
    wants: fc.array(fc.record({ kind, id, from: whole }), { minLength: 1, maxLength: 9 }),
  }),
  fc
    .record({
      kind,
      id,
      form: fc.constantFrom('content' as const, 'deflate' as const, 'zstd' as const),
      size: whole,
      part: fc.nat(100),
    })
    .map(({ part, ...blob }) => ({
      type: 'blob' as const,
      ...blob,
      offset: Math.floor((blob.size * part) / 100),
    })),
  fc.record({ type: fc.constant('absent' as const), kind, id }),
  fc.record({ type: fc.constant('streamed' as const), root: fc.nat(limits.rootsMax - 1) }),
  fc.record({
    type: fc.constant('credit' as const),
    bytes: fc.integer({ min: 1, max: limits.windowBytesMax }),
  }),
  fc.record({
    type: fc.constant('done' as const),
    changed: fc.array(fc.boolean(), { maxLength: 20 }),
    blobs: whole,
    bytes: whole,
  }),
  fc.record({
    type: fc.constant('error' as const),
    code: fc.constantFrom(...errorCodes),
    message: fc.string({ maxLength: 100 }).map((text) => text.replace(/[^ -~]/g, '?')),
  }),
  fc.constant({ type: 'bye' as const }),
  fc.constant({ type: 'alive' as const }),
  fc.record({
    type: fc.constant('part' as const),
    number: fc.nat(limits.partsMax),
    digest: id,
    repeated: fc.nat(limits.repeatedMax),
  }),
  fc.record({ type: fc.constant('seal' as const), last: fc.boolean(), digest: id }),
  fc.constant({ type: 'seed' as const }),
  fc.record({
    type: fc.constant('keys' as const),
    file: fc.uint8Array({ maxLength: 300 }),
    parameters: fc.uint8Array({ maxLength: 99 }),
  }),
  fc.record({
    type: fc.constant('history' as const),
    roots: fc.array(fc.record({ sequence: whole, seen: fc.array(whole, { maxLength: 8 }) }), {
      maxLength: 20,
    }),
  }),
);

test('what is written is read back, and written the same again', () => {
  fc.assert(
    fc.property(message, (sent) => {
      const bytes = encodeMessage(sent);
      const read = decodeMessage(bytes);
      assert.deepEqual(read, structuredClone(sent)); // which gives plain objects
      assert.deepEqual(encodeMessage(read), bytes);
    }),
    runs,
  );
});

test('a header changed anywhere is refused, or is the one encoding of what it says', () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, where, flip) => {
      const bytes = encodeMessage(sent);
      bytes[where % bytes.length]! ^= flip;
      let read: Message;
      try {
        read = decodeMessage(bytes);
      } catch (error) {
        assert.ok(StoreError.is(error), String(error));
        return;
      }
      // Codes of errors that are unknown, and words of errors, are read leniently.
      if (read.type !== 'error') assert.deepEqual(encodeMessage(read), bytes);
    }),
    runs,
  );
});

test('bytes at random are never anything but a message or a typed error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeMessage(bytes);
      } catch (error) {
        assert.ok(StoreError.is(error), String(error));
      }
    }),
    runs,
  );
});

test('headers are the CBOR that another implementation writes', () => {
  const one = 'ab'.repeat(32);
  const bytes = (text: string): Uint8Array => Buffer.from(text);
  const cases: [Message, unknown][] = [
    [{ type: 'bye' }, [11]],
    [{ type: 'credit', bytes: 70_000 }, [8, 70_000]],
    [{ type: 'absent', kind: 'node', id: one }, [6, 1, fromHex(one)]],
    [
      { type: 'blob', kind: 'raw', id: one, form: 'content', size: 2 ** 40, offset: 5 },
      [5, 0, fromHex(one), 0, 2 ** 40, 5],
    ],
    [
      { type: 'ask', all: false, roots: [{ name: 'main', haves: [one], seen: [] }] },
      [1, 0, [[bytes('main'), [fromHex(one)], []]]],
    ],
    [{ type: 'seed' }, [16]],
    [
      { type: 'keys', file: bytes('file'), parameters: new Uint8Array() },
      [17, bytes('file'), new Uint8Array()],
    ],
    [{ type: 'history', roots: [{ sequence: 7, seen: [0, 2 ** 40] }] }, [15, [[7, [0, 2 ** 40]]]]],
    [
      { type: 'offer', roots: [{ name: 'x', id: one, expect: null, marks: [] }] },
      [2, [[bytes('x'), fromHex(one), 1, new Uint8Array(0), []]]],
    ],
  ];
  for (const [sent, plain] of cases)
    assert.deepEqual(
      Buffer.from(encodeMessage(sent)),
      Buffer.from(cborg(plain, rfc8949EncodeOptions)),
      sent.type,
    );
});

test('frames come out as they went in, whatever the pieces', () => {
  const frame = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.uint8Array({ maxLength: 9000 }));
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 6000 }), { minLength: 1 }),
      (frames, cuts) => {
        const writer = new FrameWriter(nodeProvider);
        const all = Buffer.concat(
          frames.flatMap(([header, payload]) => [writer.head(header, payload.length), payload]),
        );
        const reader = new FrameReader(nodeProvider);
        const read: [number[], number[]][] = [];
        for (let at = 0, i = 0; at < all.length; i++) {
          const piece = all.subarray(at, at + cuts[i % cuts.length]!);
          reader.push(new Uint8Array(piece));
          at += piece.length;
          for (let next = reader.next(); next !== undefined; next = reader.next())
            read.push([[...next.header], [...next.payload]]);
        }
        assert.equal(reader.inside, false);
        assert.deepEqual(
          read,
          frames.map(([header, payload]) => [[...header], [...payload]]),
        );
      },
    ),
    { numRuns: Math.min(runs.numRuns, 150) },
  );
});

test('a frame that comes byte by byte costs neither time nor memory to speak of', () => {
  const payload = new Uint8Array(1024 * 1024).fill(7);
  const head = new FrameWriter(nodeProvider).head(encodeMessage({ type: 'bye' }), payload.length);
  const reader = new FrameReader(nodeProvider);
  const before = process.memoryUsage().rss;
  for (const byte of head) reader.push(Uint8Array.of(byte));
  for (let i = 0; i < payload.length; i++) {
    assert.equal(i % 4096 === 0 ? reader.next() : undefined, undefined);
    reader.push(payload.subarray(i, i + 1));
  }
  assert.deepEqual(reader.next()?.payload.length, payload.length);
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 160 * 1024 * 1024, `${Math.round(grown / 1024)} KiB`);
});

test('memory of large payloads is used again, and what was copied out of is given back', () => {
  const writer = new FrameWriter(nodeProvider);
  const payload = new Uint8Array(700_000).map((_, i) => i * 7);
  const head = (): Uint8Array => writer.head(encodeMessage({ type: 'bye' }), payload.length);
  const reader = new FrameReader(nodeProvider, 1024 * 1024, { owns: true });
  const chunks = (): Uint8Array[] => [head(), payload.slice(0, 300_000), payload.slice(300_000)];
  const read = (pieces: readonly Uint8Array[]): Uint8Array => {
    for (const piece of pieces) reader.push(piece);
    const got = reader.next()!.payload;
    assert.equal(Buffer.compare(got, payload), 0);
    return got;
  };
  const pieces = chunks();
  const first = read(pieces);
  assert.deepEqual(
    pieces.slice(1).map(({ length }) => length),
    [0, 0],
    'the chunks are freed',
  );
  const second = read(chunks());
  assert.notEqual(second.buffer, first.buffer);
  reader.recycle(first);
  reader.recycle(first); // twice is once
  reader.recycle(payload); // not of this reader
  const third = read(chunks());
  assert.equal(third.buffer, first.buffer);
  assert.notEqual(read(chunks()).buffer, first.buffer);
  assert.equal(Buffer.compare(second, payload), 0, 'what was not given back is left alone');

  const careful = new FrameReader(nodeProvider, 1024 * 1024, { sequence: 4 });
  const kept = chunks();
  for (const piece of kept) careful.push(piece);
  assert.equal(careful.next()?.payload.length, payload.length);
  assert.equal(kept[1]!.length, 300_000, 'what belongs to somebody else is left alone');
});

test('every bit of the head of a frame counts', () => {
  const header = encodeMessage({ type: 'credit', bytes: 1234 });
  const good = new FrameWriter(nodeProvider).head(header, 0);
  assert.equal(good.length, prefixBytes + header.length);
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bytes = good.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const reader = new FrameReader(nodeProvider);
    reader.push(bytes);
    let read: unknown;
    try {
      read = reader.next();
    } catch (error) {
      assert.ok(StoreError.is(error, 'corrupt') || StoreError.is(error, 'limit-exceeded'), String(error));
    }
    assert.equal(read, undefined, `bit ${bit}`);
  }
});

test('lists one over their limit are refused', () => {
  const one = 'ab'.repeat(32);
  const many = <Item>(count: number, item: (i: number) => Item): Item[] =>
    Array.from({ length: count }, (_, i) => item(i));
  const over: Message[] = [
    { type: 'ask', all: false, roots: many(limits.rootsMax + 1, (i) => ({ name: `${i}`, haves: [] })) },
    { type: 'ask', all: false, roots: [{ name: 'x', haves: many(limits.havesMax + 1, () => one) }] },
    { type: 'offer', roots: many(limits.rootsMax + 1, (i) => ({ name: `${i}`, id: one, marks: [] })) },
    { type: 'offer', roots: [{ name: 'x', id: one, marks: many(limits.havesMax + 1, () => one) }] },
    {
      type: 'roots',
      roots: many(limits.rootsMax + 1, (i) => ({ name: `${i}`, id: one, kind: 'raw', base: null })),
    },
    { type: 'want', wants: many(limits.wantIdsMax + 1, () => ({ kind: 'raw', id: one, from: 0 })) },
    { type: 'done', changed: many(limits.rootsMax + 1, () => true), blobs: 0, bytes: 0 },
    { type: 'streamed', root: limits.rootsMax },
    { type: 'credit', bytes: limits.windowBytesMax + 1 },
    { type: 'credit', bytes: 0 },
    { type: 'want', wants: [] },
    { type: 'offer', roots: [] },
    { type: 'ask', all: true, roots: [{ name: 'x'.repeat(limits.nameBytesMax + 1), haves: [] }] },
    { type: 'blob', kind: 'raw', id: one, form: 'content', size: 4, offset: 5 },
  ];
  for (const sent of over)
    assert.throws(
      () => decodeMessage(encodeMessage(sent)),
      withCode('corrupt'),
      JSON.stringify(sent).slice(0, 90),
    );
  const most = many(limits.rootsMax, (i) => ({
    name: `${i}`.padStart(limits.nameBytesMax, 'x'),
    haves: many(limits.havesMax, () => one),
  }));
  const header = encodeMessage({ type: 'ask', all: true, roots: most });
  assert.ok(header.length <= limits.headerBytesMax, 'the longest list that is allowed fits a header');
  assert.equal(decodeMessage(header).type, 'ask');
});
