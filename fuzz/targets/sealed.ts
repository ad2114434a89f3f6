/** Targets of encryption: heads, trailers and tables, whole objects, locators of links, the file of keys, the keyring. */
import { concatBytes, fromHex } from '../../engine/codec/bytes.ts';
import { chunkCodecs } from '../../engine/codec/chunks.ts';
import { decodeLinkLocators, encodeLinkLocators, locatorOf } from '../../engine/codec/locator.ts';
import { tagBytes } from '../../engine/codec/provider.ts';
import { type SealHeader, decodeHead, encodeHeader } from '../../engine/codec/seal-header.ts';
import {
  type ChunkEntry,
  ChunkTable,
  TableWriter,
  type Trailer,
  decodeTrailer,
  encodeTrailer,
  sealedChunks,
  tableText,
} from '../../engine/codec/seal-layout.ts';
import { type Chunk, type Padding, plainChunks, sealObject } from '../../engine/codec/seal.ts';
import { openObject } from '../../engine/codec/unseal.ts';
import { StoreError } from '../../engine/errors.ts';
import { Keyring, epochsMax } from '../../engine/keys/keyring.ts';
import type { Derivation, SecretKind } from '../../engine/keys/secret.ts';
import {
  type SlotFile,
  decodeSlotFile,
  encodeFileHead,
  encodeSlotHead,
  finishFile,
} from '../../engine/keys/slot-file.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import { type Random, seededBytes } from '../../test/crash/random.ts';
import { type Target, checkCodec, promise } from '../target.ts';
import { bytesOf, idBytesOf, linkOf, listOf, numberOf } from './content.ts';

const key = new Uint8Array(32).fill(1);
const format = ['corrupt', 'incompatible-format'] as const;
const random = (some: Random, bytes: number): Uint8Array =>
  seededBytes(some.below(0x7fff_ffff), bytes).slice();

function headOf(some: Random): SealHeader {
  const role = some.pick<SealHeader['role']>(['raw', 'node']);
  const clear = role === 'raw' ? new Uint8Array(0) : bytesOf(some, 100);
  return {
    role,
    chunkLog2: some.pick([9, 10, 16, 24]),
    epoch: 1 + some.below(3),
    nonce: random(some, 24),
    clear,
  };
}

export const sealedHead: Target = {
  name: 'sealed-head',
  valid: (some) => concatBytes(encodeHeader(headOf(some)), random(some, 32)),
  check: (bytes) =>
    checkCodec(
      {
        codes: format,
        decode(all) {
          const head = decodeHead(all);
          const length = head.hashed.length + head.commitment.length;
          return { head, rest: all.subarray(length) };
        },
        encode: ({ head, rest }) => concatBytes(encodeHeader(head.header), head.commitment, rest),
      },
      bytes,
    ),
};

/** chunkLog2 u8 · trailer 64 · table: what stands behind tags, as a peer that has the keys may write it. */
export const sealedTrailer: Target = {
  name: 'sealed-trailer',
  valid(some) {
    const chunkLog2 = some.pick([9, 12]);
    const size = some.below(2 ** chunkLog2 * 6);
    const table = new TableWriter(chunkLog2);
    let stored = 0;
    for (let i = 0, left = size; i < sealedChunks(size, chunkLog2); i++) {
      const text = Math.min(left, 2 ** chunkLog2);
      const codec = text > 1 ? some.below(3) : 0;
      const length = codec === 0 ? text : 1 + some.below(text);
      table.add({ codec, length });
      stored += length + tagBytes;
      left -= text;
    }
    const tabled = table.encoded && table.count > 1;
    const codec = !tabled && table.encoded ? table.encode()[3]! >> 4 : 0;
    const padding = some.pick([0, 16, 1000]);
    const trailer = encodeTrailer({ id: idBytesOf(some), size, stored, padding, tabled, codec });
    return concatBytes(Uint8Array.of(chunkLog2), trailer, tabled ? table.encode() : new Uint8Array(0));
  },
  check(bytes) {
    const chunkLog2 = bytes[0] === 12 ? 12 : 9;
    const decode = (all: Uint8Array): { trailer: Trailer; entries: ChunkEntry[] } => {
      if (all.length < 65 || all[0] !== chunkLog2) throw new StoreError('corrupt', 'no trailer');
      const trailer = decodeTrailer(all.subarray(1, 65), chunkLog2);
      const text = trailer.tabled ? tableText(sealedChunks(trailer.size, chunkLog2)) : 0;
      if (all.length !== 65 + text) throw new StoreError('corrupt', 'another length');
      if (!trailer.tabled) return { trailer, entries: [] };
      const table = new ChunkTable(all.subarray(65), trailer, chunkLog2);
      const entries = Array.from({ length: text / 4 }, (_, index) => table.entry(index));
      const last = entries.length - 1;
      promise(
        table.offset(last) + entries[last]!.length + tagBytes === trailer.stored,
        'chunks end elsewhere',
      );
      return { trailer, entries };
    };
    const encode = ({ trailer, entries }: ReturnType<typeof decode>): Uint8Array => {
      const table = new TableWriter(chunkLog2);
      for (const entry of entries) table.add(entry);
      const text = entries.length === 0 ? new Uint8Array(0) : table.encode();
      return concatBytes(Uint8Array.of(chunkLog2), encodeTrailer(trailer), text);
    };
    return checkCodec({ codes: format, decode, encode }, bytes);
  },
};

