/** The file of keys in hostile hands: damage, tampering, and costs that would have us work or be weak. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { concatBytes } from '../../../engine/codec/bytes.ts';
import type { Provider } from '../../../engine/codec/provider.ts';
import { StoreError } from '../../../engine/errors.ts';
import {
  type Keys,
  addSlot,
  createKeys,
  describeKeys,
  removeSlot,
  renewSlots,
  rotate,
  unlockKeys,
} from '../../../engine/keys/keys.ts';
import { openNewest, waitingWorkMax } from '../../../engine/keys/newest.ts';
import type { Secret } from '../../../engine/api.ts';
import { nodeProvider as provider } from '../../../engine/providers/node.ts';
import { bitFlips, damage, throwsCode, unless } from '../codec/arbitrary.ts';
import { randomFrom } from '../codec/sealing.ts';
import { sample } from '../../crash/sample.ts';

const random = randomFrom('hostile.test.ts');
const tools = { provider, random, nowMs: 5 };
const first: Secret = { kind: 'raw-key', key: random(32) };
const second: Secret = { kind: 'key-file', content: random(99) };
const phrase: Secret = { kind: 'passphrase', passphrase: 'x' };
let keys: Keys;
/** One slot, of a passphrase. */
let guarded: Keys;

before(async () => {
  keys = await addSlot(tools, await createKeys(tools, first), second);
  guarded = await createKeys(tools, phrase);
});

const headBytes = 36;
const slotBytes = (file: Uint8Array): number => (file.length - headBytes - 64) / 2;

/** What an attacker does after every change: the checksum is no secret. */
function summed(file: Uint8Array): Uint8Array {
  const body = file.slice(0, -32);
  return concatBytes(body, provider.sha256(body));
}

function changed(file: Uint8Array, at: number, ...values: number[]): Uint8Array {
  const copy = file.slice();
  copy.set(values, at);
  return summed(copy);
}

async function codeOf(
  file: Uint8Array,
  secret: Secret,
  by: Provider = provider,
): Promise<string | undefined> {
  try {
    (await unlockKeys(by, file, secret)).keyring.wipe();
    return undefined;
  } catch (error) {
    assert.ok(StoreError.is(error), String(error));
    return error.code;
  }
}

test('damage is damage: every turned bit, every cut, before any key is derived', async () => {
  const lazy: Provider = {
    ...provider,
    hkdfSha256: () => assert.fail('a key was derived from a damaged file'),
  };
  for (const { flipped } of bitFlips(keys.file)) throwsCode('corrupt', () => describeKeys(lazy, flipped));
  for (let length = 0; length < keys.file.length; length++)
    assert.equal(await codeOf(keys.file.slice(0, length), first, lazy), 'corrupt');
  assert.equal(await codeOf(concatBytes(keys.file, new Uint8Array(1)), first, lazy), 'corrupt');
});

test('every turned bit with a new checksum is refused', async () => {
  const start = headBytes + 16;
  const size = slotBytes(keys.file);
  for (const { flipped, bit } of bitFlips(keys.file.slice(0, -32))) {
    const file = summed(concatBytes(flipped, new Uint8Array(32)));
    const code = await codeOf(file, first);
    assert.ok(code !== undefined, `bit ${bit} opened`);
    const byte = bit >> 3;
    // Ours are tampering for certain where they are read after the key was found right.
    const inSecond =
      byte >= headBytes + size + 32 && byte < headBytes + 2 * size && !isForm(byte - headBytes - size);
    const inHead = byte >= 8 && byte < headBytes && byte !== 31 && byte !== 30;
    const wrapped = byte >= headBytes + 132 && byte < headBytes + size;
    const mac = byte >= headBytes + 2 * size;
    if (inSecond || inHead || wrapped || mac)
      assert.equal(code, 'tampered', `bit ${bit}, byte ${byte - start}`);
  }
});

