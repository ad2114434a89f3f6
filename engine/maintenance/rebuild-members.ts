/** The volumes of a store whose catalog is lost: those in its folder, and those that labels and headers name, each looked at. */
import type { Transaction } from '../catalog/catalog.ts';
import { type GroupLayout, directoryNumber, writeGroup } from '../catalog/group.ts';
import { StoreError, toStoreError } from '../errors.ts';
import { type Label, readLabel } from '../volumes/label.ts';
import { SqliteVolume } from '../volumes/sqlite.ts';
import type { RebuildTools } from './rebuild-context.ts';

/** A directory or folder outside the store's own. */
interface Place {
  readonly id: string;
  readonly kind: 'directory' | 'folder';
  readonly path: string;
  readonly cap?: number;
  /** Undefined where it is away. */
  readonly label: Label | undefined;
}

/** A file of a SQLite volume that is there. */
export interface VolumeFile {
  readonly id: string;
  readonly path: string;
  /** Id of the folder it lies in; undefined is DIR/volumes. */
  readonly folder: string | undefined;
  /** Why SQLite cannot be asked; undefined when the file is sound. */
  readonly damage?: string;
  /** It is of another store. */
  readonly foreign?: boolean;
  readonly generation: number;
  readonly extents: number;
  readonly bytes: number;
}

export interface Members {
  readonly group: GroupLayout;
  readonly blobs: Label | undefined;
  readonly places: readonly Place[];
  readonly files: readonly VolumeFile[];
}

const noGroup: GroupLayout = { sequence: 0, allocation: 'linear', volumes: [] };

/**
 * The layout with the highest sequence is the newest; volumes it names may carry a newer one, until none does. `condemned`: volumes
 * that turned out damaged while they were read. Reads every page of every SQLite volume.
 */
export function findMembers(tools: RebuildTools, condemned: ReadonlySet<string>): Members {
  const { host, provider, layout, superblock } = tools;
  const { storeId } = superblock;
  let group = noGroup;
  const consider = (found: unknown): void => {
    if (isLayout(found) && found.sequence > group.sequence) group = found;
  };
  const labelOf = (folder: string, id: string): Label | undefined => {
    if (host.files.facts(folder) === undefined) return undefined;
    const label = readLabel({ files: host.files, provider, folder });
    if (label?.storeId !== storeId || label.volumeId !== id) return undefined;
    consider(label.layout);
    return label;
  };
  const files = new Map<string, VolumeFile>();
  const lookInto = (path: string, folder: string | undefined): void => {
    for (const file of filesIn(tools, path, folder)) {
      const looked = examine(tools, file, { condemned, consider });
      const known = files.get(file.id);
      // There twice: the newer one counts. Collection waits until a person has removed the other.
      if (known === undefined || known.generation < looked.generation) files.set(file.id, looked);
    }
  };
  const blobs = labelOf(layout.blobs, 'blobs');
  lookInto(layout.volumes, undefined);
  const places = new Map<string, Place>();
  for (let sequence = -1; sequence < group.sequence;) {
    ({ sequence } = group);
    for (const { id, kind, path, cap } of group.volumes) {
      if (path === undefined || kind === 'sqlite' || places.has(id)) continue;
      const label = labelOf(path, id);
      places.set(id, { id, kind, path, label, ...(cap === undefined ? {} : { cap }) });
      if (label !== undefined && kind === 'folder') lookInto(path, id);
    }
  }
  // Only the newest says who belongs to the group.
  const members = new Set(group.volumes.map(({ id }) => id));
  const isMember = ({ folder }: VolumeFile): boolean => folder === undefined || members.has(folder);
  return {
    group,
    blobs,
    places: [...places.values()].filter(({ id }) => members.has(id)),
    files: [...files.values()].filter(isMember),
  };
}

function filesIn(
  { host }: RebuildTools,
  path: string,
  folder: string | undefined,
): Pick<VolumeFile, 'id' | 'path' | 'folder'>[] {
  return host.files.list(path).flatMap((raw) => {
    const id = /^([0-9a-f]{32})\.db$/.exec(new TextDecoder().decode(raw))?.[1];
    return id === undefined ? [] : [{ id, path: host.files.join(path, `${id}.db`), folder }];
  });
}

