/** Paths of the memory host, and errors that look like the system's. */

/** Longest name and longest path, in bytes, as on Linux. */
const nameBytesMax = 255;
const pathBytesMax = 4095;

/** An error as Node.js makes them of a failed system call. */
export function systemError(code: string, call: string, path?: string | Uint8Array): Error {
  const text = path === undefined ? undefined : typeof path === 'string' ? path : textOf(keyOf(path));
  const message = text === undefined ? `${code}: ${call}` : `${code}: ${call} '${text}'`;
  return Object.assign(new Error(message), {
    code,
    syscall: call,
    ...(text === undefined ? {} : { path: text }),
  });
}

/** A byte string: one character per byte, so that names that are not UTF-8 can be keys of a Map. */
export function keyOf(path: string | Uint8Array): string {
  const bytes = typeof path === 'string' ? new TextEncoder().encode(path) : path;
  let key = '';
  for (let at = 0; at < bytes.length; at += 4096)
    key += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return key;
}

export function bytesOf(key: string): Uint8Array {
  return Uint8Array.from(key, (character) => character.charCodeAt(0));
}

export function textOf(key: string): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytesOf(key));
}

export interface ParsedPath {
  readonly parts: readonly string[];
  /** The path ends in a slash: what it names must be a folder. */
  readonly slash: boolean;
}

/** The parts of an absolute path, or of the target of a link, as byte strings. */
export function parsePath(key: string, call: string): ParsedPath {
  if (key === '') throw systemError('ENOENT', call, key);
  if (key.includes('\0')) throw systemError('ERR_INVALID_ARG_VALUE', call, textOf(key));
  const parts = key.split('/').filter((part) => part !== '');
  if (key.length > pathBytesMax || parts.some((part) => part.length > nameBytesMax)) {
    throw systemError('ENAMETOOLONG', call, textOf(key));
  }
  return { parts, slash: key.endsWith('/') };
}

/** Joins with slashes and takes out `.` and `..`, as node:path does on POSIX. */
export function joinPath(...parts: readonly string[]): string {
  const whole = parts.filter((part) => part !== '').join('/');
  const absolute = whole.startsWith('/');
  const kept: string[] = [];
  for (const part of whole.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') kept.push(part);
    else if (kept.length > 0 && kept.at(-1) !== '..') kept.pop();
    else if (!absolute) kept.push('..');
  }
  const slash = whole.endsWith('/') && kept.length > 0 ? '/' : '';
  const joined = kept.join('/') + slash;
  return absolute ? `/${joined}` : joined === '' ? '.' : joined;
}
