/** Makes test/golden/sealed/vectors.json: `node test/engine/keys/vectors.ts` prints it. The same bytes at each run. */
import { fileURLToPath } from 'node:url';
import { toHex } from '../../../engine/codec/bytes.ts';
import { encodeLinkLocators, locatorOf } from '../../../engine/codec/locator.ts';
import { lookupOf, sealValue } from '../../../engine/codec/sealed-value.ts';
import { type Chunk, plainChunks, sealObject } from '../../../engine/codec/seal.ts';
import type { Keyring } from '../../../engine/keys/keyring.ts';
import {
  type KeyTools,
  addSlot,
  createKeys,
  newRecoveryKey,
  removeSlot,
  rotate,
} from '../../../engine/keys/keys.ts';
import type { Secret } from '../../../engine/api.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { randomFrom } from '../codec/sealing.ts';

/** A secret as JSON: text as it is, bytes as hex. */
export interface SecretVector {
  readonly kind: Secret['kind'];
  readonly text?: string;
  readonly hex?: string;
}

export interface Vectors {
  readonly realmId: string;
  readonly idKey: string;
  /** By epoch. */
  readonly masterKeys: Readonly<Record<string, string>>;
  /** Files `keys` of this realm, with the secrets that open them and one that does not. */
  readonly files: readonly {
    readonly name: string;
    readonly file: string;
    readonly epochs: readonly number[];
    readonly opens: readonly SecretVector[];
    readonly refused: SecretVector;
  }[];
  readonly objects: readonly {
    readonly name: string;
    readonly sealed: string;
    readonly role: 'raw' | 'node';
    readonly epoch: number;
    readonly locator: string;
    readonly id: string;
    readonly size: number;
    readonly clear: string;
    readonly chunks: readonly { readonly codec: number; readonly bytes: string }[];
  }[];
  readonly values: readonly {
    readonly sealed: string;
    readonly column: string;
    readonly row: string;
    readonly value: string;
    readonly lookup: string;
  }[];
}

const random = randomFrom('vectors');
const tools: KeyTools = { provider: nodeProvider, random, nowMs: 1_767_323_045_000 };
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Chunks of 512 bytes, of which every other one is said to be encoded, into its first `kept` bytes. */
function encodedChunks(content: Uint8Array, kept: number): Chunk[] {
  return plainChunks(content, 9).map((chunk, index) =>
    index % 2 === 0 && chunk.length > kept
      ? { ...chunk, codec: 1, bytes: chunk.bytes.subarray(0, kept) }
      : chunk,
  );
}

function objectsOf(keyring: Keyring): Vectors['objects'] {
  const text = (length: number): Uint8Array => random(length);
  const long = text(512 * 3 + 7);
  const links = [
    { kind: 'raw', id: nodeProvider.sha256Hex(long) },
    { kind: 'node', id: nodeProvider.sha256Hex(ascii('a node')) },
  ] as const;
  const clear = encodeLinkLocators(nodeProvider, keyring.idKey, links);
  const none = new Uint8Array(0);
  const all = [
    { name: 'empty', content: none, chunkLog2: 16 },
    { name: 'hello', content: ascii('hello'), chunkLog2: 16 },
    { name: 'four chunks as they are', content: long, chunkLog2: 9, epoch: 1 },
    { name: 'one encoded chunk', content: text(300), chunkLog2: 9, kept: 100 },
    { name: 'a table', content: long, chunkLog2: 9, kept: 50 },
    {
      name: 'a table in two pieces',
      content: new Uint8Array(512 * 129 + 1),
      chunkLog2: 9,
      kept: 1,
      every: 1,
    },
    { name: 'padding in one piece', content: text(1000), chunkLog2: 9, padding: 'padme' },
    { name: 'padding in more pieces', content: text(40_000), chunkLog2: 9, padding: 'padme' },
    { name: 'a node', content: text(90), chunkLog2: 16, role: 'node', clear },
  ] as const;
  return all.map((object) => {
    const { name, content, chunkLog2 } = object;
    const epoch = 'epoch' in object ? object.epoch : keyring.epoch;
    const role = 'role' in object ? object.role : 'raw';
    const plain = plainChunks(content, chunkLog2);
    const every = (chunk: Chunk): Chunk =>
      chunk.length > 1 ? { ...chunk, codec: 2, bytes: chunk.bytes.subarray(0, 1) } : chunk;
    const chunks =
      'every' in object ? plain.map(every) : 'kept' in object ? encodedChunks(content, object.kept) : plain;
    const id = nodeProvider.sha256(content);
    const options = {
      role,
      chunkLog2,
      epoch,
      nonce: random(24),
      clear: 'clear' in object ? object.clear : none,
      blobKey: keyring.blobKey(epoch),
      padding: 'padding' in object ? object.padding : 'none',
    } as const;
    return {
      name,
      sealed: toHex(sealObject(nodeProvider, { ...options, id, chunks })),
      role,
      epoch,
      locator: toHex(locatorOf(nodeProvider, keyring.idKey, id)),
      id: toHex(id),
      size: content.length,
      clear: toHex(options.clear),
      chunks: chunks.map(({ codec, bytes }) => ({ codec, bytes: toHex(bytes) })),
    };
  });
}

