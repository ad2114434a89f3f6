/** Keeps the benchmarks from rotting: the workloads run at tiny scale, and says what it should; how fast is not asked. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pickWorkloads, workloads } from '../../bench/catalogue.ts';
import { Noise, makeData, smallFiles } from '../../bench/data.ts';
import { findBuild } from '../../bench/door.ts';
import { type WorkloadFigures, figuresOf, median, showFigures } from '../../bench/report.ts';
import { runWorkloads } from '../../bench/run.ts';
import { scales } from '../../bench/scale.ts';
import { inFlight } from '../../bench/window.ts';
import { sample } from '../crash/sample.ts';

/** In memory where there is such a place: what is asked here is not how fast the disk is. */
const place = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const directory = mkdtempSync(join(place, 'holdfast-bench-test-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const scale = scales.tiny;
const { isStale } = (await import(new URL('../toolchain/build.mjs', import.meta.url).href)) as {
  isStale: (this: void) => boolean;
};
/** `npm test` has built; whoever runs this file alone may have changed something since. */
const build = findBuild(isStale() ? 'source' : 'dist');
const options = {
  runs: 1,
  scale,
  directory,
  build,
  isolated: false,
  says: () => undefined,
};
const files = scale.folders * scale.filesPerFolder;

/** What a case must have gone through, where that is known beforehand. */
const operations: Readonly<Record<string, number>> = {
  W1: 1,
  W3: files,
  'W3m-few': scale.objectsFew,
  'W3m-many': scale.objectsMany,
  W4: files,
  'W4-rehash': files,
  'W5-ranges': scale.reads,
  'W5-ranges-cold': scale.reads,
  'W5-objects': scale.reads,
  'W8-large': 1,
  'W8-changed': Math.min(100, files),
  W11: 1,
};

/** All of them in CI, every fifth one else. */
const chosen = workloads.filter((_, i) => i % sample(1, 5) === 0);

test('the workloads run, ours and every rival, in this process', async (context) => {
  const seen: string[] = [];
  for await (const result of runWorkloads(chosen, options)) {
    const { workload, cases } = result;
    seen.push(workload.name);
    await context.test(workload.name, () => {
      assert.deepEqual(
        cases.map(({ name }) => name),
        workload.cases.map(({ name }) => name),
      );
      assert.ok(cases.some(({ ours }) => ours));
      for (const { name, runs } of cases) {
        assert.equal(runs.length, 1);
        const [run] = runs;
        assert.ok(run!.seconds > 0 && run!.peakBytes > 1e6 && run!.loopMaxMs > 0, name);
        assert.ok(run!.operations > 0, name);
        const expected = operations[workload.name];
        if (expected !== undefined) assert.equal(run!.operations, expected, name);
      }
      const filesRead = { W4: 0, 'W4-rehash': files }[workload.name];
      if (filesRead !== undefined) assert.equal(cases[0]!.runs[0]!.facts['filesRead'], filesRead);
      checkFigures(figuresOf(result, true));
    });
  }
  assert.deepEqual(
    seen,
    chosen.map(({ name }) => name),
  );
  assert.deepEqual(readdirSync(directory).sort(), ['data-tiny'], 'only the data is kept');
});

function checkFigures(figures: WorkloadFigures): void {
  const { name, cases, ratios, goals } = figures;
  const ours = cases.filter((one) => one.ours).length;
  assert.equal(ratios.length, ours * (cases.length - ours), name);
  for (const { ratio } of ratios) assert.ok(ratio > 0 && Number.isFinite(ratio), name);
  for (const { goal, value, reached } of goals) {
    assert.ok(Number.isFinite(value), `${name}: the goal for ${goal.figure} found no figure`);
    assert.equal(typeof reached, 'boolean');
  }
  const shown = showFigures(figures);
  for (const one of cases) assert.ok(shown.includes(one.name));
}

test('the program itself: a process for each case, a table for people, JSON for programs', async () => {
  const program = fileURLToPath(new URL('../../bench/main.ts', import.meta.url));
  const args = [
    program,
    'W1',
    '--scale',
    'tiny',
    '--runs',
    '1',
    '--dir',
    directory,
    '--json',
    '--build',
    'source',
  ];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args);
  const said = JSON.parse(stdout) as { scale: string; workloads: WorkloadFigures[] };
  assert.equal(said.scale, 'tiny');
  assert.deepEqual(
    said.workloads.map(({ name, cases }) => [name, cases.map((one) => one.name)]),
    [['W1', ['holdfast', 'naive + sync']]],
  );
  // Synchronous work holds the loop for all of its time, and that is what is to be seen.
  const naive = said.workloads[0]!.cases[1]!;
  assert.ok(naive.loopMaxMs >= naive.seconds * 1000 * 0.9, `${naive.loopMaxMs} ms of ${naive.seconds} s`);
  assert.match(stderr, /÷ naive \+ sync/);
});

test('the data is the same whenever it is made', () => {
  const [first, second] = ['first', 'second'].map((name) => {
    const data = makeData(join(directory, name), scale, () => undefined);
    const made = smallFiles(data);
    assert.equal(made.length, files);
    assert.ok(existsSync(data.large));
    return made.map((path) => path.slice(join(directory, name).length));
  });
  assert.deepEqual(first, second);
  assert.deepEqual(new Noise(5).bytes(100), new Noise(5).bytes(100));
  assert.notDeepEqual(new Noise(5).bytes(100), new Noise(6).bytes(100));
});

test('names pick workloads, and unknown ones are refused', () => {
  assert.deepEqual(
    pickWorkloads(['w3m', 'W7']).map(({ name }) => name),
    ['W3m-few', 'W3m-many', 'W7'],
  );
  assert.equal(pickWorkloads([]).length, workloads.length);
  assert.throws(() => pickWorkloads(['W99']), /no workload is called W99/);
});

test('of several rivals the slowest is what a ratio is judged by', () => {
  const run = {
    bytes: 8e6,
    operations: 1,
    loopP99Ms: 1,
    loopMaxMs: 1,
    peakBytes: 1,
    cpuSeconds: 1,
    facts: {},
  };
  const cases = [1, 2, 0.8, 0.5].map((seconds, i) => ({
    name: `case ${i}`,
    ours: i === 0,
    runs: [{ ...run, seconds }],
  }));
  const goals = [{ figure: 'ratio', rival: ['case 2', 'case 3'], atLeast: 0.8, source: 'issue 4' }] as const;
  const workload = { ...workloads[0]!, unit: 'MB/s', goals } as const;
  const figures = figuresOf({ workload, cache: 'any', cases }, true);
  assert.deepEqual(
    figures.goals.map(({ value, reached }) => [value, reached]),
    [[0.8, true]],
  );
  assert.match(showFigures(figures), /ratio over case 2, or slower: case 3/);
});

test('a median of an odd and an even number of runs', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
});

test('a window keeps as many in flight as it says, does each once, and tells the first failure', async () => {
  let now = 0;
  let most = 0;
  const done: number[] = [];
  const work = async (i: number): Promise<void> => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => void setImmediate(resolve));
    now--;
    done.push(i);
  };
  await inFlight(20, 5, work);
  assert.equal(most, 5);
  assert.deepEqual(
    done.toSorted((a, b) => a - b),
    Array.from({ length: 20 }, (_, i) => i),
  );
  await assert.rejects(
    inFlight(10, 3, (i) => (i === 4 ? Promise.reject(new Error('fourth')) : work(i))),
    /fourth/,
  );
  assert.equal(now, 0);
});
