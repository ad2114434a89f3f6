/** Peak memory while a file of 4 GiB goes in and comes out again, by the interface and by the command line. */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { makeHuge } from '../data.ts';
import { notesPeak } from '../peak.ts';
import type { Case, Place, Workload } from '../workload.ts';

/** Runs a command of the CLI; the peak is what the process itself says as it ends. */
function runProgram({ build, meter, target }: Place, args: readonly string[]): void {
  const peakFile = `${target}.peak`;
  execFileSync(process.execPath, ['--import', notesPeak, build.program, ...args], {
    stdio: 'ignore',
    env: { ...process.env, HOLDFAST_BENCH_PEAK: peakFile },
  });
  meter.peakIs(Number(readFileSync(peakFile, 'utf8')));
  rmSync(peakFile);
}

const putHuge: Case = {
  name: 'put',
  ours: true,
  async run({ open, data, target, scale, meter }) {
    makeHuge(data, scale);
    const store = await open(target);
    await meter.time(async () => {
      const { size } = await store.put({ path: data.huge }, { owner: 'bench' });
      return { bytes: size, operations: 1 };
    });
    await store.close();
  },
};

const exportHuge: Case = {
  name: 'exportTo',
  ours: true,
  needs: ['store-huge'],
  async run({ open, prepared, target, meter }) {
    const store = await open(prepared('store-huge'), { mode: 'open' });
    const id = (await store.roots.get('huge'))!;
    const path = `${target}.out`;
    await meter.time(async () => {
      if (!(await store.exportTo({ id, path }))) throw new Error('the blob is gone');
      return { bytes: statSync(path).size, operations: 1 };
    });
    rmSync(path);
    await store.close();
  },
};

const streamHuge: Case = {
  name: 'stream',
  ours: true,
  needs: ['store-huge'],
  async run({ open, prepared, meter }) {
    const store = await open(prepared('store-huge'), { mode: 'open' });
    const id = (await store.roots.get('huge'))!;
    await meter.time(async () => {
      let bytes = 0;
      for await (const piece of (await store.stream(id))!) bytes += piece.length;
      return { bytes, operations: 1 };
    });
    await store.close();
  },
};

const addHuge: Case = {
  name: 'command add',
  ours: true,
  async run(place) {
    const { data, scale, target, meter } = place;
    makeHuge(data, scale);
    runProgram(place, ['init', target]);
    await meter.time(() => {
      runProgram(place, ['add', target, data.huge, '--json']);
      return { bytes: statSync(data.huge).size, operations: 1 };
    });
  },
};

const getHuge: Case = {
  name: 'command get',
  ours: true,
  needs: ['store-huge'],
  async run(place) {
    const { data, target, meter, prepared } = place;
    const path = `${target}.out`;
    await meter.time(() => {
      runProgram(place, ['get', prepared('store-huge'), `main:${basename(data.huge)}`, path]);
      return { bytes: statSync(path).size, operations: 1 };
    });
    rmSync(path);
  },
};

const cases = [putHuge, exportHuge, streamHuge, addHuge, getHuge];

export const memory: Workload = {
  name: 'memory',
  title: 'one file of 4 GiB (at full scale) in and out: peak memory of the process',
  unit: 'MB/s',
  cache: 'any',
  cases,
  goals: cases.map(({ name }) => ({ figure: 'peakMB', of: name, atMost: 200, source: 'issue 2' as const })),
};
