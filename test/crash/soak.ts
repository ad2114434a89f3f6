// `npm run soak -- <campaign> --runs N`: the full number of runs of a campaign of crashes, faults or races; exits 1 on any loss.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { play } from '../../fuzz/store/player.ts';
import { makeSteps } from '../../fuzz/store/steps.ts';
import { makeUniverse } from '../../fuzz/store/universe.ts';
import { type CampaignArguments, bitFlips, ioErrors, raceMutantsAll, races } from './fault-campaigns.ts';
import { runDamage } from './damage.ts';
import { runKill } from './kill.ts';
import { runMoves } from './move.ts';
import { buildMutant, huntMutant, mutants } from './mutants.ts';
import { runPowerLoss, type PowerLossOptions } from './power-loss.ts';
import { startVerifiers } from './verifiers.ts';
import { buildRecorder } from './recorded-run.ts';
import { runCuts } from '../sync/cutting.ts';
import { runSyncKills } from '../sync/killing.ts';
import { race } from '../sync/racing.ts';
import { engineSubject, type Subject } from './subject.ts';

const usage = `usage: soak power-loss [--runs STATES] [--seed S] [--per-seed STATES] [--replay FOLDER --state N]
       soak kill       [--runs KILLS] [--seed S] [--processes N]
       soak move       [--runs KILLS] [--seed S] [--copies N]
       soak mutants    [--runs STATES] [--seed S]
       soak rebuild    [--runs STORES] [--seed S]
       soak races        [--runs SCHEDULES] [--seed-from SCHEDULE] [--jobs N] [--processes N] [--trace]
       soak race-mutants [--runs SCHEDULES]
       soak io-errors    [--runs CASES] [--seed S] [--seed-from CASE] [--jobs N]
       soak bit-flips    [--runs BITS] [--seed-from BIT] [--jobs N]
       soak cuts       [--runs CUTS] [--seed S]
       soak sync-kill  [--runs KILLS] [--seed S]
       soak sync-races [--runs RACES] [--seed S]
       soak damage     [--runs BLOBS] [--seed S]
  --stand-in runs the tools' own small store instead of the engine`;

/** Processes and threads of a campaign load the same sources again and again. */
process.env['NODE_COMPILE_CACHE'] ??= join(tmpdir(), 'holdfast-compiled');

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    seed: { type: 'string', default: '1' },
    'per-seed': { type: 'string', default: '100' },
    processes: { type: 'string' },
    copies: { type: 'string', default: '1' },
    'seed-from': { type: 'string', default: '0' },
    jobs: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    replay: { type: 'string' },
    state: { type: 'string' },
    'stand-in': { type: 'boolean', default: false },
  },
});
const seed = Number(values.seed);
const subject: Subject = values['stand-in'] ? { kind: 'stand-in', flaws: [] } : engineSubject;
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const given: CampaignArguments = {
  runs: values.runs === undefined ? undefined : Number(values.runs),
  seed,
  from: Number(values['seed-from']),
  jobs: Number(values.jobs),
  processes: values.processes === undefined ? undefined : Number(values.processes),
  trace: values.trace,
  print,
};

/** Each returns whether all was well. */
const campaigns: Readonly<Record<string, () => Promise<boolean>>> = {
  'power-loss': powerLoss,
  kill,
  move,
  mutants: allMutants,
  rebuild,
  races: () => races(given),
  'race-mutants': () => raceMutantsAll(given),
  'io-errors': () => ioErrors(given),
  'bit-flips': () => bitFlips(given),
  cuts,
  'sync-kill': syncKill,
  'sync-races': syncRaces,
  damage,
};

