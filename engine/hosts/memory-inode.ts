/** What the paths of a memory host lead to: files of pages that remember what was synced, folders, links. */
import { MemoryContent, type Budget, type Survival } from './memory-content.ts';

interface Meta {
  mode: number;
  mtimeNs: bigint;
  ctimeNs: bigint;
}

/** What every inode has. `meta` is what callers see, `syncedMeta` what a crash leaves. */
abstract class Node {
  readonly ino: bigint;
  meta: Meta;
  syncedMeta: Meta;
  /** Names that lead here. */
  links = 0;
  /** Handles that are open. */
  opens = 0;

  constructor(ino: bigint, mode: number, nowNs: bigint) {
    this.ino = ino;
    this.meta = { mode, mtimeNs: nowNs, ctimeNs: nowNs };
    this.syncedMeta = { ...this.meta };
  }

  /** The content changed (`mtime` and `ctime`). */
  modified(nowNs: bigint): void {
    this.meta.mtimeNs = nowNs;
    this.meta.ctimeNs = nowNs;
  }

  /** Something about the inode changed (`ctime`). */
  changed(nowNs: bigint): void {
    this.meta.ctimeNs = nowNs;
  }

  sync(): void {
    this.syncedMeta = { ...this.meta };
  }

  crash(survival: Survival): void {
    if (!survival.keeps()) this.meta = { ...this.syncedMeta };
    this.sync();
    this.opens = 0;
  }
}

export class MemoryRegular extends Node {
  readonly kind = 'file';
  readonly content: MemoryContent;

  constructor(ino: bigint, mode: number, place: { readonly nowNs: bigint; readonly budget: Budget }) {
    super(ino, mode, place.nowNs);
    this.content = new MemoryContent(place.budget);
  }

  override sync(): void {
    super.sync();
    this.content.sync();
  }

  override crash(survival: Survival): void {
    this.content.crash(survival);
    super.crash(survival);
  }
}

/** `entries` is what callers see; `synced` what a crash leaves, kept by the journal. Names are byte strings (see memory-path). */
export class MemoryFolder extends Node {
  readonly kind = 'folder';
  entries: Map<string, MemoryInode> = new Map();
  synced: Map<string, MemoryInode> = new Map();
  /** The root is its own parent and has no name. */
  parent: MemoryFolder = this;
  name = '';
}

export class MemoryLink extends Node {
  readonly kind = 'link';
  /** A byte string. */
  readonly target: string;

  constructor(ino: bigint, target: string, nowNs: bigint) {
    super(ino, 0o777, nowNs);
    this.target = target;
  }
}

export type MemoryInode = MemoryRegular | MemoryFolder | MemoryLink;
