/** Making a new store: everything in its place and durable before the superblock, whose appearance makes the folder a store. */
import type { StoreParameters } from '../api.ts';
import { openConnection } from '../catalog/connection.ts';
import { type StoreLayout, layoutOf } from '../catalog/layout.ts';
import { createRootLog } from '../catalog/root-log.ts';
import { migrate } from '../catalog/schema.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { type Superblock, encodeSuperblock, formatVersion } from '../codec/superblock.ts';
import type { DatabaseClass } from '../driver.ts';
import { StoreError, systemCode, toStoreError } from '../errors.ts';
import type { Files, Host } from '../host.ts';
import { keepOffered, keyFilesOf, writeKeyFiles } from './key-files.ts';
import { readSuperblock } from './superblock-file.ts';

/** Space held back so that collection can commit on a full disk. */
export const ballastBytes: number = 1024 * 1024;

export interface FoundStore {
  readonly layout: StoreLayout;
  readonly superblock: Superblock;
}

export interface CreateOptions {
  readonly host: Host;
  readonly driver: DatabaseClass;
  readonly provider: Provider;
  readonly parameters: StoreParameters;
  /** The file of keys, where the store is to be encrypted. */
  readonly keys: Uint8Array | undefined;
  /** Newer ones that nobody has verified. */
  readonly offered?: readonly Uint8Array[];
}

/** Opens the superblock of the store in a folder, or makes a store there when that is wanted and the folder is absent or empty. */
export function findStore(
  root: string,
  mode: 'create' | 'open' | 'read-only',
  options: CreateOptions,
): FoundStore {
  const { host, provider } = options;
  try {
    const layout = layoutOf(host.files, resolveRoot(host.files, root, mode));
    const found = readSuperblock(host.files, layout, provider);
    const superblock = found ?? createOrRefuse(layout, mode, options);
    if (host.files.facts(layout.index) === undefined) {
      throw new StoreError(
        'needs-rebuild',
        `the catalog of the store in ${root} is gone (index.db), not its blobs: \`holdfast rebuild\` makes it again`,
        { path: layout.index },
      );
    }
    return { layout, superblock };
  } catch (error) {
    throw toStoreError(error, `opening the store in ${root}`, { path: root });
  }
}

function resolveRoot(files: Files, root: string, mode: string): string {
  const facts = files.facts(root);
  if (facts === undefined) {
    if (mode !== 'create') throw new StoreError('not-a-store', `there is no folder ${root}`, { path: root });
    refuseWithin(files, root);
    makePath(files, root);
  } else if (facts.kind !== 'folder') {
    throw new StoreError('not-a-store', `${root} is not a folder`, { path: root });
  }
  return files.realPath(root);
}

