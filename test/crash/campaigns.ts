/** The campaigns of crashes, of rebuilds, of damage and of transfers as the command line runs them. */
import { play } from '../../fuzz/store/player.ts';
import { makeSteps } from '../../fuzz/store/steps.ts';
import { makeUniverse } from '../../fuzz/store/universe.ts';
import { runCuts } from '../sync/cutting.ts';
import { runSyncKills } from '../sync/killing.ts';
import { race } from '../sync/racing.ts';
import { runAlternatesKills } from './alternates-kill.ts';
import { runDamage } from './damage.ts';
import type { CampaignArguments } from './fault-campaigns.ts';
import { runKeysKills } from './keys-kill.ts';
import { runTakenKills } from './keys-taken-kill.ts';
import { runKill } from './kill.ts';
import type { Outcome } from './ledger.ts';
import { runMoves } from './move.ts';
import { buildMutant, huntMutant, mutants } from './mutants.ts';
import { type PowerLossOptions, runPowerLoss } from './power-loss.ts';
import { buildRecorder } from './recorded-run.ts';
import { runSealedKills } from './sealed-kill.ts';
import type { Subject } from './subject.ts';
import { startVerifiers } from './verifiers.ts';

export interface CrashArguments extends CampaignArguments {
  readonly subject: Subject;
  /** Crash states of a workload. */
  readonly perSeed: number;
  readonly copies: number;
  readonly replay: string | undefined;
  /** One crash state alone. */
  readonly state: number | undefined;
}

export async function powerLoss(given: CrashArguments): Promise<Outcome> {
  const { seed, subject, perSeed, print } = given;
  needRecorder();
  const { runs = 2000 } = given;
  const failed: string[] = [];
  const total = { states: 0, workloads: 0, acknowledged: 0, losses: 0 };
  const started = performance.now();
  const verifiers = startVerifiers(subject);
  for (let s = seed; total.states < runs; s++) {
    const replay = given.replay === undefined ? {} : { replay: given.replay };
    const only = given.state === undefined ? {} : { only: given.state };
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
    if (given.state !== undefined || given.replay !== undefined) break;
  }
  verifiers.close();
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  print(
    `power-loss: ${total.states} crash states over ${total.workloads} workloads (${total.acknowledged} acknowledged calls), ${total.losses} losses, ${seconds} s${failed.length > 0 ? `; seeds that fail: ${failed.join(' ')}` : ''}`,
  );
  return { from: seed, to: seed + total.workloads, runs: total.states, losses: total.losses };
}

