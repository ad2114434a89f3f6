/** Kills with SIGKILL a replica while newer files of keys come to it: the newest that was acknowledged is what a secret of it opens. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Store, openStore } from '../../engine/index.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { blobOf, secretOf } from './keys-changer.ts';
import type { TakerLine, TakerPlan } from './keys-taker.ts';
import { type Random, seededRandom } from './random.ts';
import { freshFolder } from './recorded-run.ts';
import { someDeath, strike } from './struck.ts';

const script = fileURLToPath(new URL('./keys-taker.ts', import.meta.url));
const threads = { count: 0 } as const;
/** Changes of the keys at the source: fewer than may wait. */
const changes = 12;

export interface TakenKillReport {
  kills: number;
  /** Of them, those between a file and its acknowledgement. */
  within: number;
  /** Files of keys that were in use at once, and those that waited. */
  taken: number;
  kept: number;
}

/** The source's keys as they were one after the other, and the number of a secret that opens each. */
interface Made {
  readonly files: readonly string[];
  readonly secrets: readonly number[];
  readonly root: string;
}

/** Throws at the first promise that is broken, and keeps the folder. */
export async function runTakenKills(
  { seed, runs }: { readonly seed: number; readonly runs: number },
  onKill?: (report: TakenKillReport) => void,
): Promise<TakenKillReport> {
  const base = freshFolder('keys-taken-kill');
  const random = seededRandom(seed, 11);
  const report: TakenKillReport = { kills: 0, within: 0, taken: 0, kept: 0 };
  for (let number = 0; report.kills < runs; number++) {
    const folder = join(base, `pair-${number}`);
    mkdirSync(folder);
    const made = await makePair(folder, random);
    for (let inUse = 0; inUse + 1 < made.files.length && report.kills < runs;) {
      const plan: TakerPlan = {
        replica: join(folder, 'replica'),
        told: join(folder, 'told'),
        // A file that is taken is 20 calls and more, one that waits about ten.
        death: someDeath(random, { calls: random.pick([40, 150]), ms: 60 }),
        secret: random.chance(0.5) ? made.secrets[inUse]! : null,
        files: made.files,
        from: inUse + 1,
      };
      const where = `after kill ${report.kills} in ${folder}`;
      const { lines, trouble } = await strike<TakerLine>(script, plan);
      assert.equal(trouble, undefined, where);
      report.kills++;
      let [acknowledged, started] = [inUse, inUse];
      for (const line of lines) {
        if (line.k === 'opened') continue;
        started = Math.max(started, line.file);
        if (line.k === 'start') continue;
        acknowledged = Math.max(acknowledged, line.file);
        if (line.state === 'taken') report.taken++;
        else if (line.state !== 'old') report.kept++;
      }
      if (lines.at(-1)?.k === 'start') report.within++;
      inUse = await judge(plan.replica, made, { acknowledged, started, where });
      onKill?.(report);
    }
    rmSync(folder, { recursive: true });
  }
  rmSync(base, { recursive: true });
  return report;
}

/** A source whose keys change again and again, and a replica that has heard of nothing yet. */
async function makePair(folder: string, random: Random): Promise<Made> {
  const opening = { threads, parameters: smallParameters, encryption: { secret: secretOf(0) } };
  const source = await openStore(join(folder, 'source'), opening);
  const replica = await openStore(join(folder, 'replica'), {
    threads,
    replicaOf: await source.sealed.seed(),
  });
  const { id } = await source.put(blobOf(0));
  await source.roots.set('root', id);
  const [root] = await source.sealed.roots();
  const { locator } = root!;
  const object = await source.sealed.read(locator, { offset: 0, length: 1e6 });
  await replica.sealed.put(object!, { locator, kind: 'raw' });
  await replica.sealed.setRoot(root!);
  await replica.close();
  const files: string[] = [];
  const secrets: number[] = [];
  for (let n = 0; n <= changes; n++) {
    const dice = n === 0 ? 100 : random.below(100);
    if (dice < 60) await source.keys.add(secretOf(n));
    else if (dice < 85) await source.keys.rotate();
    else if (dice < 100) await source.keys.renew([secretOf(n)]);
    secrets.push(dice < 60 || (dice >= 85 && dice < 100) ? n : (secrets.at(-1) ?? 0));
    files.push(join(folder, `keys-${n}`));
    writeFileSync(files[n]!, (await source.sealed.seed()).keys);
  }
  await source.close();
  return { files, secrets, root: id };
}

/** Opens it by a secret of the newest file that was acknowledged; gives which one is in use then. */
async function judge(
  path: string,
  { files, secrets, root }: Made,
  so: { readonly acknowledged: number; readonly started: number; readonly where: string },
): Promise<number> {
  const { acknowledged, started, where } = so;
  const encryption = { secret: secretOf(secrets[acknowledged]!) };
  const store: Store = await openStore(path, { threads, encryption });
  const { keys, offered } = await store.sealed.seed();
  const inUse = files.findIndex((file) => readFileSync(file).equals(keys));
  assert.ok(
    inUse >= acknowledged && inUse <= started,
    `keys ${inUse} of ${acknowledged}–${started}, ${where}`,
  );
  assert.equal(offered, undefined, `keys wait that the secret opens, ${where}`);
  assert.equal(await store.roots.get('root'), root, where);
  assert.deepEqual(await store.get(root), blobOf(0), where);
  const { damaged, badRows } = await store.scrub();
  assert.deepEqual([damaged, badRows], [[], 0], where);
  await store.close();
  const left = readdirSync(path).filter((name) => name.startsWith('keys'));
  assert.deepEqual(left.toSorted(), ['keys', 'keys.copy'], where);
  assert.deepEqual(readFileSync(join(path, 'keys.copy')), readFileSync(join(path, 'keys')), where);
  return inUse;
}
