/** The folders of a memory host: finding what a path names, giving and taking names, and what a crash leaves. */
import { Budget, type Survival } from './memory-content.ts';
import { MemoryFolder, type MemoryInode } from './memory-inode.ts';
import { MemoryJournal, type NameChange } from './memory-journal.ts';
import { keyOf, parsePath, systemError } from './memory-path.ts';

/** As on Linux. */
const linksFollowedMax = 40;

/** Where a path leads. Without a name it is a folder reached by `/`, `.` or `..`. */
export interface Place {
  readonly folder: MemoryFolder;
  readonly name: string | undefined;
  readonly inode: MemoryInode | undefined;
  readonly slash: boolean;
}

/** What to do when the last part of a path is a link. */
export type LastLink = 'follow' | 'keep';

export class MemoryTree {
  readonly budget: Budget;
  readonly journal: MemoryJournal = new MemoryJournal();
  /** Handles of an earlier boot are dead. */
  boot = 0;
  readonly root: MemoryFolder;
  readonly #now: () => bigint;
  #nextIno = 2n;

  constructor(capacityBytes: number, now: () => bigint) {
    this.budget = new Budget(capacityBytes);
    this.#now = now;
    this.root = new MemoryFolder(1n, 0o755, now());
    this.root.links = 1;
  }

  now(): bigint {
    return this.#now();
  }

  nextIno(): bigint {
    return this.#nextIno++;
  }

  find(path: string | Uint8Array, call: string, last: LastLink = 'follow'): Place {
    const parsed = parsePath(keyOf(path), call);
    let { slash } = parsed;
    const waiting = parsed.parts.toReversed();
    let folder = this.root;
    let followed = 0;
    for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
      if (part === '.') continue;
      if (part === '..') {
        folder = folder.parent;
        continue;
      }
      const isLast = waiting.length === 0;
      const inode = folder.entries.get(part);
      if (inode?.kind === 'link' && (!isLast || slash || last === 'follow')) {
        if (++followed > linksFollowedMax) throw systemError('ELOOP', call, path);
        const target = parsePath(inode.target, call);
        if (inode.target.startsWith('/')) folder = this.root;
        if (isLast) slash ||= target.slash;
        waiting.push(...target.parts.toReversed());
        continue;
      }
      if (isLast) {
        if (slash && inode !== undefined && inode.kind !== 'folder') throw systemError('ENOTDIR', call, path);
        return { folder, name: part, inode, slash };
      }
      if (inode === undefined) throw systemError('ENOENT', call, path);
      if (inode.kind !== 'folder') throw systemError('ENOTDIR', call, path);
      folder = inode;
    }
    return { folder: folder.parent, name: undefined, inode: folder, slash };
  }

  /** What a path names; ENOENT when there is nothing. */
  existing(path: string, call: string, last: LastLink = 'follow'): MemoryInode {
    const { inode } = this.find(path, call, last);
    if (inode === undefined) throw systemError('ENOENT', call, path);
    return inode;
  }

  folder(path: string, call: string): MemoryFolder {
    const inode = this.existing(path, call);
    if (inode.kind !== 'folder') throw systemError('ENOTDIR', call, path);
    return inode;
  }

  /** A place where a new name can go: EEXIST when it is taken. */
  free(path: string, call: string): Place & { readonly name: string } {
    const place = this.find(path, call, 'keep');
    if (place.inode !== undefined || place.name === undefined) throw systemError('EEXIST', call, path);
    return { ...place, name: place.name };
  }

  /** Does all changes at once, for callers and for the journal. */
  change(...changes: NameChange[]): void {
    const now = this.now();
    for (const { folder, name, to } of changes) {
      const old = folder.entries.get(name);
      if (old !== undefined) {
        old.links--;
        folder.entries.delete(name);
      }
      if (to !== undefined) {
        to.links++;
        folder.entries.set(name, to);
        if (to.kind === 'folder') {
          to.parent = folder;
          to.name = name;
        }
      }
      folder.modified(now);
      old?.changed(now);
    }
    this.journal.add(...changes);
  }

  /** Gives back the room of a file that has neither a name nor a handle. */
  forget(inode: MemoryInode | undefined): void {
    if (inode?.kind === 'file' && inode.links === 0 && inode.opens === 0)
      this.budget.give(inode.content.pages);
  }

  /** The whole path of a folder, as a byte string; undefined when it has been removed. */
  pathOf(folder: MemoryFolder): string | undefined {
    const names: string[] = [];
    for (let at = folder; at !== this.root; at = at.parent) {
      if (at.links === 0) return undefined;
      names.push(at.name);
    }
    return `/${names.toReversed().join('/')}`;
  }

  /** Goes back to what was synced, but for what survives; every handle is dead after it. */
  crash(survival: Survival): void {
    this.boot++;
    this.journal.crash(survival);
    this.budget.clear();
    const seen = new Set<MemoryInode>();
    const visit = (inode: MemoryInode): void => {
      if (seen.has(inode)) return;
      seen.add(inode);
      inode.links = inode === this.root ? 1 : 0;
      inode.crash(survival);
      if (inode.kind === 'file') this.budget.count(inode.content.pages);
      if (inode.kind !== 'folder') return;
      inode.entries = new Map(inode.synced);
      for (const [name, entry] of inode.entries) {
        visit(entry);
        entry.links++;
        if (entry.kind === 'folder') Object.assign(entry, { parent: inode, name });
      }
    };
    visit(this.root);
  }
}
