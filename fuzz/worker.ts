/** The thread on which runs happen: it tells which run it is at, so that whoever watches sees it hang. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { peakBytes } from '../bench/meter.ts';
import { type Job, failureOf } from './job.ts';
import { findJob } from './jobs.ts';
import { isKnown } from './known.ts';
import { Finding } from './target.ts';
import type { Failure, Order, Report } from './watch.ts';

/** Memory that runs may take beyond what the process had; inputs are a few hundred kilobytes. */
const growthMax = 256 * 1024 * 1024;
const memoryEvery = 64;

const order = workerData as Order;
const progress = new Int32Array(order.progress);
const job = findJob(order.job);
parentPort!.postMessage(await work());

async function work(): Promise<Report> {
  const counts = { accepted: 0, refused: 0, known: 0 };
  const start = performance.now();
  const tearDown = await job.setUp?.();
  try {
    const failure = (await replayCorpus()) ?? (await runAll(counts));
    return { job: job.name, ...counts, milliseconds: performance.now() - start, ...(failure && { failure }) };
  } finally {
    await tearDown?.();
  }
}

/** What was found before must stay away. */
async function replayCorpus(): Promise<Failure | undefined> {
  const folder = fileURLToPath(new URL(`corpus/${job.name}/`, import.meta.url));
  for (const name of namesIn(folder)) {
    const bytes = readFileSync(join(folder, name));
    const finding = await failureOf(() => job.replay(bytes));
    if (finding !== undefined)
      return { message: finding.message, at: name, text: bytes.toString('hex').slice(0, 800), bytes };
  }
  return undefined;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

async function runAll(counts: {
  accepted: number;
  refused: number;
  known: number;
}): Promise<Failure | undefined> {
  const { seed, first, runs } = order;
  resetPeak();
  const before = peakBytes();
  for (let run = first; run < first + runs; run++) {
    Atomics.store(progress, 0, run);
    const finding = await failureOf(async () => {
      counts[await timed(job, run)]++;
    });
    if (finding !== undefined && isKnown(job.name, finding.message)) counts.known++;
    else if (finding !== undefined)
      return { message: finding.message, at: run, ...(await job.reduce(seed, run, finding)) };
    if ((run - first) % memoryEvery === 0 || run === first + runs - 1) {
      const growth = peakBytes() - before;
      if (growth > growthMax) return tooMuch(run, growth);
    }
  }
  return undefined;
}

/** A run that is slow once may have waited for the machine; slow twice it is slow. */
async function timed(job: Job, run: number): Promise<'accepted' | 'refused'> {
  for (let again = false; ; again = true) {
    const start = performance.now();
    const outcome = await job.run(order.seed, run);
    if (performance.now() - start <= job.slowMs) return outcome;
    if (again) throw new Finding(`takes longer than ${job.slowMs} ms`);
  }
}

function tooMuch(run: number, growth: number): Failure {
  const from = Math.max(order.first, run - memoryEvery + 1);
  return {
    message: `memory grew by ${Math.round(growth / 1e6)} MB`,
    at: run,
    text: `somewhere in the runs ${from} to ${run}`,
    bytes: new Uint8Array(0),
  };
}

/** Linux forgets the high-water mark of a process when told so. */
function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // then what the process had at its largest counts as where we began
  }
}
