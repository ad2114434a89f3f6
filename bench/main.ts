/** `npm run bench -- [names] [--runs N] [--scale tiny|small|full] [--dir D] [--build dist|source] [--json]`: measures us beside our rivals. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pickWorkloads } from './catalogue.ts';
import { findBuild } from './door.ts';
import { describeMachine } from './machine.ts';
import { figuresOf, showFigures, type WorkloadFigures } from './report.ts';
import { runWorkloads } from './run.ts';
import { type ScaleName, scales } from './scale.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    scale: { type: 'string', default: 'full' },
    dir: { type: 'string', default: join(tmpdir(), 'holdfast-bench') },
    build: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

function oneOf<Name extends string>(value: string, names: readonly Name[], what: string): Name {
  const found = names.find((name) => name === value);
  if (found === undefined) throw new Error(`${what} is one of ${names.join(', ')}, not ${value}`);
  return found;
}

const scale = scales[oneOf(values.scale, Object.keys(scales) as ScaleName[], '--scale')];
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1)
  throw new Error(`--runs is a whole number from 1, not ${values.runs}`);
const build = findBuild(
  values.build === undefined ? undefined : oneOf(values.build, ['dist', 'source'] as const, '--build'),
);

const machine = describeMachine();
console.error(`${machine}; scale ${scale.name}, medians of ${runs}, holdfast from ${build.name}`);
const says = (text: string): void => console.error(`· ${text}`);
const options = { runs, scale, directory: values.dir, build, isolated: true, says };
const figures: WorkloadFigures[] = [];
for await (const result of runWorkloads(pickWorkloads(positionals), options)) {
  const one = figuresOf(result, scale.judged);
  figures.push(one);
  (values.json ? console.error : console.log)(showFigures(one));
}
if (values.json)
  console.log(JSON.stringify({ machine, scale: scale.name, runs, build: build.name, workloads: figures }));
