/** A limit of time on work that can be stopped, told apart from the caller's wish to stop it. */
import type { Clock } from './host.ts';

export interface TimeBox {
  /** Aborts when the time is over, or the caller's signal does. */
  readonly signal: AbortSignal;
  /** The caller's alone; one that never aborts where there is none. */
  readonly callerSignal: AbortSignal;
  /** It was the time. */
  readonly isOver: () => boolean;
  /** Milliseconds left; infinite without a limit. */
  readonly leftMs: () => number;
  /** Stops the clock. */
  readonly end: () => void;
}

/** Without `ms` there is no limit. */
export function timeBox(clock: Clock, ms: number | undefined, signal: AbortSignal | undefined): TimeBox {
  const box = new AbortController();
  const done = new AbortController();
  const until = ms === undefined ? Number.POSITIVE_INFINITY : clock.monotonic() + ms;
  const isStopped = (): boolean => signal?.aborted === true;
  if (ms !== undefined)
    void clock.sleep(ms, done.signal).then(() => {
      if (!done.signal.aborted && !isStopped()) box.abort(new Error('out of time'));
    });
  return {
    signal: AbortSignal.any([box.signal, ...(signal === undefined ? [] : [signal])]),
    callerSignal: signal ?? AbortSignal.any([]),
    isOver: () => box.signal.aborted,
    leftMs: () => Math.max(0, until - clock.monotonic()),
    end: () => done.abort(),
  };
}
