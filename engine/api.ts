/** The Store as applications see it: what it promises, in types. Implemented by store.ts. */
import type {
  AlternateOptions,
  Alternates,
  DissociateOptions,
  DissociateResult,
  RepairOptions,
  RepairResult,
} from './alternates.ts';
import type { ErrorCode } from './errors.ts';
import type { DriverChoice } from './driver.ts';
import type { Cap, GcOptions, GcResult, HeldAlone } from './collection.ts';
import type { CompactResult, MoveOptions, VolumeStats, Volumes } from './group.ts';
import type { ExportTarget, FileWork, SourceFacts } from './folders.ts';
import type { EncodedBlobs } from './encoded.ts';
import type { EncryptionOptions, EncryptionParameters, Keys } from './encryption.ts';
import type { Host } from './host.ts';
import type {
  MaintainOptions,
  MaintainResult,
  MaintenanceJob,
  Schedule,
  ScheduleOptions,
} from './schedule.ts';
import type { Roots } from './roots.ts';
import type { ReplicaSeed, SealedObjects } from './sealed.ts';
import type { Damage, HealthOptions, ScrubOptions, ScrubResult, StoreHealth } from './scrubbing.ts';

export type { CachedBlob, Cap, Evicted, EvictionPolicy } from './collection.ts';
export type { GcOptions, GcResult, HeldAlone } from './collection.ts';
export type { DeletedRoot, RootEntry, RootLogEntry, Roots } from './roots.ts';
export type { EncodedBlobs, EncodedPiece, EncodedPutOptions, EncodedRead } from './encoded.ts';
export type { ReplicaSeed, SealedFacts, SealedObjects, SealedPut, SealedPutResult } from './sealed.ts';
export type { KeysTaken, ObjectSource, SealedRoot, SourceObject } from './sealed.ts';
export type { ExportTarget, FileStep, FileWork, FolderListing, SourceFacts } from './folders.ts';
export type {
  EncryptionOptions,
  EncryptionParameters,
  KeySlot,
  Keys,
  KeysInfo,
  ResealResult,
  Secret,
} from './encryption.ts';
export type {
  AlternateInfo,
  AlternateOptions,
  Alternates,
  BlobSource,
  BorrowerInfo,
  DissociateOptions,
  DissociateResult,
  RepairOptions,
  RepairResult,
} from './alternates.ts';
export type {
  CompactResult,
  MirrorOptions,
  MirrorResult,
  MoveOptions,
  MoveResult,
  RebuildOptions,
  RebuildResult,
  VolumeInfo,
  VolumeStats,
  Volumes,
} from './group.ts';
export type {
  CronSchedule,
  MaintainOptions,
  MaintainResult,
  MaintenanceJob,
  Schedule,
  ScheduleOptions,
  ScheduledJob,
  ScrubSchedule,
} from './schedule.ts';
export type {
  Damage,
  DamageFound,
  HealthOptions,
  HealthState,
  ScrubOptions,
  ScrubProgress,
  ScrubRecord,
  ScrubResult,
  StoreHealth,
} from './scrubbing.ts';
export type { LogDamage, Touched, TouchedRoot } from './scrubbing.ts';

/** sha256 of the caller's bytes: 64 lower-case hex digits. */
export type BlobId = string;

/** A raw blob is bytes; a node is bytes plus the ids it refers to (deterministic CBOR, see codec/node.ts). */
export type BlobKind = 'raw' | 'node';

/** A link of a node: what it points to, and whether that is to be walked as a node or left alone as bytes. */
export interface Link {
  readonly kind: BlobKind;
  readonly id: BlobId;
}