/** Bytes of a slot whose form is judged when the file is decoded. */
function isForm(byte: number): boolean {
  return (byte >= 16 && byte < 32) || (byte >= 32 && byte < 40) || (byte >= 96 && byte < 100);
}

test('slots removed, repeated, changed about, or taken from another file', async () => {
  const { file } = keys;
  const size = slotBytes(file);
  const [head, one, two] = [
    file.slice(0, headBytes),
    file.slice(headBytes, headBytes + size),
    file.slice(headBytes + size, headBytes + 2 * size),
  ];
  const tail = file.slice(-64);
  const counted = (count: number): Uint8Array => {
    const copy = head.slice();
    copy[7] = count;
    return copy;
  };
  assert.equal(await codeOf(summed(concatBytes(counted(1), one, tail)), first), 'tampered');
  assert.equal(await codeOf(summed(concatBytes(head, two, one, tail)), first), 'tampered');
  assert.equal(await codeOf(summed(concatBytes(counted(3), one, two, two, tail)), first), 'corrupt');
  assert.equal(await codeOf(summed(concatBytes(counted(0), tail)), first), 'corrupt');
  assert.equal(await codeOf(summed(concatBytes(counted(17), one, two, tail)), first), 'corrupt');
  const newer = rotate(tools, keys).file;
  const older = file.slice(headBytes + size, headBytes + 2 * size);
  const newSize = slotBytes(newer);
  const mixed = concatBytes(newer.slice(0, headBytes + newSize), older, newer.slice(-64));
  assert.equal(await codeOf(summed(mixed), first), 'tampered');
  assert.equal(
    await codeOf(summed(concatBytes(newer.slice(0, headBytes), one, two, tail)), first),
    'tampered',
  );
});

test('an unknown version or suite, with a right checksum, is another format', async () => {
  const slot = headBytes;
  for (const at of [6, slot + 16, slot + 17, slot + 18, slot + 19])
    assert.equal(await codeOf(changed(keys.file, at, 99), first), 'incompatible-format');
});

test('costs out of bounds are refused before any work, however few bytes ask for them', async () => {
  const idle: Provider = {
    ...provider,
    argon2id: () => assert.fail('work was done'),
    scrypt: () => assert.fail('work was done'),
  };
  const u32 = (value: number): number[] => [...new Uint8Array(Uint32Array.of(value).buffer)];
  const [argon2id, scrypt] = [1, 2];
  const hostile: readonly (readonly [number, number, number, number])[] = [
    [argon2id, 0xffff_ffff, 3, 4],
    [argon2id, 256 * 1024 + 1, 3, 4],
    [argon2id, 8, 1, 1],
    [argon2id, 19 * 1024 - 1, 2, 1],
    [argon2id, 64 * 1024, 0xffff_ffff, 4],
    [argon2id, 64 * 1024, 1, 4],
    [argon2id, 64 * 1024, 3, 0],
    [argon2id, 64 * 1024, 3, 0xff_ffff],
    [argon2id, 256 * 1024, 5, 4],
    [scrypt, 31, 8, 1],
    [scrypt, 0xffff_ffff, 8, 1],
    [scrypt, 14, 8, 1],
    [scrypt, 17, 1, 1],
    [scrypt, 17, 0xffff_ffff, 1],
    [scrypt, 18, 16, 1],
    [scrypt, 17, 8, 0],
    [scrypt, 17, 8, 0xffff_ffff],
    [scrypt, 18, 8, 5],
    [scrypt, 0, 0, 0],
  ];
  for (const [kdf, ...costs] of hostile) {
    const file = changed(guarded.file, headBytes + 19, kdf, ...costs.flatMap(u32));
    assert.equal(await codeOf(file, phrase, idle), 'limit-exceeded', `${kdf} ${costs.join()}`);
    // Also where another slot would be the one to open.
    throwsCode('limit-exceeded', () => describeKeys(idle, file));
  }
  // A passphrase behind a fast derivation is none of ours.
  assert.equal(
    await codeOf(changed(guarded.file, headBytes + 19, 0, ...u32(0), ...u32(0), ...u32(0)), phrase, idle),
    'corrupt',
  );
});

