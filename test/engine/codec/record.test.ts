/** Extent records: what was written is read, every turned bit is seen, an extent is walked to its first damage. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type StoredChunk,
  chunkCodecs,
  chunkCount,
  entryBytes,
  readEntry,
  writeEntry,
} from '../../../engine/codec/chunks.ts';
import {
  commonContent,
  commonRecordBytes,
  readExtent,
  readRecord,
  type RecordHead,
  recordHeadBytes,
  recordOverhead,
  writeRecord,
} from '../../../engine/codec/record.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { sample } from '../../crash/sample.ts';
import {
  bitFlips,
  bytes,
  damage,
  exactly,
  plainRecord,
  recordOf,
  throwsCode,
  u53,
  unless,
} from './arbitrary.ts';

interface Drawn {
  readonly head: RecordHead;
  readonly content: Uint8Array;
  readonly chunks: readonly StoredChunk[];
}

/** The i-th chunk is compressed where the i-th bit of `which` says so. */
function chunksOf(content: Uint8Array, chunkLog2: number, which: number): StoredChunk[] {
  return Array.from({ length: chunkCount(content.length, chunkLog2) }, (_, i) => {
    const piece = content.subarray(i * 2 ** chunkLog2, (i + 1) * 2 ** chunkLog2);
    return (which >> i) & 1
      ? { codec: chunkCodecs.deflate, bytes: provider.deflate.compress(piece, 6) }
      : { codec: chunkCodecs.identity, bytes: piece };
  });
}

const drawn: fc.Arbitrary<Drawn> = fc
  .tuple(
    plainRecord<Omit<RecordHead, 'contentBytes'>>({
      kind: fc.constantFrom('raw', 'node'),
      sealed: fc.boolean(),
      id: exactly(32),
      incarnation: u53,
      part: fc.integer({ min: 0, max: 0xffff_ffff }),
      offset: u53,
      last: fc.boolean(),
      size: u53,
      chunkLog2: fc.integer({ min: 9, max: 24 }),
    }),
    fc.oneof(
      bytes(60),
      fc
        .tuple(fc.constantFrom(511, 512, 513, 1024, 2049), fc.nat(255))
        .map(([length, byte]) => new Uint8Array(length).fill(byte)),
    ),
    fc.nat(31),
  )
  .map(([head, content, which]) => ({
    head: { ...head, contentBytes: content.length },
    content,
    chunks: chunksOf(content, head.chunkLog2, which),
  }));

function lengthOf({ head, chunks }: Drawn): number {
  const stored = chunks.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
  return recordOverhead(head.contentBytes, head.chunkLog2) + stored;
}

function written(record: Drawn, by = provider): Uint8Array {
  const target = new Uint8Array(lengthOf(record));
  assert.equal(writeRecord(by, target, 0, record), target.length);
  return target;
}

/** What a record says, with all of its content; undefined when either is refused. */
function readAll(whole: Uint8Array): { head: RecordHead; content: Uint8Array } | undefined {
  return unless(['corrupt'], () => {
    const record = readRecord(provider, whole, 0);
    return { head: record.head, content: record.content().slice() };
  });
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
      assert.deepEqual(read.head, record.head);
      assert.equal(read.length, whole.length);
      assert.deepEqual(read.content(), record.content);
      assert.deepEqual(larger.subarray(before, before + whole.length), whole);
      assert.ok(larger.subarray(before + whole.length).every((byte) => byte === 0xaa));
      assert.ok(larger.subarray(0, before).every((byte) => byte === 0xaa));
    }),
  );
});

test('a range of the content is what the whole has there', () => {
  fc.assert(
    fc.property(drawn, fc.nat(2100), fc.nat(2100), (record, from, length) => {
      const read = readRecord(provider, written(record), 0);
      assert.deepEqual(read.content(from, from + length), record.content.subarray(from, from + length));
    }),
  );
});

test('content that already stands in its place is compressed towards the front, or left there', () => {
  fc.assert(
    fc.property(drawn, fc.nat(31), ({ head, content }, which) => {
      const overhead = recordOverhead(content.length, head.chunkLog2);
      const target = new Uint8Array(overhead + content.length + 64);
      const place = target.subarray(overhead, overhead + content.length);
      place.set(content);
      // Compressed chunks that became longer would overwrite what is not yet moved; nobody keeps those.
      const inPlace = chunksOf(place, head.chunkLog2, which).map((chunk, i): StoredChunk => {
        const piece = place.subarray(i * 2 ** head.chunkLog2, (i + 1) * 2 ** head.chunkLog2);
        return chunk.bytes.length < piece.length ? chunk : { codec: chunkCodecs.identity, bytes: piece };
      });
      const end = writeRecord(provider, target, 0, { head, chunks: inPlace });
      const read = readRecord(provider, target.subarray(0, end), 0);
      assert.deepEqual(read.content(), content);
    }),
  );
});

test('content stored as it is is read as a view, and both providers write the same', () => {
  fc.assert(
    fc.property(drawn, (record) => {
      const plain = { ...record, chunks: chunksOf(record.content, record.head.chunkLog2, 0) };
      const whole = written(plain);
      if (record.content.length > 0)
        assert.equal(readRecord(provider, whole, 0).content().buffer, whole.buffer);
      assert.deepEqual(written(plain, portableProvider), whole);
      assert.deepEqual(recordOf(record.head, record.content), whole);
    }),
  );
});

/** By the short way, anywhere in a buffer, as who compares its sha256 takes it; undefined where it takes a closer look. */
function common(whole: Uint8Array, head: RecordHead, content: Uint8Array): Uint8Array | undefined {
  const bytes = new Uint8Array(whole.length + 9);
  bytes.set(whole, 7);
  const found = commonContent(provider, { bytes, view: new DataView(bytes.buffer) }, 7, head);
  return found !== undefined && provider.sha256Hex(found) === provider.sha256Hex(content) ? found : undefined;
}

