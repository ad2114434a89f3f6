/** A realm's keys through their life: made, unlocked, given slots, rotated, refused, wiped; and they show nowhere. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex } from '../../../engine/codec/bytes.ts';
import { locatorOf } from '../../../engine/codec/locator.ts';
import type { Provider } from '../../../engine/codec/provider.ts';
import { StoreError } from '../../../engine/errors.ts';
import { Keyring } from '../../../engine/keys/keyring.ts';
import {
  type Keys,
  type KeyTools,
  addSlot,
  createKeys,
  describeKeys,
  newRecoveryKey,
  removeSlot,
  renewSlots,
  rotate,
  unlockKeys,
} from '../../../engine/keys/keys.ts';
import { decodeRecoveryKey, printRecoveryKey } from '../../../engine/keys/recovery-key.ts';
import { SealedRealm } from '../../../engine/keys/realm.ts';
import type { Secret } from '../../../engine/api.ts';
import { argon2Default, scryptDefault } from '../../../engine/keys/secret.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { bytes, exactly, throwsCode } from '../codec/arbitrary.ts';
import { randomFrom } from '../codec/sealing.ts';

const random = randomFrom('keys.test.ts');
const tools: KeyTools = { provider, random, nowMs: 1_767_323_045_000 };
const rawKey = (): Secret & { kind: 'raw-key' } => ({ kind: 'raw-key', key: random(32) });
const passphrase = (text: string | Uint8Array): Secret => ({ kind: 'passphrase', passphrase: text });

async function rejectsCode(code: string, promise: Promise<unknown>): Promise<StoreError> {
  let seen: unknown;
  await assert.rejects(promise, (error) => {
    seen = error;
    return StoreError.is(error) && error.code === code;
  });
  return seen as StoreError;
}

/** What the keys are good for: equal when two keyrings are the same. */
function fingerprint(keyring: Keyring): string {
  const keys = keyring.epochs.map((epoch) => toHex(keyring.blobKey(epoch)));
  return [keyring.realmId, toHex(keyring.idKey), toHex(keyring.lookupKey), ...keys].join();
}

async function opensWith(file: Uint8Array, secret: Secret, keyring: Keyring): Promise<string> {
  const unlocked = await unlockKeys(provider, file, secret);
  assert.equal(fingerprint(unlocked.keyring), fingerprint(keyring));
  return unlocked.slot;
}

describe('each kind of secret opens its slot, and no other secret does', () => {
  const recovery = newRecoveryKey(tools);
  const secrets: readonly (readonly [string, Secret, Secret])[] = [
    ['a passphrase', passphrase('correct horse'), passphrase('correct horse ')],
    ['a raw key', rawKey(), rawKey()],
    ['a key file', { kind: 'key-file', content: random(500) }, { kind: 'key-file', content: random(32) }],
    [
      'a recovery key',
      { kind: 'recovery-key', text: recovery },
      { kind: 'recovery-key', text: newRecoveryKey(tools) },
    ],
  ];
  for (const [name, right, wrong] of secrets) {
    test(name, async () => {
      const { keyring, file } = await createKeys(tools, right);
      const slot = await opensWith(file, right, keyring);
      assert.deepEqual(
        describeKeys(provider, file).slots.map(({ id, kind }) => ({ id, kind })),
        [{ id: slot, kind: right.kind }],
      );
      const error = await rejectsCode('wrong-key', unlockKeys(provider, file, wrong));
      assert.deepEqual(error.facts, { kind: right.kind });
      // The same bytes as a secret of another kind are another secret.
      if (right.kind === 'raw-key')
        await rejectsCode('wrong-key', unlockKeys(provider, file, { kind: 'key-file', content: right.key }));
    });
  }
});

