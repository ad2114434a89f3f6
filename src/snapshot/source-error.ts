/** Tells trouble with a source file from trouble with the store, and gives the system's errors a code. */
import { type ErrorCode, StoreError } from '../../engine/index.ts';

const codes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'not-found',
  EACCES: 'forbidden',
  EPERM: 'forbidden',
  ENAMETOOLONG: 'invalid-argument',
};

/** What a look at a source path threw, as a StoreError that names the path. */
export function sourceError(error: unknown, path: string): StoreError {
  if (StoreError.is(error)) return error;
  const system = error instanceof Error && 'code' in error ? String(error.code) : '';
  const code = codes[system] ?? 'unavailable';
  const shown = path.length > 200 ? `${path.slice(0, 60)}…` : path;
  const text = code === 'not-found' ? `there is no ${shown}` : `${shown}: ${String(error)}`;
  return new StoreError(code, text, { path, ...(system === '' ? {} : { system }) }, error);
}

const ofSources: ReadonlySet<ErrorCode> = new Set([
  'source-changed',
  'not-found',
  'unavailable',
  'forbidden',
  'invalid-argument',
]);

/** Whether an error of a put says something of the source file. All else concerns the store, and ends an import. */
export function isSourceError(error: unknown, path: string): boolean {
  if (!StoreError.is(error) || !ofSources.has(error.code)) return false;
  return error.facts['path'] === path || error.facts['system'] === 'ENAMETOOLONG';
}
