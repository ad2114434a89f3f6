/** Sealed objects: what was sealed is opened, whole or by chunk, by either provider, and every change is seen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, toHex } from '../../../engine/codec/bytes.ts';
import { locatorOf } from '../../../engine/codec/locator.ts';
import { padme } from '../../../engine/codec/padding.ts';
import { deriveObjectKey, headBytes, headBytesOf, nonceBytes } from '../../../engine/codec/seal-header.ts';
import { tabledChunksMax, TableWriter, trailerBytes } from '../../../engine/codec/seal-layout.ts';
import { ObjectSealer, plainChunks, sealedBytes } from '../../../engine/codec/seal.ts';
import { SealedReader, openObject } from '../../../engine/codec/unseal.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { full } from '../../crash/sample.ts';
import { bitFlips, damage, throwsCode, unless } from './arbitrary.ts';
import {
  type Drawn,
  drawn,
  expectedOf,
  keys,
  objectOf,
  opened,
  randomFrom,
  sample,
  sealed,
} from './sealing.ts';

const refusals = ['tampered', 'corrupt', 'incompatible-format', 'wrong-key'];

function isWhat(object: Drawn, found: ReturnType<typeof opened>): void {
  assert.equal(toHex(found.id), provider.sha256Hex(object.content));
  assert.equal(found.size, object.content.length);
  assert.deepEqual(found.clear, object.clear);
  const chunks = objectOf(object).chunks.map((chunk) => ({ ...chunk, bytes: Uint8Array.from(chunk.bytes) }));
  assert.deepEqual(found.chunks, chunks);
}

test('open undoes seal; both providers write the same bytes and read each other', () => {
  fc.assert(
    fc.property(drawn, (object) => {
      const whole = sealed(object);
      assert.deepEqual(sealed(object, portableProvider), whole);
      isWhat(object, opened(whole, expectedOf(object)));
      isWhat(object, opened(whole, expectedOf(object), portableProvider));
      const bare = sealedBytes(headBytes(object.clear.length), object.chunkLog2, objectOf(object).chunks);
      assert.equal(whole.length, object.padding === 'none' ? bare : padme(whole.length));
      assert.ok(whole.length >= bare && whole.length <= padme(bare + 16));
    }),
  );
});

test('a stream of chunks gives the same object, and each chunk opens alone from its range', () => {
  fc.assert(
    fc.property(drawn, fc.nat(), (object, which) => {
      const { chunks, id, padding } = objectOf(object);
      const sealer = new ObjectSealer(provider, objectOf(object));
      const target = new Uint8Array(2 ** object.chunkLog2 + 16);
      const parts = chunks.map((chunk, index) =>
        (index === chunks.length - 1 ? sealer.lastChunk(chunk, target) : sealer.chunk(chunk, target)).slice(),
      );
      const tail = [...sealer.tail({ id, padding })];
      assert.ok(tail.every((piece) => piece.length <= 2 ** object.chunkLog2 + 16));
      const whole = concatBytes(sealer.head, ...parts, ...tail);
      assert.deepEqual(whole, sealed(object));

      const head = whole.slice(0, headBytesOf(whole));
      const ends = { head, trailer: whole.slice(-trailerBytes), bytes: whole.length };
      const reader = new SealedReader(provider, ends, { keys, expected: expectedOf(object) });
      load(reader, whole);
      const index = which % chunks.length;
      const { offset, length } = reader.chunkRange(index);
      const found = reader.chunk(index, whole.slice(offset, offset + length));
      assert.deepEqual(Uint8Array.from(found.bytes), Uint8Array.from(chunks[index]!.bytes));
      assert.equal(found.codec, chunks[index]!.codec);
      assert.equal(found.length, chunks[index]!.length);
    }),
  );
});

function load(reader: SealedReader, whole: Uint8Array): void {
  const ranges = reader.tableRanges;
  if (ranges.length === 0) return;
  assert.throws(() => reader.chunkRange(0), /loaded first/);
  reader.loadTable(ranges.map(({ offset, length }) => whole.slice(offset, offset + length)));
  assert.deepEqual(reader.tableRanges, []);
}

test('padding of any number of pieces opens, and ends at a length of Padmé’s', () => {
  fc.assert(
    fc.property(fc.integer({ min: 5_000, max: 300_000 }), (length) => {
      const object: Drawn = { ...sample, content: new Uint8Array(length), codecs: [0] };
      const whole = sealed(object);
      assert.equal(padme(whole.length), whole.length);
      const { reader } = openObject(provider, whole, { keys, expected: expectedOf(object) });
      const ends = reader.paddingRanges.map((range) => range.offset + range.length);
      reader.paddingRanges.forEach(({ offset }, i) => assert.ok(i === 0 || offset === ends[i - 1]));
      assert.ok(ends.length === 0 || ends.at(-1) === whole.length - trailerBytes);
    }),
  );
  // Pieces of which the last is empty, and the one before not full.
  const object: Drawn = {
    ...sample,
    content: new Uint8Array(40_000),
    role: 'raw',
    clear: new Uint8Array(0),
    codecs: [0],
  };
  assert.equal(opened(sealed(object), expectedOf(object)).size, 40_000);
});

test('every turned bit is seen, wherever it is; behind the header as tampering', () => {
  for (const object of [sample, { ...sample, content: new Uint8Array(0) }, { ...sample, codecs: [0] }]) {
    const whole = sealed(object);
    const start = headBytesOf(whole);
    for (const { flipped, bit } of bitFlips(whole)) {
      // The first object bit by bit; the others are much the same.
      if (object !== sample && bit % (full ? 1 : 2) !== 0) continue;
      const codes = bit >> 3 < start ? refusals : ['tampered'];
      const found = unless(codes, () => opened(flipped, expectedOf(object)));
      assert.equal(found, undefined, `bit ${bit} of ${whole.length * 8}`);
    }
  }
});

test('a cut or lengthened object is refused at every length', () => {
  const whole = sealed(sample);
  for (let length = 0; length < whole.length; length++) {
    const found = unless(['tampered', 'corrupt'], () => opened(whole.slice(0, length), expectedOf(sample)));
    assert.equal(found, undefined, `${length} bytes`);
  }
  throwsCode('tampered', () => opened(concatBytes(whole, new Uint8Array(1)), expectedOf(sample)));
  throwsCode('tampered', () => opened(concatBytes(whole, whole.slice(-trailerBytes)), expectedOf(sample)));
});

test('whatever is done to an object, it is refused or opens as it was', () => {
  fc.assert(
    fc.property(drawn, damage, (object, harm) => {
      const found = unless(refusals, () => opened(harm(sealed(object)), expectedOf(object)));
      if (found !== undefined) isWhat(object, found);
    }),
    { numRuns: full ? 1000 : 300 },
  );
});

const chunky: Drawn = { ...sample, role: 'raw', clear: new Uint8Array(0), codecs: [0], padding: 'none' };
const other: Drawn = {
  ...chunky,
  content: chunky.content.map((byte) => byte ^ 1),
  nonce: randomFrom('other')(nonceBytes),
};

/** Moves bytes of equal length about inside an object. */
function swapped(whole: Uint8Array, a: number, b: number, length: number): Uint8Array {
  const copy = whole.slice();
  copy.set(whole.subarray(b, b + length), a);
  copy.set(whole.subarray(a, a + length), b);
  return copy;
}

