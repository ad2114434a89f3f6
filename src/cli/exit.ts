/** Exit codes of the command line, and which error means which. */
import { StoreError } from '../index.ts';

export const exitCodes = { fine: 0, failed: 1, usage: 2, damage: 3, unavailable: 4 } as const;

export type StopSignal = 'SIGINT' | 'SIGTERM';

/** Why a verb was stopped from outside; the reason of its abort signal. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
  readonly by: StopSignal | 'EPIPE';

  constructor(by: StopSignal | 'EPIPE') {
    super(by === 'EPIPE' ? 'nobody reads the output any more' : `stopped by ${by}`);
    this.by = by;
  }
}

/** A mistake in what was typed. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** An error as it is told to people and programs. */
export interface ToldError {
  readonly code: string;
  readonly message: string;
  readonly exit: number;
}

export function toldError(error: unknown): ToldError {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof Stopped)
    return { code: 'aborted', message, exit: { EPIPE: 0, SIGINT: 130, SIGTERM: 143 }[error.by] };
  if (error instanceof UsageError) return { code: 'invalid-argument', message, exit: exitCodes.usage };
  // The system said no, and the engine had no better name for it.
  const system = error instanceof Error && 'code' in error && /^E[A-Z0-9]+$/.test(String(error.code));
  if (system && !StoreError.is(error)) return { code: 'unavailable', message, exit: exitCodes.unavailable };
  if (!StoreError.is(error)) return { code: 'internal', message, exit: exitCodes.failed };
  return { code: error.code, message, exit: exitOf(error) };
}

function exitOf(error: StoreError): number {
  // Trouble with what was to be imported, whatever its kind, is not trouble with the store.
  if ('failures' in error.facts) return exitCodes.failed;
  switch (error.code) {
    case 'invalid-argument':
      return exitCodes.usage;
    case 'corrupt':
    case 'tampered':
      return exitCodes.damage;
    case 'busy':
    case 'unavailable':
      return exitCodes.unavailable;
    default:
      return exitCodes.failed;
  }
}
