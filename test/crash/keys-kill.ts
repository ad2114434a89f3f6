/** Kills with SIGKILL while the keys of a store change: it opens with the old or the new ones, never with neither, and reads what it held. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Store, StoreError, openStore } from '../../engine/index.ts';
import { type KeysLine, type KeysPlan, blobOf, secretOf } from './keys-changer.ts';
import { seededRandom } from './random.ts';
import { freshFolder } from './recorded-run.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { someDeath, strike } from './struck.ts';

const script = fileURLToPath(new URL('./keys-changer.ts', import.meta.url));
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
/** Kills of one store before the next. */
const killsPerStore = 20;

export interface KeysKillReport {
  kills: number;
  /** Of them, those in the middle of a change. */
  within: number;
  /** Changes of keys that were acknowledged. */
  changes: number;
  /** Secrets that were tried afterwards, and let in or not. */
  opened: number;
  refused: number;
}

/** What of the store is known from outside. */
interface Known {
  /** Secrets that were ever told of; `unknown` where a change of them was not acknowledged. */
  readonly secrets: Map<number, 'in' | 'out' | 'unknown'>;
  readonly slots: Map<number, string>;
  readonly blobs: Set<number>;
  next: number;
}

/** Throws at the first promise that is broken, and keeps the folder. */
export async function runKeysKills(
  { seed, runs }: { readonly seed: number; readonly runs: number },
  onKill?: (report: KeysKillReport) => void,
): Promise<KeysKillReport> {
  const base = freshFolder('keys-kill');
  const random = seededRandom(seed, 4);
  const report: KeysKillReport = { kills: 0, within: 0, changes: 0, opened: 0, refused: 0 };
  for (let number = 0; report.kills < runs; number++) {
    const folder = join(base, `store-${number}`);
    mkdirSync(folder);
    const store = join(folder, 'store');
    const known: Known = { secrets: new Map([[0, 'in']]), slots: new Map(), blobs: new Set(), next: 1 };
    await (await openWith(store, 0)).close();
    for (let kill = 0; kill < killsPerStore && report.kills < runs; kill++) {
      const inside = [...known.secrets].filter(([, way]) => way === 'in').map(([n]) => n);
      const first = random.below(inside.length);
      const plan: KeysPlan = {
        store,
        told: join(folder, 'told'),
        death: someDeath(random, { calls: 300, ms: 80 }),
        seed: seed * 10_007 + report.kills,
        secrets: [...inside.slice(first), ...inside.slice(0, first)].map((n) => [
          n,
          known.slots.get(n) ?? null,
        ]),
        next: known.next,
      };
      const { lines, trouble } = await strike<KeysLine>(script, plan);
      assert.equal(trouble, undefined, `kill ${report.kills} in ${folder}`);
      report.kills++;
      for (const line of lines) learn(known, line);
      const last = lines.at(-1)!;
      if (last.k === 'start') report.within++;
      report.changes += lines.filter((line) => line.k === 'done' && line.op !== 'put').length;
      const tried = await judge(store, known, `after kill ${report.kills} in ${folder}`);
      report.opened += tried.opened;
      report.refused += tried.refused;
      onKill?.(report);
    }
    rmSync(folder, { recursive: true });
  }
  rmSync(base, { recursive: true });
  return report;
}

function learn(known: Known, line: KeysLine): void {
  if (line.k === 'opened') return;
  const { secrets, slots } = known;
  const done = line.k === 'done';
  known.next++;
  if (line.op === 'put') {
    if (done) known.blobs.add(line.blob);
  } else if (line.op === 'add') {
    secrets.set(line.secret, done ? 'in' : 'unknown');
    if (line.slot !== undefined) slots.set(line.secret, line.slot);
  } else if (line.op === 'remove') secrets.set(line.secret, done ? 'out' : 'unknown');
  else if (line.op === 'renew') {
    for (const [n, way] of secrets) {
      const stays = line.secrets.includes(n);
      if (!stays && way !== 'out') secrets.set(n, done ? 'out' : 'unknown');
    }
    for (const n of line.secrets) if (secrets.get(n) !== 'in') secrets.set(n, done ? 'in' : 'unknown');
    // Their slots are other ones now; before it is acknowledged perhaps.
    slots.clear();
  }
}

/** Tries every secret; what was unknown is known afterwards. */
async function judge(
  path: string,
  known: Known,
  where: string,
): Promise<{ readonly opened: number; readonly refused: number }> {
  let opened = 0;
  let refused = 0;
  for (const [n, way] of known.secrets) {
    const store = await openWith(path, n).catch((error: unknown) => {
      if (!StoreError.is(error, 'wrong-key')) throw error;
      return undefined;
    });
    if (store === undefined) refused++;
    assert.ok(!(store === undefined && way === 'in'), `secret ${n} does not open it any more, ${where}`);
    assert.ok(!(store !== undefined && way === 'out'), `secret ${n} opens it again, ${where}`);
    known.secrets.set(n, store === undefined ? 'out' : 'in');
    if (store === undefined) continue;
    if (opened++ === 0) await judgeBlobs(store, known, where);
    await store.close();
  }
  assert.ok(opened > 0, `nothing opens it, ${where}`);
  const [keys, copy] = ['keys', 'keys.copy'].map((name) => readFileSync(join(path, name)));
  assert.deepEqual(keys, copy, `keys and their copy differ, ${where}`);
  // An old one is tried no more, or there would be ever more of them.
  const outs = [...known.secrets].filter(([, way]) => way === 'out');
  for (const [n] of outs.slice(0, -3)) known.secrets.delete(n);
  return { opened, refused };
}

async function judgeBlobs(store: Store, known: Known, where: string): Promise<void> {
  for (const n of known.blobs) {
    const bytes = blobOf(n);
    const got = await store.get(sha256(bytes));
    assert.ok(got !== undefined, `blob ${n} is lost, ${where}`);
    assert.ok(Buffer.compare(got, bytes) === 0, `blob ${n} has other bytes, ${where}`);
  }
  const { damaged, recounted, badRows } = await store.scrub();
  assert.deepEqual([damaged, recounted, badRows], [[], 0, 0], where);
}

function openWith(path: string, secret: number): Promise<Store> {
  return openStore(path, {
    threads: { count: 0 },
    parameters: smallParameters,
    encryption: { secret: secretOf(secret) },
  });
}
