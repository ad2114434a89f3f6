/** The schedule among processes: who runs it, which run has begun, and what is left of one whose process died. */
import type { MaintenanceJob, ScheduleOptions } from '../api.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { isDead } from '../catalog/leases.ts';
import { type JobState, type ScheduleState, readSchedule, writeSchedule } from '../catalog/schedule-row.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import type { DatabaseClass } from '../driver.ts';
import { StoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import { jobNames } from './timetable.ts';

/** Runs of one moment that a process may die in: a job that takes the process with it must not do so at each start. */
const triesMax = 2;

export interface SchedulingContext {
  readonly catalog: Catalog;
  readonly host: Host;
  readonly layout: StoreLayout;
  readonly driver: DatabaseClass;
  /** Of this process. */
  readonly lease: string;
}

/** Replaces the schedule; a job whose cron stays as it was keeps how far it has come, so that it may be set at each start. */
export function setSchedule(
  { catalog }: SchedulingContext,
  { options, nowMs }: { readonly options: ScheduleOptions | null; readonly nowMs: number },
): void {
  catalog.transaction((transaction) => {
    const before = soundSchedule(catalog);
    if (options === null) return save(transaction, undefined);
    const jobs = jobNames.flatMap((job): [MaintenanceJob, JobState][] => {
      if (options[job] === undefined) return [];
      const same = before?.options[job]?.cron === options[job].cron;
      return [[job, (same ? before?.jobs[job] : undefined) ?? { fromMs: nowMs, tries: 0 }]];
    });
    const owner = before?.owner === undefined ? {} : { owner: before.owner };
    save(transaction, { options, ...owner, jobs: Object.fromEntries(jobs) });
  });
}

/** Makes this process the one that runs the schedule, unless another one lives that does. False where it is not. */
export function takeSchedule(context: SchedulingContext): boolean {
  const { catalog, lease } = context;
  return catalog.transaction((transaction) => {
    const state = readSchedule(catalog.sql);
    if (state === undefined) return false;
    if (state.owner === lease) return true;
    if (state.owner !== undefined && isAlive(context, state.owner)) return false;
    save(transaction, { ...state, owner: lease });
    return true;
  });
}

export interface RunRequest {
  readonly job: MaintenanceJob;
  /** As it was read: if it is another one now, somebody else has run it. */
  readonly fromMs: number;
  readonly nowMs: number;
}

/**
 * `begun`: it is this process's to run, and to settle. `taken`: another one runs it, or has. `given-up`: processes died over it, and it
 * waits for its next moment.
 */
export function beginRun(
  context: SchedulingContext,
  { job, fromMs, nowMs }: RunRequest,
): 'begun' | 'taken' | 'given-up' {
  const { catalog, lease } = context;
  return catalog.transaction((transaction) => {
    const state = readSchedule(catalog.sql);
    const before = state?.jobs[job];
    if (state === undefined || before === undefined || before.fromMs !== fromMs) return 'taken';
    // Its own is one that could not be settled: what it runs it does not begin again.
    if (before.by !== undefined && before.by !== lease && isAlive(context, before.by)) return 'taken';
    const given = before.tries >= triesMax;
    const after: JobState = given
      ? { ...settled(before), fromMs: nowMs }
      : { ...before, lastMs: nowMs, tries: before.tries + 1, by: lease };
    saveJob(transaction, state, { job, after });
    return given ? 'given-up' : 'begun';
  });
}

/** A run ended, well or not: its next moment is reckoned from `fromMs`. Unchanged, it is as due as it was. */
export function settleRun(
  { catalog, lease }: SchedulingContext,
  { job, fromMs }: { readonly job: MaintenanceJob; readonly fromMs?: number },
): void {
  catalog.transaction((transaction) => {
    const state = readSchedule(catalog.sql);
    const before = state?.jobs[job];
    if (state === undefined || before?.by !== lease) return;
    saveJob(transaction, state, { job, after: { ...settled(before), fromMs: fromMs ?? before.fromMs } });
  });
}

/** A wall clock that ran ahead has been set back: what is reckoned from a moment to come would wait until then. */
export function reckonFrom({ catalog }: SchedulingContext, nowMs: number): void {
  catalog.transaction((transaction) => {
    const state = readSchedule(catalog.sql);
    if (state === undefined) return;
    for (const job of jobNames) {
      const before = state.jobs[job];
      if (before === undefined || before.fromMs <= nowMs) continue;
      const { lastMs: _ahead, ...rest } = before;
      saveJob(transaction, readSchedule(catalog.sql)!, { job, after: { ...rest, fromMs: nowMs } });
    }
  });
}

function settled(before: JobState): JobState {
  const { by: _by, ...rest } = before;
  return { ...rest, tries: 0 };
}

function saveJob(
  transaction: Transaction,
  state: ScheduleState,
  { job, after }: { readonly job: MaintenanceJob; readonly after: JobState },
): void {
  save(transaction, { ...state, jobs: { ...state.jobs, [job]: after } });
}

function save(transaction: Transaction, state: ScheduleState | undefined): void {
  transaction.changed = true;
  writeSchedule(transaction.catalog.sql, state);
}

/** One that is damaged is as good as none: it is about to be replaced. */
function soundSchedule(catalog: Catalog): ScheduleState | undefined {
  try {
    return readSchedule(catalog.sql);
  } catch (error) {
    if (StoreError.is(error, 'corrupt')) return undefined;
    throw error;
  }
}

/** A lease that was given back has no row; one whose process died has no lock. */
function isAlive({ catalog, host, layout, driver }: SchedulingContext, uuid: string): boolean {
  if (catalog.sql.values('SELECT 1 FROM leases WHERE uuid = ?').get(uuid) === undefined) return false;
  return !isDead(driver, host.files, { folder: layout.leases, uuid });
}
