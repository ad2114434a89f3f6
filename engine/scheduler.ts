/** Runs what is scheduled, in the one process that has taken the schedule: waits for its time, its hours and for quiet; makes way. */
import type {
  MaintenanceJob,
  Schedule,
  ScheduleOptions,
  ScheduledJob,
  ScrubSchedule,
  StoreEvents,
} from './api.ts';
import type { ScheduleState } from './catalog/schedule-row.ts';
import { StoreError } from './errors.ts';
import type { Idle } from './idle.ts';
import {
  type MaintainParts,
  beginJob,
  diedOver,
  intervalOf,
  nextOf,
  readSchedule,
  runJob,
  settleJob,
} from './maintain.ts';
import {
  type Timetable,
  checkedSchedule,
  jobNames,
  loadTimetable,
  windowLeft,
} from './maintenance/timetable.ts';
import { timeBox } from './time-box.ts';

/** An application that starts has other things to do, and what opens a store for a moment runs nothing. */
const startMs = 30_000;
/** Between two looks: how late one sees that the owner is gone, that the clock was set, that a schedule was made elsewhere. */
const lookMs = 60_000;

export interface SchedulerParts extends MaintainParts {
  /** Of this process; absent where the store is open for reading only. */
  readonly lease: string | undefined;
  readonly idle: Idle;
  readonly run: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly writing: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly emit: <Name extends keyof StoreEvents>(name: Name, event: StoreEvents[Name]) => void;
}

type Due = NonNullable<ReturnType<typeof nextOf>>;

