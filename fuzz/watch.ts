/** Runs a job on a thread of its own, and ends it when it hangs. */
import { Worker } from 'node:worker_threads';
import type { Job } from './job.ts';

export interface Order {
  readonly job: string;
  readonly seed: number;
  readonly first: number;
  readonly runs: number;
  /** The run it is at. */
  readonly progress: SharedArrayBuffer;
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
  /** Runs that ended in a finding of known.ts. */
  readonly known: number;
  readonly milliseconds: number;
  readonly failure?: Failure;
}

export interface WatchOptions {
  readonly seed: number;
  readonly runs: number;
  /** First run; 0 when absent. */
  readonly first?: number;
  /** A run that makes no progress for this long hangs; by default well above what the job calls slow. */
  readonly hangMs?: number;
}

/** What is slow may say so itself; what takes this many times longer never will. */
const slowToHang = 5;
const heapMaxMb = 768;

export async function watchJob({ name: job, slowMs }: Job, options: WatchOptions): Promise<Report> {
  const progress = new SharedArrayBuffer(4);
  const order: Order = { job, seed: options.seed, first: options.first ?? 0, runs: options.runs, progress };
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: order,
    resourceLimits: { maxOldGenerationSizeMb: heapMaxMb },
  });
  const watching = new Watching(worker, new Int32Array(progress), options.hangMs ?? slowToHang * slowMs);
  const failed = (message: string): Report => {
    const at = Atomics.load(new Int32Array(progress), 0);
    return {
      job,
      accepted: 0,
      refused: 0,
      known: 0,
      milliseconds: 0,
      failure: { message, at, text: '', bytes: new Uint8Array(0) },
    };
  };
  try {
    return await new Promise<Report>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', (error: Error & { code?: string }) =>
        error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? resolve(failed('ran out of memory')) : reject(error),
      );
      watching.onHang = () => resolve(failed('hangs'));
    });
  } finally {
    watching.stop();
    await worker.terminate();
  }
}

class Watching {
  onHang: () => void = () => undefined;
  readonly #timer: NodeJS.Timeout;

  constructor(worker: Worker, progress: Int32Array, hangMs: number) {
    let last = -1;
    let since = performance.now();
    // Time counts from when it runs: loading may take long on a busy machine.
    let running = false;
    worker.once('online', () => (running = true));
    this.#timer = setInterval(() => {
      const now = Atomics.load(progress, 0);
      if (now !== last || !running) {
        last = now;
        since = performance.now();
      } else if (performance.now() - since > hangMs) this.onHang();
    }, 100);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