/** Makes a folder and the missing ones above it, each name durable. */
export function makePath(files: Files, path: string): void {
  const parent = files.join(path, '..');
  if (parent !== path && files.facts(parent) === undefined) makePath(files, parent);
  try {
    files.makeFolder(path);
    files.syncFolder(parent);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

/** The superblock of the store in a folder, whatever has become of its catalog; `not-a-store` where there is none. */
export function findLostStore(root: string, { files }: Host, provider: Provider): FoundStore {
  try {
    const layout = layoutOf(files, resolveRoot(files, root, 'open'));
    const superblock = readSuperblock(files, layout, provider);
    if (superblock !== undefined) return { layout, superblock };
    throw new StoreError('not-a-store', `${layout.root} is not a store: it has no superblock`, {
      path: layout.root,
    });
  } catch (error) {
    throw toStoreError(error, `opening the store in ${root}`, { path: root });
  }
}

function createOrRefuse(layout: StoreLayout, mode: string, options: CreateOptions): Superblock {
  const { files } = options.host;
  const names = files.list(layout.root).map((name) => new TextDecoder().decode(name));
  if (mode !== 'create')
    throw new StoreError('not-a-store', `${layout.root} is not a store`, { path: layout.root });
  if (names.length > 0 && !names.includes('creating.db')) {
    // Another process may have finished creating it a moment ago.
    const found = readSuperblock(files, layout, options.provider);
    if (found !== undefined) return found;
    throw new StoreError(
      'not-a-store',
      `${layout.root} is neither empty nor a store; a store is only made in an absent or empty folder`,
      { path: layout.root },
    );
  }
  refuseWithin(files, layout.root);
  const lock = new options.driver(layout.creating, { timeout: 30_000 });
  try {
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    const superblock = readSuperblock(files, layout, options.provider) ?? create(layout, options);
    // Not where it failed: what it made until then is ours, and the next opener may begin anew.
    removeIfThere(files, layout.creating);
    return superblock;
  } finally {
    lock.close();
  }
}

/** A store in the folder of another would be in its way: that one clears `tmp/` and `leases/`, and reads what lies in `blobs/`. */
function refuseWithin(files: Files, root: string): void {
  for (let inner = root, outer = files.join(root, '..'); outer !== inner;) {
    const layout = layoutOf(files, outer);
    if (isThere(files, layout.superblock) && isThere(files, layout.rootLog))
      throw new StoreError('invalid-argument', `${root} lies in the folder of another store, ${outer}`, {
        path: root,
      });
    inner = outer;
    outer = files.join(outer, '..');
  }
}

/** Folders above need not be open to us: what cannot be seen is not in the way. */
function isThere(files: Files, path: string): boolean {
  try {
    return files.facts(path) !== undefined;
  } catch {
    return false;
  }
}

/** Under the creation lock. What is there already was left by a creation that died: only names that it makes are removed. */
function create(layout: StoreLayout, options: CreateOptions): Superblock {
  const { host, provider, parameters } = options;
  const { files } = host;
  const draft = `${layout.superblock}.new`;
  // The name of `creating.db` before all others: without it what a loss of power leaves would be nobody's.
  files.syncFolder(layout.root);
  for (const path of [
    layout.index,
    `${layout.index}-wal`,
    `${layout.index}-shm`,
    layout.rootLog,
    layout.ballast,
    draft,
    ...keyFilesOf(files, layout),
  ])
    removeIfThere(files, path);
  for (const folder of [layout.blobs, layout.volumes, layout.temps, layout.leases, layout.quarantine]) {
    if (files.facts(folder) === undefined) files.makeFolder(folder);
  }
  const storeId = toHex(host.random(16));
  createRootLog(files, layout.rootLog, fromHex(storeId)!);
  createCatalog(layout, options);
  if (options.keys !== undefined) writeKeyFiles(files, layout, options.keys);
  for (const bytes of options.offered ?? []) keepOffered(files, layout, { bytes, provider });
  fillBallast(files, layout);
  const superblock: Superblock = {
    format: formatVersion,
    storeId,
    createdMs: Math.floor(host.clock.now()),
    compat: [],
    roCompat: [],
    incompat: [],
    parameters,
  };
  const file = files.open(draft, 'create');
  try {
    file.write(encodeSuperblock(provider, superblock), 0);
    file.sync();
  } finally {
    file.close();
  }
  files.syncFolder(layout.root);
  files.rename(draft, layout.superblock);
  files.syncFolder(layout.root);
  return superblock;
}

function createCatalog(layout: StoreLayout, { driver, host }: CreateOptions): void {
  const db = openConnection(layout.index, {
    driver,
    durability: 'full',
    platform: host.platform,
    create: true,
  });
  try {
    migrate(db);
    db.exec(`BEGIN IMMEDIATE;
      INSERT INTO volumes (n, id, kind, state, lease, bytes, dead, extents, generation) VALUES (1, 'blobs', 'directory', 'open', NULL, 0, 0, 256, 0);
      COMMIT`);
  } finally {
    db.close();
  }
}

/** Puts the ballast back where there is room again; without room it stays away. */
export function fillBallast(files: Files, layout: StoreLayout): void {
  if (files.facts(layout.ballast) !== undefined) return;
  let file;
  try {
    file = files.open(layout.ballast, 'create');
    file.write(incompressible(ballastBytes), 0);
    file.sync();
    file.close();
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return; // another process puts it back just now
    file?.close();
    removeIfThere(files, layout.ballast);
    if (systemCode(error) !== 'ENOSPC' && systemCode(error) !== 'EDQUOT') throw error;
  }
}

/** Noise (xorshift32): of zeros, or of a pattern, a file system that compresses would hold nothing back. */
function incompressible(bytes: number): Uint8Array {
  const words = new Uint32Array(bytes / 4);
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer);
}

/** Removes a file that another process may be removing as well. */
export function removeIfThere(files: Files, path: string): void {
  unlessGone(() => files.removeFile(path));
}

/** Removes a folder of files, one level deep, that another process may be removing as well. */
export function removeFolderIfThere(files: Files, folder: string): void {
  unlessGone(() => {
    for (const name of files.list(folder))
      removeIfThere(files, files.join(folder, new TextDecoder().decode(name)));
    files.removeFolder(folder);
  });
}

function unlessGone(remove: () => void): void {
  try {
    remove();
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
