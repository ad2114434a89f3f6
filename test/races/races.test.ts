/** Several processes on one store, in schedules that are replayed by their number: nothing that is held is lost, nothing sound is called damaged. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { buildMutant } from '../crash/mutants.ts';
import { sample } from '../crash/sample.ts';
import { huntRaceMutant, lentTooLate, raceMutants } from './mutants.ts';
import { type RacesOptions, Stage, runRaces } from './run.ts';

const stage = new Stage();
after(() => stage.close());

async function plays(options: Omit<RacesOptions, 'from'>): Promise<string> {
  const { failures, schedules, switches, steps } = await runRaces({ from: 0, stage, ...options });
  assert.deepEqual(failures, []);
  assert.equal(schedules, options.schedules);
  assert.ok(switches > schedules, 'they do meet');
  return `${schedules} schedules, ${switches} of ${steps} points handed the turn on`;
}

test('a sample of schedules breaks no promise', async (t) => {
  // Some on each kind of store.
  t.diagnostic(await plays({ schedules: sample(1536, 15), perStore: sample(256, 3) }));
});

test('a sample of long schedules breaks no promise', async (t) => {
  t.diagnostic(await plays({ schedules: sample(24, 2), processes: 2, brief: false }));
});

test('a file that another process collects while it is moved is not called damaged', async (t) => {
  const work = [
    [[{ step: 'move', turn: 2 }]],
    [[{ step: 'put-held', blob: 3 }], [{ step: 'release', blob: 3 }], [{ step: 'gc' }]],
  ] as const;
  t.diagnostic(await plays({ schedules: sample(48, 3), processes: 2, work }));
});

test('a receive is refused where the root would go back, and only there', async (t) => {
  const root = [[{ step: 'receive' }], [{ step: 'put-held', blob: 0 }], [{ step: 'root' }]] as const;
  const again = [[{ step: 'receive' }], [{ step: 'unroot' }], [{ step: 'receive' }]] as const;
  const beside = [[{ step: 'tree', blob: 5 }], [{ step: 'receive' }], [{ step: 'gc' }]] as const;
  t.diagnostic(await plays({ schedules: 2, processes: 2, work: [[...root, ...again], beside] }));
});

test('what a base collects between the question and the borrowing is not borrowed, nor referred to', async (t) => {
  t.diagnostic(await plays({ ...lentTooLate, schedules: 1, processes: 3 }));
});

test('no patch of a mutant is stale', () => {
  for (const mutant of raceMutants) buildMutant(mutant).remove();
});

const all = process.env['HOLDFAST_MUTANTS'] === 'all';
for (const mutant of raceMutants.filter((one, i) => all || i === 0))
  test(`caught: ${mutant.name}`, async (t) => {
    const { failure, schedules } = await huntRaceMutant(mutant, { schedules: 2048 });
    assert.ok(failure !== undefined, `not caught in ${schedules} schedules`);
    t.diagnostic(`${schedules} schedules: ${failure.problem.split('\n')[0]}`);
  });