export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #stop = new AbortController();
  /** What was said of a run that waits, so that it is said once. */
  readonly #said = new Map<MaintenanceJob | 'schedule', string>();
  #wake = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
  }

  /** Takes part from now on. */
  start(): void {
    if (this.#parts.lease !== undefined) this.#loop = this.#run();
  }

  /** What runs is stopped, and stays due. */
  async stop(): Promise<void> {
    this.#stop.abort(new StoreError('closed', 'the store is closed'));
    await this.#loop;
  }

  set(options: ScheduleOptions | null | undefined): Promise<Schedule | undefined> {
    const { host, crew, run, writing, query } = this.#parts;
    return run(async () => {
      const table = await loadTimetable();
      if (options !== undefined) {
        const nowMs = host.clock.now();
        const kept = options === null ? null : checkedSchedule(options, table, nowMs);
        await writing(() => crew.commit('schedule-set', { options: kept, nowMs }));
        this.#wake.abort();
      }
      const state = await query<ScheduleState | undefined>('schedule');
      return state && this.#told(state, table);
    });
  }

  #told(state: ScheduleState, table: Timetable): Schedule {
    const jobs = jobNames.flatMap((job): ScheduledJob[] => {
      const next = nextOf(table, state, job);
      if (next === undefined) return [];
      const { lastMs } = next.at;
      return [{ job, nextMs: next.nextMs, ...(lastMs === undefined ? {} : { lastMs }) }];
    });
    const { owner, options } = state;
    return { options, jobs, runsHere: owner !== undefined && owner === this.#parts.lease };
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts.host;
    const stop = this.#stop.signal;
    await clock.sleep(startMs, stop);
    while (!stop.aborted) {
      this.#wake = new AbortController();
      const waitMs = await this.#look();
      if (waitMs > 0) await clock.sleep(waitMs, AbortSignal.any([stop, this.#wake.signal]));
    }
  }

  /** Returns how long to wait. Never rejects: the schedule's troubles are not the application's. */
  async #look(): Promise<number> {
    try {
      return await this.#tick();
    } catch (error) {
      // A damaged schedule waits to be set again; a disk that cannot be asked may be better in a minute.
      if (!this.#stop.signal.aborted) this.#sayOnce('schedule', { step: 'failed', detail: factsOf(error) });
      return lookMs;
    }
  }

  async #tick(): Promise<number> {
    const { host, crew, lease } = this.#parts;
    // Most often there is none, or another process has it: then nothing is written.
    const state = await readSchedule(this.#parts);
    if (state === undefined) return lookMs;
    const nowMs = host.clock.now();
    if (state.owner !== lease && !(await crew.commit<boolean>('schedule-take', undefined))) return lookMs;
    const table = await loadTimetable();
    let waitMs = lookMs;
    for (const job of jobNames) {
      const due = nextOf(table, state, job);
      if (due === undefined || this.#stop.signal.aborted) continue;
      const waits = due.nextMs > nowMs ? due.nextMs - nowMs : await this.#due(job, { due, state, table });
      // After a run everything is looked at again.
      if (waits === 0) return 0;
      waitMs = Math.min(waitMs, waits);
    }
    return waitMs;
  }

  /** Runs it, or says why not yet; returns how long to wait, 0 after a run. */
  async #due(
    job: MaintenanceJob,
    { due, state, table }: { readonly due: Due; readonly state: ScheduleState; readonly table: Timetable },
  ): Promise<number> {
    const { host, idle } = this.#parts;
    const { fromMs } = due.at;
    const nowMs = host.clock.now();
    const scrub: ScrubSchedule = state.options.scrub ?? { cron: '' };
    const { idleMs } = state.options;
    const opened = job === 'scrub' ? windowLeft(scrub.hours, nowMs) : Number.POSITIVE_INFINITY;
    if (opened === 0) return this.#waits(job, fromMs, { why: 'outside of its hours', waitMs: lookMs });
    const quietMs = idle.quietMs();
    if (idleMs !== undefined && quietMs < idleMs)
      return this.#waits(job, fromMs, { why: 'the store is in use', waitMs: idleMs - quietMs });
    const begun = await beginJob(this.#parts, { job, fromMs, nowMs });
    if (begun === 'taken')
      return this.#waits(job, fromMs, { why: 'another process runs it', waitMs: lookMs });
    if (begun === 'given-up') return this.#waits(job, fromMs, { why: diedOver, waitMs: 0 });
    const intervalMs = job === 'scrub' ? intervalOf(table, scrub.cron, nowMs) : 0;
    this.#say(job, { step: 'begun', detail: { dueMs: due.nextMs } });
    await this.#runNow(job, { scrub, idleMs, intervalMs, leftMs: opened });
    return 0;
  }

  async #runNow(
    job: MaintenanceJob,
    plan: {
      readonly scrub: ScrubSchedule;
      readonly idleMs: number | undefined;
      readonly intervalMs: number;
      readonly leftMs: number;
    },
  ): Promise<void> {
    const { host, idle } = this.#parts;
    const start = host.clock.monotonic();
    const busy = new AbortController();
    const stop = AbortSignal.any([this.#stop.signal, busy.signal]);
    const box = timeBox(host.clock, Number.isFinite(plan.leftMs) ? plan.leftMs : undefined, stop);
    if (plan.idleMs !== undefined) {
      idle.onBusy = () => busy.abort(new Error('the store is in use'));
      // Somebody came while the run was being begun.
      if (idle.quietMs() < plan.idleMs) idle.onBusy();
    }
    try {
      await runJob(this.#parts, job, { scrub: plan.scrub, intervalMs: plan.intervalMs, box });
      await settleJob(this.#parts, job, host.clock.now());
      this.#said.delete(job);
      const milliseconds = Math.round(host.clock.monotonic() - start);
      this.#say(job, { step: 'ended', detail: { milliseconds } });
    } catch (error) {
      await settleJob(this.#parts, job, stop.aborted ? undefined : host.clock.now());
      if (!stop.aborted) this.#say(job, { step: 'failed', detail: factsOf(error) });
      else this.#say(job, { step: 'yielded', detail: { why: (stop.reason as Error).message } });
    } finally {
      idle.onBusy = undefined;
      box.end();
    }
  }

  #waits(
    job: MaintenanceJob,
    fromMs: number,
    { why, waitMs }: { readonly why: string; readonly waitMs: number },
  ): number {
    this.#sayOnce(job, { step: 'skipped', detail: { why, since: fromMs } });
    return waitMs;
  }

  #sayOnce(job: MaintenanceJob | 'schedule', event: Omit<StoreEvents['maintenance'], 'job'>): void {
    const text = JSON.stringify(event);
    if (this.#said.get(job) === text) return;
    this.#said.set(job, text);
    this.#say(job, event);
  }

  #say(job: MaintenanceJob | 'schedule', event: Omit<StoreEvents['maintenance'], 'job'>): void {
    this.#parts.emit('maintenance', { job, ...event });
  }
}

function factsOf(error: unknown): Readonly<Record<string, string>> {
  const message = error instanceof Error ? error.message : String(error);
  return StoreError.is(error) ? { code: error.code, message } : { message };
}
