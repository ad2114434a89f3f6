/** What a memory host has changed in folders and not yet synced: the names that a crash forgets. */
import type { Survival } from './memory-content.ts';
import type { MemoryFolder, MemoryInode } from './memory-inode.ts';

/** One name of one folder from now on: an inode, or nothing. */
export interface NameChange {
  readonly folder: MemoryFolder;
  readonly name: string;
  readonly to: MemoryInode | undefined;
}

/** The changes of one operation survive together or not at all: that is what makes a rename atomic. */
type Operation = readonly NameChange[];

/**
 * Like the journal of a file system, but promising no more than POSIX: operations on names that have nothing to do with
 * each other become durable in any order.
 */
export class MemoryJournal {
  #pending: Operation[] = [];

  add(...changes: NameChange[]): void {
    this.#pending.push(changes);
  }

  /** Makes durable what touched this folder, and what that builds on. */
  sync(folder: MemoryFolder): void {
    this.#commit((operation) => operation.some((change) => change.folder === folder));
  }

  /** Some of what is pending survives; the rest is forgotten. */
  crash(survival: Survival): void {
    this.#commit(() => survival.keeps());
    this.#pending = [];
  }

  #commit(wanted: (operation: Operation) => boolean): void {
    const chosen: Operation[] = [];
    const left: Operation[] = [];
    const needed = new Set<string>();
    const key = (change: NameChange): string => `${change.folder.ino}/${change.name}`;
    // Backwards: an operation needs the earlier ones that touched the same names.
    for (const operation of this.#pending.toReversed()) {
      if (operation.some((change) => needed.has(key(change))) || wanted(operation)) {
        chosen.push(operation);
        for (const change of operation) needed.add(key(change));
      } else left.push(operation);
    }
    for (const { folder, name, to } of chosen.toReversed().flat()) {
      if (to === undefined) folder.synced.delete(name);
      else folder.synced.set(name, to);
    }
    this.#pending = left.toReversed();
  }
}
