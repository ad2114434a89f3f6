/** Moving blobs between volumes from the calling thread: files copied by the workers, records and rows moved by the commit thread. */
import type { CompactResult, MoveOptions, MoveResult } from './api.ts';
import type { FileMove, MoveOutcome } from './content/mover.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { Host } from './host.ts';
import type { DrainUnit, FilesPicked, RecordsMoved, Unmovable } from './maintenance/drain.ts';
import type { PlaceCursor } from './maintenance/placed.ts';
import type { PlannedMove } from './maintenance/rebalance.ts';

interface Parts {
  readonly host: Host;
  readonly crew: Crew;
}

/** Before the first place of a volume. */
const drainStart: PlaceCursor = { extent: -1, start: -1, n: -1 };

/** How long a volume that is empty but for puts under way is waited for. */
const patienceMs = 30_000;

/** Somebody has to do something first: meanwhile the volume is in use again. */
const cancelling = ['no-space', 'corrupt', 'unavailable'] as const;

/** Empties a volume for a goal. Where something does not fit or cannot be moved, the volume is in use again, and nothing is lost. */
export async function moveVolume(
  parts: Parts,
  request: { readonly from: string; readonly to?: string | undefined; readonly goal: 'remove' | 'keep' },
  options: MoveOptions,
): Promise<MoveResult> {
  const units = await parts.crew.commit<DrainUnit[]>('drain-begin', request);
  const run = new Relocation(parts, options);
  try {
    for (const unit of units) {
      const unmovable = await run.drain(unit);
      if (unmovable.length > 0) throw unmovableError(unit, unmovable);
    }
    return run.result;
  } catch (error) {
    // Where even that finds no room, it stays what it is: half moved, and the next call goes on.
    if (cancelling.some((code) => StoreError.is(error, code)))
      await parts.crew.commit('drain-cancel', units).catch(() => undefined);
    throw error;
  } finally {
    await run.end();
  }
}

/** Empties volumes that are mostly dead, and ends earlier drains; a volume with damage in it is left as it is. */
export async function compactVolumes(parts: Parts, options: MoveOptions): Promise<CompactResult> {
  const units = await parts.crew.commit<DrainUnit[]>('compact-begin', undefined);
  const run = new Relocation(parts, options);
  let volumes = 0;
  try {
    for (let at = 0; at < units.length; at++) {
      try {
        const unmovable = await run.drain(units[at]!);
        if (unmovable.length === 0) volumes++;
        else await parts.crew.commit('drain-cancel', [units[at]!]);
      } catch (error) {
        if (StoreError.is(error, 'no-space')) await parts.crew.commit('drain-cancel', units.slice(at));
        throw error;
      }
    }
    return { ...run.result, volumes };
  } finally {
    await run.end();
  }
}

/** Moves files between directories, and whole SQLite volumes between folders, until all are about equally full. */
export async function rebalanceVolumes(parts: Parts, options: MoveOptions): Promise<MoveResult> {
  const run = new Relocation(parts, options);
  try {
    const plan = await parts.crew.commit<{ files: PlannedMove[]; volumes: { from: string; to: string }[] }>(
      'rebalance-plan',
      undefined,
    );
    for (const move of plan.files) await run.some(move);
    for (const { from, to } of plan.volumes) {
      const units = await parts.crew.commit<DrainUnit[]>('drain-begin', { from, to, goal: 'remove' });
      for (const unit of units)
        if ((await run.drain(unit)).length > 0) await parts.crew.commit('drain-cancel', [unit]);
    }
    return run.result;
  } finally {
    await run.end();
  }
}

class Relocation {
  readonly #parts: Parts;
  readonly #options: MoveOptions;
  #blobs = 0;
  #bytes = 0;

