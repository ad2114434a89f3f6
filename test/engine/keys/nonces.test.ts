/** No nonce is given out twice: not by one source however long it runs, nor by two threads, two who have a store open, or one after another. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { toHex } from '../../../engine/codec/bytes.ts';
import { decodeHead, nonceBytes } from '../../../engine/codec/seal-header.ts';
import { nodeHost } from '../../../engine/index.ts';
import { Keyring } from '../../../engine/keys/keyring.ts';
import { SealedRealm } from '../../../engine/keys/realm.ts';
import { nodeProvider } from '../../../engine/providers/node.ts';
import { noise, putAll, storeTest } from '../store-folder.ts';
import { Forger } from './forger.ts';
import { secret } from './known.ts';
import { sample } from '../../crash/sample.ts';

/** `HOLDFAST_NONCES=1000000` is the full number. */
const count = Number(process.env['HOLDFAST_NONCES'] ?? sample(20_000, 8000));

function realmOf(random: (bytes: number) => Uint8Array): SealedRealm {
  const keyring = Keyring.create(nodeProvider, { random: (bytes) => noise(bytes, 3), nowMs: 0 });
  return new SealedRealm(nodeProvider, keyring, { random, padding: 'none' });
}

const nonceOf = (realm: SealedRealm): Uint8Array => realm.sealing.header('raw', 12, new Uint8Array(0)).nonce;

test(`${count} nonces, and none of them twice`, () => {
  const host = nodeHost({ inline: true });
  const realms = [realmOf((bytes) => host.random(bytes)), realmOf((bytes) => host.random(bytes))];
  const seen = new Set<string>();
  for (let i = 0; i < count; i++) {
    const nonce = nonceOf(realms[i % 2]!);
    assert.equal(nonce.length, nonceBytes);
    seen.add(Buffer.from(nonce).toString('latin1'));
  }
  assert.equal(seen.size, count);
});

test('each random byte is used once, across the pages it is fetched by, and in no memory that is used again', () => {
  let at = 0;
  const fetched: Uint8Array[] = [];
  // Numbers of four bytes that count up: a byte that is used twice, or left out, shows.
  const realm = realmOf((bytes) => {
    const page = new Uint8Array(bytes);
    const view = new DataView(page.buffer);
    for (let i = 0; i < bytes; i += 4) view.setUint32(i, at++);
    fetched.push(page);
    return page;
  });
  const nonces: Uint8Array[] = [];
  for (let i = 0; i < 1000; i++) {
    if (i % 3 === 0) nonces.push(nonceOf(realm));
    else if (i % 3 === 1) nonces.push(realm.sealSide('key', new Uint8Array(0)).slice(6, 6 + nonceBytes));
    else nonces.push(realm.label({ id: '00'.repeat(32), size: 1 }).slice(6, 6 + nonceBytes));
    for (const page of fetched) page.fill(0xee);
  }
  nonces.forEach((nonce, i) => {
    const view = new DataView(nonce.buffer, nonce.byteOffset, nonceBytes);
    for (let word = 0; word < 6; word++) assert.equal(view.getUint32(4 * word), 6 * i + word);
  });
});

storeTest(
  'no nonce stands twice on disk: of two threads, of two who have it open, after it was opened again, and sealed anew',
  async (folder) => {
    const seen = new Map<string, string>();
    const note = (nonce: Uint8Array, where: string): void => {
      const before = seen.get(toHex(nonce));
      assert.ok(before === undefined || before === where, `${where} and ${before} share a nonce`);
      seen.set(toHex(nonce), where);
    };
    for (let round = 0; round < 2; round++) {
      const options = { encryption: { secret }, durability: 'relaxed' } as const;
      const stores = [await folder.open({ ...options, threads: { count: 2 } }), await folder.open(options)];
      await Promise.all(
        stores.map((store, i) =>
          putAll(
            store,
            Array.from({ length: 40 }, (_, n) => noise(n === 0 ? 20_000 : 50, 1000 * round + 100 * i + n)),
            `owner ${i}`,
          ),
        ),
      );
      await stores[1]!.close();
      if (round === 1) await stores[0]!.keys.rotate();
      if (round === 1) await stores[0]!.keys.reseal();
      await stores[0]!.close();
      const forger = new Forger(folder.path);
      for (const row of forger.rows()) {
        const copy = `${toHex(row.id)}.${row.incarnation}`;
        note(decodeHead(forger.stored(row)).header.nonce, `object ${copy}`);
        note(row.label!.subarray(6, 6 + nonceBytes), `label ${copy}`);
      }
      forger.close();
    }
    assert.equal(seen.size, 2 * (80 + 160));
  },
  existsSync('/dev/shm') ? { under: '/dev/shm' } : {},
);
