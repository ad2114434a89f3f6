// The crash tools see what they must see: the sound stand-in loses nothing, each broken one is caught.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runKill } from './kill.ts';
import { type Entry, parseLedger, reached, reachedTable } from './ledger.ts';
import { applyPatch, huntMutant } from './mutants.ts';
import { createOracle } from './oracle.ts';
import { runPowerLoss } from './power-loss.ts';
import { buildRecorder } from './recorded-run.ts';
import { sample } from './sample.ts';
import { flaws } from './stand-in.ts';
import type { Subject } from './subject.ts';

const sound: Subject = { kind: 'stand-in', flaws: [] };
const recorder = buildRecorder();
const skip = 'missing' in recorder ? `NOT RUN, no recorder: ${recorder.missing}` : false;
const seed = Number(process.env['HOLDFAST_SEED'] ?? 7);

test('a sound store survives every power loss', { skip }, async (t) => {
  const report = await runPowerLoss({
    seed,
    states: sample(24, 12),
    subject: sound,
    recoveries: 1,
    recoveryCuts: 4,
    rounds: [60, 30],
  });
  t.diagnostic(`seed ${seed}: ${report.states} crash states, ${report.stateMs.toFixed(1)} ms each`);
  assert.deepEqual(report.losses, []);
  assert.ok(report.states >= sample(24, 12) && report.acknowledged > 50);
});

/** By default two, which show soon; HOLDFAST_MUTANTS=all is every one. */
const hunted = process.env['HOLDFAST_MUTANTS'] === 'all' ? flaws : flaws.slice(0, 2);

for (const flaw of hunted)
  test(`a store with "${flaw}" is caught`, { skip }, async (t) => {
    const subject: Subject = { kind: 'stand-in', flaws: [flaw] };
    const verdict = await huntMutant(subject, { name: flaw, seed, seeds: 4, states: 80, verifier: sound });
    t.diagnostic(
      `seed ${verdict.seed}: after ${verdict.states} states: ${verdict.loss?.problems[0] ?? 'nothing'}`,
    );
    assert.ok(verdict.caught, `not caught in ${verdict.states} states, seed ${seed}`);
  });

test('kill -9 of a sound store loses nothing, of one that acknowledges too early it does', async () => {
  const good = await runKill({ seed, kills: sample(6, 3), subject: sound, processes: 1, killsPerRound: 3 });
  assert.deepEqual(good.losses, []);
  const early: Subject = { kind: 'stand-in', flaws: ['ack before commit'] };
  // Whether a kill meets the moment is chance; that none of so many does is none.
  let lost = false;
  for (let s = seed; !lost && s < seed + 10; s++) {
    const given = { seed: s, kills: 6, subject: early, verifier: sound };
    const report = await runKill({ ...given, processes: 1, killsPerRound: 3, keep: false });
    lost = report.losses.length > 0;
  }
  assert.ok(lost);
});

test('a patch that no longer fits says so', () => {
  const patch = { file: 'engine/x.ts', find: 'sync()', replace: '$&' };
  assert.equal(applyPatch('a sync() b', patch, 'm'), 'a $& b');
  assert.throws(() => applyPatch('nothing', patch, 'm'), /"m" is stale: its text occurs 0 times/);
  assert.throws(() => applyPatch('sync() sync()', patch, 'm'), /occurs 2 times/);
});

test('the oracle knows what may be and what must be', () => {
  const oracle = createOracle();
  const holding = (): string | undefined => oracle.expectation().references[0]?.holding;
  const hold = { op: 'hold', owner: 'o', id: 'i' } as const;
  const drop = { op: 'drop', owner: 'o', id: 'i' } as const;
  oracle.tell({ k: 'start', ...hold });
  assert.equal(holding(), 'unknown');
  oracle.tell({ k: 'done', ...hold });
  oracle.tell({ k: 'start', ...hold });
  assert.equal(holding(), 'held');
  oracle.tell({ k: 'start', ...drop });
  assert.equal(holding(), 'unknown');
  oracle.tell({ k: 'done', ...drop });
  assert.equal(holding(), 'free');
  oracle.tell({ k: 'start', op: 'root', name: 'r', id: 'a' });
  assert.deepEqual(oracle.expectation().roots, [{ name: 'r', allowed: [null, 'a'] }]);
  oracle.tell({ k: 'done', op: 'root', name: 'r', id: 'a' });
  oracle.tell({ k: 'start', op: 'root', name: 'r', id: 'b' });
  assert.deepEqual(oracle.expectation().roots, [{ name: 'r', allowed: ['a', 'b'] }]);
  assert.equal(oracle.acknowledged(), 3);
});

test('what was reached counts each number once, and a loss until its numbers were run again', () => {
  const entry: Entry = {
    campaign: 'races',
    from: 0,
    to: 100,
    runs: 100,
    losses: 0,
    commit: 'a'.repeat(40),
    date: '2026-11-21T12:00:00.000Z',
    seconds: 9,
  };
  const later = (more: Partial<Entry>): Entry => ({ ...entry, date: '2026-11-22T12:00:00.000Z', ...more });
  const races = (entries: readonly Entry[]): unknown => {
    const [{ runs, losses, slices } = { runs: 0, losses: 0, slices: 0 }] = reached(entries);
    return [runs, losses, slices];
  };
  const lost = { ...entry, from: 100, to: 200, losses: 1 };
  assert.deepEqual(races([]), [0, 0, 0]);
  assert.deepEqual(races([entry, lost]), [200, 1, 2]);
  assert.deepEqual(races([entry, entry]), [100, 0, 1], 'the same numbers twice');
  assert.deepEqual(races([entry, lost, later({ from: 100, to: 200 })]), [200, 0, 2], 'mended');
  assert.deepEqual(
    races([entry, later({ from: 50, to: 150 })]),
    [100, 0, 1],
    'the older one falls away whole',
  );
  assert.match(reachedTable([entry, lost]), /^\| `races` \| schedules \| 1,000,000 \| 200 \| 1 \|$/m);
  assert.deepEqual(parseLedger(`${JSON.stringify(entry)}\n`), [entry]);
  for (const wrong of [{ campaign: 'none' }, { commit: 'HEAD' }, { to: 0 }, { runs: 0.5 }, { date: 'now' }])
    assert.throws(() => parseLedger(JSON.stringify({ ...entry, ...wrong })), /line 1 of the ledger is none/);
});
