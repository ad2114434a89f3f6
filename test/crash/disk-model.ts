// A pure model of a disk under power loss: applies recorded calls and yields the states a crash may leave behind.
//
// What it promises and what it does not, after the last sync:
// - fsync of a file makes its bytes and size durable, not its name; fsync of a folder makes its names durable, not the
//   bytes behind them and not the folder's own name in its parent.
// - Unsynced writes of a file are kept, dropped or torn at a sector, each for itself. Truncates of one file keep their order;
//   what was written behind a lost shrinking truncate is lost too (its blocks were new), in front of it may be there.
// - Unsynced name changes are kept or lost each for itself, but changes of one name keep their order, and a rename is whole.
import { type Hash, createHash } from 'node:crypto';
import {
  mkdirSync,
  readFileSync,
  readdirSync,
  lstatSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Random } from './random.ts';
import type { LogRecord } from './recorded-log.ts';

type FileChange = { readonly at: number; readonly data: Buffer } | { readonly size: number };

interface FileNode {
  readonly kind: 'file';
  bytes: Buffer;
  size: number;
  pending: FileChange[];
}
interface LinkNode {
  readonly kind: 'link';
  readonly target: string;
}
interface FolderNode {
  readonly kind: 'folder';
  readonly live: Map<string, Node>;
  readonly durable: Map<string, Node>;
}
type Node = FileNode | FolderNode | LinkNode;

/** One name that changes: to a node, or to nothing. */
interface Slot {
  readonly folder: FolderNode;
  readonly name: string;
  readonly to: Node | undefined;
}
interface NameChange {
  /** The folder whose fsync makes this change durable. */
  readonly home: FolderNode;
  readonly slots: readonly Slot[];
}

/**
 * What survives of the unsynced changes: everything, nothing, all names but no bytes, all bytes but no names, a prefix of the
 * names with random bytes (as a journalling file system does), or a random part of both.
 */
export type LossMode = 'everything' | 'nothing' | 'names' | 'bytes' | 'journal' | 'random';
export const lossModes: readonly LossMode[] = [
  'everything',
  'nothing',
  'names',
  'bytes',
  'journal',
  'random',
];

export interface DiskModel {
  apply(record: LogRecord): void;
  /** Writes one crash state into an existing empty folder; returns a digest of it. */
  materialise(folder: string, mode: LossMode, random: Random): string;
  /** How many unsynced changes of bytes and of names there are now. */
  unsynced(): { readonly bytes: number; readonly names: number };
}

/** The inode of everything in a folder, by path: what a log about that folder means by its numbers. */
export type Inodes = ReadonlyMap<string, bigint>;

export function inodesOf(root: string): Map<string, bigint> {
  const inodes = new Map([['', lstatSync(root, { bigint: true }).ino]]);
  for (const path of readdirSync(root, { recursive: true, encoding: 'utf8' }))
    inodes.set(path, lstatSync(join(root, path), { bigint: true }).ino);
  return inodes;
}

