// A sample of the kill -9 campaign on the real engine; `npm run soak -- kill` runs the full number.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runAlternatesKills } from './alternates-kill.ts';
import { runKeysKills } from './keys-kill.ts';
import { runTakenKills } from './keys-taken-kill.ts';
import { runKill } from './kill.ts';
import { sample } from './sample.ts';
import { huntSealedMutant, runSealedKills, sealedMutant } from './sealed-kill.ts';
import { buildMutant } from './mutants.ts';
import { engineMissing } from './subject.ts';

const why =
  process.platform === 'win32'
    ? 'Windows has no SIGKILL that spares nothing of the process'
    : engineMissing();
const skip = why === undefined ? false : `NOT RUN, ${why}`;
const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);

test('three processes on one store die at random moments and lose nothing', { skip }, async (t) => {
  const report = await runKill({ seed, kills: sample(6, 3), killsPerRound: 3, roundsPerStore: 1 });
  t.diagnostic(
    `seed ${seed}: ${report.kills} kills, ${report.acknowledged} acknowledged, ${report.verifications} verifications, ${report.seconds.toFixed(1)} s`,
  );
  assert.deepEqual(report.losses, [], `losses with seed ${seed}; the folders are kept`);
  // How many come through before they die depends on the machine.
  assert.ok(report.acknowledged >= report.kills, `only ${report.acknowledged} calls were acknowledged`);
});

test(
  'keys that change while the process dies: the store opens with the old or the new ones',
  { skip },
  async (t) => {
    const report = await runKeysKills({ seed, runs: sample(4, 1) });
    t.diagnostic(`seed ${seed}: ${JSON.stringify(report)}`);
    assert.ok(report.opened > 0);
  },
);

test(
  'newer keys come to a replica while it dies: the newest that was acknowledged opens it',
  { skip },
  async (t) => {
    const report = await runTakenKills({ seed, runs: sample(4, 1) });
    t.diagnostic(`seed ${seed}: ${JSON.stringify(report)}`);
    assert.equal(report.kills, sample(4, 1));
  },
);

test(
  'a store dies while it borrows and its base collects: what it was told it holds is there',
  { skip },
  async (t) => {
    const report = await runAlternatesKills({ seed, runs: sample(4, 1) });
    t.diagnostic(`seed ${seed}: ${JSON.stringify(report)}`);
    assert.equal(report.kills, sample(4, 1));
  },
);

test('a replica without keys dies while sealed objects and roots come in', { skip }, async (t) => {
  const report = await runSealedKills({ seed, runs: sample(4, 1) });
  t.diagnostic(`seed ${seed}: ${JSON.stringify(report)}`);
  assert.equal(report.kills, sample(4, 1));
});

test('no patch of the mutant of replicas is stale', () => buildMutant(sealedMutant).remove());

const wanted = process.env['HOLDFAST_MUTANTS'] === 'all';
test(`caught: ${sealedMutant.name}`, { skip: wanted ? skip : 'only with all mutants' }, async (t) => {
  const problem = await huntSealedMutant(seed, 48);
  assert.ok(problem !== undefined);
  t.diagnostic(problem);
});
