/** Upkeep in one call, for cron and systemd: what is due of collection, scrub and compaction, within one time box. */
import type {
  Cap,
  CompactResult,
  GcOptions,
  GcResult,
  MaintainOptions,
  MaintainResult,
  MaintenanceJob,
  MoveOptions,
  ScrubOptions,
  ScrubRecord,
  ScrubResult,
  ScrubSchedule,
} from './api.ts';
import type { JobState, ScheduleState } from './catalog/schedule-row.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { Host } from './host.ts';
import type { beginRun } from './maintenance/scheduling.ts';
import { type ScrubGoal, type Timetable, jobNames, loadTimetable, shareOf } from './maintenance/timetable.ts';
import { type TimeBox, timeBox } from './time-box.ts';

/** The jobs as the store runs them. */
export interface Jobs {
  gc(options: GcOptions): Promise<GcResult>;
  scrub(options: ScrubOptions, goal: ScrubGoal): Promise<ScrubResult>;
  compact(options: MoveOptions): Promise<CompactResult>;
}

export interface MaintainParts {
  readonly host: Host;
  readonly crew: Crew;
  readonly jobs: Jobs;
  /** Scheduled jobs that this process is running. */
  readonly running: Set<MaintenanceJob>;
  readonly query: <Result>(name: string, ...args: readonly unknown[]) => Promise<Result>;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

type Skipped = MaintainResult['skipped'][number];

export async function maintainStore(parts: MaintainParts, options: MaintainOptions): Promise<MaintainResult> {
  const { host, crew, query } = parts;
  const state = await soundSchedule(parts);
  const table = await loadTimetable();
  const box = timeBox(host.clock, options.timeBoxMs, options.signal);
  const results: Pick<MaintainResult, MaintenanceJob> = {};
  const skipped: Skipped[] = [];
  try {
    for (const job of jobNames) {
      options.signal?.throwIfAborted();
      const why = await oneOf(job);
      if (why !== undefined) skipped.push({ job, ...why });
    }
  } finally {
    box.end();
  }
  await crew.commit('checkpoint', undefined);
  return { ...results, skipped, walBytes: await query<number>('walBytes') };

  async function oneOf(job: MaintenanceJob): Promise<Omit<Skipped, 'job'> | undefined> {
    const nowMs = host.clock.now();
    const at = state?.jobs[job];
    if (state !== undefined && !isDue(table, state, { job, nowMs })) return { why: 'not-due' };
    if (state === undefined && job === 'scrub' && (await isVerified(nowMs))) return { why: 'not-due' };
    if (box.isOver()) return { why: 'out-of-time' };
    if (at !== undefined) {
      const begun = await beginJob(parts, { job, fromMs: at.fromMs, nowMs });
      if (begun === 'taken') return { why: 'running-elsewhere' };
      if (begun === 'given-up') return { why: 'failed', message: diedOver };
    }
    const settle = async (fromMs?: number): Promise<void> => {
      if (at !== undefined) await settleJob(parts, job, fromMs);
    };
    const scrub = { ...picked(options), ...picked(state?.options.scrub ?? {}) };
    const intervalMs = await interval(job);
    try {
      const result = await runJob(parts, job, { ...options, scrub, intervalMs, box });
      Object.assign(results, { [job]: result });
      await settle(host.clock.now());
      return undefined;
    } catch (error) {
      const stopped = options.signal?.aborted === true || box.isOver();
      // What was stopped is as due as before; what fails waits for its next moment.
      await settle(stopped ? undefined : host.clock.now()).catch(() => undefined);
      options.signal?.throwIfAborted();
      if (stopped) return { why: 'out-of-time' };
      if (!StoreError.is(error)) throw error;
      return { why: 'failed', code: error.code, message: error.message };
    }
  }

  /** Without a schedule: as often as it was called so far. */
  async function interval(job: MaintenanceJob): Promise<number> {
    if (job !== 'scrub') return dayMs;
    const nowMs = host.clock.now();
    if (state?.options.scrub !== undefined) return intervalOf(table, state.options.scrub.cron, nowMs);
    const last = await query<ScrubRecord | undefined>('lastScrub');
    return last === undefined ? dayMs : Math.max(hourMs, nowMs - last.begunMs);
  }

  /** Without a schedule: everything was within the hour, was sound, and need not be again by the promise. */
  async function isVerified(nowMs: number): Promise<boolean> {
    const last = await query<ScrubRecord | undefined>('lastScrub');
    if (last === undefined || !last.complete || last.damaged > 0) return false;
    const { beforeMs } = shareOf(picked(options), { intervalMs: hourMs, nowMs });
    if (last.begunMs < beforeMs || last.begunMs > nowMs || nowMs - last.begunMs >= hourMs) return false;
    // It may not have come to all: a volume was away, or a disk could not read.
    return await query<boolean>('areSoundSince', last.begunMs);
  }
}

/** Told of a job that was given up. */
export const diedOver = 'the processes that ran it died; it waits for its next time';

/** What this process runs itself is taken; a claim of its own that nothing runs is one that could not be settled. */
export async function beginJob(
  { crew, running }: MaintainParts,
  run: { readonly job: MaintenanceJob; readonly fromMs: number; readonly nowMs: number },
): Promise<ReturnType<typeof beginRun>> {
  if (running.has(run.job)) return 'taken';
  running.add(run.job);
  const begun = await crew.commit<ReturnType<typeof beginRun>>('schedule-begin', run).catch((error) => {
    running.delete(run.job);
    throw error;
  });
  if (begun !== 'begun') running.delete(run.job);
  return begun;
}

/** Without a moment it stays due. */
export async function settleJob(
  { crew, running }: MaintainParts,
  job: MaintenanceJob,
  fromMs?: number,
): Promise<void> {
  running.delete(job);
  await crew.commit('schedule-settle', { job, ...(fromMs === undefined ? {} : { fromMs }) });
}

/** A wall clock that was set back: what is reckoned from a time to come is reckoned from now. */
export async function readSchedule({ host, crew, query }: MaintainParts): Promise<ScheduleState | undefined> {
  const state = await query<ScheduleState | undefined>('schedule');
  const nowMs = host.clock.now();
  if (state === undefined || Object.values(state.jobs).every(({ fromMs }) => fromMs <= nowMs)) return state;
  await crew.commit('schedule-reckon', nowMs);
  return await query<ScheduleState | undefined>('schedule');
}

/** When a scheduled job runs next; in the past where it is due. Undefined for one that is not scheduled. */
export function nextOf(
  table: Timetable,
  { options, jobs }: ScheduleState,
  job: MaintenanceJob,
): { readonly nextMs: number; readonly at: JobState } | undefined {
  const [cron, at] = [options[job]?.cron, jobs[job]];
  if (cron === undefined || at === undefined) return undefined;
  return { nextMs: table.next(cron, at.fromMs) ?? Number.POSITIVE_INFINITY, at };
}

function isDue(
  table: Timetable,
  state: ScheduleState,
  { job, nowMs }: { readonly job: MaintenanceJob; readonly nowMs: number },
): boolean {
  const next = nextOf(table, state, job);
  return next !== undefined && next.nextMs <= nowMs;
}

/** Milliseconds from one run to the next. */
export function intervalOf(table: Timetable, cron: string, nowMs: number): number {
  const first = table.next(cron, nowMs) ?? nowMs + dayMs;
  return (table.next(cron, first) ?? first + dayMs) - first;
}

export interface RunOptions {
  readonly scrub: Omit<ScrubSchedule, 'cron' | 'hours'>;
  /** From one scrub to the next. */
  readonly intervalMs: number;
  /** A scrub ends with it, and has a result; the others reject. */
  readonly box: TimeBox;
  readonly onProgress?: ScrubOptions['onProgress'];
  /** Of the collection. */
  readonly graceMs?: number;
  readonly cap?: Cap;
}

export async function runJob(
  { host, jobs }: MaintainParts,
  job: MaintenanceJob,
  { scrub, intervalMs, box, onProgress, graceMs, cap }: RunOptions,
): Promise<GcResult | ScrubResult | CompactResult> {
  const { signal } = box;
  if (job === 'gc')
    return await jobs.gc({
      signal,
      ...(graceMs === undefined ? {} : { graceMs }),
      ...(cap === undefined ? {} : { cap }),
    });
  if (job === 'compact') return await jobs.compact({ signal });
  const timeBoxMs = Math.min(scrub.timeBoxMs ?? Number.POSITIVE_INFINITY, box.leftMs());
  return await jobs.scrub(
    {
      ...(scrub.rate === undefined ? {} : { rate: scrub.rate }),
      ...(Number.isFinite(timeBoxMs) ? { timeBoxMs: Math.max(1, timeBoxMs) } : {}),
      ...(onProgress === undefined ? {} : { onProgress }),
      signal: box.callerSignal,
    },
    shareOf(scrub, { intervalMs, nowMs: host.clock.now() }),
  );
}

function picked({
  days,
  rate,
  timeBoxMs,
}: Omit<ScrubSchedule, 'cron'>): Omit<ScrubSchedule, 'cron' | 'hours'> {
  return {
    ...(days === undefined ? {} : { days }),
    ...(rate === undefined ? {} : { rate }),
    ...(timeBoxMs === undefined ? {} : { timeBoxMs }),
  };
}

/** A damaged schedule is no reason to leave a store without upkeep. */
async function soundSchedule(parts: MaintainParts): Promise<ScheduleState | undefined> {
  try {
    return await readSchedule(parts);
  } catch (error) {
    if (StoreError.is(error, 'corrupt')) return undefined;
    throw error;
  }
}