/** A model whose folder `root` is taken as durable; `inodes` are those of the time of the recording. */
export function modelOfFolder(root: string, inodes: Inodes = inodesOf(root)): DiskModel {
  const byInode = new Map<bigint, Node>();
  const top = loadFolder(root, '', inodes, byInode);
  const changes: NameChange[] = [];
  const unsyncedFiles = new Set<FileNode>();

  const folderOf = (path: string): { folder: FolderNode; name: string } => {
    const parts = path.split('/');
    const name = parts.pop()!;
    let folder = top;
    for (const part of parts) {
      const next = folder.live.get(part);
      if (next?.kind !== 'folder') throw new Error(`the log names ${path}, but ${part} is no known folder`);
      folder = next;
    }
    return { folder, name };
  };
  const existing = (folder: FolderNode, name: string, path: string): Node => {
    const node = folder.live.get(name);
    if (node === undefined) throw new Error(`the log names ${path}, which the model does not know`);
    return node;
  };
  const change = (home: FolderNode, slots: readonly Slot[]): void => {
    for (const slot of slots) setName(slot.folder.live, slot);
    changes.push({ home, slots });
  };
  const add = (path: string, node: Node, inode?: bigint): void => {
    const { folder, name } = folderOf(path);
    if (inode !== undefined) byInode.set(inode, node);
    change(folder, [{ folder, name, to: node }]);
  };
  const fileOf = (inode: bigint): FileNode => {
    const node = byInode.get(inode);
    if (node?.kind !== 'file') throw new Error(`the log changes inode ${inode}, which is no known file`);
    return node;
  };
  const syncFile = (file: FileNode): void => {
    for (const pending of file.pending) applyChange(file, pending);
    file.pending = [];
    unsyncedFiles.delete(file);
  };
  const syncNames = (wanted: (c: NameChange) => boolean): void => {
    const needed = withForerunners(changes, wanted);
    const rest: NameChange[] = [];
    for (const [i, c] of changes.entries()) {
      if (needed[i] === true) for (const slot of c.slots) setName(slot.folder.durable, slot);
      else rest.push(c);
    }
    changes.splice(0, changes.length, ...rest);
  };

  const apply = (record: LogRecord): void => {
    switch (record.type) {
      case 'create':
        return add(record.path, newFile(), record.inode);
      case 'mkdir':
        return add(record.path, newFolder(), record.inode);
      case 'symlink':
        return add(record.path, { kind: 'link', target: record.target });
      case 'write':
      case 'truncate': {
        const file = fileOf(record.inode);
        file.pending.push(record);
        unsyncedFiles.add(file);
        return;
      }
      case 'fsync': {
        const node = byInode.get(record.inode);
        if (node === undefined)
          throw new Error(`the log syncs inode ${record.inode}, which the model does not know`);
        if (node.kind === 'file') return syncFile(node);
        return syncNames((c) => c.home === node);
      }
      case 'sync':
        for (const file of unsyncedFiles) syncFile(file);
        return syncNames(() => true);
      case 'unlink':
      case 'rmdir': {
        const { folder, name } = folderOf(record.path);
        existing(folder, name, record.path);
        return change(folder, [{ folder, name, to: undefined }]);
      }
      case 'link': {
        const from = folderOf(record.path);
        return add(record.to, existing(from.folder, from.name, record.path));
      }
      case 'rename': {
        const from = folderOf(record.path);
        const to = folderOf(record.to);
        const node = existing(from.folder, from.name, record.path);
        // rename(2) onto another name of the same file does nothing at all
        if (to.folder.live.get(to.name) === node) return;
        const slots = [
          { ...from, to: undefined },
          { ...to, to: node },
        ];
        return change(to.folder, slots);
      }
      case 'ack':
        return;
    }
  };

  return {
    apply,
    materialise: (folder, mode, random) => {
      const loss = lossOf(mode, random);
      const names = keptNames(changes, mode, loss);
      const digest = createHash('sha256');
      write({ folder: top, path: folder, name: '' }, names, { ...loss, digest });
      return digest.digest('hex');
    },
    unsynced: () => {
      let bytes = 0;
      for (const file of unsyncedFiles) bytes += file.pending.length;
      return { bytes, names: changes.length };
    },
  };
}

const newFile = (): FileNode => ({ kind: 'file', bytes: Buffer.alloc(0), size: 0, pending: [] });
const newFolder = (): FolderNode => ({ kind: 'folder', live: new Map(), durable: new Map() });

function loadFolder(root: string, path: string, inodes: Inodes, byInode: Map<bigint, Node>): FolderNode {
  const folder = newFolder();
  byInode.set(inodes.get(path)!, folder);
  for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
    const inner = join(path, entry.name);
    const inode = inodes.get(inner)!;
    let node: Node;
    if (entry.isDirectory()) node = loadFolder(root, inner, inodes, byInode);
    else if (entry.isSymbolicLink()) node = { kind: 'link', target: readlinkSync(join(root, inner)) };
    else {
      const known = byInode.get(inode);
      const bytes = known === undefined ? readFileSync(join(root, inner)) : Buffer.alloc(0);
      node = known ?? { kind: 'file', bytes, size: bytes.length, pending: [] };
      byInode.set(inode, node);
    }
    folder.live.set(entry.name, node);
    folder.durable.set(entry.name, node);
  }
  return folder;
}

function setName(names: Map<string, Node>, slot: Slot): void {
  if (slot.to === undefined) names.delete(slot.name);
  else names.set(slot.name, slot.to);
}

/** Names as map keys: one object per folder and name. */
class NameSet {
  readonly #names = new Map<FolderNode, Set<string>>();
  add(slot: Slot): void {
    const names = this.#names.get(slot.folder);
    if (names === undefined) this.#names.set(slot.folder, new Set([slot.name]));
    else names.add(slot.name);
  }
  has(slot: Slot): boolean {
    return this.#names.get(slot.folder)?.has(slot.name) === true;
  }
}

/** Marks the wanted changes and every earlier change of a name that a marked one touches. */
function withForerunners(changes: readonly NameChange[], wanted: (c: NameChange) => boolean): boolean[] {
  const marked = changes.map(() => false);
  const touched = new NameSet();
  for (let i = changes.length - 1; i >= 0; i--) {
    const c = changes[i]!;
    if (!wanted(c) && !c.slots.some((slot) => touched.has(slot))) continue;
    marked[i] = true;
    for (const slot of c.slots) touched.add(slot);
  }
  return marked;
}

/** Applies one change of bytes to a file's durable content; bytes behind the size are always zero. */
function applyChange(file: FileNode, c: FileChange): void {
  if ('data' in c) {
    const end = c.at + c.data.length;
    reserve(file, end);
    c.data.copy(file.bytes, c.at);
    file.size = Math.max(file.size, end);
  } else {
    reserve(file, c.size);
    if (c.size < file.size) file.bytes.fill(0, c.size, file.size);
    file.size = c.size;
  }
}
function reserve(file: FileNode, size: number): void {
  if (size <= file.bytes.length) return;
  const bigger = Buffer.alloc(Math.max(size, file.bytes.length * 2, 4096));
  file.bytes.copy(bigger, 0, 0, file.size);
  file.bytes = bigger;
}

