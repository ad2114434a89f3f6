/** Runs workloads: prepares, then every case in turn, again and again, so that whatever drifts hits all of them alike. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type DataSet, makeData } from './data.ts';
import type { Build } from './door.ts';
import { type Errand, runErrand, sendErrand } from './errand.ts';
import { dropCaches, readAll, syncMachine } from './machine.ts';
import type { Measurement } from './meter.ts';
import type { Scale } from './scale.ts';
import type { Case, PreparationName, Workload } from './workload.ts';

export interface RunOptions {
  readonly runs: number;
  readonly scale: Scale;
  /** Holds the data, which stays, and all else, which goes. */
  readonly directory: string;
  readonly build: Build;
  /** Each case in a process of its own; without it loop delay and memory mean nothing. */
  readonly isolated: boolean;
  readonly says: (text: string) => void;
}

export interface CaseResult {
  readonly name: string;
  readonly ours: boolean;
  readonly runs: readonly Measurement[];
}

export interface WorkloadResult {
  readonly workload: Workload;
  /** What the caches were at each run. */
  readonly cache: 'cold' | 'warm' | 'any' | 'as they were';
  readonly cases: readonly CaseResult[];
}

/** Yields each workload's result as it is there. */
export async function* runWorkloads(
  workloads: readonly Workload[],
  options: RunOptions,
): AsyncGenerator<WorkloadResult, void, void> {
  const bench = new BenchRun(options);
  try {
    for (const workload of workloads) yield await bench.run(workload);
  } finally {
    bench.clear();
  }
}

class BenchRun {
  readonly #options: RunOptions;
  readonly #data: DataSet;
  readonly #target: string;
  readonly #preparedIn: string;
  readonly #prepared = new Set<PreparationName>();

  constructor(options: RunOptions) {
    const { directory, scale, says } = options;
    this.#options = options;
    this.#data = makeData(directory, scale, says);
    this.#target = join(directory, `run-${scale.name}`, 'target');
    this.#preparedIn = join(directory, `run-${scale.name}`, 'prepared');
    this.clear();
    mkdirSync(this.#preparedIn, { recursive: true });
  }

  async run(workload: Workload): Promise<WorkloadResult> {
    const runs = new Map<Case, Measurement[]>(workload.cases.map((one) => [one, []]));
    let cache: WorkloadResult['cache'] = workload.cache;
    for (const one of workload.cases) await this.#prepare(one);
    for (let i = 0; i < this.#options.runs; i++) {
      for (const [one, measured] of runs) {
        this.#options.says(`${workload.name}: ${one.name}, run ${i + 1} of ${this.#options.runs}`);
        await this.#copy(one);
        if (!this.#setCaches(workload)) cache = 'as they were';
        measured.push((await this.#do({ workload: workload.name, case: one.name }, this.#target))!);
        rmSync(this.#target, { recursive: true, force: true });
      }
    }
    const cases = [...runs].map(([{ name, ours }, measured]) => ({ name, ours, runs: measured }));
    return { workload, cache, cases };
  }

  clear(): void {
    rmSync(join(this.#target, '..'), { recursive: true, force: true });
  }

  async #prepare({ needs = [], copies }: Case): Promise<void> {
    for (const name of [...needs, ...(copies === undefined || copies === 'small-files' ? [] : [copies])]) {
      if (this.#prepared.has(name)) continue;
      this.#options.says(`preparing ${name}`);
      await this.#do({ prepare: name }, join(this.#preparedIn, name));
      this.#prepared.add(name);
    }
  }

  async #copy({ copies }: Case): Promise<void> {
    if (copies === undefined) return;
    const from = copies === 'small-files' ? this.#data.small : join(this.#preparedIn, copies);
    await this.#do({ copy: from }, this.#target);
  }

  /** False when the caches are not as the workload wants them. */
  #setCaches({ cache, warms = [] }: Workload): boolean {
    if (!this.#options.scale.judged) return cache === 'any';
    if (cache === 'cold') return dropCaches();
    syncMachine();
    for (const name of warms)
      readAll(name === 'large' || name === 'small' ? this.#data[name] : join(this.#preparedIn, name));
    return true;
  }

  #do(task: Errand['task'], target: string): Promise<Measurement | undefined> {
    const { build, scale, isolated } = this.#options;
    const errand = { task, build, scale: scale.name, data: this.#data, target, preparedIn: this.#preparedIn };
    return isolated ? sendErrand(errand) : runErrand(errand);
  }
}