  constructor(parts: Parts, options: MoveOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  get result(): MoveResult {
    return { blobs: this.#blobs, bytes: this.#bytes };
  }

  /** Passes over a volume until nothing is left in it; returns what could not be moved. */
  async drain(unit: DrainUnit): Promise<readonly Unmovable[]> {
    const { crew, host } = this.#parts;
    const start = host.clock.monotonic();
    for (;;) {
      const before = this.#blobs;
      const unmovable = unit.kind === 'folder' ? [] : await this.#pass(unit);
      if (unmovable.length > 0) return unmovable;
      if ((await crew.commit<string>('drain-end', unit)) === 'done') return [];
      if (this.#blobs > before) continue;
      this.#options.signal?.throwIfAborted();
      if (host.clock.monotonic() - start > patienceMs)
        throw new StoreError('busy', `puts into volume ${unit.id} do not end`, { volume: unit.id });
      await this.#pause();
    }
  }

  /** Some 10 ms. By turns, since a sleep of the clock would let a process end that has nothing else to do. */
  async #pause(): Promise<void> {
    const { clock } = this.#parts.host;
    const start = clock.monotonic();
    while (clock.monotonic() - start < 10) await clock.yield();
  }

  /** Some files of a directory to another one, up to a number of bytes. */
  async some(move: PlannedMove): Promise<void> {
    let bytes = 0;
    for (let after: PlaceCursor | undefined = drainStart; after !== undefined && bytes < move.bytes;) {
      const before = this.#bytes;
      after = await this.#files({ n: move.from, after, to: move.to }, []);
      bytes += this.#bytes - before;
    }
  }

  /** Workers may hold volumes open that are gone now. */
  async end(): Promise<void> {
    await this.#parts.crew.everyone('forget', undefined);
  }

  async #pass(unit: DrainUnit): Promise<Unmovable[]> {
    const unmovable: Unmovable[] = [];
    for (let after: PlaceCursor | undefined = drainStart; after !== undefined;) {
      this.#options.signal?.throwIfAborted();
      after =
        unit.kind === 'sqlite'
          ? await this.#records(unit.n, after, unmovable)
          : await this.#files({ n: unit.n, after }, unmovable);
    }
    return unmovable;
  }

  async #records(n: number, after: PlaceCursor, unmovable: Unmovable[]): Promise<PlaceCursor | undefined> {
    const moved = await this.#parts.crew.commit<RecordsMoved>('drain-records', { n, after });
    unmovable.push(...moved.unmovable);
    this.#count(moved.blobs, moved.bytes);
    return moved.next;
  }

  async #files(
    from: { readonly n: number; readonly after: PlaceCursor; readonly to?: number },
    unmovable: Unmovable[],
  ): Promise<PlaceCursor | undefined> {
    const { crew } = this.#parts;
    const picked = await crew.commit<FilesPicked>('drain-pick', { ...from, count: crew.workers });
    unmovable.push(...picked.unmovable);
    const moved = await Promise.allSettled(picked.moves.map((move) => this.#file(move, unmovable)));
    const failed = moved.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason as Error;
    return picked.next;
  }

  async #file(move: FileMove, unmovable: Unmovable[]): Promise<void> {
    const { crew } = this.#parts;
    let copied = false;
    try {
      const outcome = await crew.work<MoveOutcome>('move-file', move, { signal: this.#options.signal });
      if ('damaged' in outcome) unmovable.push({ id: move.id, reason: outcome.damaged });
      if (!('copied' in outcome)) return;
      copied = true;
      if (await crew.commit<boolean>('drain-settle', move)) this.#count(1, move.bytes);
    } finally {
      // Nothing was named; if even this fails, recovery looks for the file and finds none.
      if (!copied) await crew.commit('drain-forget', move.intent).catch(() => undefined);
    }
  }

  #count(blobs: number, bytes: number): void {
    this.#blobs += blobs;
    this.#bytes += bytes;
    this.#options.onProgress?.(this.result);
  }
}

function unmovableError(unit: DrainUnit, unmovable: readonly Unmovable[]): StoreError {
  const [first] = unmovable;
  return new StoreError(
    'corrupt',
    `${unmovable.length} blob(s) of volume ${unit.id} cannot be moved, the first is ${first!.id}: ${first!.reason}`,
    { volume: unit.id, damaged: unmovable.slice(0, 100).map(({ id }) => id) },
  );
}
