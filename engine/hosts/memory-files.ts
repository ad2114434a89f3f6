/** The Files contract over a tree in memory, with the errors of Linux. The caller is the superuser: modes are kept, not enforced. */
import type { FileFacts, Files, OpenFile, OpenMode } from '../host.ts';
import { MemoryFolder, type MemoryInode, MemoryLink, MemoryRegular } from './memory-inode.ts';
import { bytesOf, joinPath, keyOf, systemError, textOf } from './memory-path.ts';
import type { MemoryTree } from './memory-tree.ts';

const umask = 0o022;
/** statfs magic of tmpfs. */
const tmpfsMagic = 0x0102_1994;

/** `open` takes bytes too, which is how a test makes a name that is not UTF-8. */
export interface MemoryFiles extends Files {
  open(path: string | Uint8Array, mode: OpenMode, permissions?: number): OpenFile;
}

/** Whether `clone` works, as on XFS and Btrfs, or answers false, as on ext4. */
export type Clones = 'yes' | 'no';

export function memoryFiles(tree: MemoryTree, clones: Clones): MemoryFiles {
  return {
    open: (path, mode, permissions = 0o644) => openIn(tree, path, { mode, permissions }),
    facts: (path) => optional(() => tree.find(path, 'stat').inode),
    linkFacts: (path) => optional(() => tree.find(path, 'lstat', 'keep').inode),
    list: (path) => [...tree.folder(path, 'scandir').entries.keys()].map(bytesOf),
    readLink(path) {
      const inode = tree.existing(path, 'readlink', 'keep');
      if (inode.kind !== 'link') throw systemError('EINVAL', 'readlink', path);
      return bytesOf(inode.target);
    },
    makeFolder(path, permissions = 0o755) {
      const { folder, name } = tree.free(path, 'mkdir');
      tree.change({
        folder,
        name,
        to: new MemoryFolder(tree.nextIno(), permissions & 0o1777 & ~umask, tree.now()),
      });
    },
    makeLink(path, target) {
      if (target === '') throw systemError('ENOENT', 'symlink', path);
      const { folder, name, slash } = tree.free(path, 'symlink');
      if (slash) throw systemError('ENOENT', 'symlink', path);
      tree.change({ folder, name, to: new MemoryLink(tree.nextIno(), keyOf(target), tree.now()) });
    },
    removeFile(path) {
      const { folder, name, inode } = tree.find(path, 'unlink', 'keep');
      if (inode?.kind === 'folder') throw systemError('EISDIR', 'unlink', path);
      if (inode === undefined || name === undefined) throw systemError('ENOENT', 'unlink', path);
      tree.change({ folder, name, to: undefined });
      tree.forget(inode);
    },
    removeFolder: (path) => removeFolder(tree, path),
    rename: (from, to) => rename(tree, from, to),
    syncFolder: (path) => syncInode(tree, tree.existing(path, 'open')),
    setMode(path, mode) {
      const inode = tree.existing(path, 'chmod');
      inode.meta.mode = mode & 0o7777;
      inode.changed(tree.now());
    },
    setTimes: (path, mtimeNs) => setTimes(tree, tree.existing(path, 'lutime', 'keep'), mtimeNs),
    clone: (from, to) => clone(tree, { from, to, clones }),
    realPath(path) {
      const { folder, name, inode } = tree.find(path, 'realpath');
      if (inode === undefined) throw systemError('ENOENT', 'realpath', path);
      const above = tree.pathOf(inode.kind === 'folder' ? inode : folder);
      if (above === undefined) throw systemError('ENOENT', 'realpath', path);
      return textOf(inode.kind === 'folder' ? above : `${above === '/' ? '' : above}/${name!}`);
    },
    space(path) {
      tree.existing(path, 'statfs');
      return { freeBytes: tree.budget.capacityBytes - tree.budget.usedBytes, type: tmpfsMagic };
    },
    join: joinPath,
  };
}

class MemoryHandle implements OpenFile {
  readonly #tree: MemoryTree;
  readonly #inode: MemoryInode;
  readonly #mode: OpenMode;
  readonly #boot: number;
  #closed = false;

  constructor(tree: MemoryTree, inode: MemoryInode, mode: OpenMode) {
    this.#tree = tree;
    this.#inode = inode;
    this.#mode = mode;
    this.#boot = tree.boot;
    inode.opens++;
  }

  read(target: Uint8Array, position: number): number {
    return this.#regular('read').content.read(target, at(position, 'read'));
  }

