/** `npm run fuzz -- [job …] [--runs N] [--seed S] [--first R] [--keep] [--canaries]`: looks for inputs that break a promise. */
import { createHash, randomInt } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { canaryJobs, findJob, jobs } from './jobs.ts';
import type { Failure, Report } from './run.ts';
import { watchJob } from './watch.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    seed: { type: 'string' },
    first: { type: 'string', default: '0' },
    keep: { type: 'boolean', default: false },
    canaries: { type: 'boolean', default: false },
  },
});

function whole(text: string, what: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${what} is a whole number, not ${text}`);
  return value;
}

const chosen = positionals.length > 0 ? positionals.map(findJob) : values.canaries ? canaryJobs : jobs;
const seed = values.seed === undefined ? randomInt(2 ** 31) : whole(values.seed, '--seed');
console.log(`seed ${seed}`);
let failures = 0;
for (const job of chosen) {
  const runs = values.runs === undefined ? job.runs : whole(values.runs, '--runs');
  const report = await watchJob(job, { seed, runs, first: whole(values.first, '--first') });
  if (report.failure !== undefined) failures++;
  console.log(show(report, report.failure));
  if (values.keep && report.failure !== undefined) keep(report.job, report.failure);
}
process.exitCode = failures > 0 ? 1 : 0;

function show({ job, accepted, refused, milliseconds }: Report, failure: Failure | undefined): string {
  if (failure === undefined) {
    const rate = Math.round(((accepted + refused) / milliseconds) * 1000);
    return `${job}: ${accepted} accepted, ${refused} refused, ${(milliseconds / 1000).toFixed(1)} s (${rate} a second)`;
  }
  const again =
    typeof failure.at === 'number'
      ? `npm run fuzz -- ${job} --seed ${seed} --first ${failure.at} --runs 1`
      : failure.at;
  return `${job}: FOUND: ${failure.message}\n  again: ${again}\n  ${failure.text}`;
}

/** What was found becomes part of the corpus, and is tried first from then on. */
function keep(job: string, { bytes }: Failure): void {
  if (bytes.length === 0) return;
  const folder = fileURLToPath(new URL(`corpus/${job}/`, import.meta.url));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, createHash('sha256').update(bytes).digest('hex').slice(0, 16)), bytes);
}
