/** Names for the stores one replicates with, remembered beside the store: an address, and where its token lies; never the token. */
import { join } from 'node:path';
import { StoreError } from '../../engine/index.ts';
import { Records } from './records.ts';

export interface Remote {
  /** A folder, `ssh://…`, `http://…` or `https://…`. */
  readonly address: string;
  /** The file that holds the token for an HTTP server. */
  readonly tokenFile?: string;
  /** The file of the certificates that are trusted there, in place of the system's. */
  readonly tlsCa?: string;
}

/** The remotes of a store, by name. They are files of their own in its folder, as readable as the folder is. */
export interface Remotes {
  /** `conflict` when the name is taken. */
  add(name: string, remote: Remote): Promise<void>;
  list(): Promise<(Remote & { readonly name: string })[]>;
  get(name: string): Promise<Remote | undefined>;
  /** False when there is none of that name. */
  remove(name: string): Promise<boolean>;
}

/** A name can be no path and no option, and is the same file on disks that do not tell cases apart. */
export function isRemoteName(name: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,63}$/.test(name);
}

export function remotesOf(directory: string): Remotes {
  const records = new Records(join(directory, 'remotes'), isRemoteName);
  const read = async (name: string): Promise<Remote | undefined> => {
    const record = await records.read(name);
    if (record === undefined) return undefined;
    const path = records.path(name);
    const { version, address, tokenFile, tlsCa } = record;
    if (version !== 1)
      throw new StoreError('incompatible-format', `${path} is of a version that is not known here`, { path });
    if (typeof address !== 'string' || !isTextOrNone(tokenFile) || !isTextOrNone(tlsCa))
      throw new StoreError('corrupt', `${path} is not a remote`, { path });
    return {
      address,
      ...(tokenFile === undefined ? {} : { tokenFile }),
      ...(tlsCa === undefined ? {} : { tlsCa }),
    };
  };
  return {
    add: (name, remote) => records.add(name, { version: 1, ...remote }),
    async list() {
      const names = await records.names();
      const found = await Promise.all(names.map(async (name) => ({ name, remote: await read(name) })));
      return found.flatMap(({ name, remote }) => (remote === undefined ? [] : [{ name, ...remote }]));
    },
    get: async (name) => (isRemoteName(name) ? await read(name) : undefined),
    remove: (name) => records.remove(name),
  };
}

function isTextOrNone(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}