async function powerLoss(): Promise<boolean> {
  needRecorder();
  const runs = Number(values.runs ?? 2000);
  const perSeed = Number(values['per-seed']);
  const failed: string[] = [];
  const total = { states: 0, workloads: 0, acknowledged: 0, losses: 0 };
  const started = performance.now();
  const verifiers = startVerifiers(subject);
  for (let s = seed; total.states < runs; s++) {
    const replay = values.replay === undefined ? {} : { replay: values.replay };
    const only = values.state === undefined ? {} : { only: Number(values.state) };
    const options: PowerLossOptions = {
      seed: s,
      states: perSeed,
      subject,
      recoveries: 2,
      verifiers,
      ...replay,
      ...only,
    };
    const report = await runPowerLoss(options);
    total.states += report.states;
    total.workloads++;
    total.acknowledged += report.acknowledged;
    total.losses += report.losses.length;
    if (report.losses.length > 0) failed.push(`${s}`);
    for (const loss of report.losses) {
      print(`LOSS seed ${s} state ${loss.state} cut ${loss.cut} (${loss.mode}) kept in ${loss.folder}`);
      for (const problem of loss.problems.slice(0, 6)) print(`  ${problem}`);
    }
    const rate = `${report.stateMs.toFixed(1)} ms a state, ${report.verifyMs.toFixed(1)} ms of it verification`;
    print(
      `seed ${s}: ${report.states} states (${report.repeated} repeated), ${report.calls} calls, ${report.losses.length} losses, ${rate}`,
    );
    if (values.state !== undefined || values.replay !== undefined) break;
  }
  verifiers.close();
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  print(
    `power-loss: ${total.states} crash states over ${total.workloads} workloads (${total.acknowledged} acknowledged calls), ${total.losses} losses, ${seconds} s${failed.length > 0 ? `; seeds that fail: ${failed.join(' ')}` : ''}`,
  );
  return total.losses === 0 && total.states > 0;
}

async function kill(): Promise<boolean> {
  const processes = values.processes === undefined ? (values['stand-in'] ? 1 : 3) : Number(values.processes);
  const report = await runKill({
    seed,
    kills: Number(values.runs ?? 500),
    subject,
    processes,
    onRound: (r) => {
      if (r.verifications % 10 === 0)
        print(`${r.kills} kills, ${r.acknowledged} acknowledged, ${r.losses.length} losses`);
    },
  });
  for (const loss of report.losses) {
    print(`LOSS at kill ${loss.kill}, kept in ${loss.folder}`);
    for (const problem of loss.problems.slice(0, 8)) print(`  ${problem}`);
  }
  print(
    `kill: ${report.kills} kills of ${processes} processes, ${report.verifications} verifications, ${report.acknowledged} acknowledged calls, ${report.losses.length} losses, ${report.seconds.toFixed(0)} s, seed ${seed}`,
  );
  return report.losses.length === 0;
}

async function move(): Promise<boolean> {
  const copies = Number(values.copies);
  const report = await runMoves({
    seed,
    copies,
    kills: Number(values.runs ?? 100),
    onKill: (r) => {
      if (r.kills % 10 === 0)
        print(`${r.kills} kills, ${r.interrupted} in a move, ${r.losses.length} losses`);
    },
  });
  for (const loss of report.losses)
    print(`LOSS at kill ${loss.kill}, kept in ${loss.folder}\n  ${loss.problem}`);
  print(
    `move: ${report.kills} kills, ${report.interrupted} of them in the middle of a move, ${copies === 1 ? 'no mirror' : `${copies} copies`}, ${report.acknowledged} acknowledged puts, ${report.losses.length} losses, ${report.seconds.toFixed(0)} s, seed ${seed}`,
  );
  return report.losses.length === 0 && report.interrupted > 0;
}

async function allMutants(): Promise<boolean> {
  needRecorder();
  let caught = 0;
  for (const mutant of mutants) {
    if (mutant.patches.length === 0) {
      print(`NOT WRITTEN ${mutant.name}`);
      continue;
    }
    const copy = buildMutant(mutant);
    try {
      const { name } = mutant;
      const verdict = await huntMutant(copy.subject, {
        name,
        seed,
        seeds: 4,
        states: Number(values.runs ?? 150),
      });
      if (verdict.caught) caught++;
      const how = verdict.loss === undefined ? '' : `: ${verdict.loss.problems[0] ?? ''}`;
      print(
        `${verdict.caught ? 'caught' : 'MISSED'} ${name} after ${verdict.states} states, seed ${verdict.seed}${how}`,
      );
    } finally {
      copy.remove();
    }
  }
  print(`mutants: ${caught} of ${mutants.length} caught`);
  return caught === mutants.length;
}

