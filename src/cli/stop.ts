/** Turns signals, and a reader that went away, into an abort: work ends in order, the store is closed. */
import { StoreError } from '../index.ts';
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
    controller.abort(error.code === 'EPIPE' ? new Stopped('EPIPE') : unwritable(error));
  };
  // What was only said to people is no reason to stop.
  const onUnheard = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EPIPE') onError(error);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  // Left in place at the end: the error of a pipe may come late.
  streams.stdout.on('error', onError);
  streams.stderr.on('error', onUnheard);
  return {
    signal: controller.signal,
    end() {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}

/** A full disk under a result that goes to a file, and the like. */
function unwritable(error: NodeJS.ErrnoException): StoreError {
  const full = error.code === 'ENOSPC' || error.code === 'EDQUOT' || error.code === 'EFBIG';
  return new StoreError(
    full ? 'no-space' : 'unavailable',
    `the output cannot be written: ${error.message}`,
    {},
    error,
  );
}