// That the portable provider opens slots of these costs, golden.test.ts shows.
test('a passphrase slot has our defaults: Argon2id where it is native, else scrypt; both open', async () => {
  for (const maker of [provider, portableProvider]) {
    const made = await createKeys({ ...tools, provider: maker }, passphrase('ü'));
    const { derivation } = describeKeys(provider, made.file).slots[0]!;
    const expected =
      maker.nativeKdf === 'argon2id'
        ? { kdf: 'argon2id', cost: argon2Default }
        : { kdf: 'scrypt', cost: scryptDefault };
    assert.deepEqual(derivation, expected);
    const unlocked = await unlockKeys(provider, made.file, passphrase('u\u0308'));
    assert.equal(fingerprint(unlocked.keyring), fingerprint(made.keyring));
  }
});

test('passphrases: empty and ill-formed ones are refused, ten thousand bytes are fine, bytes are taken as they are', async () => {
  for (const bad of ['', new Uint8Array(0), 'a\ud800'])
    await rejectsCode('invalid-argument', createKeys(tools, passphrase(bad)));
  const long = 'ß'.repeat(5_000);
  const { keyring, file } = await createKeys(tools, passphrase(long));
  await rejectsCode('invalid-argument', unlockKeys(provider, file, passphrase('')));
  await opensWith(file, passphrase(new TextEncoder().encode(long)), keyring);
  await rejectsCode('wrong-key', unlockKeys(provider, file, passphrase(long.slice(1))));
});

test('secrets of the wrong size are refused', async () => {
  const bad: Secret[] = [
    { kind: 'raw-key', key: new Uint8Array(31) },
    { kind: 'key-file', content: new Uint8Array(31) },
    { kind: 'key-file', content: new Uint8Array(1024 * 1024 + 1) },
    { kind: 'recovery-key', text: 'ABC' },
  ];
  for (const secret of bad) await rejectsCode('invalid-argument', createKeys(tools, secret));
});

async function threeSlots(): Promise<{ keys: Keys; secrets: readonly [Secret, Secret, Secret] }> {
  const secrets = [rawKey(), rawKey(), { kind: 'key-file', content: random(64) }] as const;
  let keys = await createKeys(tools, secrets[0]);
  keys = await addSlot(tools, keys, secrets[1]);
  keys = await addSlot(tools, keys, secrets[2]);
  return { keys, secrets };
}

test('slots are added and removed; the rest still open; the sequence counts', async () => {
  const { keys, secrets } = await threeSlots();
  const ids = describeKeys(provider, keys.file).slots.map(({ id }) => id);
  for (const [index, secret] of secrets.entries())
    assert.equal(await opensWith(keys.file, secret, keys.keyring), ids[index]);
  const fewer = removeSlot(tools, keys, ids[1]!);
  await rejectsCode('wrong-key', unlockKeys(provider, fewer.file, secrets[1]));
  await opensWith(fewer.file, secrets[0], keys.keyring);
  await opensWith(fewer.file, secrets[2], keys.keyring);
  assert.equal(describeKeys(provider, fewer.file).sequence, 4);
  throwsCode('invalid-argument', () => removeSlot(tools, fewer, ids[1]!));
  const one = removeSlot(tools, fewer, ids[0]!);
  throwsCode('invalid-argument', () => removeSlot(tools, one, ids[2]!));
});

test('there are at most 16 slots', async () => {
  let keys = await createKeys(tools, rawKey());
  for (let i = 1; i < 16; i++) keys = await addSlot(tools, keys, rawKey());
  await rejectsCode('limit-exceeded', addSlot(tools, keys, rawKey()));
  const unlocked = await unlockKeys(
    provider,
    (await renewSlots(tools, keys, [rawKey()])).file,
    rawKey(),
  ).catch((error: unknown) => error);
  assert.ok(StoreError.is(unlocked, 'wrong-key'));
});

test('a rotation keeps slots, old epochs and ids, and adds a key', async () => {
  const { keys, secrets } = await threeSlots();
  const before = fingerprint(keys.keyring);
  const after = rotate(tools, rotate(tools, keys));
  assert.deepEqual(after.keyring.epochs, [1, 2, 3]);
  assert.equal(after.keyring.epoch, 3);
  assert.ok(fingerprint(after.keyring).startsWith(before));
  assert.equal(new Set([1, 2, 3].map((epoch) => toHex(after.keyring.blobKey(epoch)))).size, 3);
  for (const secret of secrets) await opensWith(after.file, secret, after.keyring);
  throwsCode('wrong-key', () => keys.keyring.blobKey(2));
});

