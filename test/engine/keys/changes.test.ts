/** Keys of a store that change: while it is used, by two who have it open, by a crash, by somebody's hand. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeHead } from '../../../engine/codec/seal-header.ts';
import { sealedEpoch } from '../../../engine/codec/sealed-value.ts';
import { type OpenOptions, type Secret, type Store, StoreError } from '../../../engine/index.ts';
import type { Crew } from '../../../engine/crew.ts';
import { newKeys } from '../../../engine/keys-facet.ts';
import { type StoreFolder, noise, putAll, same, sha256, storeTest, text, withCode } from '../store-folder.ts';
import { Forger } from './forger.ts';

const secret: Secret = { kind: 'raw-key', key: new Uint8Array(32).fill(7) };
const keyed: OpenOptions = { encryption: { secret }, durability: 'relaxed' };
const under = existsSync('/dev/shm') ? { under: '/dev/shm' } : {};
const small = noise(3000, 1);
const large = noise(50_000, 2);

function forged<Result>(folder: StoreFolder, work: (forger: Forger) => Result): Result {
  const forger = new Forger(folder.path);
  try {
    return work(forger);
  } finally {
    forger.close();
  }
}

/** Epochs of the objects and of the labels of a closed store. */
function epochsOf(folder: StoreFolder): { objects: Set<number>; labels: Set<number | undefined> } {
  return forged(folder, (forger) => ({
    objects: new Set(forger.rows().map((row) => decodeHead(forger.stored(row)).header.epoch)),
    labels: new Set(forger.rows().map(({ label }) => (label === null ? undefined : sealedEpoch(label)))),
  }));
}

storeTest(
  'blobs that are put while they are sealed anew keep the copy that was made for them',
  async (folder) => {
    const store = await folder.open(keyed);
    const contents = Array.from({ length: 60 }, (_, i) => noise(200 + i, i));
    await putAll(store, contents, 'me');
    for (let round = 0; round < 2; round++) {
      await store.keys.rotate();
      const reseal = { done: false };
      const again = async (): Promise<void> => {
        while (!reseal.done) await putAll(store, contents);
      };
      const resealed = store.keys.reseal().finally(() => (reseal.done = true));
      await Promise.all([again(), again(), resealed]);
      assert.equal((await resealed).blobs, contents.length);
    }
    await store.close();
    folder.edit((db) => {
      const living = 'SELECT count(*) FROM blobs JOIN freed USING (volume, extent, start)';
      assert.equal(db.prepare(living).pluck().get(), 0, 'a record in use is taken for dead');
    });
    assert.deepEqual(epochsOf(folder), { objects: new Set([3]), labels: new Set([3]) });
    const opened = await folder.open(keyed);
    await opened.compact();
    for (const content of contents) same(await opened.get(sha256(content)), content);
  },
  under,
);

storeTest(
  'what is on its way when the epoch turns is of the old one, says so, and is sealed anew with the rest',
  async (folder) => {
    const store = await folder.open(keyed);
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield large.slice(0, 30_000);
      await store.keys.rotate();
      yield large.slice(30_000);
    }
    const { id } = await store.put(slow(), { owner: 'me' });
    assert.equal((await store.keys.list()).behind, 1);
    await folder.closeAll();
    assert.deepEqual(epochsOf(folder), { objects: new Set([1]), labels: new Set([1]) });
    const again = await folder.open(keyed);
    assert.equal((await again.keys.reseal()).blobs, 1);
    same(await again.get(id), large);
    await folder.closeAll();
    assert.deepEqual(epochsOf(folder), { objects: new Set([2]), labels: new Set([2]) });
  },
  under,
);

storeTest(
  'sealing anew stops when it is told to, keeps what it did, and goes on with the next call',
  async (folder) => {
    const store = await folder.open(keyed);
    const contents = Array.from({ length: 12 }, (_, i) => noise(20_000 + i, i));
    await putAll(store, contents, 'me');
    await store.keys.rotate();
    const stop = new AbortController();
    let seen = 0;
    const stopped = store.keys.reseal({
      signal: stop.signal,
      onProgress: ({ blobs }) => (seen = blobs) >= 4 && stop.abort(),
    });
    await assert.rejects(stopped, { name: 'AbortError' });
    const { behind } = await store.keys.list();
    assert.ok(behind! > 0 && behind! <= contents.length - seen, `${behind} left, ${seen} done`);
    await folder.closeAll();
    const again = await folder.open(keyed);
    assert.equal((await again.keys.reseal()).blobs, behind);
    assert.equal((await again.keys.list()).behind, 0);
    for (const content of contents) same(await again.get(sha256(content)), content);
  },
  under,
);