test('costs within bounds that are not the slot’s give another key, not a weaker one', async () => {
  const u32 = (value: number): number[] => [...new Uint8Array(Uint32Array.of(value).buffer)];
  const file = changed(guarded.file, headBytes + 20, ...u32(19 * 1024), ...u32(2), ...u32(1));
  assert.equal(await codeOf(file, phrase), 'wrong-key');
});

test('whatever is done to a file, it is refused or is as it was', async () => {
  await fc.assert(
    fc.asyncProperty(damage, fc.boolean(), async (harm, again) => {
      const harmed = harm(keys.file);
      const file = again && harmed.length >= 32 ? summed(harmed) : harmed;
      const codes = ['corrupt', 'tampered', 'incompatible-format', 'wrong-key', 'limit-exceeded'];
      const code = await codeOf(file, first);
      if (code === undefined) assert.deepEqual(file, keys.file);
      else assert.ok(codes.includes(code), code);
      unless(codes, () => describeKeys(provider, file));
    }),
    { numRuns: sample(1000, 400) },
  );
});

/** Derives keys in no time, and counts the memory that the derivations would have passed over. */
function countingProvider(): { readonly counting: Provider; work: number } {
  const derive = (bytes: Uint8Array, salt: Uint8Array, cost: object): Promise<Uint8Array> =>
    Promise.resolve(
      provider.hkdfSha256(bytes, salt, new TextEncoder().encode(JSON.stringify(Object.entries(cost)))),
    );
  const counted = {
    work: 0,
    counting: {
      ...provider,
      nativeKdf: 'argon2id' as const,
      argon2id: (bytes: Uint8Array, salt: Uint8Array, cost: { memoryKiB: number; passes: number }) => {
        counted.work += 1024 * cost.memoryKiB * cost.passes;
        return derive(bytes, salt, cost);
      },
    },
  };
  return counted;
}

/** A newer file of 16 slots for a passphrase, each wanting `passes` over `memoryKiB`, as who has no keys makes it. */
function forgedFile(
  file: Uint8Array,
  sequence: number,
  [memoryKiB, passes]: readonly [number, number],
): Uint8Array {
  const one = file.subarray(headBytes, -64);
  const slots = Array.from({ length: 16 }, () => {
    const slot = Buffer.from(one);
    slot.set(random(16), 0);
    [memoryKiB, passes, 1].forEach((cost, i) => slot.writeUInt32LE(cost, 20 + 4 * i));
    slot.set(random(32), 40);
    return new Uint8Array(slot);
  });
  const head = Buffer.from(file.subarray(0, headBytes));
  head[7] = slots.length;
  head.writeBigUInt64LE(BigInt(sequence), 24);
  return summed(concatBytes(new Uint8Array(head), ...slots, new Uint8Array(64)));
}

const dearest = [256 * 1024, 4] as const;
const ours = [64 * 1024, 3] as const;
const workOf = ([memoryKiB, passes]: readonly [number, number]): number => 1024 * memoryKiB * passes;