test('renewed slots shut out every old secret and every old slot key', async () => {
  const { keys, secrets } = await threeSlots();
  const fresh = rawKey();
  const renewed = await renewSlots(tools, keys, [secrets[0], fresh]);
  assert.deepEqual(renewed.keyring.epochs, [1, 2]);
  await opensWith(renewed.file, secrets[0], renewed.keyring);
  await opensWith(renewed.file, fresh, renewed.keyring);
  await rejectsCode('wrong-key', unlockKeys(provider, renewed.file, secrets[1]));
  const old = keys.keyring.slotIds.map((id) => toHex(keys.keyring.slotKey(id)!));
  const now = renewed.keyring.slotIds.map((id) => toHex(renewed.keyring.slotKey(id)!));
  assert.deepEqual(
    now.filter((key) => old.includes(key)),
    [],
  );
  await rejectsCode('invalid-argument', renewSlots(tools, keys, []));
});

test('a file that changed under an open keyring is not signed by us', async () => {
  const { keys } = await threeSlots();
  const stranger = await createKeys(tools, rawKey());
  throwsCode('tampered', () => rotate(tools, { keyring: keys.keyring, file: stranger.file }));
  await rejectsCode('tampered', addSlot(tools, { keyring: stranger.keyring, file: keys.file }, rawKey()));
});

test('after the last number of a file or an epoch nothing is written that nobody could read', async () => {
  const { keyring, file } = await createKeys(tools, rawKey());
  const last = Buffer.from(file.subarray(0, -64));
  last.writeBigUInt64LE(BigInt(Number.MAX_SAFE_INTEGER), 24);
  const mac = provider.hmacSha256(keyring.derive('slots', 1), last);
  const summed = concatBytes(new Uint8Array(last), mac);
  const lastFile = concatBytes(summed, provider.sha256(summed));
  assert.equal(describeKeys(provider, lastFile).sequence, Number.MAX_SAFE_INTEGER);
  throwsCode('limit-exceeded', () => rotate(tools, { keyring, file: lastFile }));
  await rejectsCode('limit-exceeded', addSlot(tools, { keyring, file: lastFile }, rawKey()));

  const encoded = keyring.encode();
  new DataView(encoded.buffer).setUint32(60, 0xffff_ffff, true);
  throwsCode('limit-exceeded', () => Keyring.decode(provider, encoded).withEpoch(random(32)));
});

test('keys of one realm are all different, and of two realms too', async () => {
  const rings = [Keyring.create(provider, tools), Keyring.create(provider, tools)];
  const all = rings.flatMap((ring) => [
    ...(['blob', 'row-mac', 'root-mac', 'name', 'slots'] as const).map((purpose) =>
      toHex(ring.derive(purpose, 1)),
    ),
    toHex(ring.idKey),
    toHex(ring.lookupKey),
  ]);
  assert.equal(new Set(all).size, all.length);
  const realm = Uint8Array.from(Buffer.from(rings[0]!.realmId, 'hex'));
  const master = rings[0]!.encode().slice(64, 96);
  const info = new TextEncoder().encode('holdfast/v1/blob');
  assert.equal(toHex(provider.hkdfSha256(master, realm, info)), toHex(rings[0]!.blobKey(1)));
});

test('a keyring is encoded and decoded, and refuses what is none', async () => {
  const { keys } = await threeSlots();
  const ring = rotate(tools, keys).keyring;
  const encoded = ring.encode();
  const again = Keyring.decode(portableProvider, encoded);
  assert.equal(fingerprint(again), fingerprint(ring));
  assert.deepEqual(again.encode(), encoded);
  for (let length = 0; length < encoded.length; length++)
    throwsCode('corrupt', () => Keyring.decode(provider, encoded.slice(0, length)));
  const versioned = encoded.slice();
  versioned[0] = 2;
  throwsCode('incompatible-format', () => Keyring.decode(provider, versioned));
  const unsorted = encoded.slice();
  unsorted[60] = 9;
  throwsCode('corrupt', () => Keyring.decode(provider, unsorted));
  const twice = encoded.slice();
  twice.copyWithin(twice.length - 48, twice.length - 96, twice.length - 80);
  throwsCode('corrupt', () => Keyring.decode(provider, twice));
});

