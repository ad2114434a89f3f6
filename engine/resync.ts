/** Gives blobs the copies they lack, from the calling thread: files copied by the workers, records and rows by the commit thread. */
import type { MoveOptions, MoveResult } from './api.ts';
import type { FileMove, MoveOutcome } from './content/mover.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { MirrorStart } from './maintenance/mirror.ts';
import type { ResyncStep } from './maintenance/resync.ts';
import type { TimeBox } from './time-box.ts';

/** A pass over everything that changes nothing is the last one; puts and other processes may go on making work. */
const passesMax = 4;

/** What a run came to. `blobs` and `bytes` are of copies made; the others are blobs that are still not as they should be. */
export interface Resynced extends MoveResult {
  /** Fewer copies than wanted, for want of members that are there. */
  readonly lacking: number;
  /** Likewise, for want of room. */
  readonly full: number;
  /** All copies that are not damaged are away. */
  readonly unreachable: number;
  /** No copy is good. */
  readonly damaged: number;
  /** The time was over before all blobs were looked at: `lacking` and its like are not of all of them. */
  readonly cut: boolean;
}

/** Over all blobs, until the time box ends it. Undefined where no copies are wanted, nor any there. */
export async function resyncAll(
  crew: Crew,
  options: MoveOptions,
  box?: TimeBox,
): Promise<Resynced | undefined> {
  const away: number[] = [];
  for (let after: number | undefined = 0; after !== undefined;) {
    const start: MirrorStart = await crew.commit<MirrorStart>('mirror-begin', after);
    if (!start.mirrored) return undefined;
    away.push(...start.away);
    after = start.next;
  }
  const run = new Resync(crew, box === undefined ? options : { ...options, signal: box.signal });
  try {
    await passes(run, away);
    await crew.commit('mirror-end', undefined);
  } catch (error) {
    if (box?.isOver() !== true) throw error;
    return { ...run.result, cut: true };
  } finally {
    // Workers may hold volumes open that are gone now.
    await crew.everyone('forget', undefined);
  }
  return run.result;
}

async function passes(run: Resync, away: readonly number[]): Promise<void> {
  // Again after a pass that did something: what it made may be what another copy is made from. The last one counts what lacks.
  for (let pass = 1, before = -1; pass <= passesMax && run.result.blobs > before; pass++) {
    before = run.result.blobs;
    run.forget();
    for (let after: number | undefined = 0; after !== undefined;) after = await run.step({ after, away });
  }
}

/** Blobs that have fewer good copies than wanted. */
export function missingOf({ lacking, full, unreachable, damaged }: Resynced): number {
  return lacking + full + unreachable + damaged;
}

/** One blob: after it was put, or after a read found a copy of it damaged. */
export async function resyncBlob(crew: Crew, id: string, signal: AbortSignal | undefined): Promise<Resynced> {
  const run = new Resync(crew, { ...(signal === undefined ? {} : { signal }) });
  await run.step({ after: 0, away: [], only: id });
  return run.result;
}

/** Before a put is acknowledged. `no-space` when a member that is there has none; `unavailable` when fewer than `minCopies` can be. */
export async function completeCopies(crew: Crew, id: string): Promise<void> {
  const { full } = await resyncBlob(crew, id, undefined);
  if (full > 0) throw new StoreError('no-space', `there is no room for all copies of blob ${id}`, { id });
  const { copies, minCopies } = await crew.commit<{ copies: number; minCopies: number }>('resync-count', id);
  if (copies < minCopies)
    throw new StoreError('unavailable', `blob ${id} has ${copies} of at least ${minCopies} copies`, { id });
}

class Resync {
  readonly #crew: Crew;
  readonly #options: MoveOptions;
  readonly #totals = { blobs: 0, bytes: 0, lacking: 0, full: 0, unreachable: 0, damaged: 0 };

  constructor(crew: Crew, options: MoveOptions) {
    this.#crew = crew;
    this.#options = options;
  }

  get result(): Resynced {
    return { ...this.#totals, cut: false };
  }

  /** What lacks is counted anew. */
  forget(): void {
    Object.assign(this.#totals, { lacking: 0, full: 0, unreachable: 0, damaged: 0 });
  }

  /** Returns where to go on. */
  async step(where: {
    readonly after: number;
    readonly away: readonly number[];
    readonly only?: string;
  }): Promise<number | undefined> {
    this.#options.signal?.throwIfAborted();
    const files = this.#crew.workers;
    const step = await this.#crew.commit<ResyncStep>('resync-step', { ...where, files });
    this.#totals.lacking += step.lacking;
    this.#totals.full += step.full;
    this.#totals.unreachable += step.unreachable;
    this.#totals.damaged += step.damaged;
    if (step.blobs > 0) this.#count(step.blobs, step.bytes);
    const copied = await Promise.allSettled(step.files.map((move) => this.#file(move)));
    const failed = copied.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason as Error;
    return step.next;
  }

  /** A full or missing disk is no failure of the whole run. */
  async #file(move: FileMove): Promise<void> {
    let copied = false;
    try {
      const outcome = await this.#crew.work<MoveOutcome>('move-file', move, { signal: this.#options.signal });
      if ('damaged' in outcome) this.#totals.damaged++;
      if (!('copied' in outcome)) return;
      copied = true;
      if (await this.#crew.commit<boolean>('resync-settle', move)) this.#count(1, move.bytes);
    } catch (error) {
      if (StoreError.is(error, 'no-space')) this.#totals.full++;
      else if (StoreError.is(error, 'unavailable')) this.#totals.lacking++;
      else throw error;
    } finally {
      // Nothing was named; if even this fails, recovery looks for the file and finds none.
      if (!copied) await this.#crew.commit('drain-forget', move.intent).catch(() => undefined);
    }
  }

  #count(blobs: number, bytes: number): void {
    this.#totals.blobs += blobs;
    this.#totals.bytes += bytes;
    this.#options.onProgress?.({ blobs: this.#totals.blobs, bytes: this.#totals.bytes });
  }
}