test('chunks that change places, within an object or between two, are seen', () => {
  const [whole, second] = [sealed(chunky), sealed(other)];
  const head = headBytesOf(whole);
  throwsCode('tampered', () => opened(swapped(whole, head, head + 528, 528), expectedOf(chunky)));
  const mixed = whole.slice();
  mixed.set(second.subarray(head, head + 528), head);
  throwsCode('tampered', () => opened(mixed, expectedOf(chunky)));
  const headed = second.slice();
  headed.set(whole.subarray(0, head));
  throwsCode('tampered', () => opened(headed, expectedOf(chunky)));
  const tailed = whole.slice();
  tailed.set(second.slice(-trailerBytes), whole.length - trailerBytes);
  throwsCode('tampered', () => opened(tailed, expectedOf(chunky)));
});

test('a chunk dropped or repeated is seen, and a last chunk is not a middle one', () => {
  const whole = sealed(chunky);
  const head = headBytesOf(whole);
  const [first, rest] = [whole.slice(0, head + 528), whole.slice(head + 528)];
  throwsCode('tampered', () => opened(concatBytes(whole.slice(0, head), rest), expectedOf(chunky)));
  const twice = concatBytes(first, whole.slice(head, head + 528), rest);
  throwsCode('tampered', () => opened(twice, expectedOf(chunky)));
  const full = { ...chunky, content: chunky.content.slice(0, 1024) };
  const two = sealed(full);
  throwsCode('tampered', () => opened(swapped(two, head, head + 528, 528), expectedOf(full)));
});

