// The campaigns of races, I/O errors and bit flips as the command line runs them: slices, several at once, what was lost and how to see it again.
import { Worker } from 'node:worker_threads';
import { huntRaceMutant, raceMutants } from '../races/mutants.ts';
import { type RacesReport, runRaces, shrinkRace } from '../races/run.ts';
import type { Share } from './campaign-worker.ts';
import type { IoErrorsReport } from './io-errors.ts';
import type { KeptFlipsReport } from './kept-flips.ts';
import type { Outcome } from './ledger.ts';

export interface CampaignArguments {
  readonly runs: number | undefined;
  readonly seed: number;
  /** The first run of a slice. */
  readonly from: number;
  readonly jobs: number;
  readonly processes: number | undefined;
  /** Prints each point of the schedules. */
  readonly trace: boolean;
  readonly print: (line: string) => void;
}

/** Schedules `from` to `from + runs`; each is its own seed. */
export async function races(given: CampaignArguments): Promise<Outcome> {
  return await schedulesOf(given, true);
}

/** Schedules of several steps of every process, with all that is dear: the same of fewer. */
export async function longRaces(given: CampaignArguments): Promise<Outcome> {
  return await schedulesOf(given, false);
}

async function schedulesOf(given: CampaignArguments, brief: boolean): Promise<Outcome> {
  const { runs = brief ? 20_000 : 2000, from, jobs, processes, trace, print } = given;
  const each = Math.ceil(runs / jobs);
  const reports: RacesReport[] = [];
  const options = {
    brief,
    ...(processes === undefined ? {} : { processes }),
    ...(trace ? { trace: print } : {}),
  };
  await Promise.all(
    Array.from({ length: jobs }, async (_, job) => {
      const first = from + job * each;
      const schedules = Math.min(each, from + runs - first);
      let told = 0;
      const onStore = (report: RacesReport): void => {
        if (report.stores % 4 === 0)
          print(`${job}: ${report.schedules} schedules, ${report.failures.length} failed`);
        for (; told < report.failures.length; told++) print(lossOf(report.failures[told]!));
      };
      if (schedules > 0) reports.push(await runRaces({ ...options, from: first, schedules, onStore }));
    }),
  );
  const sum = (of: (report: RacesReport) => number): number => reports.reduce((all, one) => all + of(one), 0);
  const failures = reports.flatMap((report) => report.failures);
  for (const failure of failures.slice(0, 3)) {
    const { storeBegan } = await shrinkRace(failure, { ...options, from: 0, schedules: 1 });
    print(
      `schedule ${failure.schedule} is seen again with --seed-from ${storeBegan} --runs ${failure.schedule - storeBegan + 1}`,
    );
  }
  print(
    `${brief ? 'races' : 'long-races'}: ${sum((r) => r.schedules)} schedules on ${sum((r) => r.stores)} stores, ${sum((r) => r.switches)} of ${sum((r) => r.steps)} points handed the turn on, ${failures.length} failed, ${secondsOf(reports)} s, from ${from}${seeds(failures.map(({ schedule }) => schedule))}`,
  );
  return { from, to: from + runs, runs: sum((r) => r.schedules), losses: failures.length };
}

const lossOf = ({ schedule, storeBegan, problem }: RacesReport['failures'][number]): string =>
  `FAILED schedule ${schedule} (its store began at ${storeBegan}): ${problem.split('\n').slice(0, 6).join('\n  ')}`;

/** Every broken build, until a schedule shows it. */
export async function raceMutantsAll({ runs = 4096, print }: CampaignArguments): Promise<Outcome> {
  let caught = 0;
  for (const mutant of raceMutants) {
    const { failure, schedules } = await huntRaceMutant(mutant, { schedules: runs });
    if (failure !== undefined) caught++;
    print(
      `${failure === undefined ? 'MISSED' : 'caught'} ${mutant.name} after ${schedules} schedules: ${failure?.problem.split('\n')[0] ?? ''}`,
    );
  }
  print(`race mutants: ${caught} of ${raceMutants.length} caught`);
  const { length } = raceMutants;
  return { from: 0, to: 1, runs: length, losses: length - caught, of: length };
}

