/** The contract of the group: the volumes of a store as one pool, how they are added, emptied and removed, and what a rebuild finds in them. */
import type { DriverChoice } from './driver.ts';
import type { EncryptionOptions } from './encryption.ts';
import type { Host } from './host.ts';

/** A physical volume of the group, or a folder in which SQLite volumes are made. */
export interface VolumeInfo {
  /** `blobs` for the directory every store is made with; a uuid for the others. */
  readonly id: string;
  /** `directory`: large blobs as files. `sqlite`: one file of records. `folder`: SQLite volumes are made in it. */
  readonly kind: 'directory' | 'sqlite' | 'folder';
  /** `sealed`: full. `draining`: what lies there is being moved elsewhere, and nothing new goes there. */
  readonly state: 'open' | 'sealed' | 'draining';
  readonly path: string;
  /** Id of the folder a SQLite volume lies in; absent in the store's own `volumes/`. */
  readonly folder?: string;
  /** Bytes that may be allocated there; absent without a limit. */
  readonly cap?: number;
  /** Bytes it takes: files of a directory, the file of a SQLite volume, all files of a folder. */
  readonly bytes: number;
  /** Of them, records that died. */
  readonly deadBytes: number;
  /** Blobs of which a copy lies there. O(blobs of the volume). */
  readonly blobs: number;
  /** Of its disk; absent when it is not there. */
  readonly freeBytes?: number;
  /** Why it cannot be relied on: it is away, was swapped, is an older copy, or is there twice. Absent when nothing is wrong. */
  readonly problem?: string;
}

export interface MoveOptions {
  /** What was moved stays moved; the rest goes on with the next call for the same volume, or with `compact`. */
  readonly signal?: AbortSignal;
  /** What was moved so far. */
  readonly onProgress?: (progress: MoveResult) => void;
}

export interface MoveResult {
  readonly blobs: number;
  /** Stored bytes. */
  readonly bytes: number;
}

export interface CompactResult extends MoveResult {
  /** Volumes that were emptied and removed. */
  readonly volumes: number;
}

export interface MirrorOptions extends MoveOptions {
  /** A put that can make fewer copies than this, because members are away, fails with `unavailable`. From 1 (default) to `copies`. */
  readonly minCopies?: number;
}

export interface MirrorResult extends MoveResult {
  /**
   * Blobs that still have fewer good copies than wanted: members are away, or what is left of the blob is damaged. `scrub`, or the same
   * call again, completes them when that has changed.
   */
  readonly missing: number;
}

/**
 * The group of volumes. One change at a time in a process: a second one fails with `busy`. Reads and puts go on meanwhile. A blob that
 * moves is copied, the copy verified and durable, then the catalog points to it, then the old copy goes: a crash at any moment leaves
 * one or two whole copies.
 */