test('a valid object in the place of another, or in another role, is seen', () => {
  throwsCode('tampered', () => opened(sealed(other), expectedOf(chunky)));
  throwsCode('tampered', () => opened(sealed(chunky), { ...expectedOf(chunky), role: 'node' }));
  // Renamed in the header too: then the key is another.
  const renamed = sealed(chunky);
  renamed[5] = 2;
  throwsCode('tampered', () => opened(renamed, { ...expectedOf(chunky), role: 'node' }));
});

test('a codec that is said to be another is seen, also by a holder of the chunk alone', () => {
  const coded = { ...chunky, codecs: [1, 2, 1] };
  const lying = { ...chunky, codecs: [2, 1, 2], nonce: coded.nonce };
  const [whole, liar] = [sealed(coded), sealed(lying)];
  const head = headBytesOf(whole);
  const bodyEnd = head + 511 + 511 + (1300 - 1024 - 1) + 48;
  // Same key, same lengths, other table and trailer.
  const mixed = concatBytes(whole.slice(0, bodyEnd), liar.slice(bodyEnd));
  assert.equal(mixed.length, whole.length);
  throwsCode('tampered', () => opened(mixed, expectedOf(coded)));
});

test('the commitment is compared before anything is opened', () => {
  const whole = sealed(chunky);
  const head = headBytesOf(whole);
  const { commitment } = deriveObjectKey(provider, keys.blobKey(7), {
    nonce: chunky.nonce,
    hash: provider.sha256(whole.subarray(0, head - 32)),
  });
  assert.equal(toHex(whole.subarray(head - 32, head)), toHex(commitment));
  let opens = 0;
  const counting = { ...provider, aead: (key: Uint8Array) => (opens++, provider.aead(key)) };
  const forged = whole.slice();
  forged[head - 1]! ^= 1;
  throwsCode('tampered', () => opened(forged, expectedOf(chunky), counting));
  assert.equal(opens, 0);
});

test('another realm, another epoch, no such epoch', () => {
  const whole = sealed(chunky);
  const access = { keys, expected: expectedOf(chunky) };
  const stranger = { ...keys, blobKey: () => new Uint8Array(32).fill(9) };
  throwsCode('tampered', () => openObject(provider, whole, { ...access, keys: stranger }));
  const otherIds = { ...keys, idKey: new Uint8Array(32).fill(9) };
  throwsCode('tampered', () => openObject(provider, whole, { ...access, keys: otherIds }));
  whole[8] = 3;
  throwsCode('wrong-key', () => openObject(provider, whole, access));
});

test('an unknown version, suite, flag or role is told apart from damage', () => {
  for (const at of [3, 4, 5, 7]) {
    const whole = sealed(chunky);
    whole[at] = 99;
    throwsCode('incompatible-format', () => opened(whole, expectedOf(chunky)));
  }
});

const nonces = full ? 20_000 : 4000;

test(`${nonces} nonces never repeat, and each gives another key`, { timeout: 120_000 }, () => {
  const random = (bytes: number): Uint8Array => crypto.getRandomValues(new Uint8Array(bytes));
  const seen = new Set<string>();
  const keysSeen = new Set<string>();
  for (let i = 0; i < nonces; i++) {
    const sealer = new ObjectSealer(provider, { ...objectOf(chunky), nonce: random(nonceBytes) });
    seen.add(toHex(sealer.head.subarray(12, 36)));
    keysSeen.add(toHex(sealer.head.subarray(40, 72)));
  }
  assert.equal(seen.size, nonces);
  assert.equal(keysSeen.size, nonces);
});

