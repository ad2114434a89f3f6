/** The parts of the Store's interface that look after it: collection, scrub, compaction, the group of volumes. */
import type {
  Cap,
  CompactResult,
  Evicted,
  GcOptions,
  GcResult,
  HealthOptions,
  HeldAlone,
  MaintainOptions,
  MaintainResult,
  MoveOptions,
  MoveResult,
  ScrubOptions,
  ScrubResult,
  StoreEvents,
  StoreHealth,
  VolumeInfo,
  Volumes,
} from './api.ts';
import { absolutePath, checkName } from './arguments.ts';
import type { Cache } from './cache.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import { checkedCap, evictAbove } from './eviction.ts';
import type { Calls } from './facets.ts';
import type { Host } from './host.ts';
import { compactVolumes, moveVolume, rebalanceVolumes } from './relocate.ts';
import { type MaintainParts, maintainStore } from './maintain.ts';
import type { ScrubGoal } from './maintenance/timetable.ts';
import { mirrorVolumes } from './mirror.ts';
import { scrubStore } from './scrub.ts';

export interface UpkeepParts extends Calls {
  readonly host: Host;
  readonly crew: Crew;
  readonly cache: Cache;
  readonly emit: <Name extends keyof StoreEvents>(name: Name, event: StoreEvents[Name]) => void;
}

