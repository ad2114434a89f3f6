/** Runs a job: first what was found before, then new inputs; stops at the first finding and makes it smaller. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { peakBytes } from '../bench/meter.ts';
import { type Job, failureOf } from './job.ts';
import { Finding, type Outcome } from './target.ts';

export interface Order {
  readonly seed: number;
  readonly first: number;
  readonly runs: number;
}

export interface Failure {
  readonly message: string;
  /** The run, or the file of the corpus. */
  readonly at: number | string;
  /** The smallest reproduction. */
  readonly text: string;
  readonly bytes: Uint8Array;
}

export interface Report {
  readonly job: string;
  readonly accepted: number;
  readonly refused: number;
  readonly milliseconds: number;
  readonly failure?: Failure;
}

export interface Listener {
  /** Before each run. */
  readonly onRun?: (run: number) => void;
  /** Something was found; making it smaller may take a while. */
  readonly onFound?: (failure: Failure) => void;
}

const memoryEvery = 64;

export async function runJob(job: Job, order: Order, listener: Listener = {}): Promise<Report> {
  const start = performance.now();
  const tearDown = await job.setUp?.();
  try {
    const running = new Running(job, order, listener);
    const failure = (await running.replayCorpus()) ?? (await running.runAll());
    const milliseconds = performance.now() - start;
    return { job: job.name, ...running.counts, milliseconds, ...(failure && { failure }) };
  } finally {
    await tearDown?.();
  }
}

class TooSlow extends Finding {}

class Running {
  readonly counts = { accepted: 0, refused: 0 };
  readonly #job: Job;
  readonly #order: Order;
  readonly #listener: Listener;

  constructor(job: Job, order: Order, listener: Listener) {
    this.#job = job;
    this.#order = order;
    this.#listener = listener;
  }

  /** What was found before must stay away. */
  async replayCorpus(): Promise<Failure | undefined> {
    const folder = fileURLToPath(new URL(`corpus/${this.#job.name}/`, import.meta.url));
    for (const name of namesIn(folder)) {
      const bytes = readFileSync(join(folder, name));
      const finding = await failureOf(() => this.#job.replay(bytes));
      if (finding === undefined) continue;
      return { message: finding.message, at: name, text: bytes.toString('hex').slice(0, 800), bytes };
    }
    return undefined;
  }

  async runAll(): Promise<Failure | undefined> {
    const { first, runs } = this.#order;
    resetPeak();
    const before = peakBytes();
    for (let run = first; run < first + runs; run++) {
      this.#listener.onRun?.(run);
      const finding = await failureOf(() => this.#timed(run));
      const due = (run - first) % memoryEvery === 0 || run === first + runs - 1;
      // What takes too much memory may be slow for that alone: then the memory is what is told.
      if (finding === undefined ? due : finding instanceof TooSlow) {
        const growth = peakBytes() - before;
        if (growth > this.#job.growthMaxMB * 1e6) return this.#tooMuch(run, growth);
      }
      if (finding !== undefined) return await this.#found(run, finding);
    }
    return undefined;
  }

  async #found(run: number, finding: Finding): Promise<Failure> {
    const { message } = finding;
    this.#listener.onFound?.({ message, at: run, text: '', bytes: new Uint8Array(0) });
    return { message, at: run, ...(await this.#job.reduce(this.#order.seed, run, finding)) };
  }

  /** A run that is slow once may have waited for the machine; slow twice it is slow. */
  async #timed(run: number): Promise<void> {
    const { slowMs } = this.#job;
    for (let again = false; ; again = true) {
      const start = performance.now();
      const outcome: Outcome = await this.#job.run(this.#order.seed, run);
      if (performance.now() - start <= slowMs) return void this.counts[outcome]++;
      if (again) throw new TooSlow(`takes longer than ${slowMs} ms`);
    }
  }

  #tooMuch(run: number, growth: number): Failure {
    const from = Math.max(this.#order.first, run - memoryEvery + 1);
    return {
      message: `memory grew by ${Math.round(growth / 1e6)} MB`,
      at: run,
      text: `somewhere in the runs ${from} to ${run}`,
      bytes: new Uint8Array(0),
    };
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** Linux forgets the high-water mark of a process when told so. */
function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // then what the process had at its largest counts as where we began
  }
}