export interface OpenOptions {
  /** `create` (default) makes a store in an absent or empty folder, `open` demands one, `read-only` takes no lease and writes nothing. */
  readonly mode?: 'create' | 'open' | 'read-only';
  /** `full` (default): acknowledged means on disk. `relaxed`: survives process death only, consistent after power loss. */
  readonly durability?: 'full' | 'relaxed';
  readonly driver?: DriverChoice;
  /** Up to `count` worker threads (default: cores, 2 to 4) beside the commit thread; 0 runs all on the calling thread. */
  readonly threads?: { readonly count?: number };
  /** The machine to run on; the default is this one. Given by tests. */
  readonly host?: Host;
  /** Fixed when the store is created, ignored after: blobs up to this many bytes are packed into SQLite volumes. */
  readonly parameters?: Partial<Omit<StoreParameters, 'encryption'>>;
  /** Likewise fixed when the store is created: a mode, or mode, codec and level. Default `off`. A put may ask for another mode. */
  readonly compression?: CompressionMode | Partial<CompressionParameters>;
  /** Likewise. Default `off`: a chunked blob is no file that `pathOf` could name. */
  readonly chunking?: ChunkingMode | Partial<ChunkingParameters>;
  /** Likewise. Default `hybrid`. */
  readonly layout?: Layout;
  /**
   * A store that is made is encrypted, and `secret` is the first way into it. One that is there is opened with it: `wrong-key` when it
   * fits no slot, or the store is not encrypted. Without it an encrypted store can be scrubbed, collected and told about, but not read:
   * whatever needs the keys fails with `wrong-key`.
   */
  readonly encryption?: EncryptionOptions;
  /** A store that is made shares keys and parameters with the one that this came from. `conflict` where another is there. */
  readonly replicaOf?: ReplicaSeed<StoreParameters>;
  /**
   * Stores that are searched after this one, added like `alternates.add` where they are not yet. In a store that is opened for reading
   * only they are searched while it is open, and not remembered.
   */
  readonly alternates?: readonly (string | (AlternateOptions & { readonly path: string }))[];
  /**
   * `run` (default): this process may be the one that runs what is scheduled, from half a minute after it opened the store. `leave`: it
   * is not; for programs that have the store open for a task.
   */
  readonly schedule?: 'run' | 'leave';
  /** A limit on what one owner holds, while the store is open: for caches. Puts and collections of this process keep to it. */
  readonly cap?: Cap;
  readonly signal?: AbortSignal;
}

/**
 * `off`: nothing is compressed. `auto`: what a look at it promises to become at least an eighth smaller; large media stay plain files.
 * `always`: whatever becomes smaller at all.
 */
export type CompressionMode = 'off' | 'auto' | 'always';

/** Part of a store's format. Each chunk says for itself how it is stored. */
export interface CompressionParameters {
  readonly mode: CompressionMode;
  /** `zstd` needs Node 22.15 wherever the store is read; `deflate` is everywhere. Default: zstd where it is there. */
  readonly codec: 'deflate' | 'zstd';
  /** 1 (fast) to 9 for deflate, to 19 for zstd. Default 6 and 3. */
  readonly level: number;
}

/** `fastcdc`: large blobs are cut where their content says so, and stored as chunks, so that what two of them share is stored once. */
export type ChunkingMode = 'off' | 'fastcdc';

/** `hybrid`: large blobs are files. `sqlite-only`: they are chunked whatever `chunking` says, so that all content lies in SQLite volumes. */
export type Layout = 'hybrid' | 'sqlite-only';

/** Part of a store's format. Bytes; `average` is a power of two. A manifest holds the sizes it was cut by. */
export interface ChunkingParameters {
  readonly mode: ChunkingMode;
  readonly least: number;
  readonly average: number;
  readonly greatest: number;
}

/** What is part of a store's format; written to its superblock when it is created. Bytes, unless the name says otherwise. */
export interface StoreParameters {
  /** Blobs up to this size are packed in SQLite volumes, larger ones are files. */
  readonly smallMax: number;
  /** Target size of an extent row. */
  readonly extentBytes: number;
  /** Plaintext bytes per checksummed chunk; a power of two. */
  readonly chunkBytes: number;
  /** A SQLite volume is sealed when it reaches this size. */
  readonly volumeBytesMax: number;
  readonly compression: CompressionParameters;
  readonly chunking: ChunkingParameters;
  readonly layout: Layout;
  /** Null: not encrypted. Not an option here, see `OpenOptions.encryption`. */
  readonly encryption: EncryptionParameters | null;
}

export type PutSource =
  Uint8Array | { readonly path: string } | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

export interface PutOptions {
  /** Retains the blob for this owner in the same commit. An unowned put may be collected after the grace. */
  readonly owner?: string;
  /** Makes a node: the source is its payload (bytes), the stored bytes are the node's encoding. */
  readonly links?: readonly Link[];
  /** `node`: the source is an encoded node; its links are checked and referenced. Default `raw`. */
  readonly kind?: BlobKind;
  /** Fails with `conflict`, storing nothing, unless the bytes have this id. Nodes put after it may link to it before it is stored. */
  readonly expectId?: BlobId;
  /** Other than the store's. Of content that is here already nothing changes. */
  readonly compression?: CompressionMode;
  /** Likewise. Blobs that fit a record are never chunked. */
  readonly chunking?: ChunkingMode;
  /** What `auto` may go by: media that are compressed already (`image/jpeg`, `video/…`) are left as they are, unseen. */
  readonly mediaType?: string;
  readonly signal?: AbortSignal;
  /** Called with the bytes taken in so far; for large sources. */
  readonly onProgress?: (bytes: number) => void;
}

