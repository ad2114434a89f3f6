/** Small files that are named on the command line: certificates, tokens. */
import { open } from 'node:fs/promises';
import { StoreError } from '../index.ts';
import { UsageError } from './exit.ts';
import type { Output } from './output.ts';

const bytesMax = 1024 * 1024;

/** The whole of it; `what` is named in errors. */
export async function readSmallFile(path: string, what: string): Promise<Buffer> {
  return (await readWithMode(path, what)).bytes;
}

/** A token from its file; warns when others may read it. */
export async function readToken(path: string, output: Output): Promise<string> {
  const { bytes, mode } = await readWithMode(path, 'token file');
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    output.warn(`${path} can be read by others of this machine: chmod 600`);
  const token = bytes.toString('utf8').trim();
  if (!/^[!-~]{1,200}$/.test(token)) throw new UsageError(`${path} holds no token: one word is expected`);
  return token;
}

async function readWithMode(
  path: string,
  what: string,
): Promise<{ readonly bytes: Buffer; readonly mode: number }> {
  try {
    const file = await open(path, 'r');
    try {
      // Not by its size, which a pipe does not have.
      const pieces: Buffer[] = [];
      for (let length = 0; ;) {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(64 * 1024));
        if (bytesRead === 0) return { bytes: Buffer.concat(pieces), mode: (await file.stat()).mode };
        pieces.push(buffer.subarray(0, bytesRead));
        if ((length += bytesRead) > bytesMax) throw new UsageError(`${path} is too large for a ${what}`);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new StoreError('not-found', `there is no ${what} ${path}`, { path }, error);
    if (code === 'EISDIR') throw new UsageError(`${path} is a folder, not a ${what}`);
    if (code === 'EACCES')
      throw new StoreError('forbidden', `the ${what} ${path} may not be read`, { path }, error);
    throw error;
  }
}