test('the short way gives the content of most records as it is; with any bit turned, or another row, nothing', () => {
  const head: RecordHead = { ...one, id: Uint8Array.from({ length: 32 }, (_, i) => i), incarnation: 7 };
  for (const size of [1, 300, 9000]) {
    const content = Uint8Array.from({ length: size }, (_, i) => i * i + 1);
    const its: RecordHead = { ...head, size, contentBytes: size };
    const whole = recordOf(its, content);
    assert.deepEqual(common(whole, its, content), content);
    assert.equal(commonRecordBytes(size), whole.length);
    const others: Partial<RecordHead>[] = [
      { size: size + 1 },
      { size: 0 },
      { incarnation: 8 },
      { id: new Uint8Array(32) },
    ];
    for (const other of others) assert.equal(common(whole, { ...its, ...other }, content), undefined);
    if (size < 9000)
      for (const { flipped, bit } of bitFlips(whole))
        assert.equal(common(flipped, its, content), undefined, `bit ${bit}`);
    for (let length = 0; length < whole.length; length += 1 + (size >> 6))
      assert.equal(common(whole.subarray(0, length), its, content), undefined);
  }
});

test('what the short way says of a record, whatever was done to it, the long way says', () => {
  let short = 0;
  const unharmed = fc.constant((bytes: Uint8Array) => bytes);
  fc.assert(
    fc.property(drawn, fc.oneof(unharmed, damage), ({ head: drawnHead, content }, harm) => {
      const head: RecordHead = { ...drawnHead, sealed: false, part: 0, offset: 0, size: content.length };
      const whole = harm(recordOf(head, content));
      const found = common(whole, head, content);
      if (found === undefined) return;
      short++;
      assert.deepEqual(readAll(whole), { head, content: found });
    }),
    { numRuns: 500 },
  );
  assert.ok(short > 50, `${short} times`);
});

test('every turned bit is seen', () => {
  fc.assert(
    fc.property(drawn, (record) => {
      for (const { flipped, bit } of bitFlips(written(record)))
        assert.equal(readAll(flipped), undefined, `bit ${bit}`);
    }),
    { numRuns: sample(25, 12) },
  );
});

test('every turned bit before the payload is seen before anything is read, none in it', () => {
  fc.assert(
    fc.property(drawn, (record) => {
      const whole = written(record);
      const payloadAt = recordOverhead(record.content.length, record.head.chunkLog2);
      for (const { flipped, bit } of bitFlips(whole)) {
        const read = unless(['corrupt'], () => readRecord(provider, flipped, 0));
        assert.equal(read !== undefined, bit >> 3 >= payloadAt, `bit ${bit}`);
      }
    }),
    { numRuns: sample(25, 12) },
  );
});

test('whatever is done to a record, it is refused or reads as it was', () => {
  fc.assert(
    fc.property(drawn, damage, (record, harm) => {
      const read = readAll(harm(written(record)));
      if (read !== undefined) assert.deepEqual(read, { head: record.head, content: record.content });
    }),
    { numRuns: sample(1000, 400) },
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

const one: RecordHead = {
  kind: 'raw',
  sealed: false,
  id: new Uint8Array(32),
  incarnation: 1,
  part: 0,
  offset: 0,
  last: true,
  size: 1,
  chunkLog2: 16,
  contentBytes: 1,
};

/** A record with something changed in its head or table, and the checksum made right again. */
function changed(record: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const view = new DataView(record.buffer);
  change(view);
  const tableEnd = recordHeadBytes + entryBytes * chunkCount(view.getUint32(68, true), view.getUint8(7));
  view.setUint32(tableEnd, provider.crc32(record.subarray(0, tableEnd)), true);
  return record;
}

test('an unknown codec, suite or flag is told apart from damage', () => {
  const content = new Uint8Array(1);
  const codec = changed(recordOf(one, content), (view) => {
    const entry = readEntry(view, recordHeadBytes);
    writeEntry(view, recordHeadBytes, { ...entry, codec: 9 });
  });
  throwsCode('incompatible-format', () => readRecord(provider, codec, 0).content());
  for (const [offset, value] of [
    [5, 2],
    [6, 2],
  ] as const) {
    const strange = changed(recordOf(one, content), (view) => view.setUint8(offset, value));
    throwsCode('incompatible-format', () => readRecord(provider, strange, 0));
  }
});

test('zstd is a clear error where the runtime has none', { skip: provider.zstd === undefined }, () => {
  const content = new Uint8Array(1000).fill(7);
  const chunk: StoredChunk = { codec: chunkCodecs.zstd, bytes: provider.zstd!.compress(content, 3) };
  const record = { head: { ...one, size: 1000, contentBytes: 1000 }, content, chunks: [chunk] };
  const whole = written(record);
  assert.deepEqual(readRecord(provider, whole, 0).content(), content);
  throwsCode('incompatible-format', () => readRecord(portableProvider, whole, 0).content());
});

test('a bomb is refused, and does not take more memory than its chunk may have', () => {
  const zeros = provider.deflate.compress(new Uint8Array(64 * 1024 * 1024), 9);
  for (const by of [provider, portableProvider]) {
    const head = { ...one, size: 1000, contentBytes: 1000 };
    const target = new Uint8Array(recordOverhead(1000, 16) + zeros.length);
    writeRecord(by, target, 0, { head, chunks: [{ codec: chunkCodecs.deflate, bytes: zeros }] });
    throwsCode('corrupt', () => readRecord(by, target, 0).content());
  }
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
        const parts = records.map((record) => written(record));
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