/** locator 32 · a sealed object: opens only if sealing what came out gives the same bytes. */
export const sealedObject: Target = {
  name: 'sealed-object',
  valid(some) {
    const head = { ...headOf(some), chunkLog2: some.pick([9, 10]) };
    const content = bytesOf(some, 3000);
    const id = provider.sha256(content);
    const padding = some.pick<Padding>(['none', 'padme']);
    const chunks = plainChunks(content, head.chunkLog2).map((chunk): Chunk => {
      const kept = chunk.length > 1 && some.chance(0.5) ? 1 + some.below(chunk.length) : 0;
      return kept === 0
        ? chunk
        : { ...chunk, codec: chunkCodecs.deflate, bytes: chunk.bytes.subarray(0, kept) };
    });
    const whole = sealObject(provider, { ...head, blobKey: key, id, padding, chunks });
    return concatBytes(locatorOf(provider, key, id), whole);
  },
  check(bytes) {
    const keys = { idKey: key, blobKey: () => key };
    return checkCodec(
      {
        codes: [...format, 'tampered'],
        decode(all) {
          const [locator, whole] = [all.subarray(0, 32), all.subarray(32)];
          const role = whole[5] === 2 ? 'node' : 'raw';
          const { reader, chunk } = openObject(provider, whole, { keys, expected: { role, locator } });
          const chunks = Array.from({ length: reader.chunks }, (_, index) => chunk(index));
          return { locator, reader, chunks };
        },
        encode({ locator, reader, chunks }) {
          const padding = reader.paddingRanges.length > 0 ? 'padme' : 'none';
          const object = { ...reader.header, blobKey: key, id: reader.id, padding, chunks } as const;
          return concatBytes(locator, sealObject(provider, object));
        },
      },
      bytes,
    );
  },
};

export const linkLocators: Target = {
  name: 'link-locators',
  valid: (some) => encodeLinkLocators(provider, key, listOf(some, 8, linkOf)),
  check: (bytes) =>
    checkCodec(
      {
        codes: ['corrupt'],
        decode: decodeLinkLocators,
        encode: (links) =>
          concatBytes(
            ...links.map(({ kind, locator }) =>
              concatBytes(Uint8Array.of(kind === 'raw' ? 0 : 1), fromHex(locator)!),
            ),
          ),
      },
      bytes,
    ),
};

function derivationOf(some: Random): Derivation {
  return some.pick<Derivation>([
    { kdf: 'argon2id', cost: { memoryKiB: 65_536, passes: 3, lanes: 4 } },
    { kdf: 'scrypt', cost: { log2N: 17, r: 8, p: 1 } },
  ]);
}

function encodeSlotFile(file: Pick<SlotFile, 'head' | 'slots' | 'mac'>): Uint8Array {
  const slots = file.slots.map(({ head, nonce, commitment, wrapped }) =>
    concatBytes(
      encodeSlotHead(
        { ...head, idBytes: fromHex(head.id)! },
        { nonce, keyringBytes: wrapped.length - tagBytes },
      ),
      commitment,
      wrapped,
    ),
  );
  return finishFile(provider, concatBytes(encodeFileHead(file.head, slots.length), ...slots), file.mac);
}

export const slotFile: Target = {
  name: 'slot-file',
  valid(some) {
    const slots = Array.from({ length: 1 + some.below(4) }, () => {
      const kind = some.pick<SecretKind>(['passphrase', 'raw-key', 'key-file', 'recovery-key']);
      const derivation: Derivation = kind === 'passphrase' ? derivationOf(some) : { kdf: 'hkdf' };
      const id = Buffer.from(random(some, 16)).toString('hex');
      const head = { id, kind, derivation, createdMs: numberOf(some), salt: random(some, 32) };
      const wrapped = random(some, tagBytes + some.below(300));
      const headBytes = new Uint8Array(0);
      return { head, nonce: random(some, 24), headBytes, commitment: random(some, 32), wrapped };
    });
    const head = { realmId: random(some, 16), sequence: numberOf(some), epoch: some.below(0x1_0000_0000) };
    return encodeSlotFile({ head, slots, mac: random(some, 32) });
  },
  repair: (bytes) =>
    bytes.length < 32 ? bytes : concatBytes(bytes.subarray(0, -32), provider.sha256(bytes.subarray(0, -32))),
  check: (bytes) =>
    checkCodec(
      {
        codes: [...format, 'limit-exceeded'],
        decode: (all) => decodeSlotFile(provider, all),
        encode: encodeSlotFile,
      },
      bytes,
    ),
};

export const keyring: Target = {
  name: 'keyring',
  valid(some) {
    const source = { random: (bytes: number) => random(some, bytes), nowMs: numberOf(some) };
    let ring = Keyring.create(provider, source);
    for (let i = some.below(4); i > 0; i--) ring = ring.withEpoch(random(some, 32));
    for (let i = some.below(4); i > 0; i--)
      ring = ring.withSlot(Buffer.from(random(some, 16)).toString('hex'), random(some, 32));
    return ring.encode();
  },
  check(bytes) {
    const decode = (all: Uint8Array): Keyring => {
      const ring = Keyring.decode(provider, all);
      promise(ring.epochs.length <= epochsMax, 'a keyring of too many epochs');
      return ring;
    };
    return checkCodec({ codes: format, decode, encode: (ring) => ring.encode() }, bytes);
  },
};
