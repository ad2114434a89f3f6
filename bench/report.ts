/** Turns measurements into figures: medians, spread, ratios, and whether the goals are reached. */
import type { CaseResult, WorkloadResult } from './run.ts';
import type { Measurement } from './meter.ts';
import type { Goal, Unit } from './workload.ts';

/** Above this (of max - min over the median) a figure is reported as noisy. */
const spreadMax = 0.15;

export interface CaseFigures {
  readonly name: string;
  readonly ours: boolean;
  readonly runs: number;
  /** Medians. A time of the whole run; the rate in the workload's unit. */
  readonly seconds: number;
  readonly rate: number;
  readonly loopP99Ms: number;
  readonly loopMaxMs: number;
  readonly peakMB: number;
  readonly cpuSeconds: number;
  readonly facts: Readonly<Record<string, number>>;
  /** (max - min) / median of the seconds. */
  readonly spread: number;
  readonly allSeconds: readonly number[];
}

export interface Ratio {
  readonly ours: string;
  readonly rival: string;
  /** Our rate over the rival's: above 1 we are faster. */
  readonly ratio: number;
}

export interface JudgedGoal {
  readonly goal: Goal;
  readonly value: number;
  /** Undefined at scales where figures mean nothing. */
  readonly reached?: boolean;
}

export interface WorkloadFigures {
  readonly name: string;
  readonly title: string;
  readonly unit: Unit;
  readonly cache: WorkloadResult['cache'];
  readonly cases: readonly CaseFigures[];
  readonly ratios: readonly Ratio[];
  readonly goals: readonly JudgedGoal[];
  /** Whether any case spreads too far for its median to be the last word. */
  readonly noisy: boolean;
}

export function figuresOf(result: WorkloadResult, judged: boolean): WorkloadFigures {
  const { workload, cache } = result;
  const cases = result.cases.map((one) => caseFigures(one, workload.unit));
  const ours = cases.filter((one) => one.ours);
  const rivals = cases.filter((one) => !one.ours);
  const ratios = ours.flatMap((our) =>
    rivals.map((rival) => ({ ours: our.name, rival: rival.name, ratio: ratioOf(our, rival, workload.unit) })),
  );
  const goals = workload.goals.map((goal): JudgedGoal => {
    const value = valueOf(goal, { ours, ratios });
    const reached = (goal.atLeast ?? -Infinity) <= value && value <= (goal.atMost ?? Infinity);
    return { goal, value, ...(judged ? { reached } : {}) };
  });
  const { name, title, unit } = workload;
  return {
    name,
    title,
    unit,
    cache,
    cases,
    ratios,
    goals,
    noisy: cases.some(({ spread }) => spread > spreadMax),
  };
}

function caseFigures({ name, ours, runs }: CaseResult, unit: Unit): CaseFigures {
  const middle = (pick: (run: Measurement) => number): number => median(runs.map(pick));
  const allSeconds = runs.map(({ seconds }) => seconds);
  const seconds = median(allSeconds);
  return {
    name,
    ours,
    runs: runs.length,
    seconds,
    rate: middle((run) => rateOf(run, unit)),
    loopP99Ms: middle(({ loopP99Ms }) => loopP99Ms),
    loopMaxMs: middle(({ loopMaxMs }) => loopMaxMs),
    peakMB: middle(({ peakBytes }) => peakBytes / 1e6),
    cpuSeconds: middle(({ cpuSeconds }) => cpuSeconds),
    facts: Object.fromEntries(
      Object.keys(runs[0]!.facts).map((fact) => [fact, middle(({ facts }) => facts[fact]!)]),
    ),
    spread: (Math.max(...allSeconds) - Math.min(...allSeconds)) / seconds,
    allSeconds,
  };
}

function rateOf({ bytes, operations, seconds }: Measurement, unit: Unit): number {
  return (unit === 'MB/s' ? bytes / 1e6 : operations) / seconds;
}

/** Rates where both count the same; times where the work is the same but its parts cannot be counted alike. */
function ratioOf(ours: CaseFigures, rival: CaseFigures, unit: Unit): number {
  return unit === 's' ? rival.seconds / ours.seconds : ours.rate / rival.rate;
}

interface Found {
  readonly ours: readonly CaseFigures[];
  readonly ratios: readonly Ratio[];
}

function valueOf({ figure, of, rival }: Goal, { ours, ratios }: Found): number {
  const our = of === undefined ? ours[0]! : ours.find(({ name }) => name === of)!;
  if (figure === 'ratio')
    return Math.max(
      ...ratios
        .filter((ratio) => ratio.ours === our.name)
        .filter((ratio, i) => (rival === undefined ? i === 0 : [rival].flat().includes(ratio.rival)))
        .map(({ ratio }) => ratio),
    );
  const known = {
    rate: our.rate,
    seconds: our.seconds,
    loopP99Ms: our.loopP99Ms,
    loopMaxMs: our.loopMaxMs,
    peakMB: our.peakMB,
  };
  return known[figure as keyof typeof known] ?? our.facts[figure] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** The table of one workload. */
export function showFigures(figures: WorkloadFigures): string {
  const { name, title, unit, cache, cases, ratios, goals, noisy } = figures;
  const heads = [
    '',
    'seconds',
    'spread',
    unit === 's' ? 'ops/s' : unit,
    'loop p99',
    'loop max',
    'peak MB',
    'cpu s',
    ...rivalHeads(figures),
  ];
  const rows = cases.map((one) => [
    one.name,
    digits(one.seconds),
    `${Math.round(one.spread * 100)} %`,
    digits(one.rate),
    `${digits(one.loopP99Ms)} ms`,
    `${digits(one.loopMaxMs)} ms`,
    String(Math.round(one.peakMB)),
    digits(one.cpuSeconds),
    ...rivalHeads(figures).map((head) => {
      const found = ratios.find(({ ours, rival }) => ours === one.name && `÷ ${rival}` === head);
      return found === undefined ? '' : `${found.ratio.toFixed(2)} ×`;
    }),
  ]);
  const facts = cases.flatMap((one) =>
    Object.entries(one.facts).map(([fact, value]) => `  ${one.name}: ${fact} ${digits(value)}`),
  );
  const all = noisy
    ? cases.map((one) => `  all runs of ${one.name}: ${one.allSeconds.map(digits).join(' ')} s`)
    : [];
  const noise = noisy ? [`  spread above ${spreadMax * 100} %: read the runs, not the median`, ...all] : [];
  return [
    `${name}  ${title} (caches: ${cache})`,
    ...showTable([heads, ...rows]),
    ...facts,
    ...noise,
    ...goals.map(showGoal),
    '',
  ].join('\n');
}

function rivalHeads({ ratios }: WorkloadFigures): string[] {
  return [...new Set(ratios.map(({ rival }) => `÷ ${rival}`))];
}

function showGoal({ goal, value, reached }: JudgedGoal): string {
  const wanted = goal.atLeast === undefined ? `≤ ${goal.atMost!}` : `≥ ${goal.atLeast}`;
  const whose = [
    ...(goal.of === undefined ? [] : [goal.of]),
    ...(goal.rival === undefined ? [] : [`over ${[goal.rival].flat().join(', or slower: ')}`]),
  ];
  const verdict = reached === undefined ? 'not judged' : reached ? 'reached' : 'MISSED';
  return `  goal (${goal.source}): ${[goal.figure, ...whose].join(' ')} ${wanted}: ${digits(value)}, ${verdict}`;
}

function showTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ')}`.trimEnd(),
  );
}

/** Three digits that say something. */
function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
