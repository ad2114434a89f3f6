/** Short runs of every fuzzer with a fixed seed, and the canaries: broken decoders and lying stores that must be found. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inputOf } from '../../fuzz/inputs.ts';
import { canaryJobs, findJob, jobs } from '../../fuzz/jobs.ts';
import { shrinkBytes, shrinkList } from '../../fuzz/shrink.ts';
import { makeSteps } from '../../fuzz/store/steps.ts';
import { makeUniverse } from '../../fuzz/store/universe.ts';
import { node } from '../../fuzz/targets/codec.ts';
import { runJob } from '../../fuzz/run.ts';
import { watchJob } from '../../fuzz/watch.ts';
import { full, sample } from '../crash/sample.ts';

/** Another one every release, if you like; `npm run fuzz` takes a new one each time. */
const seed = 20_260_101;
const runs: Readonly<Record<string, number>> = {
  store: sample(2, 1),
  'store-encrypted': sample(2, 1),
  'store-threads': 1,
  'store-rebuild': 1,
  'store-rebuild-encrypted': 1,
  address: sample(300, 150),
  salvage: sample(150, 30),
};
const runsElse = sample(700, 90);

for (const job of jobs) {
  test(`${job.name}: short runs find nothing`, async () => {
    const report = await runJob(job, { seed, first: 0, runs: runs[job.name] ?? runsElse });
    assert.equal(report.failure, undefined, JSON.stringify(report.failure));
    assert.ok(report.accepted > 0, 'no input was accepted');
    assert.equal(report.accepted + report.refused, runs[job.name] ?? runsElse);
  });
}

/** One with which they are found soon. */
const canarySeed = 2;
/** With this seed it is the first run that finds it; those before it are for CI. */
const firstOf: Readonly<Record<string, number>> = { 'canary-store-range': sample(0, 2) };
/** They must be watched from another thread, which takes long to start; in CI all are but those of stores. */
const watched = ['canary-endless', 'canary-greedy'];
/** Runs within which a canary must be found, and how it must look. */
const found: Readonly<Record<string, readonly [runs: number, message: RegExp]>> = {
  'canary-lenient': [2000, /accepted bytes that encoding does not give back/],
  'canary-careless': [2000, /threw RangeError/],
  'canary-endless': [4000, /hangs/],
  'canary-greedy': [1000, /memory grew by \d+ MB/],
  'canary-store-release': [8, /should|not what/],
  'canary-store-range': [12, /readRange gives other bytes/],
};

for (const job of canaryJobs) {
  test(`${job.name} is found`, async () => {
    const [within, message] = found[job.name]!;
    const order = { seed: canarySeed, first: firstOf[job.name] ?? 0, runs: within };
    const watch = full ? !job.name.startsWith('canary-store') : watched.includes(job.name);
    const { failure } = watch
      ? // What does not hang has time, however busy the machine is.
        await watchJob(job, {
          ...order,
          hangMs: job.name === 'canary-endless' ? sample(1500, 500) : 120_000,
        })
      : await runJob(job, order);
    assert.match(failure?.message ?? 'nothing was found', message);
    assert.equal(typeof failure?.at, 'number');
    if (job.name === 'canary-store-range') assert.ok(failure!.text.split('\n').length <= 4, failure!.text);
  });
}

test('a run is a function of seed and number', () => {
  assert.deepEqual(inputOf(node, seed, 5), inputOf(node, seed, 5));
  assert.notDeepEqual(inputOf(node, seed, 5), inputOf(node, seed + 1, 5));
  assert.notDeepEqual(inputOf(node, seed, 5), inputOf(node, seed, 6));
  const steps = makeSteps(seed, 3, 40);
  assert.deepEqual(steps, makeSteps(seed, 3, 40));
  assert.deepEqual(JSON.parse(JSON.stringify(steps)), steps);
  assert.deepEqual(makeUniverse(seed), makeUniverse(seed));
  for (let i = 0; i < 50; i++) {
    const ids = makeUniverse(i).map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, `universe ${i} has a blob twice`);
  }
});

test('what fails is made as small as it can be', async () => {
  const list = await shrinkList(
    Array.from({ length: 100 }, (_, i) => i),
    (items) => Promise.resolve(items.includes(17) && items.includes(60)),
    1000,
  );
  assert.deepEqual(list, [17, 60]);
  const bytes = await shrinkBytes(
    Uint8Array.from({ length: 200 }, (_, i) => i),
    (bytes) => Promise.resolve(bytes.length >= 3 && bytes.includes(99)),
    1000,
  );
  assert.equal(bytes.length, 3);
  assert.deepEqual(
    [...bytes].sort((a, b) => a - b),
    [0, 0, 99],
  );
});

test('the program prints the seed, and how to do a finding again', async () => {
  const program = fileURLToPath(new URL('../../fuzz/main.ts', import.meta.url));
  const run = (...args: readonly string[]) => promisify(execFile)(process.execPath, [program, ...args]);
  const { stdout } = await run('cbor', '--runs', '50', '--seed', '9');
  assert.match(stdout, /^seed 9\ncbor: \d+ accepted, \d+ refused/);
  const failed = await run('canary-lenient', '--runs', '2000', '--seed', '9').then(
    () => assert.fail('a finding must end with exit 1'),
    (error: { code: number; stdout: string }) => error,
  );
  assert.equal(failed.code, 1);
  const again = /npm run fuzz -- (canary-lenient --seed 9 --first \d+ --runs 1)/.exec(failed.stdout)?.[1];
  assert.ok(again, failed.stdout);
  await assert.rejects(run(...again.split(' ')), { code: 1 });
  assert.throws(() => findJob('nothing'), /nothing is called nothing/);
});