function valuesOf(keyring: Keyring): Vectors['values'] {
  return [
    { column: 'roots.name', row: random(32), value: ascii('main') },
    { column: 'refs.owner', row: new Uint8Array(0), value: ascii('Zoë') },
    { column: 'blobs.id', row: random(32), value: random(32) },
    { column: 'x', row: new Uint8Array(0), value: new Uint8Array(0) },
  ].map(({ column, row, value }) => {
    const key = { epoch: keyring.epoch, nameKey: keyring.nameKey(keyring.epoch) };
    const sealed = sealValue(nodeProvider, value, { key, nonce: random(24), cell: { column, row } });
    const lookup = lookupOf(nodeProvider, keyring.lookupKey, { column, value });
    return { sealed: toHex(sealed), column, row: toHex(row), value: toHex(value), lookup: toHex(lookup) };
  });
}

export async function makeVectors(): Promise<Vectors> {
  const [raw, file] = [random(32), random(77)];
  const recovery = newRecoveryKey(tools);
  const phrase = 'Zoë’s “correct horse” 🐎';
  const passphrase: Secret = { kind: 'passphrase', passphrase: phrase };
  const one = await createKeys(tools, { kind: 'raw-key', key: raw });
  const two = await addSlot(tools, one, { kind: 'key-file', content: file });
  const three = await addSlot(tools, two, { kind: 'recovery-key', text: recovery });
  const rotated = rotate(tools, three);
  const withoutArgon = { ...tools, provider: { ...nodeProvider, nativeKdf: 'scrypt' as const } };
  const withArgon = { ...tools, provider: { ...nodeProvider, nativeKdf: 'argon2id' as const } };
  const argon = removeSlot(tools, await addSlot(withArgon, one, passphrase), one.keyring.slotIds[0]!);
  const scrypt = await addSlot(withoutArgon, rotated, passphrase);
  const rawSecret = { kind: 'raw-key', hex: toHex(raw) } as const;
  const others = [
    { kind: 'key-file', hex: toHex(file) } as const,
    { kind: 'recovery-key', text: recovery } as const,
  ];
  const phraseSecret = { kind: 'passphrase', text: phrase } as const;
  const { keyring } = rotated;
  const encoded = keyring.encode();
  const master = (index: number): string => toHex(encoded.slice(60 + 36 * index + 4, 60 + 36 * index + 36));
  return {
    realmId: keyring.realmId,
    idKey: toHex(keyring.idKey),
    masterKeys: { 1: master(0), 2: master(1) },
    files: [
      {
        name: 'one slot',
        keys: one,
        opens: [rawSecret],
        refused: { kind: 'raw-key', hex: '11'.repeat(32) } as const,
      },
      {
        name: 'three slots, second epoch',
        keys: rotated,
        opens: [rawSecret, ...others],
        refused: phraseSecret,
      },
      { name: 'Argon2id', keys: argon, opens: [phraseSecret], refused: rawSecret },
      {
        name: 'scrypt as fourth slot',
        keys: scrypt,
        opens: [phraseSecret, rawSecret],
        refused: { kind: 'passphrase', text: 'correct horse' } as const,
      },
    ].map(({ name, keys, opens, refused }) => ({
      name,
      file: toHex(keys.file),
      epochs: keys.keyring.epochs,
      opens,
      refused,
    })),
    objects: objectsOf(keyring),
    values: valuesOf(keyring),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(`${JSON.stringify(await makeVectors(), undefined, 1)}\n`);
}
