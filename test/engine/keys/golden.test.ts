/** Committed vectors: still what the code writes, and read by an implementation that shares no line with it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromHex, toHex } from '../../../engine/codec/bytes.ts';
import { openValue } from '../../../engine/codec/sealed-value.ts';
import { openObject } from '../../../engine/codec/unseal.ts';
import type { Keyring } from '../../../engine/keys/keyring.ts';
import { unlockKeys } from '../../../engine/keys/keys.ts';
import type { Secret } from '../../../engine/api.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { portableProvider } from '../../../engine/providers/portable.ts';
import { full } from '../../crash/sample.ts';
import { locatorOf, lookupOf, openCell, openKeys, openSealed } from './second-opinion.ts';
import { type SecretVector, type Vectors, makeVectors } from './vectors.ts';

const path = join(import.meta.dirname, '../../golden/sealed/vectors.json');
const vectors = JSON.parse(readFileSync(path, 'utf8')) as Vectors;
const bytes = (hex: string): Uint8Array => fromHex(hex)!;
const roles = { raw: 1, node: 2 } as const;

test('the code makes the committed vectors', async () => {
  assert.deepEqual(JSON.parse(JSON.stringify(await makeVectors())), vectors);
});

test('second opinion: the files of keys open by each of their secrets, and not by another', () => {
  for (const { name, file, epochs, opens, refused } of vectors.files) {
    const open = (secret: SecretVector): ReturnType<typeof openKeys> =>
      openKeys(bytes(file), secret.kind, secret.text ?? bytes(secret.hex!));
    for (const secret of opens) {
      const { realmId, idKey, masterKeys } = vectors;
      const held = Object.fromEntries(epochs.map((epoch) => [epoch, masterKeys[epoch]!]));
      assert.deepEqual(open(secret), { realmId, idKey, masterKeys: held }, `${name}: ${secret.kind}`);
    }
    assert.equal(open(refused), undefined, name);
  }
});

test('second opinion: objects, values and locators', () => {
  for (const { name, sealed, role, locator, ...rest } of vectors.objects) {
    assert.deepEqual(openSealed(vectors, bytes(sealed)), { ...rest, role: roles[role] }, name);
    assert.equal(locatorOf(vectors, rest.id), locator);
  }
  for (const { sealed, column, row, value, lookup } of vectors.values) {
    assert.equal(toHex(openCell(vectors, bytes(sealed), { column, row: bytes(row) })), value);
    assert.equal(lookupOf(vectors, column, bytes(value)), lookup);
  }
});

test('second opinion: it refuses a turned bit as well', () => {
  const { sealed } = vectors.objects.find(({ name }) => name === 'padding in one piece')!;
  for (let bit = 0; bit < sealed.length * 4; bit += 37) {
    const harmed = bytes(sealed);
    harmed[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => openSealed(vectors, harmed), `bit ${bit}`);
  }
});

function secretOf({ kind, text, hex }: SecretVector): Secret {
  if (kind === 'passphrase') return { kind, passphrase: text! };
  if (kind === 'recovery-key') return { kind, text: text! };
  return kind === 'raw-key' ? { kind, key: bytes(hex!) } : { kind, content: bytes(hex!) };
}

// That the portable provider derives the same of passphrases, at these costs, codec/keyed-providers.test.ts tells; in full also this.
for (const [name, provider] of Object.entries({ node: nodeProvider, portable: portableProvider })) {
  test(`the committed vectors open by our own code, ${name}`, async () => {
    let keyring: Keyring | undefined;
    for (const { file, opens, refused } of vectors.files) {
      for (const secret of opens) {
        if (secret.kind === 'passphrase' && !full && provider !== nodeProvider) continue;
        const opened = (await unlockKeys(provider, bytes(file), secretOf(secret))).keyring;
        if (opened.epoch === 2) keyring = opened;
      }
      // A wrong passphrase costs as much as a right one, and for the portable provider that is much.
      if (provider === nodeProvider || refused.kind !== 'passphrase')
        await assert.rejects(unlockKeys(provider, bytes(file), secretOf(refused)), /no key slot opens/);
    }
    const keys = keyring!;
    for (const { sealed, role, locator, id, chunks } of vectors.objects) {
      const expected = { role, locator: bytes(locator) };
      const { reader, chunk } = openObject(provider, bytes(sealed), { keys, expected });
      assert.equal(toHex(reader.id), id);
      const found = chunks
        .map((_, index) => chunk(index))
        .map(({ codec, bytes: some }) => [codec, toHex(some)]);
      assert.deepEqual(
        found,
        chunks.map(({ codec, bytes: hex }) => [codec, hex]),
      );
    }
    for (const { sealed, column, row, value } of vectors.values) {
      const opening = { nameKey: (epoch: number) => keys.nameKey(epoch), cell: { column, row: bytes(row) } };
      assert.equal(toHex(openValue(provider, bytes(sealed), opening)), value);
    }
  });
}