export class Upkeep {
  readonly volumes: Volumes;
  readonly parts: MaintainParts & UpkeepParts;
  readonly #parts: UpkeepParts;
  #moving = false;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.volumes = this.#makeVolumes();
    this.parts = { ...parts, jobs: this, running: new Set() };
  }

  async gc(options: GcOptions): Promise<GcResult> {
    const { graceMs, dryRun, without, signal, onProgress } = options;
    const cap = options.cap === undefined ? this.#ownCap() : checkedCap(options.cap);
    if (without !== undefined && dryRun !== true)
      throw new StoreError('invalid-argument', 'without is of a dry run: roots are deleted one by one');
    if (graceMs !== undefined && !(graceMs >= 0))
      throw new StoreError('invalid-argument', 'graceMs must not be negative');
    const { crew, run, writing, emit } = this.#parts;
    return run(async () => {
      const evicted = cap && { evicted: await writing(() => this.#evict(cap, options)) };
      const alone = without && (await this.#heldAlone(without));
      const told = (value: unknown): void => onProgress?.(value as GcResult);
      const result = await writing(() =>
        crew.commit<GcResult>(
          'gc',
          { graceMs, dryRun, foreground: crew.foreground.memory },
          { signal, onProgress: told },
        ),
      );
      // Workers may hold volumes open that are gone now.
      if (result.deleted > 0) await crew.everyone('forget', undefined);
      if (dryRun === true)
        return { ...result, ...evicted, ...(alone === undefined ? {} : { without: alone }) };
      const { deleted, freedBytes } = result;
      emit('maintenance', { job: 'gc', step: 'done', detail: { deleted, freedBytes } });
      return { ...result, ...evicted };
    });
  }

  /** The cap of a store refuses, or evicts. */
  #ownCap(): Cap | undefined {
    const { cap } = this.#parts.cache;
    return cap?.above === 'refuse' ? undefined : cap;
  }

  async #evict(cap: Cap, { dryRun, signal }: Pick<GcOptions, 'dryRun' | 'signal'>): Promise<Evicted> {
    await this.#parts.cache.note();
    return await evictAbove(this.#parts, cap, {
      ...(dryRun === undefined ? {} : { dryRun }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  uniqueSize(roots: string | readonly string[]): Promise<HeldAlone> {
    return this.#parts.run(() => this.#heldAlone(typeof roots === 'string' ? [roots] : roots));
  }

  #heldAlone(roots: readonly string[]): Promise<HeldAlone> {
    const names = roots.map((name) => checkName(name, 'root'));
    return this.#parts.query<HeldAlone>('heldAlone', names);
  }

  /** With a goal, until that is reached. */
  scrub(options: ScrubOptions, goal?: ScrubGoal): Promise<ScrubResult> {
    const { rate, timeBoxMs } = options;
    const wrong = checkScrub(rate, timeBoxMs);
    if (wrong !== undefined) return Promise.reject(wrong);
    const { run, writing, emit } = this.#parts;
    return run(async () => {
      const result = await writing(() => scrubStore(this.#parts, options, goal));
      const { blobs, healed } = result;
      const detail = { blobs, damaged: result.damaged.length, healed };
      emit('maintenance', { job: 'scrub', step: 'done', detail });
      return result;
    });
  }

  health({ days }: HealthOptions, putsWaiting: () => number): Promise<StoreHealth> {
    const { run, query } = this.#parts;
    const wrong = checkDays(days);
    if (wrong !== undefined) return Promise.reject(wrong);
    return run(async () => ({
      ...(await query<Omit<StoreHealth, 'putsWaiting'>>('health', days)),
      putsWaiting: putsWaiting(),
    }));
  }

  maintain(options: MaintainOptions): Promise<MaintainResult> {
    const { days, rate, timeBoxMs } = options;
    const wrong = checkScrub(rate, timeBoxMs) ?? checkDays(days);
    if (wrong !== undefined) return Promise.reject(wrong);
    const { run, writing } = this.#parts;
    return run(() => writing(() => maintainStore(this.parts, options)));
  }

  compact(options: MoveOptions): Promise<CompactResult> {
    return this.#move('compact', () => compactVolumes(this.#parts, options));
  }

  #makeVolumes(): Volumes {
    const { run, writing, query, crew, host } = this.#parts;
    const name = (id: string): string => checkName(id, 'volume');
    return {
      list: () => run(() => query<VolumeInfo[]>('volumes')),
      extend: (path, options = {}) =>
        run(async () => {
          const { kind = 'directory', cap, allocation } = options;
          checkExtend(path, { kind, cap, allocation });
          const added = await writing(() =>
            crew.commit<string>('extend', { path: absolutePath(host, path), kind, cap, allocation }),
          );
          return (await query<VolumeInfo[]>('volumes')).find(({ id }) => id === added)!;
        }),
      locate: (volume, path) =>
        run(async () => {
          if (this.#moving) throw new StoreError('busy', 'blobs are being moved between volumes');
          checkPath(path);
          const request = { volume: name(volume), path: absolutePath(host, path) };
          const located = await writing(() => crew.commit<string>('locate', request));
          // Workers hold it open where it was.
          await crew.everyone('forget', undefined);
          return (await query<VolumeInfo[]>('volumes')).find(({ id }) => id === located)!;
        }),
      reduce: (volume, options = {}) =>
        this.#move('move', () => moveVolume(this.#parts, { from: name(volume), goal: 'remove' }, options)),
      move: (from, to, options = {}) =>
        this.#move('move', () =>
          moveVolume(
            this.#parts,
            { from: name(from), to: to === undefined ? undefined : name(to), goal: 'keep' },
            options,
          ),
        ),
      mirror: (copies, options = {}) =>
        this.#move('mirror', () => mirrorVolumes(this.#parts, copies, options)),
      rebalance: (options = {}) => this.#move('move', () => rebalanceVolumes(this.#parts, options)),
    };
  }

  #move<Result extends MoveResult>(
    job: 'move' | 'compact' | 'mirror',
    work: () => Promise<Result>,
  ): Promise<Result> {
    const { run, writing, emit } = this.#parts;
    return run(async () => {
      if (this.#moving) throw new StoreError('busy', 'blobs are being moved between volumes already');
      this.#moving = true;
      try {
        const result = await writing(work);
        emit('maintenance', { job, step: 'done', detail: { blobs: result.blobs, bytes: result.bytes } });
        return result;
      } finally {
        this.#moving = false;
      }
    });
  }
}

/** What timers can wait. */
const timeBoxMax = 2 ** 31 - 1;
/** Slower than this, a scrub of anything takes for ever. */
const rateMin = 1024;

function checkScrub(rate: number | undefined, timeBoxMs: number | undefined): StoreError | undefined {
  if (rate !== undefined && !(rate >= rateMin && Number.isFinite(rate)))
    return new StoreError('invalid-argument', `rate must be at least ${rateMin} bytes a second`);
  if (timeBoxMs !== undefined && !(timeBoxMs > 0 && timeBoxMs <= timeBoxMax))
    return new StoreError('invalid-argument', `timeBoxMs must be above 0, at most ${timeBoxMax}`);
  return undefined;
}

function checkDays(days: number | undefined): StoreError | undefined {
  if (days === undefined || (days > 0 && days < 1e6)) return undefined;
  return new StoreError('invalid-argument', 'days must be a number above 0');
}

function checkExtend(
  path: unknown,
  {
    kind,
    cap,
    allocation,
  }: { readonly kind: string; readonly cap: number | undefined; readonly allocation: string | undefined },
): void {
  const wrong = (what: string): StoreError => new StoreError('invalid-argument', what);
  checkPath(path);
  if (kind !== 'sqlite' && kind !== 'directory')
    throw wrong(`a volume is "sqlite" or "directory", not ${kind}`);
  if (allocation !== undefined && allocation !== 'linear' && allocation !== 'striped')
    throw wrong(`allocation is "linear" or "striped", not ${allocation}`);
  if (cap !== undefined && !(Number.isSafeInteger(cap) && cap > 0))
    throw wrong('cap must be a whole number of bytes above 0');
}

function checkPath(path: unknown): void {
  if (typeof path !== 'string' || path === '' || path.includes('\0'))
    throw new StoreError('invalid-argument', 'the path of a volume must be a text, not empty, without NUL');
}