export interface PutResult {
  readonly id: BlobId;
  readonly size: number;
  /**
   * Bytes this blob takes in the store; for a deduplicated put, what the copy already there takes. Of a chunked blob: what this put
   * stored anew; it takes nothing itself, its chunks do.
   */
  readonly storedSize: number;
  readonly deduplicated: boolean;
  /** For a put by path. */
  readonly source?: SourceFacts;
}

export interface BlobStat {
  /** In the list of an encrypted store the name on disk of a blob that is lost, when nothing tells its id. */
  readonly id: BlobId;
  readonly kind: BlobKind;
  readonly size: number;
  readonly storedSize: number;
  readonly references: number;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  readonly verifiedMs?: number;
  /** A read or scrub found it damaged, and there is no other copy, nor has one been put since. */
  readonly suspect: boolean;
  /** Where it lies, in a mirrored group its first copy; `chunks` for a chunked blob. */
  readonly volume: string;
  /** Copies that were not found damaged, whether their volumes are there now or not. Of a chunked blob those of its manifest. */
  readonly copies: number;
  /** Raw large blobs only: the file that holds exactly the blob's bytes. */
  readonly path?: string;
  /** Its bytes lie in an alternate. */
  readonly borrowed?: true;
}

export interface StoreStats {
  readonly storeId: string;
  readonly format: number;
  readonly blobs: number;
  readonly nodes: number;
  /** Content bytes, those of chunked blobs counted as chunks, each blob once, borrowed ones not; and bytes that all copies take. */
  readonly bytes: number;
  readonly storedBytes: number;
  /** On how many members each blob is to be kept: 1 unless the group is mirrored. */
  readonly copies: number;
  /** Blobs that have fewer copies, not counting damaged ones. Copies in volumes that are away count. O(blobs) where mirrored. */
  readonly missingCopies: number;
  /** What a collection frees once the grace is over. Borrowed ones take no room here, and do not count. */
  readonly unreferenced: number;
  readonly unreferencedBytes: number;
  readonly suspect: number;
  readonly roots: number;
  readonly volumes: readonly VolumeStats[];
  readonly catalogBytes: number;
  readonly freeBytes: number;
  /** Streams with an open handle right now. */
  readonly openHandles: number;
}

/** Events: a map from name to what its listeners get. Never an 'error' event. */
export interface StoreEvents {
  damage: Damage;
  healed: { readonly id: BlobId };
  'needs-reopen': { readonly code: ErrorCode; readonly message: string };
  /**
   * `done` when a job is through, whoever called it. Of what is scheduled also: `begun`; `ended`, with its milliseconds; `skipped` once,
   * with `why` it waits; `yielded`, with `why` it was stopped, to go on later; `failed`, with code and message, until its next time;
   * of the job `schedule` when it cannot be read or taken.
   */
  maintenance: {
    readonly job: MaintenanceJob | 'recover' | 'move' | 'mirror' | 'schedule';
    readonly step: string;
    readonly detail: Readonly<Record<string, number | string>>;
  };
}

/**
 * A span of work whose puts other processes' GC must leave alone until it ends, even with a grace of 0: begin, put, link, set a root, end.
 */