export interface Volumes {
  list(): Promise<VolumeInfo[]>;
  /**
   * Adds an absent or empty folder, on any disk. `directory` (default) takes large blobs as files, `sqlite` takes small blobs and nodes
   * in volumes of `volumeBytesMax` each. `cap` bounds the bytes allocated there. `allocation` sets for the whole group which volume
   * takes the next bytes: `linear` (default) fills the store's own disk, then the others in the order they were added; `striped`
   * spreads puts over all. Fails with `conflict` when the folder is a volume already, `invalid-argument` when it is not empty.
   */
  extend(
    path: string,
    options?: {
      readonly kind?: 'directory' | 'sqlite';
      readonly cap?: number;
      readonly allocation?: 'linear' | 'striped';
    },
  ): Promise<VolumeInfo>;
  /**
   * Says where a directory or a folder that was added lies now: its disk is mounted elsewhere, or has another letter. It is known by its
   * label. Fails with `unavailable` when it is not there either, or is older than the store knows; with `conflict` while it is at its
   * old path too, or where another volume lies; with `busy` while another process has the store open.
   */
  locate(volume: string, path: string): Promise<VolumeInfo>;
  /**
   * Moves everything out of a volume and removes it from the group. The store's own directory stays: it can only be emptied. Fails
   * with `no-space` when what lies there fits nowhere else, with `corrupt` when something there is damaged: then the volume stays in use.
   * In a mirrored group, with `invalid-argument` when fewer members than copies would be left. A volume that is away is removed if all
   * that lies there has another copy, from which it is copied. What `mirror` made within it goes with it.
   */
  reduce(volume: string, options?: MoveOptions): Promise<MoveResult>;
  /**
   * Moves everything out of a volume, which stays in the group (a single SQLite volume is removed). `to` is a directory for a directory, a
   * folder or `volumes` for SQLite volumes; without it, wherever there is room.
   */
  move(from: string, to?: string, options?: MoveOptions): Promise<MoveResult>;
  /**
   * Keeps each blob on so many members (1 to 4; 1 ends mirroring and frees the further copies). A member is a directory for large blobs,
   * and a folder of SQLite volumes for small ones and nodes; the store's own directory and its own `volumes` are one each. Where one kind is
   * too few, one is made within each member of the other kind, as `volumes/` or `blobs/`, and shares its cap. Puts make all copies
   * from now on; what is there is copied meanwhile, and `blobs` and `bytes` count those copies. Abort it, or let the process die: the next
   * call goes on. With fewer copies than before everything is verified first, so that what stays is good. Fails with `invalid-argument`
   * where there are fewer members than copies, with `no-space` where one is full.
   */
  mirror(copies: number, options?: MirrorOptions): Promise<MirrorResult>;
  /** Moves blobs until directories, and folders of volumes, are about equally full. */
  rebalance(options?: MoveOptions): Promise<MoveResult>;
}

export interface RebuildOptions {
  /** Collection then does not wait for what could not be brought back. Default false. */
  readonly acceptGap?: boolean;
  /** Takes any secret of the store. Without it the rebuild of an encrypted store is refused with `wrong-key`. */
  readonly encryption?: Pick<EncryptionOptions, 'secret'>;
  readonly driver?: DriverChoice;
  /** 0 runs on the calling thread. */
  readonly threads?: { readonly count?: number };
  readonly host?: Host;
  readonly signal?: AbortSignal;
  /** What was verified so far. */
  readonly onProgress?: (progress: { readonly blobs: number; readonly bytes: number }) => void;
}

/** What a rebuild found. Lists hold the first 1,000 entries; the counts beside them all. */
export interface RebuildResult {
  readonly blobs: number;
  readonly nodes: number;
  readonly chunked: number;
  /** Content bytes, those of chunked blobs counted as chunks; in an encrypted store of sealed objects. */
  readonly bytes: number;
  readonly roots: number;
  readonly owners: number;
  /** Records that were copied out of damaged SQLite volumes. */
  readonly salvaged: number;
  /** Copies that are not what they should be: a file, a place in an extent, or a SQLite volume as a whole. Nothing of them was deleted. */
  readonly damaged: readonly { readonly volume: string; readonly name: string; readonly reason: string }[];
  readonly damagedCopies: number;
  /** Volumes that are not there: what lies in them is not known. */
  readonly missing: readonly { readonly volume: string; readonly path: string }[];
  /**
   * Who refers to a blob of which no good copy was found: a root or owner by name, a node by its id. Read, the blob is damaged. In an
   * encrypted store `id` is the name on disk of a blob that no node links to.
   */
  readonly lost: readonly {
    readonly as: 'root' | 'owner' | 'node';
    readonly name: string;
    readonly id: string;
  }[];
  /** Blobs that are lost. */
  readonly lostBlobs: number;
  /** Why `roots.log` may have held more roots and owners than could be read. */
  readonly gap?: string;
  readonly milliseconds: number;
}

export interface VolumeStats {
  readonly id: string;
  readonly kind: 'sqlite' | 'directory' | 'memory';
  readonly state: 'open' | 'sealed' | 'draining';
  readonly bytes: number;
  readonly deadBytes: number;
}