/** Random steps on a store that loses its catalog every few of them. */
async function rebuild(): Promise<boolean> {
  const runs = Number(values.runs ?? 200);
  const started = performance.now();
  let failed = 0;
  for (let run = 0; run < runs; run++) {
    const stage = {
      threads: 0,
      rebuildEvery: 6 + (run % 9),
      compression: (['off', 'auto', 'always'] as const)[run % 3]!,
    };
    try {
      await play(seed + run, makeSteps(seed + run, run, makeUniverse(seed + run).length), stage);
    } catch (error) {
      failed++;
      print(
        `FAILED run ${run} (seed ${seed + run}): ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    if ((run + 1) % 25 === 0) print(`${run + 1} stores, ${failed} failed`);
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  print(`rebuild: ${runs} stores, ${failed} failed, ${seconds} s, seed ${seed}`);
  return failed === 0;
}

async function damage(): Promise<boolean> {
  let fine = true;
  for (const from of ['store', 'mirror'] as const) {
    const report = await runDamage({ seed, blobs: Number(values.runs ?? 1000), from });
    const { harmed, blobs, found, missed, remaining, wrong, seconds } = report;
    print(
      `damage, healed from a ${from}: ${harmed} of ${blobs} blobs harmed, ${found} found, ${report.false} false, ${missed} missed; ${remaining} not healed, ${wrong} wrong in the end; ${seconds.toFixed(0)} s, seed ${seed}`,
    );
    fine &&= report.false + missed + remaining + wrong === 0 && harmed > 0;
  }
  return fine;
}

/** These throw at the first that fails, and keep its folder. */
async function cuts(): Promise<boolean> {
  const started = performance.now();
  const report = await runCuts({ seed, runs: Number(values.runs ?? 500) }, ({ cuts: done }) => {
    if (done % 50 === 0) print(`${done} cuts`);
  });
  print(
    `cuts: ${report.cuts} cuts, at ${report.boundariesCut} of ${report.boundaries} ends of frames and anywhere, ${secondsSince(started)} s, seed ${seed}`,
  );
  return report.cuts > 0;
}

async function syncKill(): Promise<boolean> {
  const started = performance.now();
  const report = await runSyncKills({ seed, runs: Number(values.runs ?? 100) }, ({ kills: done }) => {
    if (done % 10 === 0) print(`${done} kills`);
  });
  print(
    `sync-kill: ${report.kills} kills, ${report.within} before the transfer had ended; ${report.bytes} bytes sent afterwards, ${report.missing} were missing; ${secondsSince(started)} s, seed ${seed}`,
  );
  return report.within > 0;
}

async function syncRaces(): Promise<boolean> {
  const runs = Number(values.runs ?? 300);
  const started = performance.now();
  const total = { transfers: 0, refused: 0 };
  for (let run = 0; run < runs; run++) {
    try {
      const { transfers, refused } = await race(seed + run);
      total.transfers += transfers;
      total.refused += refused;
    } catch (error) {
      print(`FAILED seed ${seed + run}`);
      throw error;
    }
    if ((run + 1) % 50 === 0) print(`${run + 1} races`);
  }
  print(
    `sync-races: ${runs} races, ${total.transfers} transfers, ${total.refused} of them refused, nothing lost, ${secondsSince(started)} s, seed ${seed}`,
  );
  return total.refused < total.transfers;
}

function secondsSince(started: number): string {
  return ((performance.now() - started) / 1000).toFixed(0);
}

function needRecorder(): void {
  const recorder = buildRecorder();
  if ('missing' in recorder) throw new Error(recorder.missing);
}

const campaign = campaigns[positionals[0] ?? ''];
if (campaign === undefined) {
  process.stderr.write(`${usage}\n`);
  process.exitCode = 2;
} else if (!(await campaign())) process.exitCode = 1;