test('files of keys that wait cost who opens by a passphrase no more than the bound, and hide no genuine one', async () => {
  const next: Secret = { kind: 'passphrase', passphrase: 'y' };
  const made = countingProvider();
  const makeTools = { ...tools, provider: made.counting };
  const inUse = await createKeys(makeTools, phrase);
  const renewed = await renewSlots(makeTools, inUse, [next]);
  // As a replica meets them that was away for a while: the slot is the same in all.
  const added = await addSlot(makeTools, renewed, first);
  const forged = (count: number, cost: readonly [number, number]): Uint8Array[] =>
    Array.from({ length: count }, (_, i) => forgedFile(inUse.file, 100 + i, cost));
  const opening = async (
    waiting: readonly Uint8Array[],
    secret: Secret,
  ): Promise<{ readonly file: Uint8Array | StoreError; readonly work: number }> => {
    const counted = countingProvider();
    try {
      const opened = await openNewest(counted.counting, { inUse: inUse.file, waiting }, secret);
      opened.keyring.wipe();
      return { file: opened.keysFile, work: counted.work };
    } catch (error) {
      assert.ok(StoreError.is(error), String(error));
      return { file: error, work: counted.work };
    }
  };
  const own = workOf(ours);
  assert.deepEqual(await opening([renewed.file, added.file], next), { file: added.file, work: 2 * own });
  assert.deepEqual(await opening([], phrase), { file: inUse.file, work: own });
  // The right one costs less than what nobody made: it is tried first, and what is dear is not tried at all once it would be too much.
  const amid = await opening([...forged(15, dearest), renewed.file], next);
  assert.equal(amid.file, renewed.file);
  assert.ok(amid.work <= own + waitingWorkMax, `${amid.work}`);
  assert.equal((await opening([...forged(2, ours), renewed.file], next)).file, renewed.file);
  const kept = await opening(forged(16, dearest), phrase);
  assert.equal(kept.file, inUse.file);
  assert.ok(kept.work <= own + waitingWorkMax, `${kept.work}`);

  // Where it opens nothing, it says that not all were tried; and that it is the wrong one where all were.
  const { file: error, work } = await opening(forged(16, dearest), next);
  assert.ok(StoreError.is(error, 'limit-exceeded'));
  assert.deepEqual(error.facts, { kind: 'passphrase', untried: 16 });
  assert.match(error.message, /keys\.offered\.…/);
  assert.equal(work, own);
  const few = await opening(forged(1, ours), next);
  assert.ok(StoreError.is(few.file, 'wrong-key'));
  assert.equal(few.work, 17 * own);
  // What is derived by nothing slow costs nothing, however many wait.
  assert.equal((await opening([...forged(16, dearest), added.file], first)).file, added.file);
});

test('a forged file that names the opener’s slot costs no more, and who was shut out cannot say that it was made since', async () => {
  const { counting } = countingProvider();
  const makeTools = { ...tools, provider: counting };
  const inUse = await createKeys(makeTools, phrase);
  const own = workOf(ours);
  const [slot] = describeKeys(provider, inUse.file).slots;
  const id = Buffer.from(slot!.id, 'hex');
  const named = Array.from({ length: 16 }, (_, i) =>
    // With another commitment: the slot's key opens nothing, as it would with a secret that does not fit.
    changed(changed(forgedFile(inUse.file, 100 + i, dearest), headBytes, ...id), headBytes + 100, i),
  );
  const counted = countingProvider();
  const opened = await openNewest(counted.counting, { inUse: inUse.file, waiting: named }, phrase);
  assert.equal(opened.keysFile, inUse.file);
  assert.ok(counted.work <= own + waitingWorkMax, `${counted.work}`);

  // Who had the keyring has the key of each slot, and writes the slot again with another salt and a higher sequence.
  const renewed = await renewSlots(makeTools, inUse, [phrase]);
  const key = inUse.keyring.slotKey(slot!.id)!;
  const numbers = [id, random(32), random(24), random(24)];
  const forging = {
    ...makeTools,
    provider: { ...counting, argon2id: () => Promise.resolve(key.slice()) },
    random: (bytes: number) => {
      const next = numbers.shift();
      return next?.length === bytes ? new Uint8Array(next) : random(bytes);
    },
  };
  const theirs = await addSlot(makeTools, inUse, first);
  const forged = await addSlot(forging, removeSlot(makeTools, theirs, slot!.id), phrase);
  assert.ok(describeKeys(provider, forged.file).sequence > describeKeys(provider, renewed.file).sequence);
  for (const waiting of [
    [forged.file, renewed.file],
    [renewed.file, forged.file],
  ])
    assert.equal((await openNewest(counting, { inUse: inUse.file, waiting }, phrase)).keysFile, renewed.file);
});
