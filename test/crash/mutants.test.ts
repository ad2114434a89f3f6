// Deliberately broken builds of the engine are caught by the power-loss campaign, and none of their patches is stale. By default one is
// hunted; HOLDFAST_MUTANTS=all, as `npm run soak -- mutants`, is all of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildMutant, huntMutant, mutants } from './mutants.ts';
import { buildRecorder } from './recorded-run.ts';
import { engineMissing } from './subject.ts';

const recorder = buildRecorder();
const why = 'missing' in recorder ? `no recorder: ${recorder.missing}` : engineMissing();

/** Shows in a few states. */
const quick = ['no file fsync'];
const all = process.env['HOLDFAST_MUTANTS'] === 'all';

test('no patch of a mutant is stale', { skip: why ?? false }, () => {
  for (const mutant of mutants) buildMutant(mutant).remove();
});

for (const mutant of mutants.filter(({ name }) => all || quick.includes(name))) {
  const reason = why ?? (mutant.patches.length === 0 ? 'its patch is not written yet' : undefined);
  test(`caught: ${mutant.name}`, { skip: reason === undefined ? false : `NOT RUN, ${reason}` }, async (t) => {
    const copy = buildMutant(mutant);
    try {
      const { name, seed = 1 } = mutant;
      const verdict = await huntMutant(copy.subject, { name, seed, seeds: 8, states: 80 });
      t.diagnostic(
        `seed ${verdict.seed}, ${verdict.states} states: ${verdict.loss?.problems[0] ?? 'nothing seen'}`,
      );
      assert.ok(
        verdict.caught,
        `not caught in ${verdict.states} states: ${JSON.stringify(verdict.loss?.problems)}`,
      );
    } finally {
      copy.remove();
    }
  });
}