export async function kill(given: CrashArguments): Promise<Outcome> {
  const { seed, subject, print } = given;
  const processes = given.processes ?? (subject.kind === 'stand-in' ? 1 : 3);
  const report = await runKill({
    seed,
    kills: given.runs ?? 500,
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
  return { from: seed, to: seed + 1, runs: report.kills, losses: report.losses.length };
}

export async function move(given: CrashArguments): Promise<Outcome> {
  const { seed, copies, print } = given;
  const report = await runMoves({
    seed,
    copies,
    kills: given.runs ?? 100,
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
  if (report.interrupted === 0) throw new Error('no kill came in the middle of a move');
  return { from: seed, to: seed + 1, runs: report.kills, losses: report.losses.length };
}

/** A mutant that is missed is lost. */
export async function allMutants(given: CrashArguments): Promise<Outcome> {
  const { seed, print } = given;
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
        states: given.runs ?? 150,
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
  const { length } = mutants;
  return { from: seed, to: seed + 1, runs: length, losses: length - caught, of: length };
}

/** Random steps on a store that loses its catalog every few of them. */
export async function rebuild({ seed, runs = 200, print }: CrashArguments): Promise<Outcome> {
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
  return { from: seed, to: seed + runs, runs, losses: failed };
}

export async function damage({ seed, runs = 1000, print }: CrashArguments): Promise<Outcome> {
  let [all, losses] = [0, 0];
  for (const from of ['store', 'mirror'] as const) {
    const report = await runDamage({ seed, blobs: runs, from });
    const { harmed, blobs, found, missed, remaining, wrong, seconds } = report;
    print(
      `damage, healed from a ${from}: ${harmed} of ${blobs} blobs harmed, ${found} found, ${report.false} false, ${missed} missed; ${remaining} not healed, ${wrong} wrong in the end; ${seconds.toFixed(0)} s, seed ${seed}`,
    );
    all += harmed;
    losses += report.false + missed + remaining + wrong;
  }
  return { from: seed, to: seed + 1, runs: all, losses };
}

/** These throw at the first that fails, and keep its folder; how far they came is what they ran. */
async function untilOneFails(
  print: (line: string) => void,
  work: (done: (runs: number) => void) => Promise<string>,
): Promise<{ readonly runs: number; readonly losses: number }> {
  const started = performance.now();
  let runs = 0;
  try {
    const told = await work((done) => {
      runs = done;
      if (done % 25 === 0) print(`${done} runs`);
    });
    print(`${told}; ${secondsSince(started)} s`);
    return { runs, losses: 0 };
  } catch (error) {
    print(
      `FAILED after ${runs} runs: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    return { runs, losses: 1 };
  }
}

export async function cuts({ seed, runs = 500, print }: CrashArguments): Promise<Outcome> {
  const ran = await untilOneFails(print, async (done) => {
    const report = await runCuts({ seed, runs }, (so) => done(so.cuts));
    return `cuts: ${report.cuts} cuts, at ${report.boundariesCut} of ${report.boundaries} ends of frames and anywhere, seed ${seed}`;
  });
  return { from: seed, to: seed + 1, ...ran };
}

export async function syncKill({ seed, runs = 100, print }: CrashArguments): Promise<Outcome> {
  const ran = await untilOneFails(print, async (done) => {
    const report = await runSyncKills({ seed, runs }, ({ kills }) => done(kills));
    if (report.within === 0) throw new Error('no kill came in the middle of a transfer');
    return `sync-kill: ${report.kills} kills, ${report.within} before the transfer had ended; ${report.bytes} bytes sent afterwards, ${report.missing} were missing; seed ${seed}`;
  });
  return { from: seed, to: seed + 1, ...ran };
}

export async function keysKill({ seed, runs = 100, print }: CrashArguments): Promise<Outcome> {
  const ran = await untilOneFails(print, async (done) => {
    const changing = runs - Math.floor(runs / 3);
    const report = await runKeysKills({ seed, runs: changing }, ({ kills }) => done(kills));
    const taking = await runTakenKills({ seed, runs: runs - changing }, ({ kills }) =>
      done(changing + kills),
    );
    return `keys-kill: ${report.kills} kills, ${report.within} in the middle of a change, ${report.changes} changes acknowledged, ${report.opened} secrets opened it and ${report.refused} did not; ${taking.kills} of a replica that takes keys, ${taking.taken} taken and ${taking.kept} kept; seed ${seed}`;
  });
  return { from: seed, to: seed + 1, ...ran };
}

export async function alternatesKill({ seed, runs = 100, print }: CrashArguments): Promise<Outcome> {
  const ran = await untilOneFails(print, async (done) => {
    const report = await runAlternatesKills({ seed, runs }, ({ kills }) => done(kills));
    return `alternates-kill: ${report.kills} kills, ${report.borrowed} blobs were borrowed, ${report.copied} copied, ${report.collected} collected in the base, seed ${seed}`;
  });
  return { from: seed, to: seed + 1, ...ran };
}

export async function sealedKill({ seed, runs = 100, print }: CrashArguments): Promise<Outcome> {
  const ran = await untilOneFails(print, async (done) => {
    const report = await runSealedKills({ seed, runs }, ({ kills }) => done(kills));
    return `sealed-kill: ${report.kills} kills, ${report.within} in the middle of a root, ${report.acknowledged} roots acknowledged, seed ${seed}`;
  });
  return { from: seed, to: seed + 1, ...ran };
}

export async function syncRaces({ seed, runs = 300, print }: CrashArguments): Promise<Outcome> {
  const total = { transfers: 0, refused: 0 };
  const ran = await untilOneFails(print, async (done) => {
    for (let run = 0; run < runs; run++) {
      const { transfers, refused } = await race(seed + run);
      total.transfers += transfers;
      total.refused += refused;
      done(run + 1);
    }
    return `sync-races: ${runs} races, ${total.transfers} transfers, ${total.refused} of them refused, nothing lost, seed ${seed}`;
  });
  return { from: seed, to: seed + Math.max(1, ran.runs + ran.losses), ...ran };
}

function secondsSince(started: number): string {
  return ((performance.now() - started) / 1000).toFixed(0);
}

function needRecorder(): void {
  const recorder = buildRecorder();
  if ('missing' in recorder) throw new Error(recorder.missing);
}
