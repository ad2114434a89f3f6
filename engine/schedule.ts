/** The contract of maintenance that runs by itself: what is scheduled, when it runs, and what a run came to. */
import type { Cap, GcResult } from './collection.ts';
import type { ErrorCode } from './errors.ts';
import type { CompactResult } from './group.ts';
import type { ScrubOptions, ScrubResult } from './scrubbing.ts';

/** In the order in which they run when several are due: room first, then the promise, then what is only tidy. */
export type MaintenanceJob = 'gc' | 'scrub' | 'compact';

/** Five fields, `minute hour day-of-month month day-of-week`, or `@daily` and its like; in the machine's local time. */
export interface CronSchedule {
  readonly cron: string;
}

/** A run reads its share of the store, what was verified longest ago first, so that the promise is kept. */
export interface ScrubSchedule extends CronSchedule {
  /** The promise: every copy is verified within so many days. Default 30. */
  readonly days?: number;
  /** Bytes a second, see ScrubOptions. */
  readonly rate?: number;
  /** Milliseconds after which a run ends, share or not. Too short a box breaks the promise, and `health` says so in time. */
  readonly timeBoxMs?: number;
  /** Runs only from the hour `from` to the hour `to` (0 to 23, local time; 22 to 6 is over midnight). What is due waits for it. */
  readonly hours?: { readonly from: number; readonly to: number };
}

/** Part of the store: kept in its catalog, and run by one of the processes that have it open. */
export interface ScheduleOptions {
  readonly scrub?: ScrubSchedule;
  /** With the default grace. */
  readonly gc?: CronSchedule;
  readonly compact?: CronSchedule;
  /**
   * Milliseconds. A job begins only when this process has neither put nor read for so long, and stops when it does: nothing that was done
   * is lost, and it goes on when all is quiet again.
   */
  readonly idleMs?: number;
}

export interface ScheduledJob {
  readonly job: MaintenanceJob;
  /** Milliseconds since 1970; in the past where it is due. */
  readonly nextMs: number;
  /** When the last run began. Absent before the first. */
  readonly lastMs?: number;
}

export interface Schedule {
  readonly options: ScheduleOptions;
  readonly jobs: readonly ScheduledJob[];
  /** Whether it is this process that runs it. Nobody does until half a minute after the first has opened the store. */
  readonly runsHere: boolean;
}

/** Hours and use do not count: whoever calls it has chosen the moment. */
export interface MaintainOptions {
  /** Milliseconds after which all of it ends. */
  readonly timeBoxMs?: number;
  /** Of the scrub, where the schedule does not say. Default 30. */
  readonly days?: number;
  /** Likewise. */
  readonly rate?: number;
  /** Of the collection. Default 24 hours. */
  readonly graceMs?: number;
  /** Of the collection, see GcOptions. */
  readonly cap?: Cap;
  /** Rejects with its reason. What was done until then counts. */
  readonly signal?: AbortSignal;
  readonly onProgress?: ScrubOptions['onProgress'];
}

/** Each job that ran, and was not cut by the time box. */
export interface MaintainResult {
  readonly gc?: GcResult;
  readonly scrub?: ScrubResult;
  readonly compact?: CompactResult;
  /** What did not run, or not to its end, and why. A scrub that the box ended is no failure, and has a result. */
  readonly skipped: readonly {
    readonly job: MaintenanceJob;
    readonly why: 'not-due' | 'out-of-time' | 'running-elsewhere' | 'failed';
    readonly code?: ErrorCode;
    readonly message?: string;
  }[];
  /** Bytes of the catalog's write-ahead log, after it was copied back. */
  readonly walBytes: number;
}