export async function ioErrors({
  runs = 2000,
  seed,
  from,
  jobs,
  print,
}: CampaignArguments): Promise<Outcome> {
  const reports = await shared<IoErrorsReport>(jobs, print, (share) => ({
    campaign: 'io-errors',
    options: { runs, seed, from, share, of: jobs },
  }));
  const losses = reports.flatMap((report) => report.losses);
  const done = reports.reduce((sum, report) => sum + report.runs, 0);
  const [{ cases, scenarios }] = reports as [IoErrorsReport];
  print(
    `io-errors: ${done} runs from ${from} of ${cases} cases of ${scenarios} scenarios, ${losses.length} losses, ${secondsOf(reports)} s, seed ${seed}${seeds(losses.map(({ run }) => run))}`,
  );
  return { from, to: Math.min(cases, from + runs), runs: done, losses: losses.length, of: cases };
}

export async function bitFlips({ runs = 20_000, from, jobs, print }: CampaignArguments): Promise<Outcome> {
  const reports = await shared<KeptFlipsReport>(jobs, print, (share) => ({
    campaign: 'bit-flips',
    options: { runs, from, share, of: jobs },
  }));
  const sum = (of: (report: KeptFlipsReport) => number): number =>
    reports.reduce((all, one) => all + of(one), 0);
  const losses = reports.flatMap((report) => report.losses);
  const [{ bits }] = reports as [KeptFlipsReport];
  print(
    `bit-flips: ${sum((r) => r.runs)} runs from ${from} of ${bits} bits, ${sum((r) => r.refused)} refused, ${sum((r) => r.harmless)} harmless, ${sum((r) => r.reopened)} more in stores that were opened with one, ${losses.length} losses, ${secondsOf(reports)} s${seeds(losses.map(({ run }) => run))}`,
  );
  const done = sum((r) => r.runs);
  return { from, to: Math.min(bits, from + runs), runs: done, losses: losses.length, of: bits };
}

interface LossReport {
  readonly runs: number;
  readonly seconds: number;
  readonly losses: readonly { readonly run: number; readonly what: string; readonly problem: string }[];
}

/** The shares of all jobs, each on a thread; losses are printed as they come. */
async function shared<Report extends LossReport>(
  jobs: number,
  print: (line: string) => void,
  shareOf: (share: number) => Share,
): Promise<Report[]> {
  return await Promise.all(
    Array.from(
      { length: jobs },
      (_, job) =>
        new Promise<Report>((resolve, reject) => {
          const workerData = shareOf(job);
          const worker = new Worker(new URL('./campaign-worker.ts', import.meta.url), { workerData });
          let last: Report | undefined;
          let told = 0;
          worker.on('message', (report: Report) => {
            last = report;
            for (; told < report.losses.length; told++) {
              const { run, what, problem } = report.losses[told]!;
              print(`LOSS run ${run}: ${what}\n  ${problem.split('\n').slice(0, 8).join('\n  ')}`);
            }
            if (report.runs % 100 === 0)
              print(
                `${job}: ${report.runs} runs, ${report.losses.length} losses, ${report.seconds.toFixed(0)} s`,
              );
          });
          worker.on('error', reject);
          worker.on('exit', () =>
            last === undefined ? reject(new Error('nothing was run')) : resolve(last),
          );
        }),
    ),
  );
}

const secondsOf = (reports: readonly { readonly seconds: number }[]): string =>
  Math.max(0, ...reports.map(({ seconds }) => seconds)).toFixed(0);
const seeds = (failed: readonly number[]): string =>
  failed.length === 0 ? '' : `; failed: ${failed.slice(0, 50).join(' ')}`;
