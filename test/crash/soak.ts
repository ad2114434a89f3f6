// `npm run soak -- <campaign> --runs N`: the full number of runs of a campaign of crashes, faults or races; exits 1 on any loss.
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  type CrashArguments,
  allMutants,
  alternatesKill,
  cuts,
  damage,
  keysKill,
  kill,
  move,
  powerLoss,
  rebuild,
  sealedKill,
  syncKill,
  syncRaces,
} from './campaigns.ts';
import { bitFlips, ioErrors, longRaces, raceMutantsAll, races } from './fault-campaigns.ts';
import { type Outcome, appendSlice, commitHere, ledgerPath, readLedger, reachedTable } from './ledger.ts';
import { engineSubject } from './subject.ts';

const usage = `usage: soak power-loss [--runs STATES] [--seed S] [--per-seed STATES] [--replay FOLDER --state N]
       soak kill       [--runs KILLS] [--seed S] [--processes N]
       soak move       [--runs KILLS] [--seed S] [--copies N]
       soak mutants    [--runs STATES] [--seed S]
       soak rebuild    [--runs STORES] [--seed S]
       soak races | long-races [--runs SCHEDULES] [--seed-from SCHEDULE] [--jobs N] [--processes N] [--trace]
       soak race-mutants [--runs SCHEDULES]
       soak io-errors    [--runs CASES] [--seed S] [--seed-from CASE] [--jobs N]
       soak bit-flips    [--runs BITS] [--seed-from BIT] [--jobs N]
       soak cuts       [--runs CUTS] [--seed S]
       soak sync-kill  [--runs KILLS] [--seed S]
       soak sync-races [--runs RACES] [--seed S]
       soak keys-kill  [--runs KILLS] [--seed S]
       soak alternates-kill [--runs KILLS] [--seed S]
       soak sealed-kill [--runs KILLS] [--seed S]
       soak damage     [--runs BLOBS] [--seed S]
       soak report     [--ledger FILE]: what the slices in the ledger come to
  --ledger FILE appends a line on what was run; the repository's own is test/crash/ledger.jsonl
  --stand-in runs the tools' own small store instead of the engine`;

/** Processes and threads of a campaign load the same sources again and again. */
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(
  new URL('../../node_modules/.cache/holdfast-soak', import.meta.url),
);

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
    ledger: { type: 'string' },
    'stand-in': { type: 'boolean', default: false },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const numberOf = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Number(text);

const given: CrashArguments = {
  runs: numberOf(values.runs),
  seed: Number(values.seed),
  from: Number(values['seed-from']),
  jobs: Number(values.jobs),
  processes: numberOf(values.processes),
  trace: values.trace,
  print,
  subject: values['stand-in'] ? { kind: 'stand-in', flaws: [] } : engineSubject,
  perSeed: Number(values['per-seed']),
  copies: Number(values.copies),
  replay: values.replay,
  state: numberOf(values.state),
};

const campaigns: Readonly<Record<string, (given: CrashArguments) => Promise<Outcome>>> = {
  'power-loss': powerLoss,
  kill,
  move,
  mutants: allMutants,
  rebuild,
  races,
  'long-races': longRaces,
  'race-mutants': raceMutantsAll,
  'io-errors': ioErrors,
  'bit-flips': bitFlips,
  cuts,
  'sync-kill': syncKill,
  'sync-races': syncRaces,
  'keys-kill': keysKill,
  'alternates-kill': alternatesKill,
  'sealed-kill': sealedKill,
  damage,
};

/** Whether all was well. */
async function run(name: string, campaign: (given: CrashArguments) => Promise<Outcome>): Promise<boolean> {
  const ledger = values.ledger === undefined ? undefined : resolve(values.ledger);
  const partial = values['stand-in'] || values.replay !== undefined || values.state !== undefined;
  if (ledger !== undefined && partial) throw new Error('a replay, or the stand-in, goes into no ledger');
  // Before anything runs, and again after it: what ran must be what the commit says.
  const commit = ledger === undefined ? undefined : commitHere(ledger);
  const started = performance.now();
  const outcome = await campaign(given);
  if (ledger !== undefined && commit !== undefined) {
    if (commitHere(ledger) !== commit) throw new Error('another commit was checked out meanwhile');
    const seconds = Math.round((performance.now() - started) / 1000);
    appendSlice(ledger, { campaign: name, ...outcome, commit, date: new Date().toISOString(), seconds });
  }
  return outcome.losses === 0 && outcome.runs > 0;
}

const name = positionals[0] ?? '';
const campaign = campaigns[name];
if (name === 'report') print(reachedTable(readLedger(values.ledger ?? ledgerPath)));
else if (campaign === undefined) {
  process.stderr.write(`${usage}\n`);
  process.exitCode = 2;
} else if (!(await run(name, campaign))) process.exitCode = 1;
