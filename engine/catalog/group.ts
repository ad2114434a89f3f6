/** The volumes of a store as the catalog lists them: rows, where each lies, which takes the next bytes, and the layout they all carry. */
import type { Files } from '../host.ts';
import { StoreError } from '../errors.ts';
import type { StoreLayout } from './layout.ts';
import type { Statements } from './statements.ts';

/**
 * A row of the table. `folder` is no place of bytes itself: SQLite volumes are made in it, and name it in their `folder`. The volumes
 * of the store's own folder, number 1 and those in DIR/volumes, have no path: they go where the store goes.
 */
export interface VolumeRow {
  readonly n: number;
  readonly id: string;
  readonly kind: 'sqlite' | 'directory' | 'folder';
  readonly state: 'open' | 'sealed' | 'draining' | 'dropped';
  readonly lease: string | null;
  /** SQLite: the size of the file. Directory: what the rows of its blobs take. Folder: 0. */
  readonly bytes: number;
  readonly dead: number;
  /** Highest extent the catalog knows of: what lies behind it was written by a process that died before its COMMIT. */
  readonly extents: number;
  readonly generation: number;
  /** Absolute, of a directory or folder outside the store's own. */
  readonly path: string | null;
  /** Number of the folder a SQLite volume lies in; null is DIR/volumes. */
  readonly folder: number | null;
  /** Bytes that may be allocated there. */
  readonly cap: number | null;
  /** What a draining volume is drained for: to be removed, or to stay, empty. */
  readonly goal: 'remove' | 'keep' | null;
  /** Number of the directory or folder that what is drained goes to; 0 is DIR/volumes, null is wherever there is room. */
  readonly target: number | null;
}

/** The directory volume that every store is made with. */
export const directoryNumber = 1;
/** Stands for DIR/volumes where the number of a folder is wanted. */
export const ownFolder = 0;

export type Allocation = 'linear' | 'striped';

export interface GroupState {
  /** Rises with each change of the group. */
  readonly sequence: number;
  readonly allocation: Allocation;
  /** On how many members each blob is kept; 1 unless the group is mirrored. */
  readonly copies: number;
  /** A put that can make fewer copies than this, because members are away, fails. */
  readonly minCopies: number;
}

/** What every volume carries, so that each can tell how the group looks. Ids, not numbers: numbers are the catalog's. */
export interface GroupLayout extends StoredGroup {
  readonly volumes: readonly {
    readonly id: string;
    readonly kind: VolumeRow['kind'];
    readonly state: VolumeRow['state'];
    readonly path?: string;
    readonly folder?: string;
    readonly cap?: number;
  }[];
}

/** As it is written: of a group that is not mirrored nothing is said about copies. */
type StoredGroup = Omit<GroupState, 'copies' | 'minCopies'> &
  Partial<Pick<GroupState, 'copies' | 'minCopies'>>;

export function readGroup(sql: Statements): GroupState {
  const text = sql.values(`SELECT value FROM meta WHERE key = 'group'`).get() as string | undefined;
  const plain: GroupState = { sequence: 0, allocation: 'linear', copies: 1, minCopies: 1 };
  return text === undefined ? plain : { ...plain, ...(JSON.parse(text) as StoredGroup) };
}

function storedGroup({ sequence, allocation, copies = 1, minCopies = 1 }: StoredGroup): StoredGroup {
  return { sequence, allocation, ...(copies === 1 ? {} : { copies, minCopies }) };
}

/** In a running transaction. */
export function writeGroup(sql: Statements, group: StoredGroup): void {
  sql
    .rows(`INSERT OR REPLACE INTO meta (key, value) VALUES ('group', ?)`)
    .run(JSON.stringify(storedGroup(group)));
}

export function volumeRows(sql: Statements): VolumeRow[] {
  return sql.rows(`SELECT * FROM volumes WHERE state != 'dropped' ORDER BY n`).all() as VolumeRow[];
}