storeTest(
  'who has old keys goes on: what he puts all can read, what is newer he is told to open the store again for',
  async (folder) => {
    const store = await folder.open({ ...keyed, threads: { count: 1 } });
    const [a] = await putAll(store, [small], 'me');
    const old = await folder.open(keyed);
    await store.keys.rotate();
    const [b] = await putAll(store, [large], 'me');
    const [c, d] = await putAll(old, [noise(400, 8), noise(40_000, 9)], 'him');
    for (const [id, content] of [
      [a!, small],
      [b!, large],
      [c!, noise(400, 8)],
      [d!, noise(40_000, 9)],
    ] as const)
      same(await store.get(id), content);
    same(await old.get(a!), small);
    await assert.rejects(old.get(b!), withCode('wrong-key'));
    assert.equal((await old.put(large)).deduplicated, true);
    for (const call of [
      () => old.keys.rotate(),
      () => old.keys.add('recovery-key'),
      () => old.keys.reseal(),
      () => old.scrub(),
    ])
      await assert.rejects(call(), withCode('needs-reopen'), String(call));
    assert.equal((await old.gc({ graceMs: 0 })).deleted, 0);
    assert.equal((await store.stats()).suspect, 0);
    await old.close();
    const again = await folder.open(keyed);
    same(await again.get(b!), large);
    assert.deepEqual((await again.scrub()).damaged, []);
  },
  under,
);

storeTest(
  'changes that are asked for at once are made one after the other',
  async (folder) => {
    const store = await folder.open(keyed);
    const added = await Promise.all([
      store.keys.add('recovery-key'),
      store.keys.rotate(),
      store.keys.add('recovery-key'),
    ]);
    const { slots, epoch } = await store.keys.list();
    assert.deepEqual([slots.length, epoch], [3, 2]);
    await folder.closeAll();
    for (const one of [added[0], added[2]]) {
      const opened = await folder.open({
        encryption: { secret: { kind: 'recovery-key', text: one.recoveryKey! } },
      });
      assert.equal((await opened.keys.list()).slots.length, 3);
      await folder.closeAll();
    }
  },
  under,
);

storeTest(
  'keys are told about where a store is open for reading only, and not changed',
  async (folder) => {
    await (await folder.open(keyed)).close();
    for (const options of [{}, keyed]) {
      const store = await folder.open({ ...options, mode: 'read-only' });
      assert.equal((await store.keys.list()).slots.length, 1);
      await assert.rejects(store.keys.rotate(), withCode('forbidden'));
      await folder.closeAll();
    }
  },
  under,
);

storeTest(
  'a blob whose row was lost is taken back in, with keys and without; its label comes back',
  async (folder) => {
    let store = await folder.open(keyed);
    const contents = [small, large, noise(500, 5), noise(40_000, 6)];
    const ids = await putAll(store, contents);
    const { id: kept } = await store.put(noise(600, 7), { owner: 'me' });
    await folder.closeAll();
    for (const options of [keyed, {}]) {
      forged(folder, (forger) => forger.loseUnreferenced());
      store = await folder.open(options);
      assert.equal((await store.scrub()).adopted, contents.length);
      await folder.closeAll();
    }
    store = await folder.open(keyed);
    for (const [i, id] of ids.entries()) {
      assert.equal((await store.stat(id))?.size, contents[i]!.length);
      same(await store.get(id), contents[i]!);
    }
    await store.roots.set('main', ids[1]!);
    assert.deepEqual([await store.roots.get('main'), (await store.roots.list())[0]?.id], [ids[1], ids[1]]);
    const listed: string[] = [];
    for await (const { id } of store.list()) listed.push(id);
    assert.deepEqual(listed.sort(), [...ids, kept].sort());
    assert.equal((await store.keys.list()).behind, contents.length);
    await putAll(store, contents.slice(0, 2));
    assert.equal((await store.keys.list()).behind, 2);
    await store.keys.reseal();
    assert.equal((await store.keys.list()).behind, 0);
    await folder.closeAll();
    assert.deepEqual(epochsOf(folder).labels, new Set([1]));
  },
  under,
);

/** Bytes of a file of keys with a checksum that holds. */
function summed(bytes: Uint8Array): Uint8Array {
  const body = bytes.subarray(0, -32);
  return Buffer.concat([body, createHash('sha256').update(body).digest()]);
}

function changedKeys(bytes: Uint8Array, change: (bytes: Buffer) => unknown): Uint8Array {
  const changed = Buffer.from(bytes);
  change(changed);
  return summed(changed);
}