interface Loss {
  readonly random: Random;
  /** The chance that an unsynced change of bytes survives, and of names. */
  readonly bytes: number;
  readonly names: number;
  /** The chance that a surviving write is torn. */
  readonly torn: number;
}

function lossOf(mode: LossMode, random: Random): Loss {
  switch (mode) {
    case 'everything':
      return { random, bytes: 1, names: 1, torn: 0 };
    case 'nothing':
      return { random, bytes: 0, names: 0, torn: 0 };
    case 'names':
      return { random, bytes: 0, names: 1, torn: 0 };
    case 'bytes':
      return { random, bytes: 1, names: 0, torn: 0 };
    case 'journal':
    case 'random':
      return { random, bytes: random.pick([0.1, 0.5, 0.9]), names: random.pick([0.1, 0.5, 0.9]), torn: 0.25 };
  }
}

function keptNames(
  changes: readonly NameChange[],
  mode: LossMode,
  loss: Loss,
): Map<FolderNode, Map<string, Node>> {
  const result = new Map<FolderNode, Map<string, Node>>();
  const lost = new NameSet();
  const prefix = mode === 'journal' ? loss.random.below(changes.length + 1) : changes.length;
  for (const [i, c] of changes.entries()) {
    const kept = mode === 'journal' ? i < prefix : loss.random.chance(loss.names);
    if (!kept || c.slots.some((slot) => lost.has(slot))) {
      for (const slot of c.slots) lost.add(slot);
      continue;
    }
    for (const slot of c.slots) {
      let names = result.get(slot.folder);
      if (names === undefined) {
        names = new Map(slot.folder.durable);
        result.set(slot.folder, names);
      }
      setName(names, slot);
    }
  }
  return result;
}

function write(
  at: { readonly folder: FolderNode; readonly path: string; readonly name: string },
  kept: ReadonlyMap<FolderNode, ReadonlyMap<string, Node>>,
  loss: Loss & { readonly digest: Hash },
): void {
  for (const [entry, node] of kept.get(at.folder) ?? at.folder.durable) {
    const path = join(at.path, entry);
    const name = `${at.name}/${entry}`;
    if (node.kind === 'link') {
      loss.digest.update(`${name}@${node.target}\0`);
      symlinkSync(node.target, path);
    } else if (node.kind === 'file') {
      const content = contentAfterLoss(node, loss);
      loss.digest.update(`${name}\0${content.length}\0`).update(content);
      writeFileSync(path, content);
    } else {
      loss.digest.update(`${name}/\0`);
      mkdirSync(path);
      write({ folder: node, path, name }, kept, loss);
    }
  }
}

/** The content of a file when a random part of its unsynced changes survives. */
function contentAfterLoss(file: FileNode, loss: Loss): Buffer {
  if (file.pending.length === 0) return file.bytes.subarray(0, file.size);
  const after: FileNode = { kind: 'file', bytes: Buffer.from(file.bytes), size: file.size, pending: [] };
  let lostTruncate = false;
  let liveSize = file.size;
  let limit = Number.POSITIVE_INFINITY;
  for (const c of file.pending) {
    const kept = loss.random.chance(loss.bytes);
    if ('data' in c) {
      liveSize = Math.max(liveSize, c.at + c.data.length);
      if (kept) for (const part of surviving(c, limit, loss)) applyChange(after, part);
    } else {
      if (kept && !lostTruncate) applyChange(after, c);
      else {
        lostTruncate = true;
        if (c.size < liveSize) limit = Math.min(limit, c.size);
      }
      liveSize = c.size;
    }
  }
  return after.bytes.subarray(0, after.size);
}

/** The parts of a write that reach the disk: whole, or torn at a sector into a front, a back, or a random set of sectors. */
function surviving(
  c: { at: number; data: Buffer },
  limit: number,
  loss: Loss,
): { at: number; data: Buffer }[] {
  const end = Math.min(c.at + c.data.length, limit);
  if (end <= c.at) return [];
  const cut = (from: number, to: number): { at: number; data: Buffer } => ({
    at: from,
    data: c.data.subarray(from - c.at, to - c.at),
  });
  const { random } = loss;
  const sector = random.pick([512, 4096]);
  const first = (Math.floor(c.at / sector) + 1) * sector;
  if (first >= end || !random.chance(loss.torn)) return [cut(c.at, end)];
  const edges = Math.ceil((end - first) / sector);
  const edge = first + random.below(edges) * sector;
  switch (random.below(3)) {
    case 0:
      return [cut(c.at, edge)];
    case 1:
      return [cut(edge, end)];
    default: {
      const parts = [];
      let from = c.at;
      for (let to = first; from < end; to += sector) {
        if (random.chance(0.5)) parts.push(cut(from, Math.min(to, end)));
        from = to;
      }
      return parts;
    }
  }
}
