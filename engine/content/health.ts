/** The health of a store, from its catalog and a look at its folders. */
import type { AlternateInfo, StoreHealth, VolumeInfo } from '../api.ts';
import { readState } from '../catalog/catalog.ts';
import { waitingGap } from '../catalog/gap.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { readSchedule } from '../catalog/schedule-row.ts';
import type { Statements } from '../catalog/statements.ts';
import { StoreError } from '../errors.ts';
import type { Files, Host } from '../host.ts';
import { mirrorFacts, scrubWork } from './copy-facts.ts';
import { scrubRecords, waitingCopies } from './scrub-facts.ts';

const dayMs = 86_400_000;
const defaultDays = 30;
/** Told of the history. */
const recordsTold = 10;
/** The promise is at risk when less is left than this many full scrubs, or this part of the days. */
const scrubsLeft = 2;
const partLeft = 0.1;
/** Clocks are corrected by seconds; more than this is worth telling. */
const clockAheadMin = dayMs;

export interface HealthParts {
  readonly host: Host;
  readonly layout: StoreLayout;
  readonly volumes: readonly VolumeInfo[];
  /** Stores that are searched, and may not be there. */
  readonly alternates: readonly AlternateInfo[];
  readonly unopenedRoots: number;
}

type Facts = Omit<StoreHealth, 'putsWaiting'>;

export function health(sql: Statements, parts: HealthParts, days: number = promisedDays(sql)): Facts {
  const { host, layout } = parts;
  const { clockMs, doubt: noted } = readState(sql);
  // What a rebuild could not bring back stops collection as well, until it is accepted.
  const doubt = noted === '' ? waitingGap(sql) : noted;
  // A wall clock that was set back makes nothing younger.
  const now = Math.max(clockMs, host.clock.now());
  const ahead = clockMs - host.clock.now();
  const volumes = parts.volumes.flatMap(({ id, problem, blobs }) =>
    problem === undefined ? [] : [{ id, problem, blobs }],
  );
  const away = volumes.map(({ id }) => id);
  const { copies, missing } = mirrorFacts(sql, away);
  const facts = {
    promise: promiseOf(sql, days, now),
    scrubs: scrubRecords(sql, recordsTold),
    suspect: sql.values('SELECT count(*) FROM blobs WHERE suspect != 0').get() as number,
    unopenedRoots: parts.unopenedRoots,
    copies,
    missingCopies: missing,
    ...(doubt === '' ? {} : { doubt }),
    volumes,
    ...(ahead > clockAheadMin ? { clockAheadMs: Math.round(ahead) } : {}),
    walBytes: host.files.facts(`${layout.index}-wal`)?.size ?? 0,
    temporary: filesBelow(host.files, layout.temps),
    freeBytes: host.files.space(layout.root).freeBytes,
  };
  return { ...judge(facts, now, parts.alternates), ...facts };
}

/** A schedule that is damaged promises nothing. */
function promisedDays(sql: Statements): number {
  try {
    return readSchedule(sql)?.options.scrub?.days ?? defaultDays;
  } catch (error) {
    if (StoreError.is(error, 'corrupt')) return defaultDays;
    throw error;
  }
}

function promiseOf(sql: Statements, days: number, now: number): Facts['promise'] {
  const before = now - days * dayMs;
  const { oldestMs, overdue } = waitingCopies(sql, before);
  const fullScrubMs = fullScrub(sql);
  return {
    days,
    kept: overdue.blobs === 0,
    ...(oldestMs === undefined ? {} : { oldestMs, untilMs: oldestMs + days * dayMs }),
    overdue,
    ...(fullScrubMs === undefined ? {} : { fullScrubMs }),
  };
}

/** At the rate of the last scrub that read something. */
function fullScrub(sql: Statements): number | undefined {
  const last = sql
    .arrays('SELECT bytes, elapsed FROM scrubs WHERE bytes > 0 AND elapsed > 0 ORDER BY n DESC LIMIT 1')
    .get() as [number, number] | undefined;
  return last && Math.round((scrubWork(sql).bytes / last[0]) * last[1]);
}

function judge(
  facts: Omit<Facts, 'state' | 'reasons'>,
  now: number,
  alternates: readonly AlternateInfo[],
): Pick<Facts, 'state' | 'reasons'> {
  const { promise, suspect, doubt, missingCopies, volumes, unopenedRoots } = facts;
  const damage = [
    ...(suspect > 0 ? [`${suspect} blob(s) are damaged`] : []),
    ...(doubt === undefined ? [] : [`collection stands still: ${doubt}`]),
  ];
  const broken = [
    ...(promise.kept
      ? []
      : [`${promise.overdue.blobs} blob(s) were not verified within ${promise.days} days`]),
    ...(unopenedRoots > 0 ? [`${unopenedRoots} root(s) have names that no key here opens`] : []),
    ...(missingCopies > 0 ? [`${missingCopies} blob(s) have fewer copies than wanted`] : []),
    ...unusable(volumes, alternates),
  ];
  const margin = Math.max(scrubsLeft * (promise.fullScrubMs ?? 0), partLeft * promise.days * dayMs);
  const isNear = promise.kept && promise.untilMs !== undefined && promise.untilMs - now < margin;
  const { clockAheadMs } = facts;
  const risk = [
    ...(isNear ? ['the promise ends soon: scrub now'] : []),
    ...(clockAheadMs === undefined
      ? []
      : [
          `the store's clock is ${Math.round(clockAheadMs / dayMs)} day(s) ahead of the machine's: until then no grace ends, and the promise tells nothing`,
        ]),
  ];
  const reasons = [...damage, ...broken, ...risk];
  if (damage.length > 0) return { state: 'damage', reasons };
  if (broken.length > 0) return { state: 'broken', reasons };
  return { state: risk.length > 0 ? 'at-risk' : 'fine', reasons };
}

/** Volumes and alternates that cannot be used now, by name and why, in words. */
export function unusable(
  volumes: readonly Pick<VolumeInfo, 'id' | 'blobs' | 'problem'>[],
  alternates: readonly AlternateInfo[],
): string[] {
  return [
    ...volumes.flatMap(({ id, blobs, problem }) =>
      problem === undefined ? [] : [`volume ${id}, ${blobs} blob(s) in it: ${problem}`],
    ),
    ...alternates.flatMap(({ path, problem }) =>
      problem === undefined ? [] : [`alternate ${path}: ${problem}`],
    ),
  ];
}

/** What goes away meanwhile does not count. */
function filesBelow(files: Files, folder: string): Facts['temporary'] {
  let [count, bytes] = [0, 0];
  const folders = [folder];
  for (const path of folders) {
    for (const name of namesIn(files, path)) {
      const below = files.join(path, name);
      const facts = files.linkFacts(below);
      if (facts?.kind === 'folder') folders.push(below);
      if (facts?.kind !== 'file') continue;
      count++;
      bytes += facts.size;
    }
  }
  return { files: count, bytes };
}

function namesIn(files: Files, path: string): string[] {
  if (files.facts(path) === undefined) return [];
  const decoder = new TextDecoder();
  return files.list(path).map((name) => decoder.decode(name));
}