test('what is wiped is zero, and refuses to serve', async () => {
  const { keyring } = await createKeys(tools, rawKey());
  const held = [keyring.idKey, keyring.lookupKey, keyring.blobKey(1), keyring.slotKey(keyring.slotIds[0]!)!];
  keyring.wipe();
  for (const key of held) assert.ok(key.every((byte) => byte === 0));
  throwsCode('closed', () => keyring.blobKey(1));
  throwsCode('closed', () => keyring.idKey);
  throwsCode('closed', () => keyring.encode());
  throwsCode('closed', () => keyring.withEpoch(new Uint8Array(32)));
});

test('keys show in no text, JSON, clone or inspection, and in no error', async () => {
  const secret = rawKey();
  const phrase = 'swordfish swordfish';
  let keys = await createKeys(tools, secret);
  keys = await addSlot(tools, keys, passphrase(phrase));
  const { keyring } = keys;
  const errors = await Promise.all([
    rejectsCode('wrong-key', unlockKeys(provider, keys.file, rawKey())),
    rejectsCode('wrong-key', unlockKeys(provider, keys.file, passphrase(`${phrase}!`))),
    rejectsCode('invalid-argument', createKeys(tools, { kind: 'recovery-key', text: phrase })),
  ]);
  const shown = [keyring, ...errors].flatMap((value) => [
    inspect(value, { showHidden: true, depth: 20, maxArrayLength: null, getters: false }),
    JSON.stringify(value),
    String(value),
    inspect(structuredClone(value)),
    inspect(value instanceof StoreError ? value.toData() : {}),
    inspect(Object.entries(value)),
  ]);
  const encoded = keyring.encode();
  const secrets = [secret.key, encoded.slice(25, 57), encoded.slice(64, 96), keyring.blobKey(1)];
  for (const text of shown) {
    assert.ok(!text.includes('swordfish'));
    for (const key of secrets) {
      const start = [...key.subarray(0, 4)];
      assert.ok(!text.includes(toHex(key.subarray(0, 4))));
      assert.ok(!text.includes(start.join(', ')) && !text.includes(start.join(',')));
      assert.ok(!text.includes(start.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')));
    }
  }
});

test('secrets that were taken are wiped, and stay the caller’s own, also in a Buffer', async () => {
  const seen: Uint8Array[] = [];
  const watching: Provider = {
    ...provider,
    hkdfSha256(key, salt, info) {
      if (key.length === 32) seen.push(key);
      return provider.hkdfSha256(key, salt, info);
    },
  };
  const secret: Secret & { kind: 'raw-key' } = { kind: 'raw-key', key: Buffer.from(random(32)) };
  const { file } = await createKeys({ ...tools, provider: watching }, secret);
  await unlockKeys(watching, file, secret);
  const copies = seen.filter((key) => key.length === secret.key.length && key.buffer !== secret.key.buffer);
  assert.ok(copies.length >= 2);
  assert.ok(secret.key.some((byte) => byte !== 0));
  assert.ok(seen[0]!.every((byte) => byte === 0));
});

test('no slot is ever wrapped under a key of zeros, whatever arrays secrets and randomness come in', async () => {
  const buffers: KeyTools = { ...tools, random: (count) => Buffer.from(random(count)) };
  const secrets: Secret[] = [
    passphrase(Buffer.from('a phrase')),
    { kind: 'raw-key', key: Buffer.from(random(32)) },
    { kind: 'key-file', content: Buffer.from(random(40)) },
  ];
  for (const secret of secrets) {
    const { keyring, file } = await createKeys(buffers, secret);
    for (const ring of [keyring, Keyring.decode(provider, Buffer.from(keyring.encode()))]) {
      const held = [
        ring.slotKey(ring.slotIds[0]!)!,
        ring.idKey,
        ring.blobKey(1),
        ring.encode().slice(64, 96),
      ];
      for (const key of held) assert.ok(new Set(key).size > 8, toHex(key));
    }
    await opensWith(Buffer.from(file), secret, keyring);
    const turned = rotate(buffers, { keyring, file: Buffer.from(file) });
    await opensWith(turned.file, secret, turned.keyring);
  }
});

test('recovery keys: print and decode, in any dress; every typo of one letter is seen', () => {
  fc.assert(
    fc.property(exactly(32), (key) => {
      const text = printRecoveryKey(provider, key);
      assert.match(text, /^([0-9A-HJKMNP-TV-Z]{7}-){7}[0-9A-HJKMNP-TV-Z]{7}$/);
      assert.deepEqual(decodeRecoveryKey(provider, text), key);
      const dressed = ` ${text.toLowerCase().replaceAll('0', 'o').replaceAll('1', 'l').replaceAll('-', ' ')}\n`;
      assert.deepEqual(decodeRecoveryKey(portableProvider, dressed), key);
    }),
  );
  const text = printRecoveryKey(provider, random(32));
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '-') continue;
    for (const letter of '0123456789ABCDEFGHJKMNPQRSTVWXYZU*') {
      if (letter === text[at]) continue;
      const typo = text.slice(0, at) + letter + text.slice(at + 1);
      throwsCode('invalid-argument', () => decodeRecoveryKey(provider, typo));
    }
  }
  const swapped = text.replace(/(.)(.)/, '$2$1');
  if (swapped !== text) throwsCode('invalid-argument', () => decodeRecoveryKey(provider, swapped));
  fc.assert(
    fc.property(bytes(60), (some) => {
      const garbled = Buffer.from(some).toString('latin1');
      throwsCode('invalid-argument', () => decodeRecoveryKey(provider, garbled));
    }),
  );
});

