/** What tests of sealing share: fixed keys, random bytes that can be had again, drawn objects. */
import fc from 'fast-check';
import { type ObjectRole, nonceBytes } from '../../../engine/codec/seal-header.ts';
import { type SmallObject, plainChunks, sealObject } from '../../../engine/codec/seal.ts';
import { type Expected, type OpeningKeys, openObject } from '../../../engine/codec/unseal.ts';
import { locatorOf } from '../../../engine/codec/locator.ts';
import type { Provider } from '../../../engine/codec/provider.ts';
import { StoreError } from '../../../engine/errors.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { exactly, plainRecord } from './arbitrary.ts';

/** Random bytes from a seed: sha256 of seed and counter. */
export function randomFrom(seed: string): (bytes: number) => Uint8Array {
  let counter = 0;
  return (bytes) => {
    const made = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += 32) {
      const block = nodeProvider.sha256(new TextEncoder().encode(`${seed} ${counter++}`));
      made.set(block.subarray(0, bytes - at), at);
    }
    return made;
  };
}

const random = randomFrom('keys of the tests');
const blobKeys = new Map([1, 2, 7].map((epoch) => [epoch, random(32)]));

export const keys: OpeningKeys = {
  idKey: random(32),
  blobKey(epoch) {
    const key = blobKeys.get(epoch);
    if (key === undefined) throw new StoreError('wrong-key', `no epoch ${epoch}`);
    return key;
  },
};

/** Content, and how it is to be sealed. Codecs other than 0 stand for encodings: here, the chunk less its last byte. */
export interface Drawn {
  readonly content: Uint8Array;
  readonly role: ObjectRole;
  readonly epoch: number;
  readonly nonce: Uint8Array;
  readonly clear: Uint8Array;
  readonly chunkLog2: number;
  readonly codecs: readonly number[];
  readonly padding: 'none' | 'padme';
}

export const drawn: fc.Arbitrary<Drawn> = plainRecord<Drawn>({
  content: fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc
      .tuple(fc.constantFrom(511, 512, 513, 1024, 1025, 2600), fc.nat(255))
      .map(([length, byte]) => new Uint8Array(length).fill(byte)),
  ),
  role: fc.constantFrom('raw', 'node'),
  epoch: fc.constantFrom(1, 2, 7),
  nonce: exactly(nonceBytes),
  clear: fc.uint8Array({ maxLength: 70 }),
  chunkLog2: fc.integer({ min: 9, max: 11 }),
  codecs: fc.oneof(fc.constant([0]), fc.array(fc.constantFrom(0, 1, 2, 15), { minLength: 1, maxLength: 6 })),
  padding: fc.constantFrom('none', 'padme'),
}).map((object) => (object.role === 'raw' ? { ...object, clear: new Uint8Array(0) } : object));

export function objectOf(object: Drawn): SmallObject {
  const chunks = plainChunks(object.content, object.chunkLog2).map((chunk, index) => {
    const codec = chunk.length > 1 ? object.codecs[index % object.codecs.length]! : 0;
    return codec === 0 ? chunk : { codec, bytes: chunk.bytes.subarray(0, -1), length: chunk.length };
  });
  const id = nodeProvider.sha256(object.content);
  return { ...object, id, chunks, blobKey: keys.blobKey(object.epoch) };
}

export function sealed(object: Drawn, provider: Provider = nodeProvider): Uint8Array {
  return sealObject(provider, objectOf(object));
}

export function expectedOf(object: Pick<Drawn, 'content' | 'role'>): Expected {
  const id = nodeProvider.sha256(object.content);
  return { role: object.role, locator: locatorOf(nodeProvider, keys.idKey, id) };
}

/** Opens an object and every chunk of it. */
export function opened(
  whole: Uint8Array,
  expected: Expected,
  provider: Provider = nodeProvider,
): {
  id: Uint8Array;
  size: number;
  clear: Uint8Array;
  chunks: { codec: number; bytes: Uint8Array; length: number }[];
} {
  const { reader, chunk } = openObject(provider, whole, { keys, expected });
  const chunks = Array.from({ length: reader.chunks }, (_, index) => {
    const { codec, bytes, length } = chunk(index);
    return { codec, bytes: Uint8Array.from(bytes), length };
  });
  const plain = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes);
  return { id: plain(reader.id), size: reader.size, clear: plain(reader.header.clear), chunks };
}

/** One small object with all that an object can have. */
export const sample: Drawn = {
  content: Uint8Array.from({ length: 1300 }, (_, i) => (i * 7) & 0xff),
  role: 'node',
  epoch: 7,
  nonce: randomFrom('sample')(nonceBytes),
  clear: new Uint8Array(33).fill(5),
  chunkLog2: 9,
  codecs: [0, 1, 0],
  padding: 'padme',
};