/** `unavailable` where there is none: nothing can be said about what it holds. */
export function volumeRow(sql: Statements, n: number): VolumeRow {
  const row = sql.rows('SELECT * FROM volumes WHERE n = ?').get(n) as VolumeRow | undefined;
  if (row === undefined) throw new StoreError('unavailable', `volume ${n} is not in the catalog`);
  return row;
}

export function groupLayout(sql: Statements): GroupLayout {
  const rows = volumeRows(sql);
  const ids = new Map(rows.map(({ n, id }) => [n, id]));
  const volumes = rows.map(({ id, kind, state, path, folder, cap }) => ({
    id,
    kind,
    state,
    ...(path === null ? {} : { path }),
    ...(folder === null ? {} : { folder: ids.get(folder)! }),
    ...(cap === null ? {} : { cap }),
  }));
  return { ...storedGroup(readGroup(sql)), volumes };
}

/** The member a volume belongs to, of which at most one holds a copy of a blob: a directory itself, or the folder of a SQLite volume. */
export function memberOf(row: Pick<VolumeRow, 'n' | 'kind' | 'folder'>): number {
  return row.kind === 'sqlite' ? (row.folder ?? ownFolder) : row.n;
}

/** Where the files of a directory volume or the volumes of a folder lie. */
export function folderPath(layout: StoreLayout, row: Pick<VolumeRow, 'path' | 'kind'> | undefined): string {
  return row?.path ?? (row?.kind === 'directory' ? layout.blobs : layout.volumes);
}

/** The file of a SQLite volume. */
export function sqlitePath(files: Files, sql: Statements, layout: StoreLayout, row: VolumeRow): string {
  const folder = row.folder === null ? undefined : volumeRow(sql, row.folder);
  return files.join(folderPath(layout, folder), `${row.id}.db`);
}

/** A copy of a SQLite volume in another folder of the group: which of the two is meant, a person has to say. */
export function copyOf(
  files: Files,
  sql: Statements,
  layout: StoreLayout,
  row: VolumeRow,
): string | undefined {
  if (row.kind !== 'sqlite') return undefined;
  const mine = sqlitePath(files, sql, layout, row);
  const folders = [undefined, ...volumeRows(sql).filter(({ kind }) => kind === 'folder')];
  return folders
    .map((folder) => files.join(folderPath(layout, folder), `${row.id}.db`))
    .find((path) => path !== mine && files.facts(path) !== undefined);
}

/** Where a lease keeps its temps for a directory volume: on the same file system, so that a rename makes a temp a part. */
export function tempPath(files: Files, layout: StoreLayout, row: VolumeRow, lease: string): string {
  return row.path === null ? files.join(layout.temps, lease) : files.join(row.path, 'tmp', lease);
}

/** Where bytes may go, as allocation sees it. */
export interface Candidate {
  readonly n: number;
  /** Of its disk. */
  readonly freeBytes: number;
  /** What its cap leaves; infinite without one. */
  readonly roomBytes: number;
}

/** A disk with less than this besides what is asked for is passed over while another has more: the catalog and others live there too. */
const reserveBytes = 64 * 1024 * 1024;

/**
 * The place for `bytes` more. Linear: the first one with room, so that one disk after the other is filled. Striped: the next in turn
 * of those with room. Where every disk is nearly full, the one with the most. Undefined when every cap is reached.
 */
export function allocate(
  candidates: readonly Candidate[],
  bytes: number,
  how: { readonly allocation: Allocation; readonly turn: number },
): Candidate | undefined {
  const open = candidates.filter(({ roomBytes }) => roomBytes >= bytes);
  const roomy = open.filter(({ freeBytes }) => freeBytes >= bytes + reserveBytes);
  if (roomy.length > 0) return roomy[how.allocation === 'striped' ? how.turn % roomy.length : 0];
  return open.toSorted((a, b) => b.freeBytes - a.freeBytes)[0];
}