test('what an id is called on disk is remembered, is right however many were asked for, and is forgotten with the keys', () => {
  const realm = new SealedRealm(provider, Keyring.create(provider, tools), { random, padding: 'none' });
  const { idKey } = realm.sealing.keyring;
  const ids = Array.from({ length: 1_100 }, (_, i) => provider.sha256Hex(Buffer.from(String(i))));
  for (const id of [...ids, ...ids.slice(-10), ids[0]!])
    assert.equal(realm.nameOf(id), toHex(locatorOf(provider, idKey, fromHex(id)!)));
  realm.close();
  for (const id of [ids[0]!, ids.at(-1)!]) throwsCode('closed', () => realm.nameOf(id));
});

test('a thread that learnt new keys seals under the epoch before them until it is told to use them, and opens both', () => {
  const ring = Keyring.create(provider, tools);
  const fresh = (keyring: Keyring): SealedRealm =>
    new SealedRealm(provider, Keyring.decode(provider, keyring.encode()), { random, padding: 'none' });
  const [early, late] = [fresh(ring), fresh(ring)];
  const rotated = ring.withEpoch(random(32));
  const facts = { id: 'ab'.repeat(32), size: 7 };
  const name = Buffer.from(early.nameOf(facts.id), 'hex');
  early.learn(Keyring.decode(provider, rotated.encode()));
  const before = early.label(facts);
  assert.deepEqual([early.epoch, early.epochOf(before), late.reveal(name, before)], [1, 1, facts]);
  assert.equal(early.sealing.header('raw', 16, new Uint8Array(0)).epoch, 1);
  late.learn(Keyring.decode(provider, rotated.encode()));
  early.use();
  const after = early.label(facts);
  assert.deepEqual([early.epoch, early.epochOf(after)], [2, 2]);
  assert.equal(early.sealing.header('raw', 16, new Uint8Array(0)).epoch, 2);
  assert.deepEqual([late.epoch, late.reveal(name, after), late.reveal(name, before)], [1, facts, facts]);
});
