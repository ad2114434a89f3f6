/** Node encoding: one encoding per node, every other refused, limits kept; cross-checked against a CBOR library. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as cborg from 'cborg';
import fc from 'fast-check';
import type { Link } from '../../../engine/api.ts';
import { fromHex } from '../../../engine/codec/bytes.ts';
import {
  decodeNode,
  encodeNode,
  nodeBytesMax,
  nodeLinksMax,
  nodeVersion,
  sortLinks,
} from '../../../engine/codec/node.ts';
import { sample } from '../../crash/sample.ts';
import { bytes, damage, link, throwsCode, unless } from './arbitrary.ts';

const node = fc.record({
  links: fc.array(link, { maxLength: 40 }),
  // The lengths where a CBOR head grows.
  payload: fc.oneof(
    bytes(40),
    fc.constantFrom(0, 23, 24, 255, 256, 65_535, 65_536).map((length) => new Uint8Array(length).fill(7)),
  ),
});
const id = (n: number): string => n.toString(16).padStart(64, '0');
const manyLinks = (count: number): Link[] =>
  Array.from({ length: count }, (_, n) => ({ kind: 'raw', id: id(n) }));

test('decode undoes encode; links come back sorted and once', () => {
  fc.assert(
    fc.property(node, ({ links, payload }) => {
      const decoded = decodeNode(encodeNode({ links, payload }));
      assert.deepEqual(decoded.links, sortLinks(links));
      assert.deepEqual(decoded.payload, payload);
    }),
  );
});

test('the order and repetition of links make no difference', () => {
  fc.assert(
    fc.property(node, ({ links, payload }) => {
      const once = encodeNode({ links, payload });
      assert.deepEqual(encodeNode({ links: [...links, ...links].reverse(), payload }), once);
    }),
  );
});

test('links are sorted by kind, then id, as bytes', () => {
  fc.assert(
    fc.property(fc.array(link), (links) => {
      const sorted = sortLinks(links).map(({ kind, id }) => `${kind === 'raw' ? '00' : '01'}${id}`);
      assert.deepEqual(sorted, [...new Set(sorted)].sort());
      assert.equal(new Set(links.map(({ kind, id }) => kind + id)).size, sorted.length);
    }),
  );
});

test('the bytes are the deterministic CBOR of [version, links, payload]', () => {
  fc.assert(
    fc.property(node, ({ links, payload }) => {
      const linkBytes = sortLinks(links).map(({ kind, id }) => {
        return Uint8Array.from([kind === 'raw' ? 0 : 1, ...fromHex(id)!]);
      });
      const expected = cborg.encode([nodeVersion, linkBytes, payload], cborg.rfc8949EncodeOptions);
      assert.deepEqual(encodeNode({ links, payload }), new Uint8Array(expected));
    }),
  );
});

test('a changed encoding is refused, or is the one encoding of another node', () => {
  fc.assert(
    fc.property(node, damage, (content, harm) => {
      const changed = harm(encodeNode(content));
      const decoded = unless(['corrupt', 'incompatible-format'], () => decodeNode(changed));
      if (decoded !== undefined) assert.deepEqual(encodeNode(decoded), changed);
    }),
    { numRuns: sample(2000, 500) },
  );
});

test('any bytes at all are refused, or are the one encoding of a node', () => {
  const start = fc.constantFrom([], [0x83], [0x83, 1], [0x83, 1, 0x80], [0x83, 1, 0x81, 0x58, 33]);
  fc.assert(
    fc.property(start, bytes(60), (head, tail) => {
      const some = Uint8Array.from([...head, ...tail]);
      const decoded = unless(['corrupt', 'incompatible-format'], () => decodeNode(some));
      if (decoded !== undefined) assert.deepEqual(encodeNode(decoded), some);
    }),
    { numRuns: sample(2000, 500) },
  );
});

test('every other way to write the same node in CBOR is refused', () => {
  const raw = [0x58, 33, 0, ...fromHex(id(1))!];
  const other = [0x58, 33, 0, ...fromHex(id(2))!];
  const ways: Readonly<Record<string, readonly number[]>> = {
    'a longer head of the array': [0x98, 3, 1, 0x80, 0x40],
    'an array without end': [0x9f, 1, 0x80, 0x40, 0xff],
    'a longer version': [0x83, 0x18, 1, 0x80, 0x40],
    'a longer count of links': [0x83, 1, 0x98, 0, 0x40],
    'links without end': [0x83, 1, 0x9f, 0xff, 0x40],
    'a longer length of the payload': [0x83, 1, 0x80, 0x58, 0],
    'a much longer length of the payload': [0x83, 1, 0x80, 0x5b, 0, 0, 0, 0, 0, 0, 0, 0],
    'a payload without end': [0x83, 1, 0x80, 0x5f, 0xff],
    'a payload of text': [0x83, 1, 0x80, 0x60],
    'a tag in front': [0xc0, 0x83, 1, 0x80, 0x40],
    'something behind': [0x83, 1, 0x80, 0x40, 0],
    'links out of order': [0x83, 1, 0x82, ...other, ...raw, 0x40],
    'a link twice': [0x83, 1, 0x82, ...raw, ...raw, 0x40],
    'a link of unknown kind': [0x83, 1, 0x81, 0x58, 33, 2, ...fromHex(id(1))!, 0x40],
    'a link with a longer length': [0x83, 1, 0x81, 0x59, 0, 33, 0, ...fromHex(id(1))!, 0x40],
    'nothing at all': [],
  };
  assert.deepEqual(decodeNode(Uint8Array.of(0x83, 1, 0x80, 0x40)), { links: [], payload: new Uint8Array() });
  for (const [way, encoding] of Object.entries(ways)) {
    const refused = unless(['corrupt', 'incompatible-format'], () => decodeNode(Uint8Array.from(encoding)));
    assert.equal(refused, undefined, way);
  }
});

test('another version is told apart from damage', () => {
  throwsCode('incompatible-format', () => decodeNode(Uint8Array.of(0x83, 2, 0x80, 0x40)));
  throwsCode('corrupt', () => decodeNode(Uint8Array.of(0x82, 1, 0x80)));
});

test('the payload is a view of the bytes, also of a part of a buffer', () => {
  const whole = encodeNode({ links: manyLinks(2), payload: new Uint8Array([1, 2, 3]) });
  const larger = new Uint8Array(whole.length + 20);
  larger.set(whole, 10);
  const { links, payload } = decodeNode(larger.subarray(10, 10 + whole.length));
  assert.equal(links.length, 2);
  assert.deepEqual(payload, new Uint8Array([1, 2, 3]));
  assert.equal(payload.buffer, larger.buffer);
});

test('limits: bytes, exactly', () => {
  const fits = nodeBytesMax - 8;
  const largest = encodeNode({ links: [], payload: new Uint8Array(fits) });
  assert.equal(largest.length, nodeBytesMax);
  assert.equal(decodeNode(largest).payload.length, fits);
  throwsCode('limit-exceeded', () => encodeNode({ links: [], payload: new Uint8Array(fits + 1) }));
  const over = Uint8Array.from([0x83, 1, 0x80, 0x5a, 0, 0x3f, 0xff, 0xf9]);
  const whole = new Uint8Array(nodeBytesMax + 1);
  whole.set(over);
  throwsCode('corrupt', () => decodeNode(whole));
});

test('limits: links, exactly, counted after duplicates', () => {
  const most = manyLinks(nodeLinksMax);
  const encoded = encodeNode({ links: [...most, most[0]!], payload: new Uint8Array() });
  assert.equal(decodeNode(encoded).links.length, nodeLinksMax);
  throwsCode('limit-exceeded', () =>
    encodeNode({ links: manyLinks(nodeLinksMax + 1), payload: new Uint8Array() }),
  );
});

test('a count or length far beyond the bytes allocates nothing', () => {
  const before = process.memoryUsage().heapUsed;
  for (const head of [
    [0x9a, 0xff, 0xff, 0xff, 0xff],
    [0x9a, 0, 1, 0, 0],
    [0x80, 0x5a, 0xff, 0xff, 0xff, 0xff],
  ]) {
    throwsCode('corrupt', () => decodeNode(Uint8Array.from([0x83, 1, ...head])));
  }
  assert.ok(process.memoryUsage().heapUsed - before < 10_000_000);
});

test('an id that is none is refused', () => {
  for (const wrong of ['', 'A'.repeat(64), 'a'.repeat(63), `${'a'.repeat(64)}\n`]) {
    const links = [{ kind: 'raw' as const, id: wrong }];
    throwsCode('invalid-argument', () => encodeNode({ links, payload: new Uint8Array() }));
  }
});

test('a kind that is none is refused', () => {
  const links = [{ kind: 'tree' as 'raw', id: id(1) }];
  throwsCode('invalid-argument', () => encodeNode({ links, payload: new Uint8Array() }));
});
