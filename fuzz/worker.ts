/** The thread on which runs happen: it tells which run it is at, so that whoever watches sees it hang. */
import { parentPort, workerData } from 'node:worker_threads';
import { findJob } from './jobs.ts';
import { runJob } from './run.ts';
import type { Task, Told } from './task.ts';

const { job, order, progress } = workerData as Task;
const at = new Int32Array(progress);
const tell = (told: Told): void => parentPort!.postMessage(told);
const report = await runJob(findJob(job), order, {
  onRun: (run) => void Atomics.store(at, 0, run),
  onFound: (found) => tell({ found }),
});
tell({ report });