  write(source: Uint8Array, position: number): void {
    const inode = this.#regular('write');
    if (this.#mode === 'read') throw systemError('EBADF', 'write');
    inode.content.write(source, at(position, 'write'));
    inode.modified(this.#tree.now());
  }

  facts(): FileFacts {
    return factsOf(this.#open('fstat'));
  }

  truncate(size: number): void {
    const inode = this.#open('ftruncate');
    if (this.#mode === 'read' || inode.kind !== 'file') throw systemError('EINVAL', 'ftruncate');
    inode.content.truncate(at(size, 'ftruncate'));
    inode.modified(this.#tree.now());
  }

  sync(): void {
    syncInode(this.#tree, this.#open('fsync'));
  }

  setMode(mode: number): void {
    const inode = this.#open('fchmod');
    inode.meta.mode = mode & 0o7777;
    inode.changed(this.#tree.now());
  }

  setTimes(mtimeNs: bigint): void {
    setTimes(this.#tree, this.#open('futime'), mtimeNs);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // A handle from before a crash died with its process.
    if (this.#boot !== this.#tree.boot) return;
    this.#inode.opens--;
    this.#tree.forget(this.#inode);
  }

  #open(call: string): MemoryInode {
    if (this.#closed || this.#boot !== this.#tree.boot) throw systemError('EBADF', call);
    return this.#inode;
  }

  #regular(call: string): MemoryRegular {
    const inode = this.#open(call);
    if (inode.kind === 'file') return inode;
    throw systemError(this.#mode === 'read' && call === 'write' ? 'EBADF' : 'EISDIR', call);
  }
}

interface OpenOptions {
  readonly mode: OpenMode;
  readonly permissions: number;
}

function openIn(tree: MemoryTree, path: string | Uint8Array, options: OpenOptions): OpenFile {
  const { mode, permissions } = options;
  const { folder, name, inode, slash } = tree.find(path, 'open', mode === 'create' ? 'keep' : 'follow');
  if (mode === 'create') {
    if (inode !== undefined || name === undefined) throw systemError('EEXIST', 'open', path);
    if (slash) throw systemError('EISDIR', 'open', path);
    const place = { nowNs: tree.now(), budget: tree.budget };
    const made = new MemoryRegular(tree.nextIno(), permissions & 0o7777 & ~umask, place);
    tree.change({ folder, name, to: made });
    return new MemoryHandle(tree, made, mode);
  }
  if (inode === undefined) throw systemError('ENOENT', 'open', path);
  if (inode.kind === 'folder' && mode === 'write') throw systemError('EISDIR', 'open', path);
  return new MemoryHandle(tree, inode, mode);
}

function removeFolder(tree: MemoryTree, path: string): void {
  if (/(^|\/)\.\/*$/.test(path)) throw systemError('EINVAL', 'rmdir', path);
  if (/(^|\/)\.\.\/*$/.test(path)) throw systemError('ENOTEMPTY', 'rmdir', path);
  const { folder, name, inode } = tree.find(path, 'rmdir', 'keep');
  if (inode === undefined) throw systemError('ENOENT', 'rmdir', path);
  if (name === undefined) throw systemError('EBUSY', 'rmdir', path);
  if (inode.kind !== 'folder') throw systemError('ENOTDIR', 'rmdir', path);
  if (inode.entries.size > 0) throw systemError('ENOTEMPTY', 'rmdir', path);
  tree.change({ folder, name, to: undefined });
}

function rename(tree: MemoryTree, from: string, to: string): void {
  const source = tree.find(from, 'rename', 'keep');
  const target = tree.find(to, 'rename', 'keep');
  const fail = (code: string): Error => systemError(code, 'rename', from);
  if (source.inode === undefined) throw fail('ENOENT');
  if (source.name === undefined || target.name === undefined) throw fail('EBUSY');
  if (source.inode === target.inode) return;
  if (source.inode.kind === 'folder') {
    for (let above = target.folder; ; above = above.parent) {
      if (above === source.inode) throw fail('EINVAL');
      if (above === tree.root) break;
    }
    if (target.inode !== undefined && target.inode.kind !== 'folder') throw fail('ENOTDIR');
    if (target.inode !== undefined && target.inode.entries.size > 0) throw fail('ENOTEMPTY');
  } else {
    if (target.inode?.kind === 'folder') throw fail('EISDIR');
    if (target.slash) throw fail('ENOTDIR');
  }
  tree.change(
    { folder: source.folder, name: source.name, to: undefined },
    { folder: target.folder, name: target.name, to: source.inode },
  );
  tree.forget(target.inode);
}

function clone(
  tree: MemoryTree,
  options: { readonly from: string; readonly to: string; readonly clones: Clones },
): boolean {
  const { from, to, clones } = options;
  const source = tree.existing(from, 'copyfile');
  tree.free(to, 'copyfile');
  if (source.kind !== 'file') throw systemError('EISDIR', 'copyfile', from);
  if (clones === 'no') return false;
  const bytes = new Uint8Array(source.content.size);
  source.content.read(bytes, 0);
  const made = openIn(tree, to, { mode: 'create', permissions: source.meta.mode });
  try {
    made.setMode(source.meta.mode);
    made.write(bytes, 0);
  } catch (error) {
    const { folder, name } = tree.find(to, 'copyfile', 'keep');
    tree.change({ folder, name: name!, to: undefined });
    throw error;
  } finally {
    made.close();
  }
  return true;
}

function syncInode(tree: MemoryTree, inode: MemoryInode): void {
  inode.sync();
  if (inode.kind === 'folder') tree.journal.sync(inode);
}

function setTimes(tree: MemoryTree, inode: MemoryInode, mtimeNs: bigint): void {
  inode.meta.mtimeNs = mtimeNs;
  inode.changed(tree.now());
}

function at(position: number, call: string): number {
  if (!Number.isSafeInteger(position) || position < 0) throw systemError('EINVAL', call);
  return position;
}

function optional(find: () => MemoryInode | undefined): FileFacts | undefined {
  try {
    const inode = find();
    return inode === undefined ? undefined : factsOf(inode);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

function factsOf(inode: MemoryInode): FileFacts {
  return {
    kind: inode.kind,
    size: sizeOf(inode),
    ...inode.meta,
    dev: 1n,
    ino: inode.ino,
    links: linksOf(inode),
  };
}

function sizeOf(inode: MemoryInode): number {
  if (inode.kind === 'file') return inode.content.size;
  return inode.kind === 'link' ? inode.target.length : 4096;
}

/** A folder is also named by its own `.` and the `..` of each folder in it. */
function linksOf(inode: MemoryInode): number {
  if (inode.kind !== 'folder' || inode.links === 0) return inode.links;
  return 2 + [...inode.entries.values()].filter((entry) => entry.kind === 'folder').length;
}
