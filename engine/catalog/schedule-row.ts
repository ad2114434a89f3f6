/** The schedule as it stands in the catalog: one row of `meta`, JSON, with how far each job has come. */
import type { MaintenanceJob, ScheduleOptions } from '../api.ts';
import { StoreError } from '../errors.ts';
import type { Statements } from './statements.ts';

export interface JobState {
  /** The moment its next run is reckoned from: when it was scheduled, or its last run settled. Wall clock, ms since 1970. */
  readonly fromMs: number;
  /** Absent before the first run. */
  readonly lastMs?: number;
  /** Runs that began since `fromMs`. More than one that is not running: a process died over it. */
  readonly tries: number;
  /** Lease of the process that runs it. */
  readonly by?: string;
}

export interface ScheduleState {
  readonly options: ScheduleOptions;
  /** Lease of the process that runs what is due. */
  readonly owner?: string;
  readonly jobs: Readonly<Partial<Record<MaintenanceJob, JobState>>>;
}

/** Undefined where nothing is scheduled; `corrupt` where the row is not one that was written. */
export function readSchedule(sql: Statements): ScheduleState | undefined {
  const text = sql.values(`SELECT value FROM meta WHERE key = 'schedule'`).get();
  if (text === undefined) return undefined;
  try {
    const state: unknown = JSON.parse(String(text));
    if (isState(state)) return state;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new StoreError('corrupt', 'the schedule in the catalog is damaged: set it again');
}

/** Undefined removes it. */
export function writeSchedule(sql: Statements, state: ScheduleState | undefined): void {
  if (state === undefined) sql.rows(`DELETE FROM meta WHERE key = 'schedule'`).run();
  else sql.rows(`INSERT OR REPLACE INTO meta (key, value) VALUES ('schedule', ?)`).run(JSON.stringify(state));
}

function isState(state: unknown): state is ScheduleState {
  if (typeof state !== 'object' || state === null) return false;
  const { options, jobs, owner } = state as Record<string, unknown>;
  if (typeof options !== 'object' || options === null || typeof jobs !== 'object' || jobs === null)
    return false;
  const sound = Object.entries(jobs).every(
    ([job, value]) =>
      typeof (options as Record<string, { readonly cron?: unknown } | undefined>)[job]?.cron === 'string' &&
      Number.isFinite((value as JobState | null)?.fromMs) &&
      Number.isSafeInteger((value as JobState).tries),
  );
  return sound && (owner === undefined || typeof owner === 'string');
}
