/** Runs a job on a thread of its own, and ends it when it hangs. */
import { Worker } from 'node:worker_threads';
import type { Job } from './job.ts';
import type { Failure, Order, Report } from './run.ts';
import type { Task, Told } from './task.ts';

export interface WatchOptions extends Order {
  /** A run that makes no progress for this long hangs; by default well above what the job calls slow. */
  readonly hangMs?: number;
}

/** What is slow may say so itself; what takes this many times longer never will. */
const slowToHang = 5;
/** Making a finding smaller may try what hangs. */
const reduceMs = 120_000;
const heapMaxMb = 768;
const lookMs = 100;

export async function watchJob(job: Job, options: WatchOptions): Promise<Report> {
  const { seed, first, runs, hangMs = slowToHang * job.slowMs } = options;
  const progress = new SharedArrayBuffer(4);
  const task: Task = { job: job.name, order: { seed, first, runs }, progress };
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: heapMaxMb },
  });
  try {
    return await new Promise<Report>((resolve, reject) => {
      const watched = new Watched(new Int32Array(progress), hangMs);
      const end = (failure: Failure): void => resolve(failedReport(job.name, failure));
      worker.once('online', () => watched.begin(end));
      worker.on('message', (told: Told) => {
        if ('found' in told) return watched.reducing(told.found);
        watched.stop();
        resolve(told.report);
      });
      worker.once('error', (error: Error & { code?: string }) => {
        watched.stop();
        if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') end(watched.failure('ran out of memory'));
        else reject(error);
      });
    });
  } finally {
    await worker.terminate();
  }
}

function failedReport(job: string, failure: Failure): Report {
  return { job, accepted: 0, refused: 0, milliseconds: 0, failure };
}

class Watched {
  readonly #progress: Int32Array;
  readonly #hangMs: number;
  #timer: NodeJS.Timeout | undefined;
  #found: { readonly failure: Failure; readonly since: number } | undefined;

  constructor(progress: Int32Array, hangMs: number) {
    this.#progress = progress;
    this.#hangMs = hangMs;
  }

  /** Time counts from when the thread runs: starting may take long on a busy machine. */
  begin(onHang: (failure: Failure) => void): void {
    let last = -1;
    let since = performance.now();
    this.#timer = setInterval(() => {
      const [run, now] = [Atomics.load(this.#progress, 0), performance.now()];
      const found = this.#found;
      if (found === undefined && run === last && now - since > this.#hangMs) {
        this.stop();
        onHang(this.failure('hangs'));
      } else if (found !== undefined && now - found.since > reduceMs) {
        this.stop();
        onHang(found.failure);
      }
      if (run !== last) since = now;
      last = run;
    }, lookMs);
  }

  reducing(failure: Failure): void {
    this.#found = { failure, since: performance.now() };
  }

  failure(message: string): Failure {
    return { message, at: Atomics.load(this.#progress, 0), text: '', bytes: new Uint8Array(0) };
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