test('no GCM nonce is used twice under the key of an object', () => {
  fc.assert(
    fc.property(drawn, (object) => {
      const used = new Map<string, Set<string>>();
      const watching = {
        ...provider,
        aead(key: Uint8Array) {
          const inner = provider.aead(key);
          const nonces = new Set<string>();
          used.set(toHex(key), nonces);
          return {
            ...inner,
            seal(message: Parameters<typeof inner.seal>[0], target: Uint8Array) {
              const nonce = toHex(message.nonce);
              assert.ok(!nonces.has(nonce), nonce);
              assert.equal(nonce.slice(0, 14), '00'.repeat(7));
              nonces.add(nonce);
              inner.seal(message, target);
            },
          };
        },
      };
      sealed(object, watching);
      assert.equal(used.size, 1);
    }),
  );
});

test('misuse of a sealer is a bug, not an object', () => {
  const options = objectOf(chunky);
  const [first, , last] = plainChunks(chunky.content, 9);
  const fresh = (): ObjectSealer => new ObjectSealer(provider, options);
  const bug = (call: () => unknown): void => assert.throws(call, /holdfast bug/);
  bug(() => fresh().chunk(last!));
  bug(() => fresh().chunk({ ...first!, codec: 16 }));
  bug(() => fresh().chunk({ ...first!, codec: 1, bytes: new Uint8Array(513) }));
  bug(() => [...fresh().tail({ id: options.id, padding: 'none' })]);
  const sealer = fresh();
  sealer.lastChunk(last!);
  bug(() => sealer.chunk(first!));
  const done = [...sealer.tail({ id: options.id, padding: 'none' })];
  assert.equal(done.length, 1);
  bug(() => [...sealer.tail({ id: options.id, padding: 'none' })]);
  bug(() => new ObjectSealer(provider, { ...options, nonce: new Uint8Array(12) }));
  bug(() => new ObjectSealer(provider, { ...options, clear: new Uint8Array(1) }));
});

test('a table has a limit, and chunks before the first encoded one are listed all the same', () => {
  const table = new TableWriter(9);
  for (let i = 0; i < 40; i++) table.add({ codec: 0, length: 512 });
  table.add({ codec: 2, length: 100 });
  const view = new DataView(table.encode().buffer);
  assert.equal(view.byteLength, 41 * 4);
  assert.equal(view.getUint32(39 * 4, true), 512);
  assert.equal(view.getUint32(40 * 4, true), 2 * 2 ** 28 + 100);
  const long = new TableWriter(9);
  for (let i = 0; i < tabledChunksMax; i++) long.add({ codec: 0, length: 512 });
  throwsCode('limit-exceeded', () => long.add({ codec: 1, length: 1 }));
  long.add({ codec: 0, length: 512 });
});

test('any chunk is found through a long table', () => {
  const content = new Uint8Array(512 * 1100 + 3);
  for (let i = 0; i < content.length; i += 512) content[i] = (i / 512) & 0xff;
  const object: Drawn = { ...chunky, content, codecs: [1, 0, 2, 0, 0] };
  const chunks = objectOf(object).chunks;
  const { reader, chunk } = openObject(provider, sealed(object), { keys, expected: expectedOf(object) });
  assert.equal(reader.chunks, 1101);
  for (const index of [1100, 0, 255, 256, 257, 511, 512, 777, 1024]) {
    const { codec, bytes } = chunk(index);
    assert.equal(codec, chunks[index]!.codec);
    assert.equal(toHex(bytes), toHex(chunks[index]!.bytes));
  }
});

test('neither content nor id nor its hex stand in what is sealed', () => {
  for (let i = 0; i < 2_000; i++) {
    const content = provider.sha256(Uint8Array.of(i & 0xff, i >> 8));
    const object: Drawn = { ...chunky, content, nonce: randomFrom(`${i}`)(nonceBytes) };
    const whole = Buffer.from(sealed(object));
    const id = provider.sha256(content);
    for (const known of [content, id, Buffer.from(toHex(id)), content.subarray(0, 6), id.subarray(0, 6)])
      assert.equal(whole.indexOf(known), -1);
  }
});

test('a locator is bound to the id key', () => {
  const id = provider.sha256(chunky.content);
  assert.notEqual(
    toHex(locatorOf(provider, keys.idKey, id)),
    toHex(locatorOf(provider, new Uint8Array(32), id)),
  );
});