function examine(
  tools: RebuildTools,
  file: Pick<VolumeFile, 'id' | 'path' | 'folder'>,
  how: { readonly condemned: ReadonlySet<string>; readonly consider: (layout: unknown) => void },
): VolumeFile {
  const unknown = { ...file, generation: 0, extents: 0, bytes: 0 };
  try {
    const volume = openVolume(tools, file);
    try {
      how.consider(parsed(volume.layout()));
      const damage = how.condemned.has(file.id) ? 'it is damaged' : volume.trouble();
      if (damage !== undefined) return { ...unknown, damage };
      return { ...file, ...volume.facts() };
    } finally {
      volume.close();
    }
  } catch (error) {
    const told = toStoreError(error, `opening volume ${file.id}`);
    if (StoreError.is(told, 'corrupt')) return { ...unknown, damage: told.message };
    if (!StoreError.is(told, 'unavailable') || told.facts['foundStore'] === undefined) throw told;
    const { foundStore } = told.facts;
    // Its header may be what is damaged; that of another store is one.
    const foreign = foundStore !== tools.superblock.storeId && /^[0-9a-f]{32}$/.test(String(foundStore));
    return { ...unknown, damage: told.message, foreign };
  }
}

function openVolume(
  { driver, provider, host, superblock }: RebuildTools,
  { id, path }: Pick<VolumeFile, 'id' | 'path'>,
): SqliteVolume {
  return new SqliteVolume(path, {
    driver,
    provider,
    identity: { storeId: superblock.storeId, volumeId: id },
    extentBytes: 0,
    durability: 'full',
    access: 'read',
    platform: host.platform,
  });
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isLayout(value: unknown): value is GroupLayout {
  const { sequence, allocation, copies = 1, minCopies = 1, volumes } = (value ?? {}) as Partial<GroupLayout>;
  return (
    Number.isSafeInteger(sequence) &&
    (allocation === 'linear' || allocation === 'striped') &&
    Number.isSafeInteger(copies) &&
    Number.isSafeInteger(minCopies) &&
    copies >= minCopies &&
    minCopies >= 1 &&
    Array.isArray(volumes) &&
    volumes.every(
      (volume: Partial<GroupLayout['volumes'][number]>) =>
        typeof volume?.id === 'string' && ['sqlite', 'directory', 'folder'].includes(volume.kind!),
    )
  );
}

/**
 * Rows for the volumes that are there and for the directories and folders that are away. These wait for their label, however old the
 * group: an empty folder at their path is not taken for them. Nothing is appended to the old ones while `lease` is on them.
 */
export function registerMembers(
  transaction: Transaction,
  members: Members,
  how: { readonly volumeBytesMax: number; readonly lease: string },
): void {
  const { sql } = transaction.catalog;
  const { group, blobs, places, files } = members;
  transaction.changed = true;
  writeGroup(sql, group);
  const insert = sql.rows(
    `INSERT INTO volumes (n, id, kind, state, lease, bytes, dead, extents, generation, path, folder, cap) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)`,
  );
  let n = directoryNumber;
  const cap = group.volumes.find(({ id }) => id === 'blobs')?.cap ?? null;
  insert.run(n++, 'blobs', 'directory', 'open', null, 0, 256, blobs?.generation ?? 0, null, null, cap);
  const folders = new Map<string, number>();
  for (const { id, kind, path, label, cap } of places) {
    if (kind === 'folder') folders.set(id, n);
    const extents = kind === 'directory' ? 256 : 0;
    insert.run(n++, id, kind, 'open', null, 0, extents, label?.generation ?? 1, path, null, cap ?? null);
  }
  const order = new Map(group.volumes.map(({ id }, i) => [id, i]));
  const place = ({ id }: VolumeFile): number => order.get(id) ?? order.size;
  for (const file of files.toSorted((a, b) => place(a) - place(b) || (a.id < b.id ? -1 : 1))) {
    if (file.damage !== undefined) continue;
    const { id, bytes, extents, generation, folder } = file;
    const sealed =
      bytes >= how.volumeBytesMax || group.volumes.some((one) => one.id === id && one.state === 'sealed');
    const state = sealed ? 'sealed' : 'open';
    const inFolder = folder === undefined ? null : folders.get(folder)!;
    insert.run(n++, id, 'sqlite', state, how.lease, bytes, extents, generation, null, inFolder, null);
  }
}
