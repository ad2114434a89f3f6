/** The page of security is true: its hex is made again by the code, its numbers are the code's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, toHex } from '../../engine/codec/bytes.ts';
import { locatorOf } from '../../engine/codec/locator.ts';
import { plainChunks, sealObject } from '../../engine/codec/seal.ts';
import { lookupOf, openValue, sealValue, valueOverheadBytes } from '../../engine/codec/sealed-value.ts';
import { headBytes, roles } from '../../engine/codec/seal-header.ts';
import { parts, trailerBytes } from '../../engine/codec/seal-layout.ts';
import { openObject } from '../../engine/codec/unseal.ts';
import type { Keyring } from '../../engine/keys/keyring.ts';
import { type Keys, createKeys, unlockKeys } from '../../engine/keys/keys.ts';
import { printRecoveryKey } from '../../engine/keys/recovery-key.ts';
import { argon2Default, scryptDefault } from '../../engine/keys/secret.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import { codeBlocks, page, sectionOf } from './page.ts';

const security = page('docs/security.md');
const hello = new TextEncoder().encode('hello');
const main = new TextEncoder().encode('main');
const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const rising = (from: number, count: number): Uint8Array =>
  Uint8Array.from({ length: count }, (_, i) => from + i);
const secret = { kind: 'raw-key', key: rising(0xc0, 32) } as const;
const cell = { column: 'roots.name', row: new Uint8Array(0) };

/** Randomness of the examples: each draw counts up from the next multiple of 16. */
function examples(): (bytes: number) => Uint8Array {
  let draw = 0;
  return (bytes) => rising(0x10 * draw++, bytes);
}

async function exampleKeys(): Promise<Keys> {
  return createKeys({ provider, random: examples(), nowMs }, secret);
}

function exampleObject(keyring: Keyring): Uint8Array {
  return sealObject(provider, {
    role: 'raw',
    epoch: 1,
    nonce: rising(0x40, 24),
    chunkLog2: 16,
    clear: new Uint8Array(0),
    blobKey: keyring.blobKey(1),
    id: provider.sha256(hello),
    padding: 'none',
    chunks: plainChunks(hello, 16),
  });
}

function exampleValue(keyring: Keyring): Uint8Array {
  const key = { epoch: 1, nameKey: keyring.nameKey(1) };
  return sealValue(provider, main, { key, nonce: rising(0x80, 24), cell });
}

function bytesOf(name: string): string {
  const blocks = codeBlocks(security).filter(({ language }) => language === `hex ${name}`);
  assert.equal(blocks.length, 1, `one block \`\`\`hex ${name} in docs/security.md`);
  return blocks[0]!.text
    .split('\n')
    .map((line) => line.split('|')[0]!.replaceAll(/\s/g, ''))
    .join('');
}

test('the file of keys in the page is what the code writes, and opens', async () => {
  const { keyring, file } = await exampleKeys();
  assert.equal(bytesOf('keys'), toHex(file));
  assert.equal(bytesOf('keyring'), toHex(keyring.encode()));
  const unlocked = await unlockKeys(provider, fromHex(bytesOf('keys'))!, secret);
  assert.equal(toHex(unlocked.keyring.encode()), toHex(keyring.encode()));
});

test('the sealed object and the sealed value in the page are what the code writes, and open', async () => {
  const { keyring } = await exampleKeys();
  const [object, value] = [bytesOf('object'), bytesOf('value')];
  assert.equal(object, toHex(exampleObject(keyring)));
  assert.equal(value, toHex(exampleValue(keyring)));
  const locator = locatorOf(provider, keyring.idKey, provider.sha256(hello));
  const { chunk } = openObject(provider, fromHex(object)!, {
    keys: keyring,
    expected: { role: 'raw', locator },
  });
  assert.equal(toHex(chunk(0).bytes), toHex(hello));
  const opening = { nameKey: (epoch: number) => keyring.nameKey(epoch), cell };
  assert.equal(toHex(openValue(provider, fromHex(value)!, opening)), toHex(main));
  const lookup = lookupOf(provider, keyring.lookupKey, { column: 'roots.name', value: main });
  for (const hex of [toHex(locator), toHex(lookup), toHex(keyring.blobKey(1))])
    assert.ok(security.includes(`\`${hex}\``), hex);
  assert.ok(security.includes(`\`${printRecoveryKey(provider, rising(0, 32))}\``));
});

test('the numbers in the page are those of the code', () => {
  const said = (what: string): void => assert.ok(security.includes(what), what);
  said(`${headBytes(0)} + clear section`);
  said(`${trailerBytes} bytes`);
  said(`${valueOverheadBytes} bytes more`);
  said(`${argon2Default.memoryKiB / 1024} MiB, ${argon2Default.passes} passes, ${argon2Default.lanes} lanes`);
  said(`N = 2^${scryptDefault.log2N}, r = ${scryptDefault.r}, p = ${scryptDefault.p}`);
  const roleRows = sectionOf(security, '### Roles');
  for (const [name, code] of Object.entries(roles))
    assert.ok(roleRows.includes(`| ${code} | ${name} |`), name);
  const partRows = sectionOf(security, '### Parts, nonces and tags');
  for (const code of Object.values(parts)) assert.match(partRows, new RegExp(`^\\| ${code} \\|`, 'm'));
});
