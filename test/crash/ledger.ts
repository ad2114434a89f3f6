/** The ledger of campaigns: one line of JSON a slice that was run, and what they come to, beside the numbers that are asked for. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, realpathSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../../', import.meta.url));
export const ledgerPath: string = fileURLToPath(new URL('./ledger.jsonl', import.meta.url));

/** What a slice of a campaign came to. */
export interface Outcome {
  /** The seeds, or the numbers of the runs: from the first to before the last. */
  readonly from: number;
  readonly to: number;
  /** States, kills, schedules, cases, bits: what the campaign counts. */
  readonly runs: number;
  readonly losses: number;
  /** How many there are in all, where that is known. */
  readonly of?: number;
}

export interface Entry extends Outcome {
  readonly campaign: string;
  /** The commit whose code ran, with nothing changed. */
  readonly commit: string;
  /** When it ended, ISO 8601. */
  readonly date: string;
  readonly seconds: number;
}

/** What is asked for, and in which unit; `all`: every one there is. */
const asked: Readonly<Record<string, { readonly runs: number | 'all'; readonly unit: string }>> = {
  'power-loss': { runs: 20_000, unit: 'crash states' },
  kill: { runs: 10_000, unit: 'kills' },
  races: { runs: 1_000_000, unit: 'schedules' },
  'io-errors': { runs: 'all', unit: 'cases' },
  'bit-flips': { runs: 64 * 1024 * 8, unit: 'bits' },
  cuts: { runs: 2000, unit: 'cuts' },
  mutants: { runs: 'all', unit: 'broken builds' },
  'race-mutants': { runs: 'all', unit: 'broken builds' },
};
/** Of campaigns without a number. */
const units: Readonly<Record<string, string>> = {
  'long-races': 'schedules',
  move: 'kills',
  rebuild: 'stores',
  'keys-kill': 'kills',
  'alternates-kill': 'kills',
  'sealed-kill': 'kills',
  'sync-kill': 'kills',
  'sync-races': 'races',
  damage: 'harmed blobs',
};

export const campaignNames: readonly string[] = [...Object.keys(asked), ...Object.keys(units)];

/** Throws where a line is none, or is of an unknown campaign. */
export function parseLedger(text: string): Entry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, i) => {
      const entry = JSON.parse(line) as Entry;
      const { from, to, runs, losses, seconds } = entry;
      const counts = [from, to, runs, losses, seconds].every((count) => Number.isSafeInteger(count));
      const named = campaignNames.includes(entry.campaign) && /^[0-9a-f]{40}$/.test(entry.commit);
      if (!counts || !named || to <= from || runs < 0 || Number.isNaN(Date.parse(entry.date)))
        throw new Error(`line ${i + 1} of the ledger is none: ${line}`);
      return entry;
    });
}

export function readLedger(path: string = ledgerPath): Entry[] {
  return existsSync(path) ? parseLedger(readFileSync(path, 'utf8')) : [];
}

export function appendSlice(path: string, entry: Entry): void {
  parseLedger(JSON.stringify(entry));
  appendFileSync(path, `${JSON.stringify(entry)}\n`);
}

/** The commit that is checked out. Throws where anything but the ledger differs from it: then nobody could say what ran. */
export function commitHere(ledger: string): string {
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', repository, ...args], { encoding: 'utf8' }).trimEnd();
  const own = relative(realpathSync(repository), existsSync(ledger) ? realpathSync(ledger) : ledger);
  const changed = git('status', '--porcelain', '--', 'engine', 'sync', 'src', 'test', 'fuzz')
    .split('\n')
    .filter((line) => line !== '' && line.slice(3) !== own);
  if (changed.length > 0)
    throw new Error(`only what is committed goes into a ledger; changed: ${changed.join(', ')}`);
  return git('rev-parse', 'HEAD');
}

export interface Reached {
  readonly campaign: string;
  readonly runs: number;
  readonly losses: number;
  readonly slices: number;
  /** Seeds, where a slice is one or more of them. */
  readonly numbers: number;
  readonly of: number | undefined;
  readonly seconds: number;
}

/** Numbers that were run more than once count once, by the newest slice that has them: it is also what clears a loss that was mended. */
export function reached(entries: readonly Entry[]): Reached[] {
  return campaignNames.flatMap((campaign) => {
    const counted: Entry[] = [];
    const newestFirst = entries
      .filter((entry) => entry.campaign === campaign)
      .toSorted((a, b) => Date.parse(b.date) - Date.parse(a.date));
    for (const entry of newestFirst)
      if (counted.every(({ from, to }) => entry.to <= from || entry.from >= to)) counted.push(entry);
    if (counted.length === 0) return [];
    const sum = (of: (entry: Entry) => number): number => counted.reduce((all, one) => all + of(one), 0);
    return {
      campaign,
      runs: sum(({ runs }) => runs),
      losses: sum(({ losses }) => losses),
      slices: counted.length,
      numbers: sum(({ from, to }) => to - from),
      of: counted[0]!.of,
      seconds: sum(({ seconds }) => seconds),
    };
  });
}

const thousands = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ',');

/** As it stands in docs/guarantees.md. */
export function reachedTable(entries: readonly Entry[]): string {
  const known = new Map(reached(entries).map((one) => [one.campaign, one]));
  const lines = campaignNames.map((campaign) => {
    const { runs = 0, losses = 0, of } = known.get(campaign) ?? {};
    const goal = asked[campaign];
    const all = of === undefined ? 'all' : `all ${thousands(of)}`;
    const wanted = goal === undefined ? '–' : goal.runs === 'all' ? all : thousands(goal.runs);
    const unit = goal?.unit ?? units[campaign];
    return `| \`${campaign}\` | ${unit} | ${wanted} | ${thousands(runs)} | ${losses} |`;
  });
  return ['| campaign | counts | asked for | run | lost |', '| --- | --- | --- | --- | --- |', ...lines].join(
    '\n',
  );
}
