/** Kills with SIGKILL a store that borrows, from its registration on, while the base collects: what was acknowledged stays readable. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BlobId, type Store, openStore } from '../../engine/index.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { type BorrowerLine, type BorrowerPlan, contentOf, holder } from './borrower.ts';
import { seededRandom } from './random.ts';
import { freshFolder } from './recorded-run.ts';
import { someDeath, strike } from './struck.ts';

const script = fileURLToPath(new URL('./borrower.ts', import.meta.url));
const options = { threads: { count: 0 }, parameters: smallParameters } as const;
/** Kills of one borrower before the next, and contents that come into the base for each. */
const killsPerStore = 12;
const contentsEach = 16;

export interface AlternatesKillReport {
  kills: number;
  /** Blobs that were held after kills, and lay in the base alone. */
  borrowed: number;
  /** Copied by dissociations that ended. */
  copied: number;
  /** Deleted in the base meanwhile. */
  collected: number;
}

type Holding = 'held' | 'free' | 'unknown';

/** Throws at the first promise that is broken, and keeps the folder. */
export async function runAlternatesKills(
  { seed, runs }: { readonly seed: number; readonly runs: number },
  onKill?: (report: AlternatesKillReport) => void,
): Promise<AlternatesKillReport> {
  const folder = freshFolder('alternates-kill');
  const random = seededRandom(seed, 5);
  const report: AlternatesKillReport = { kills: 0, borrowed: 0, copied: 0, collected: 0 };
  for (let number = 0; report.kills < runs; number++) {
    const area = join(folder, `pair-${number}`);
    mkdirSync(area);
    const base = await openStore(join(area, 'base'), options);
    const store = join(area, 'store');
    const holdings = new Map<number, { readonly id: BlobId; readonly holding: Holding }>();
    for (let kill = 0; kill < killsPerStore && report.kills < runs; kill++) {
      const contents: [number, number] = [Math.max(0, kill - 1) * contentsEach, (kill + 1) * contentsEach];
      const ids: BlobId[] = [];
      for (let n = kill * contentsEach; n < contents[1]; n++)
        ids.push((await base.put(contentOf(n), { owner: 'base' })).id);
      const plan: BorrowerPlan = {
        store,
        base: join(area, 'base'),
        told: join(area, 'told'),
        death: someDeath(random, { calls: random.pick([40, 1000]), ms: 300 }),
        seed: seed * 10_007 + report.kills,
        contents,
        held: [...holdings].flatMap(([n, { id, holding }]) => (holding === 'held' ? [[n, id] as const] : [])),
      };
      // The base lets go of one after the other and collects, from before the other one is registered.
      const meanwhile = async (): Promise<void> => {
        const id = random.chance(0.1) ? ids.pop() : undefined;
        if (id !== undefined) await base.release(id, 'base');
        report.collected += await collect(base);
      };
      const { lines, trouble } = await strike<BorrowerLine>(script, plan, meanwhile);
      assert.equal(trouble, undefined, `kill ${report.kills} in ${area}`);
      report.kills++;
      for (const line of lines) learn(holdings, line, report);
      if (random.chance(0.5)) {
        for (const id of ids.splice(0)) await base.release(id, 'base');
        report.collected += await collect(base);
      }
      await judge({ base, path: store, holdings, where: `after kill ${report.kills} in ${area}` }, report);
      onKill?.(report);
    }
    await base.close();
    rmSync(area, { recursive: true });
  }
  rmSync(folder, { recursive: true });
  return report;
}

/** How many were deleted. That the other one cannot be asked while it is made, or recovers, is no trouble. */
async function collect(base: Store): Promise<number> {
  const { deleted, blocked } = await base.gc({ graceMs: 0 });
  if (blocked !== undefined) assert.equal(deleted, 0, blocked);
  return deleted;
}

function learn(
  holdings: Map<number, { readonly id: BlobId; readonly holding: Holding }>,
  line: BorrowerLine,
  report: AlternatesKillReport,
): void {
  if (line.k === 'begun') return;
  if (line.op === 'hold' || line.op === 'drop') {
    const { n, id } = line;
    const becomes: Holding = line.op === 'hold' ? 'held' : 'free';
    const same = (holdings.get(n)?.holding ?? 'free') === becomes;
    holdings.set(n, { id, holding: line.k === 'done' || same ? becomes : 'unknown' });
  } else if (line.op === 'dissociate' && line.k === 'done') report.copied += line.blobs;
}

async function judge(
  given: {
    readonly base: Store;
    readonly path: string;
    readonly holdings: Map<number, { readonly id: BlobId; readonly holding: Holding }>;
    readonly where: string;
  },
  report: AlternatesKillReport,
): Promise<void> {
  const { base, holdings, where } = given;
  const store = await openStore(given.path, options);
  for (const [n, { id, holding }] of holdings) {
    if (holding === 'free') continue;
    const got = await store.get(id);
    assert.ok(got !== undefined || holding === 'unknown', `blob ${n} is held and gone, ${where}`);
    if (got !== undefined)
      assert.ok(Buffer.compare(got, contentOf(n)) === 0, `blob ${n} has other bytes, ${where}`);
    if (holding === 'held') continue;
    // What nobody can say it holds is let go of.
    await store.release(id, holder);
    holdings.set(n, { id, holding: 'free' });
  }
  const { damaged, recounted, badRows } = await store.scrub();
  assert.deepEqual([damaged, recounted, badRows], [[], 0, 0], where);
  for (const { id, holding } of holdings.values())
    if (holding === 'held' && (await store.stat(id))?.borrowed === true) report.borrowed++;
  // When nobody is at work, the base can ask, and then keeps no more than what is borrowed.
  await store.gc({ graceMs: 0 });
  await store.close();
  const { deleted, blocked } = await base.gc({ graceMs: 0 });
  assert.equal(blocked, undefined, `${where}: the base cannot collect`);
  report.collected += deleted;
  const after = await base.scrub();
  assert.deepEqual([after.damaged, after.recounted, after.badRows], [[], 0, 0], where);
}
