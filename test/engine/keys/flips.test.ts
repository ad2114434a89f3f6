/** Turned bits and cut ends in every file of an encrypted store: the right bytes or a typed error, and a scrub without keys sees what reads see. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type OpenOptions, type Store, StoreError, openStore } from '../../../engine/index.ts';
import { seededRandom } from '../../crash/random.ts';
import { noise, same, sha256, smallParameters } from '../store-folder.ts';
import { copyStore, filesOf } from './forger.ts';
import { secret } from './known.ts';
import { sample } from '../../crash/sample.ts';

/** `HOLDFAST_FLIPS=5000` is the full number. */
const flips = Number(process.env['HOLDFAST_FLIPS'] ?? sample(12, 8));
const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);
const random = seededRandom(seed, 0xf11b5);
const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-flips-'));
const pattern = join(base, 'pattern');
const contents = [0, 10, 3000, 4096, 9000, 20_000, 30_000].map((size, i) => noise(size, 50 + i));
const typed = new Set([
  'corrupt',
  'tampered',
  'wrong-key',
  'incompatible-format',
  'unavailable',
  'not-a-store',
  'needs-rebuild',
  'needs-reopen',
]);

function open(path: string, options: OpenOptions): Promise<Store> {
  const sizes = {
    parameters: smallParameters,
    chunking: { mode: 'off', least: 4096, average: 8192, greatest: 16_384 },
  } as const;
  return openStore(path, { threads: { count: 0 }, durability: 'relaxed', ...sizes, ...options });
}

const keyed: OpenOptions = { encryption: { secret } };

before(async () => {
  const store = await open(pattern, keyed);
  for (const [i, content] of contents.entries())
    await store.put(content, { owner: 'me', chunking: i === 6 ? 'fastcdc' : 'off' });
  await store.roots.set('main', sha256(contents[2]!));
  await store.close();
  rmSync(join(pattern, 'ballast'));
});

after(() => rmSync(base, { recursive: true, force: true }));

/** Runs what may fail, but only by an error of ours. */
async function tryTo<Result>(what: string, work: () => Promise<Result>): Promise<Result | 'refused'> {
  try {
    return await work();
  } catch (error) {
    assert.ok(StoreError.is(error) && typed.has(error.code), `${what}: ${String((error as Error).stack)}`);
    return 'refused';
  }
}

/** Whether anything was refused. */
async function readsAll(what: string, store: Store): Promise<boolean> {
  let refused = false;
  for (const content of contents) {
    const id = sha256(content);
    const whole = await tryTo(what, () => store.get(id));
    if (whole === 'refused') refused = true;
    else if (whole !== undefined) same(whole, content);
    const range = await tryTo(what, () => store.readRange(id, 4000, 300));
    if (range !== 'refused' && range !== undefined) same(range, content.subarray(4000, 4300));
  }
  const root = await tryTo(what, () => store.roots.get('main'));
  assert.ok(
    root === 'refused' || root === undefined || root === sha256(contents[2]!),
    `${what}: another root`,
  );
  await tryTo(what, () => store.roots.list());
  await tryTo(what, () => store.roots.log());
  await tryTo(what, async () => {
    for await (const { id } of store.list()) assert.ok(id.length === 64);
  });
  return refused;
}

async function endures(what: string, path: string, change: (bytes: Buffer) => Uint8Array): Promise<void> {
  const copy = join(base, 'copy');
  copyStore(pattern, copy);
  const file = join(copy, path);
  chmodSync(file, 0o644);
  writeFileSync(file, change(readFileSync(file)));
  try {
    const store = await tryTo(what, () => open(copy, keyed));
    if (store === 'refused') return;
    const refused = await readsAll(what, store);
    await tryTo(what, () => store.close());
    const locked = await tryTo(what, () => open(copy, {}));
    if (locked === 'refused') return;
    const report = await tryTo(what, () => locked.scrub());
    if (refused && report !== 'refused') {
      const { damaged, badRows, unreachable } = report;
      assert.ok(damaged.length + badRows + unreachable > 0, `${what}: a scrub without keys sees nothing`);
    }
    await tryTo(what, () => locked.close());
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

test(`${flips} turned bits and cut ends, seed ${seed}`, async () => {
  const files = filesOf(pattern);
  for (let i = 0; i < flips; i++) {
    const path = files[i % files.length]!;
    const { length } = readFileSync(join(pattern, path));
    const [at, bit] = [random.below(Math.max(1, length)), random.below(8)];
    if (random.chance(0.1)) await endures(`${path} cut off at ${at}`, path, (bytes) => bytes.subarray(0, at));
    else
      await endures(`bit ${bit} of byte ${at} of ${path}`, path, (bytes) => {
        if (bytes.length > 0) bytes[at]! ^= 1 << bit;
        return bytes;
      });
  }
});