storeTest(
  'two files of keys: either opens the store, and the other is made like it; an older one does not count',
  async (folder) => {
    await (await folder.open(keyed)).close();
    const [keys, copy] = [folder.at('keys'), folder.at('keys.copy')];
    const first = readFileSync(keys);
    let store = await folder.open(keyed);
    await store.keys.rotate();
    await folder.closeAll();
    const second = readFileSync(keys);
    const turned = Buffer.from(second);
    turned[70]! ^= 1;
    const spoilt: readonly (readonly [string, string, Uint8Array | undefined])[] = [
      ['copy older', copy, first],
      ['keys older', keys, first],
      ['copy gone', copy, undefined],
      ['keys gone', keys, undefined],
      ['a turned bit in keys', keys, turned],
      ['a turned bit in the copy', copy, turned],
      ['keys cut off', keys, second.subarray(0, 50)],
      ['nothing in the copy', copy, new Uint8Array(0)],
    ];
    for (const [what, path, bytes] of spoilt) {
      if (bytes === undefined) rmSync(path);
      else writeFileSync(path, bytes);
      writeFileSync(folder.at('keys.new'), 'left by a process that died');
      const locked = await folder.open();
      assert.equal((await locked.keys.list()).epoch, 2, what);
      await folder.closeAll();
      if (bytes !== undefined)
        assert.deepEqual(readFileSync(path), Buffer.from(bytes), 'who has no key mends nothing');
      store = await folder.open(keyed);
      assert.equal((await store.keys.list()).epoch, 2, what);
      await folder.closeAll();
      assert.deepEqual([readFileSync(keys), readFileSync(copy)], [second, second], what);
    }
  },
  under,
);

storeTest(
  'files of keys that somebody changed do not open the store, and are not written over the good one',
  async (folder) => {
    await (await folder.open(keyed)).close();
    const [keys, copy] = [folder.at('keys'), folder.at('keys.copy')];
    const good = readFileSync(keys);
    const attempt = async (): Promise<string> => {
      try {
        await (await folder.open(keyed)).close();
        return 'opened';
      } catch (error) {
        assert.ok(StoreError.is(error), String((error as Error).stack));
        return error.code;
      }
    };
    const forgedFiles: Record<string, readonly [code: string, bytes: Uint8Array]> = {
      'a higher sequence': ['tampered', changedKeys(good, (bytes) => bytes.writeUInt32LE(9, 24))],
      'another realm': ['tampered', changedKeys(good, (bytes) => bytes.fill(1, 8, 24))],
      'another epoch': ['tampered', changedKeys(good, (bytes) => bytes.writeUInt32LE(2, 32))],
      'another salt': ['wrong-key', changedKeys(good, (bytes) => (bytes[36 + 50]! ^= 1))],
      'another wrapped keyring': ['tampered', changedKeys(good, (bytes) => (bytes[36 + 140]! ^= 1))],
      'another MAC': ['tampered', changedKeys(good, (bytes) => (bytes[bytes.length - 40]! ^= 1))],
      'a version of the future': ['incompatible-format', changedKeys(good, (bytes) => (bytes[6] = 2))],
      'a suite of the future': ['incompatible-format', changedKeys(good, (bytes) => (bytes[36 + 16] = 2))],
      'a derivation of the future': [
        'incompatible-format',
        changedKeys(good, (bytes) => (bytes[36 + 19] = 3)),
      ],
      'a costly derivation': [
        'limit-exceeded',
        changedKeys(good, (bytes) => {
          bytes[36 + 18] = 1;
          bytes[36 + 19] = 1;
          bytes.writeUInt32LE(2 ** 31, 36 + 20);
          bytes.writeUInt32LE(100, 36 + 24);
          bytes.writeUInt32LE(4, 36 + 28);
        }),
      ],
      'no slot': ['corrupt', changedKeys(good, (bytes) => (bytes[7] = 0))],
      'a turned bit': ['corrupt', Buffer.from(good).fill(0xee, 60, 61)],
      'its end cut off': ['corrupt', good.subarray(0, -1)],
      'something else': [
        'corrupt',
        text(
          'not a file of keys at all, but long enough to hold a head, a MAC and a sum, and then some more',
        ),
      ],
    };
    for (const [what, [code, bytes]] of Object.entries(forgedFiles)) {
      writeFileSync(keys, bytes);
      writeFileSync(copy, bytes);
      assert.equal(await attempt(), code, what);
      await folder
        .open()
        .then((store) => store.keys.list().catch((error: unknown) => assert.ok(StoreError.is(error))));
      await folder.closeAll();
      assert.deepEqual(
        [readFileSync(keys), readFileSync(copy)],
        [Buffer.from(bytes), Buffer.from(bytes)],
        what,
      );
    }
    // Newer by what it says, and proved by nobody.
    writeFileSync(keys, good);
    writeFileSync(copy, forgedFiles['a higher sequence']![1]);
    assert.equal(await attempt(), 'tampered');
    assert.deepEqual(readFileSync(keys), good);
    for (let at = 0; at < good.length; at += 7) {
      const turned = Buffer.from(good);
      turned[at]! ^= 1 << (at % 8);
      writeFileSync(keys, turned);
      writeFileSync(copy, turned);
      assert.equal(await attempt(), 'corrupt', `byte ${at}`);
    }
    rmSync(keys);
    rmSync(copy);
    assert.equal(await attempt(), 'corrupt');
    mkdirSync(keys);
    assert.equal(await attempt(), 'unavailable');
    rmSync(keys, { recursive: true });
    writeFileSync(keys, good);
    assert.equal(await attempt(), 'opened');
  },
  under,
);

