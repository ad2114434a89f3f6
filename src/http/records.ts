/** A folder of small records beside a store, one file each: made whole or not at all, durable, and changed by several processes at once. */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreError } from '../../engine/index.ts';

const recordBytesMax = 64 * 1024;

export class Records {
  readonly #folder: string;
  readonly #isName: (name: string) => boolean;

  /** Names that are not `isName` are nobody's: not listed, not read, not made. */
  constructor(folder: string, isName: (name: string) => boolean) {
    this.#folder = folder;
    this.#isName = isName;
  }

  /** Where a record lies; `invalid-argument` for what can be no name. */
  path(name: string): string {
    if (!this.#isName(name))
      throw new StoreError('invalid-argument', `not a name: ${JSON.stringify(name.slice(0, 80))}`);
    return join(this.#folder, name);
  }

  /** In the order of their names. */
  async names(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).filter(this.#isName).sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw unavailable(error);
    }
  }

  /** Undefined for one that is not there; `corrupt` for one that is no JSON object. */
  async read(name: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    const path = this.path(name);
    try {
      if ((await stat(path)).size > recordBytesMax) throw corrupt(path);
      const value: unknown = JSON.parse(await readFile(path, 'utf8'));
      if (typeof value !== 'object' || value === null || Array.isArray(value)) throw corrupt(path);
      return value as Readonly<Record<string, unknown>>;
    } catch (error) {
      if (isMissing(error)) return undefined;
      if (error instanceof SyntaxError) throw corrupt(path);
      throw unavailable(error);
    }
  }

  /** Durable when it resolves. `conflict` when there is one of that name, which stays as it is. */
  async add(name: string, record: object): Promise<void> {
    const path = this.path(name);
    const temporary = join(this.#folder, `.${randomBytes(8).toString('hex')}.new`);
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(`${JSON.stringify(record)}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#name(temporary, path);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw unavailable(error);
      throw new StoreError('conflict', `there is ${JSON.stringify(name)} already`, { name }, error);
    } finally {
      await rm(temporary, { force: true });
    }
    await this.#sync();
  }

  /** Durable when it resolves; false for one that is not there. */
  async remove(name: string): Promise<boolean> {
    try {
      await rm(this.path(name));
    } catch (error) {
      if (isMissing(error)) return false;
      throw unavailable(error);
    }
    await this.#sync();
    return true;
  }

  /** By a second name, which refuses one that is there; where the disk has no such thing (exFAT), by making it empty first. */
  async #name(temporary: string, path: string): Promise<void> {
    try {
      await link(temporary, path);
    } catch (error) {
      if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(codeOf(error))) throw error;
      const file = await open(path, 'wx', 0o600);
      await file.close();
      await rename(temporary, path);
    }
  }

  /** Makes the names in the folder durable, and its own; Windows has no such call. */
  async #sync(): Promise<void> {
    if (process.platform === 'win32') return;
    for (const path of [this.#folder, join(this.#folder, '..')]) {
      const folder = await open(path, 'r');
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    }
  }
}

export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function corrupt(path: string): StoreError {
  return new StoreError('corrupt', `${path} is not what was written there`, { path });
}

function unavailable(error: unknown): unknown {
  if (StoreError.is(error) || !(error instanceof Error) || codeOf(error) === '') return error;
  const refused = ['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error));
  const full = ['ENOSPC', 'EDQUOT'].includes(codeOf(error));
  return new StoreError(full ? 'no-space' : refused ? 'forbidden' : 'unavailable', error.message, {}, error);
}