export interface Session {
  end(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A small droppable key-value table beside the catalog for modules above: checksummed, durable, gone after a rebuild. */
export interface SideTable {
  get(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  /** One transaction; `undefined` deletes. */
  set(entries: readonly (readonly [key: string, value: Uint8Array | undefined])[]): Promise<void>;
}

export interface Store {
  readonly directory: string;
  readonly parameters: StoreParameters;

  put(source: PutSource, options?: PutOptions): Promise<PutResult>;
  /** The whole blob. Larger than `maxBytes` (default 256 MiB): `limit-exceeded`. Unknown: undefined. Damaged: `corrupt`. */
  get(
    id: BlobId,
    options?: { readonly maxBytes?: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array | undefined>;
  getNode(id: BlobId): Promise<{ readonly links: readonly Link[]; readonly payload: Uint8Array } | undefined>;
  /** Clamps at the end of the blob; every chunk it touches is verified first. */
  readRange(
    id: BlobId,
    offset: number,
    length: number,
    options?: { readonly signal?: AbortSignal },
  ): Promise<Uint8Array | undefined>;
  /** Lazy: nothing is opened before the first read; cancelling frees everything. Errors, never ends cleanly, on damage. */
  stream(
    id: BlobId,
    options?: { readonly offset?: number; readonly length?: number; readonly signal?: AbortSignal },
  ): Promise<ReadableStream<Uint8Array> | undefined>;
  /** Writes verified bytes to a new file, off the calling thread. False when the id is unknown. A failed export leaves no file. */
  exportTo(target: ExportTarget, options?: { readonly signal?: AbortSignal }): Promise<boolean>;
  has(id: BlobId): Promise<boolean>;
  hasMany(ids: Iterable<BlobId>): Promise<ReadonlySet<BlobId>>;
  stat(id: BlobId): Promise<BlobStat | undefined>;
  /** Its own and what it borrows, in id order; in an encrypted store in an order of its own, and there a `prefix` looks at all blobs. */
  list(options?: {
    readonly after?: BlobId;
    readonly prefix?: string;
    readonly signal?: AbortSignal;
  }): AsyncIterable<BlobStat>;
  /** A real file with exactly the blob's bytes (large raw blobs), for ffmpeg, sharp or <video>. Never write to it. */
  pathOf(id: BlobId): Promise<string | undefined>;

  readonly encoded: EncodedBlobs<PutResult>;
  readonly sealed: SealedObjects<StoreParameters>;
  readonly roots: Roots;
  /** A set: retaining twice is once. Fails with `not-found` for an unknown id. */
  retain(id: BlobId, owner: string): Promise<boolean>;
  /** False when this owner did not hold it. */
  release(id: BlobId, owner: string): Promise<boolean>;
  session(): Promise<Session>;

  gc(options?: GcOptions): Promise<GcResult>;
  /**
   * What nothing but these roots holds, all of them together: what would be freed if they were deleted and the grace were over. An
   * estimate while others write. O(what is counted, and what is unreferenced already). `not-found` for a root that is not there.
   */
  uniqueSize(roots: string | readonly string[]): Promise<HeldAlone>;
  /** What was verified longest ago comes first, and what was verified when it is stopped, killed or closed counts. */
  scrub(options?: ScrubOptions): Promise<ScrubResult>;
  /** Whether every byte was verified lately, and what else is not as it should be. O(blobs). Writes nothing. */
  health(options?: HealthOptions): Promise<StoreHealth>;
  /**
   * Gives the space of dead records back: copies what lives out of SQLite volumes that are more than half dead, and removes them. Also
   * ends what a `reduce` or `move` that was interrupted had begun.
   */
  compact(options?: MoveOptions): Promise<CompactResult>;
  /**
   * Has upkeep run by itself: the schedule is kept in the store, replaced as a whole, and removed by `null`; without an argument it is
   * told. One of the processes that have the store open runs it, and another one when that is gone. A run that was missed, because nobody
   * had the store open, is made up once. Nothing of it is thrown at the application: see the event `maintenance`. May be set at each
   * start: a job whose cron stays as it was keeps its time. Fails with `invalid-argument` for what no schedule can be.
   */
  schedule(options?: ScheduleOptions | null): Promise<Schedule | undefined>;
  /**
   * Does what is due of collection, a scrub's share and compaction, then copies the catalog's log back. For cron, and for stores that no
   * process has open all the time. Without a schedule all three are due, each time. A job that fails does not keep the next from running.
   */
  maintain(options?: MaintainOptions): Promise<MaintainResult>;
  readonly volumes: Volumes;
  readonly alternates: Alternates;
  /**
   * Copies in everything that is borrowed, verified, and then has no alternates any more. Until that is done nothing is borrowed anew by
   * this process. Whatever stops it, what was copied stays, and the next call goes on.
   */
  dissociate(options?: DissociateOptions): Promise<DissociateResult>;
  /**
   * Scrubs, then has what is damaged or lost from an alternate or another store: verified in this operation, put anew, and the bad copy
   * set aside. Rejects where this store itself cannot be worked with; what could not be had is told in `remaining`.
   */
  repair(options?: RepairOptions<Store>): Promise<RepairResult>;
  /** Of an encrypted store; every call is refused (`invalid-argument`) where it is not. */
  readonly keys: Keys;
  stats(): Promise<StoreStats>;

  readonly files: FileWork;
  sideTable(name: string): SideTable;

  on<Name extends keyof StoreEvents>(name: Name, listener: (event: StoreEvents[Name]) => void): () => void;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
