/** Turns signals, and a reader that went away, into an abort: work ends in order, the store is closed. */
import { Stopped } from './exit.ts';
import type { Streams } from './output.ts';

export interface Stop {
  readonly signal: AbortSignal;
  /** Stops listening. */
  end(): void;
}

/** A second signal of the same kind ends the process at once; the next opener of the store recovers. */
export function onStop(streams: Streams = process): Stop {
  const controller = new AbortController();
  const stop = (by: 'SIGINT' | 'SIGTERM'): void => {
    if (controller.signal.aborted) process.exit(by === 'SIGINT' ? 130 : 143);
    controller.abort(new Stopped(by));
  };
  const onError = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') throw error;
    controller.abort(new Stopped('EPIPE'));
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  // Left in place at the end: the error of a pipe may come late.
  streams.stdout.on('error', onError);
  streams.stderr.on('error', onError);
  return {
    signal: controller.signal,
    end() {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}
