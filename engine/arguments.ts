/** Checks of what callers pass in: at the door, once, with an error that says what is wrong. */
import { isBlobId } from './codec/bytes.ts';
import { nameBytesMax } from './codec/root-record.ts';
import { chunkingModes, compressionModes } from './codec/superblock.ts';
import { StoreError } from './errors.ts';

export function checkId(id: unknown): string {
  if (isBlobId(id)) return id;
  throw new StoreError(
    'invalid-argument',
    `not a blob id (64 lower-case hex digits): ${String(id).slice(0, 80)}`,
  );
}

/** Names of roots, owners and tables: well-formed text of 1 to 1,024 bytes without NUL. */
export function checkName(name: unknown, what: string): string {
  if (typeof name !== 'string' || name === '')
    throw new StoreError('invalid-argument', `the name of a ${what} must be a text that is not empty`);
  if (new TextEncoder().encode(name).length > nameBytesMax)
    throw new StoreError('invalid-argument', `the name of a ${what} has at most ${nameBytesMax} bytes`);
  if (!name.isWellFormed() || name.includes('\0'))
    throw new StoreError('invalid-argument', `the name of a ${what} is not well-formed text`);
  return name;
}

export function checkChunking(mode: unknown): void {
  if (mode === undefined || (chunkingModes as readonly unknown[]).includes(mode)) return;
  throw new StoreError('invalid-argument', `chunking is off or fastcdc, not ${String(mode).slice(0, 80)}`);
}

export function checkMode(mode: unknown): void {
  if (mode === undefined || (compressionModes as readonly unknown[]).includes(mode)) return;
  throw new StoreError(
    'invalid-argument',
    `compression is off, auto or always, not ${String(mode).slice(0, 80)}`,
  );
}

export function checkRange(offset: number, length: number): void {
  const sound = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
  if (!sound(offset) || !sound(length))
    throw new StoreError(
      'invalid-argument',
      `offset and length must be whole numbers from 0, not ${offset} and ${length}`,
    );
}

/** A relative path is meant from where the process stands now. */
export function absolutePath(host: { readonly platform: string }, path: string): string {
  const rooted = path.startsWith('/') || (host.platform === 'win32' && /^([a-z]:)?[\\/]/i.test(path));
  return rooted ? path : `${process.cwd()}/${path}`;
}
