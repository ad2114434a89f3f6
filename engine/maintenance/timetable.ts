/** When scheduled jobs are due, by their cron expressions; what a schedule may say; a scrub's share of the promise. */
import type { MaintenanceJob, ScheduleOptions, ScrubSchedule } from '../api.ts';
import { StoreError } from '../errors.ts';

export const jobNames: readonly MaintenanceJob[] = ['gc', 'scrub', 'compact'];

const dayMs = 86_400_000;
const hourMs = 3_600_000;
/** What is verified within this part of the promised days leaves room for nights that fail. */
const partUsed = 0.8;
const defaultDays = 30;

/** Answers when an expression comes round next. */
export interface Timetable {
  /** The first moment after `afterMs`; undefined where it never comes. `invalid-argument` where it is no expression. */
  next(cron: string, afterMs: number): number | undefined;
}

/** Loaded when something is scheduled, not before: most stores have no schedule. */
export async function loadTimetable(): Promise<Timetable> {
  const { Cron } = await import('croner');
  return {
    next(cron, afterMs) {
      // It would take a date as well, which comes once and never again.
      const shape = /^(?:@[a-z]+|\S+(?: +\S+){4})$/i;
      if (typeof cron !== 'string' || cron.length > 200 || !shape.test(cron)) throw notCron(cron);
      try {
        // No function is given to it, so it has no timers: the Host's clock is the only one.
        return new Cron(cron, { mode: '5-part' }).nextRun(new Date(afterMs))?.getTime();
      } catch (cause) {
        throw notCron(cron, cause);
      }
    },
  };
}

function notCron(cron: unknown, cause?: unknown): StoreError {
  const shown = JSON.stringify(cron)?.slice(0, 80) ?? String(cron);
  const message = `not a cron expression of five fields: ${shown}`;
  return new StoreError('invalid-argument', message, {}, cause);
}

/** A schedule as it is kept: only what it may hold, checked. */
export function checkedSchedule(
  options: ScheduleOptions,
  timetable: Timetable,
  nowMs: number,
): ScheduleOptions {
  const known = new Set<string>([...jobNames, 'idleMs']);
  const strange = Object.keys(options).filter((name) => !known.has(name));
  if (strange.length > 0) throw wrong(`a schedule has no ${strange.join(', ')}`);
  const jobs = jobNames.flatMap((job): [MaintenanceJob, object][] => {
    const one = options[job];
    if (one === undefined) return [];
    if (timetable.next(one.cron, nowMs) === undefined)
      throw wrong(`${job}: ${JSON.stringify(one.cron)} never comes`);
    return [[job, job === 'scrub' ? checkedScrub(one) : { cron: one.cron }]];
  });
  if (jobs.length === 0) throw wrong('a schedule without a job; null removes it');
  const { idleMs } = options;
  if (idleMs !== undefined && !(idleMs > 0 && idleMs <= dayMs))
    throw wrong('idleMs must be above 0, at most a day');
  return { ...Object.fromEntries(jobs), ...(idleMs === undefined ? {} : { idleMs }) };
}

function checkedScrub({ cron, days, rate, timeBoxMs, hours }: ScrubSchedule): ScrubSchedule {
  if (days !== undefined && !(days > 0 && days < 1e6)) throw wrong('days must be a number above 0');
  if (rate !== undefined && !(rate >= 1024 && Number.isFinite(rate)))
    throw wrong('rate must be at least 1024 bytes a second');
  if (timeBoxMs !== undefined && !(timeBoxMs > 0 && timeBoxMs < 2 ** 31))
    throw wrong('timeBoxMs must be above 0, below 2^31');
  if (hours !== undefined) {
    const sound = [hours.from, hours.to].every((hour) => Number.isInteger(hour) && hour >= 0 && hour <= 23);
    if (!sound || hours.from === hours.to)
      throw wrong('hours are two different whole numbers from 0 to 23: {from, to}');
  }
  return {
    cron,
    ...(days === undefined ? {} : { days }),
    ...(rate === undefined ? {} : { rate }),
    ...(timeBoxMs === undefined ? {} : { timeBoxMs }),
    ...(hours === undefined ? {} : { hours: { from: hours.from, to: hours.to } }),
  };
}

/** Milliseconds that the window is open from now on; 0 outside of it. Exact to the hour where clocks are changed within it. */
export function windowLeft(hours: ScrubSchedule['hours'], nowMs: number): number {
  if (hours === undefined) return Number.POSITIVE_INFINITY;
  const now = new Date(nowMs);
  const into = ((now.getMinutes() * 60 + now.getSeconds()) * 1000 + now.getMilliseconds()) / hourMs;
  const at = now.getHours();
  const span = (from: number, to: number): number => (to - from + 24) % 24;
  if (span(hours.from, at) >= span(hours.from, hours.to)) return 0;
  return (span(at, hours.to) - into) * hourMs;
}

/** What a scrub has to come to before it may end: a part of all bytes read, and nothing left that waits since before a moment. */
export interface ScrubGoal {
  /** From 0 to 1. */
  readonly part: number;
  readonly beforeMs: number;
}

/** The share of one run of a scrub that comes round each `intervalMs`: an even part, and all that could not wait for the run after the next. */
export function shareOf(
  { days = defaultDays }: Pick<ScrubSchedule, 'days'>,
  { intervalMs, nowMs }: { readonly intervalMs: number; readonly nowMs: number },
): ScrubGoal {
  return {
    part: Math.min(1, intervalMs / (partUsed * days * dayMs)),
    beforeMs: nowMs + 2 * intervalMs - days * dayMs,
  };
}

function wrong(message: string): StoreError {
  return new StoreError('invalid-argument', message);
}
