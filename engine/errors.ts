/** The one error type of the engine: a code to match on, the cause, and the facts as fields. */

/** Every code a StoreError can carry. Codes are API: they are never renamed, only added to. */
export const errorCodes = [
  'not-found',
  'unavailable',
  'corrupt',
  'tampered',
  'no-space',
  'busy',
  'closed',
  'conflict',
  'source-changed',
  'not-a-store',
  'needs-reopen',
  'needs-rebuild',
  'limit-exceeded',
  'forbidden',
  'invalid-argument',
  'incompatible-format',
  'unsupported-runtime',
  'wrong-key',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** What a StoreError may say beyond its code; all cloneable, so it survives a MessagePort. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** The form in which an error crosses a thread or a wire. */
export interface ErrorData {
  readonly holdfast: 'StoreError';
  readonly code: ErrorCode;
  readonly message: string;
  readonly facts: ErrorFacts;
  readonly cause?: string;
}

const brand = Symbol.for('holdfast/StoreError');

/**
 * A failure the caller can act on. `code` says which, `facts` hold ids, paths and numbers, `cause` the system's error.
 * A broken invariant of ours is a plain Error ("holdfast bug: …"), never a StoreError.
 */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.facts = facts;
    Object.defineProperty(this, brand, { value: true });
  }

  /** True for StoreErrors of any copy of this library, in any realm. */
  static is(value: unknown, code?: ErrorCode): value is StoreError {
    if (typeof value !== 'object' || value === null || !(brand in value)) return false;
    return code === undefined || (value as unknown as StoreError).code === code;
  }

  toData(): ErrorData {
    const cause = this.cause === undefined ? {} : { cause: String(this.cause) };
    return { holdfast: 'StoreError', code: this.code, message: this.message, facts: this.facts, ...cause };
  }

  static fromData(data: ErrorData): StoreError {
    return new StoreError(data.code, data.message, data.facts, data.cause);
  }
}

/** A broken invariant: a bug of ours, reported as such and never as an error code. */
export function invariant(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`holdfast bug: ${what}`);
}

const spaceCodes = new Set(['ENOSPC', 'EDQUOT', 'SQLITE_FULL']);
const forbiddenCodes = new Set(['EACCES', 'EPERM', 'EROFS', 'SQLITE_PERM', 'SQLITE_AUTH']);
/** SQLite says READONLY of a folder it may not write in, and also of a file that was moved away: that is doubt. */
const isReadOnly = (code: string): boolean =>
  code.startsWith('SQLITE_READONLY') && code !== 'SQLITE_READONLY_DBMOVED';
const busyCodes = ['SQLITE_BUSY', 'SQLITE_LOCKED'];
const corruptCodes = ['SQLITE_CORRUPT', 'SQLITE_NOTADB'];

/** The system's error code ('EIO', 'SQLITE_FULL', …) of anything thrown, or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  const { code } = error;
  // Node's own ERR_… codes tell of a wrong call, not of the machine.
  return typeof code === 'string' && !code.startsWith('ERR_') ? code : undefined;
}

/**
 * Translates what the system threw into a StoreError; StoreErrors and bugs pass through unchanged.
 * What is not understood becomes `unavailable`: unknown is not absent, and never `not-found`.
 */
export function toStoreError(error: unknown, doing: string, facts: ErrorFacts = {}): Error {
  if (StoreError.is(error)) return error;
  const code = systemCode(error);
  if (code === undefined) return error instanceof Error ? error : new Error(String(error));
  const text = `${doing}: ${error instanceof Error ? error.message : String(error)}`;
  const all = { ...facts, system: code };
  if (spaceCodes.has(code)) return new StoreError('no-space', text, all, error);
  if (forbiddenCodes.has(code) || isReadOnly(code)) return new StoreError('forbidden', text, all, error);
  if (busyCodes.some((prefix) => code.startsWith(prefix))) return new StoreError('busy', text, all, error);
  if (corruptCodes.some((prefix) => code.startsWith(prefix)))
    return new StoreError('corrupt', text, all, error);
  return new StoreError('unavailable', text, all, error);
}

/**
 * True when a failed write leaves the device in doubt: after it the writer must not be trusted until the store is reopened.
 * A full disk, a missing permission or a busy lock leave nothing in doubt.
 */
export function poisons(error: unknown): boolean {
  const code = systemCode(error);
  if (code === undefined || StoreError.is(error)) return false;
  if (spaceCodes.has(code) || forbiddenCodes.has(code)) return false;
  if (busyCodes.some((prefix) => code.startsWith(prefix))) return false;
  return code.startsWith('SQLITE_IOERR') || code.startsWith('SQLITE_CORRUPT') || /^E[A-Z0-9]+$/.test(code);
}

/** What a failed write to the store becomes: `needs-reopen` when the device is in doubt, else the plain translation. */
export function writeError(error: unknown, doing: string): Error {
  if (!poisons(error)) return toStoreError(error, doing);
  const text = `${doing} failed (${systemCode(error)}); nothing more is written until the store is reopened`;
  return new StoreError('needs-reopen', text, { system: systemCode(error) }, error);
}

/** What looking at a path of the caller's became. Here missing does mean missing: it is their file, not our blob. */
export function pathError(error: unknown, path: string): Error {
  const system = systemCode(error);
  if (system === 'ENOENT' || system === 'ENOTDIR')
    return new StoreError('not-found', `there is no ${path}`, { path, system }, error);
  if (system === 'ENAMETOOLONG')
    return new StoreError(
      'invalid-argument',
      `the path is too long: ${path.slice(0, 60)}…`,
      { path, system },
      error,
    );
  return toStoreError(error, path, { path });
}