storeTest(
  'keys that cannot be written are an error of ours, and the old ones stay',
  async (folder) => {
    const store = await folder.open(keyed);
    mkdirSync(folder.at('keys.new'));
    await assert.rejects(store.keys.rotate(), (error) => StoreError.is(error));
    rmSync(folder.at('keys.new'), { recursive: true });
    assert.equal((await store.keys.list()).epoch, 1);
    await store.keys.rotate();
    assert.equal((await store.keys.list()).epoch, 2);
  },
  under,
);

storeTest(
  'a store that says it is not encrypted, or of another realm, is not opened with a key',
  async (folder) => {
    await (await folder.open(keyed)).close();
    const good = readFileSync(folder.at('superblock'), 'utf8');
    const [title, json] = good.split('\n') as [string, string];
    const write = (change: (parameters: Record<string, unknown>) => void): void => {
      const superblock = JSON.parse(json) as { parameters: Record<string, unknown> };
      change(superblock.parameters);
      const line = JSON.stringify(superblock);
      writeFileSync(folder.at('superblock'), `${title}\n${line}\n${sha256(line)}\n`);
    };
    write((parameters) => (parameters['encryption'] = null));
    await assert.rejects(folder.open(keyed), withCode('wrong-key'));
    write((parameters) => (parameters['encryption'] = { realm: '0'.repeat(32), padding: 'none' }));
    await assert.rejects(folder.open(keyed), withCode('tampered'));
    write((parameters) => (parameters['encryption'] = { realm: 'x', padding: 'none' }));
    await assert.rejects(folder.open(keyed), withCode('corrupt'));
    writeFileSync(folder.at('superblock'), good);
    // Keys of another store, which the same secret opens.
    const other = join(folder.side, 'other');
    const { openStore } = await import('../../../engine/index.ts');
    await (await openStore(other, { ...keyed, threads: { count: 0 } })).close();
    for (const name of ['keys', 'keys.copy']) writeFileSync(folder.at(name), readFileSync(join(other, name)));
    await assert.rejects(folder.open(keyed), withCode('tampered'));
    folder.leavesNoStore();
  },
  under,
);

storeTest(
  'passphrases: the right one, a wrong one, none at all, a very long one',
  async (folder) => {
    const long: Secret = { kind: 'passphrase', passphrase: 'ä'.repeat(5000) };
    const open = (passphrase: string): Promise<Store> =>
      folder.open({ encryption: { secret: { kind: 'passphrase', passphrase } } });
    await assert.rejects(open(''), withCode('invalid-argument'));
    assert.equal(existsSync(folder.at('superblock')), false);
    await (await folder.open({ encryption: { secret: long } })).close();
    await assert.rejects(open('ä'.repeat(4999)), withCode('wrong-key'));
    // What callers without types may give.
    for (const none of [
      undefined,
      null,
      {},
      'x',
      { kind: 'pin' },
      { kind: 'passphrase' },
      { kind: 'raw-key', key: 'x'.repeat(32) },
    ])
      await assert.rejects(
        folder.open({ encryption: { secret: none as Secret } }),
        withCode('invalid-argument'),
      );
    await assert.rejects(open(''), withCode('invalid-argument'));
    await (await open('a\u0308'.repeat(5000))).close();
  },
  under,
);

test('keys are used for sealing when every thread has learnt them', async () => {
  const calls: string[] = [];
  const keyring = new Uint8Array([1, 2, 3]);
  const crew = {
    everyone: async (method: string, given?: Uint8Array) => {
      calls.push(`workers ${method} ${given === undefined ? '' : given.join()}`.trim());
      await new Promise(setImmediate);
      calls.push(`workers done`);
      return [];
    },
    commit: async (method: string) => void calls.push(`commit ${method}`),
  };
  await newKeys(crew as unknown as Crew, keyring);
  assert.deepEqual(calls, [
    'workers keys-learn 1,2,3',
    'workers done',
    'commit keys-use',
    'workers keys-use',
    'workers done',
  ]);
  assert.deepEqual([...keyring], [0, 0, 0]);
});
