/** Adds a directory or a folder of SQLite volumes to the group: an absent or empty folder, on any disk. */
import type { Transaction } from '../catalog/catalog.ts';
import {
  type Allocation,
  type GroupLayout,
  type VolumeRow,
  readGroup,
  writeGroup,
} from '../catalog/group.ts';
import { toHex } from '../codec/bytes.ts';
import { StoreError, pathError, systemCode } from '../errors.ts';
import type { Files } from '../host.ts';
import { readLabel } from '../volumes/label.ts';
import { makePath } from './create.ts';
import type { VolumeSet } from './volume-set.ts';

export interface ExtendRequest {
  /** Absolute. */
  readonly path: string;
  readonly kind: 'directory' | 'sqlite';
  readonly cap?: number;
  readonly allocation?: Allocation;
  /** The member that this one is to lie in. */
  readonly within?: VolumeRow;
}

/**
 * In a transaction, so that the label and the row come under one write lock. A crash before the COMMIT leaves a labelled folder that the
 * catalog does not know; the next extend takes it, under the id it has.
 */
export function extendGroup(transaction: Transaction, volumes: VolumeSet, request: ExtendRequest): VolumeRow {
  const { sql } = transaction.catalog;
  const { files } = volumes.options.host;
  const kind = request.kind === 'sqlite' ? 'folder' : 'directory';
  const { path, id } = outside(request.path, () => {
    if (files.facts(request.path) === undefined) makePath(files, request.path);
    const folder = realFolder(files, request.path);
    const known = found(volumes, { path: folder, kind }, request.within);
    makeFolder(files, files.join(folder, 'tmp'));
    return { path: folder, id: known ?? toHex(volumes.options.host.random(16)) };
  });
  transaction.changed = true;
  sql
    .rows(
      `INSERT INTO volumes (id, kind, state, lease, bytes, dead, extents, generation, path, cap) VALUES (?, ?, 'open', NULL, 0, 0, ?, 0, ?, ?)`,
    )
    .run(id, kind, kind === 'directory' ? 256 : 0, path, request.cap ?? null);
  const group = readGroup(sql);
  if (request.allocation !== undefined) writeGroup(sql, { ...group, allocation: request.allocation });
  // The others are told first: this one's label then has the new sequence too.
  volumes.publish(transaction);
  outside(path, () => {
    volumes.label(transaction, volumes.byId(id));
    files.syncFolder(path);
  });
  return volumes.byId(id);
}

/** Trouble with files of a folder that is no member yet says nothing of the disks that are in use: it ends the call, and no more. */
export function outside<Result>(path: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw systemCode(error)?.startsWith('SQLITE') === true ? error : pathError(error, path);
  }
}

/** `invalid-argument` where it is none. */
export function realFolder(files: Files, path: string): string {
  const real = files.realPath(path);
  if (files.facts(real)?.kind === 'folder') return real;
  throw new StoreError('invalid-argument', `${path} is not a folder`, { path });
}

/** The id a folder is labelled with, if it is an unknown volume of this store; undefined when it is empty. */
function found(
  volumes: VolumeSet,
  wanted: { readonly path: string; readonly kind: string },
  within: VolumeRow | undefined,
): string | undefined {
  const { path, kind } = wanted;
  const { host, provider, storeId } = volumes.options;
  const { files } = host;
  checkApart(volumes, path, within === undefined ? [] : [within]);
  const rows = volumes.rows();
  const label = readLabel({ files, provider, folder: path });
  if (label === undefined) {
    const names = files.list(path).map((name) => new TextDecoder().decode(name));
    // What a file system makes in its root, and what an extend that died may have left.
    const alien = names.filter(
      (name) => name !== 'lost+found' && name !== 'tmp' && !name.startsWith('label.'),
    );
    if (alien.length === 0) return undefined;
    throw new StoreError('invalid-argument', `${path} is not empty: ${alien[0]!} lies in it`, { path });
  }
  const { volumeId } = label;
  if (label.storeId !== storeId)
    throw new StoreError('conflict', `${path} is volume ${volumeId} of store ${label.storeId}`, { path });
  if (rows.some((row) => row.id === volumeId))
    throw new StoreError('conflict', `${path} is a copy of volume ${volumeId}`, { path, volume: volumeId });
  const told = (label.layout as GroupLayout).volumes.find((volume) => volume.id === volumeId);
  if (told !== undefined && told.kind !== kind)
    throw new StoreError('conflict', `${path} is a ${told.kind}`, { path, volume: volumeId });
  return volumeId;
}

/** Whether a folder lies outside of the store and of all its volumes, but for those. */
export function checkApart(volumes: VolumeSet, path: string, except: readonly VolumeRow[] = []): void {
  const { host, layout } = volumes.options;
  const within = (inner: string, outer: string): boolean =>
    inner === outer || inner.startsWith(host.files.join(outer, '/')) || inner.startsWith(`${outer}/`);
  if (within(path, layout.root) || within(layout.root, path))
    throw new StoreError('invalid-argument', `${path} and the store's folder may not lie in one another`, {
      path,
    });
  const other = volumes
    .rows()
    .find(
      (row) =>
        !except.some(({ n }) => n === row.n) &&
        row.path !== null &&
        (within(path, row.path) || within(row.path, path)),
    );
  if (other !== undefined)
    throw new StoreError('conflict', `${path} is volume ${other.id} already, or lies in it`, {
      path,
      volume: other.id,
    });
}

function makeFolder(files: Files, path: string): void {
  try {
    files.makeFolder(path);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}
