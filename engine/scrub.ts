/** A scrub from the calling thread: ranges spread over the workers, what they find settled by the commit thread, then counts. */
import PQueue from 'p-queue';
import type { LogDamage, ScrubOptions, ScrubResult, Touched } from './api.ts';
import { noVolume } from './catalog/blob-rows.ts';
import type { LogLook, LogSlice } from './catalog/log-damage.ts';
import type { FoundDamage, VerifyResult } from './content/findings.ts';
import { Goal, type GoalOrder, goalMemory } from './content/goal.ts';
import { type PaceOrder, paceMemory } from './content/pace.ts';
import type { VerifyRange } from './content/scrub-facts.ts';
import type { VerifyOrder } from './content/verify.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { ScrubEnd } from './maintenance/scrub-log.ts';
import type { BucketLook, RecountResult } from './maintenance/recount.ts';
import type { SettleRequest, SettleResult } from './maintenance/settle-scrub.ts';
import type { ScrubGoal } from './maintenance/timetable.ts';
import { type NamedDamage, type ScrubParts, healAll, healFound, healLacking } from './scrub-heal.ts';
import { type TimeBox, timeBox } from './time-box.ts';

/** Ranges that are looked up in one question, about 5 ms: puts and reads wait for no more. */
const rangesAsked = 2;

/** Bytes that are worth a second thread from the beginning: reading them takes longer than it is waited for otherwise. */
const worthTwoBytes = 256 * 1024 * 1024;

/** Blobs that a disk cannot read, named of a whole scrub at most. */
const unreadableMax = 1_000;

/** What was read, and whether that was everything. */
export interface Verified extends Pick<
  ScrubResult,
  'blobs' | 'bytes' | 'adopted' | 'badRows' | 'unreachable'
> {
  readonly complete: boolean;
  readonly left: ScrubResult['left'];
  readonly damaged: readonly NamedDamage[];
  readonly unreadable: readonly NamedDamage[];
}

/**
 * Verifies every stored copy against its id, and against its checksums where those say more than that (decision 0046), volumes against the
 * catalog both ways, and counts against references. In a mirrored group, what is damaged or lacks is then made anew from good copies. Puts, reads and collection go on
 * meanwhile. What was verified longest ago comes first; what was verified until it is stopped counts. With a goal it ends by itself when
 * that is reached. All of it is in the time box: of a part of a store, first what lacks copies gets them, in half of the time at most.
 */
export async function scrubStore(
  parts: ScrubParts,
  options: ScrubOptions,
  share?: ScrubGoal,
): Promise<ScrubResult> {
  const { host, crew } = parts;
  // The whole is no part: it is counted, too.
  const goal = share?.part === 1 ? undefined : share;
  const start = host.clock.monotonic();
  const elapsed = (): number => host.clock.monotonic() - start;
  const n = await crew.commit<number>('scrub-begin', undefined);
  const box = timeBox(host.clock, options.timeBoxMs, options.signal);
  const run = new Run(parts, options, { box, goal });
  const isPart = options.timeBoxMs !== undefined || goal !== undefined;
  let end = { damaged: 0, healed: 0, complete: false };
  try {
    const before = isPart ? await healLacking(parts, options) : 0;
    end = { ...end, healed: before };
    const { damaged, ...result } = await run.verify();
    end = { ...end, damaged: damaged.length };
    options.signal?.throwIfAborted();
    // In a part of the store nothing can be said of the whole.
    const counts = result.complete ? await recount(crew, result.badRows, options.signal) : {};
    const mended = await (result.complete ? healAll : healFound)(parts, damaged, box);
    const told = await withTouched(crew, mended.damaged);
    const unreadable = await withTouched(crew, result.unreadable);
    const healed = before + mended.healed;
    const complete = result.complete && !mended.cut;
    const unreachable = result.unreachable + mended.unreachable;
    const { missingCopies } = mended;
    const away = unreachable + missingCopies === 0 ? [] : await unusable(crew);
    end = { damaged: told.length, healed, complete };
    return {
      recounted: 0,
      ...result,
      ...counts,
      unreachable,
      missingCopies,
      away,
      healed,
      complete,
      damaged: told,
      unreadable,
      milliseconds: Math.round(elapsed()),
    };
  } finally {
    box.end();
    const { blobs, bytes } = run.result;
    const record: ScrubEnd = { n, blobs, bytes, ...end, milliseconds: elapsed() };
    // History is no reason to fail, nor to hide why it failed.
    await crew.commit('scrub-end', record).catch(() => undefined);
  }
}

/** Everything verified, and nothing else. `unavailable` when a copy could not be read. */
export async function verifyStore(parts: ScrubParts, signal: AbortSignal | undefined): Promise<void> {
  const box = timeBox(parts.host.clock, undefined, signal);
  const run = new Run(parts, {}, { box, goal: undefined });
  await run.verify();
  signal?.throwIfAborted();
  if (run.unread > 0)
    throw new StoreError(
      'unavailable',
      `${run.unread} blob(s) could not be read: nothing can be said of them`,
    );
}

async function recount(
  crew: Crew,
  badRows: number,
  signal: AbortSignal | undefined,
): Promise<Pick<ScrubResult, 'recounted' | 'badRows' | 'rootLog'>> {
  const counts = { recounted: 0, badRows };
  let sound = true;
  const last = await crew.work<number>('last-bucket', undefined);
  const queue = new PQueue({ concurrency: crew.workers });
  const lookAt = async (bucket: number): Promise<void> => {
    signal?.throwIfAborted();
    // One that cannot be looked at is looked at again, to say why.
    const look: BucketLook = { bucket, foreground: crew.foreground.memory };
    if (await crew.work<boolean>('is-sound', look).catch(() => false)) return;
    const counted = await crew.commit<RecountResult>('scrub-recount', bucket);
    counts.recounted += counted.recounted;
    counts.badRows += counted.badRows;
    sound &&= counted.badRows === 0;
  };
  await Promise.all(Array.from({ length: last + 1 }, (_, bucket) => queue.add(() => lookAt(bucket))));
  const rootLog = await readLog(crew, sound, signal);
  if (sound && rootLog?.mended !== false) await crew.commit('scrub-clear', undefined);
  return { ...counts, ...(rootLog === undefined ? {} : { rootLog }) };
}

/** In slices, so that no read waits for more than one. What is found is looked at again under the write lock, and mended. */
async function readLog(
  crew: Crew,
  sound: boolean,
  signal: AbortSignal | undefined,
): Promise<LogDamage | undefined> {
  for (let args: readonly LogLook[] = []; ;) {
    signal?.throwIfAborted();
    const { next, problem } = await crew.work<LogSlice>('query', { name: 'logLook', args });
    if (problem !== undefined) return await crew.commit<LogDamage | undefined>('scrub-log', sound);
    if (next === undefined) return undefined;
    args = [next];
  }
}

interface AgedRange {
  readonly range: VerifyRange;
  /** Since when a copy in it waits. */
  readonly since: number;
}

/**
 * The oldest of the large files beside the oldest of all else, so that both come to their end together: a disk reads the former while
 * the processors are busy with the latter.
 */
function sideBySide(ranges: readonly AgedRange[]): AgedRange[] {
  const kinds = [true, undefined].map((files) => ranges.filter(({ range }) => range.files === files));
  return kinds
    .flatMap((kind) => kind.map((aged, i) => ({ aged, at: (i + 0.5) / kind.length })))
    .toSorted((a, b) => a.at - b.at)
    .map(({ aged }) => aged);
}

/** The part of a scrub that reads: damage is marked and told, orphans are taken in. */
class Run {
  readonly result = { blobs: 0, bytes: 0, adopted: 0, badRows: 0, unreachable: 0 };
  /** Copies in volumes of which nothing can be said. */
  unread = 0;
  readonly #parts: ScrubParts;
  readonly #options: ScrubOptions;
  readonly #wanted: ScrubGoal | undefined;
  readonly #stop: AbortSignal;
  readonly #start: number;
  readonly #memory = paceMemory();
  readonly #damaged: NamedDamage[] = [];
  readonly #unreadable: NamedDamage[] = [];
  readonly #read = { blobs: 0, bytes: 0 };
  #totals = { blobs: 0, bytes: 0 };
  #complete = true;
  #goal: GoalOrder | undefined;

  constructor(
    parts: ScrubParts,
    options: ScrubOptions,
    until: { readonly box: TimeBox; readonly goal: ScrubGoal | undefined },
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#wanted = until.goal;
    this.#stop = until.box.signal;
    this.#start = parts.host.clock.monotonic();
  }

  /** Ends early, and not with an error, when it is stopped. */
  async verify(): Promise<Verified> {
    const { crew } = this.#parts;
    this.#totals = await crew.work('query', { name: 'work', args: [] });
    const { rate = Number.POSITIVE_INFINITY } = this.#options;
    if (Math.min(this.#totals.bytes, rate) >= worthTwoBytes && this.#wanted === undefined) void crew.pair();
    if (this.#wanted !== undefined) {
      const { part, beforeMs } = this.#wanted;
      this.#goal = { bytes: Math.ceil(part * this.#totals.bytes), beforeMs, memory: goalMemory() };
    }
    const ranges = await crew.commit<VerifyRange[]>('scrub-ranges', undefined);
    await this.#all(await this.#oldestFirst(ranges));
    // Again, now that it is known which chunks are damaged.
    if (this.#damaged.length > 0)
      await this.#all(
        ranges.filter(({ volume }) => volume === noVolume).map((range) => ({ range, since: 0 })),
        'again',
      );
    const { blobs, bytes } = this.#totals;
    const lacks = (all: number, read: number): number => (this.#complete ? 0 : Math.max(0, all - read));
    return {
      ...this.result,
      complete: this.#complete,
      left: { blobs: lacks(blobs, this.result.blobs), bytes: lacks(bytes, this.result.bytes) },
      damaged: this.#damaged,
      unreadable: this.#unreadable,
    };
  }

  /** Those in which a copy waits longest come first; of equals, chunked blobs come last. */
  async #oldestFirst(ranges: readonly VerifyRange[]): Promise<AgedRange[]> {
    const { crew } = this.#parts;
    const since: number[] = [];
    const queue = new PQueue({ concurrency: crew.workers });
    const ask = async (at: number): Promise<void> => {
      if (this.#stop.aborted) return;
      const args = [ranges.slice(at, at + rangesAsked)];
      const told = await crew.work<number[]>('query', { name: 'waitingSince', args });
      told.forEach((one, i) => (since[at + i] = one));
    };
    const questions = Array.from(
      { length: Math.ceil(ranges.length / rangesAsked) },
      (_, i) => i * rangesAsked,
    );
    await Promise.all(questions.map((at) => queue.add(() => ask(at))));
    const order = ranges.map((range, i) => ({ range, since: since[i] ?? 0 }));
    const oldest = order.toSorted((a, b) => a.since - b.since);
    // Of a part of the store the oldest; what reads all of it may read what lies side by side.
    const isPart = this.#wanted !== undefined || this.#options.timeBoxMs !== undefined;
    return isPart ? oldest : sideBySide(oldest);
  }

  /** While a range is settled the worker reads the next one, and then waits: what is not settled is read again after a kill. */
  async #all(ranges: readonly AgedRange[], pass: 'first' | 'again' = 'first'): Promise<void> {
    const { workers } = this.#parts.crew;
    const begun = new PQueue({ concurrency: 2 * workers });
    const reading = new PQueue({ concurrency: workers });
    const one = async (aged: AgedRange): Promise<void> => {
      const found = await reading.add(() => this.#verifyOne(aged, pass));
      if (found !== undefined) await this.#settle(aged.range, found, pass);
    };
    await Promise.all(ranges.map((aged) => begun.add(() => one(aged))));
  }

  async #verifyOne({ range, since }: AgedRange, pass: 'first' | 'again'): Promise<VerifyResult | undefined> {
    if (this.#stop.aborted || (pass === 'first' && this.#isEnough(since))) {
      this.#complete = false;
      return undefined;
    }
    const { crew } = this.#parts;
    const pace = this.#pace();
    const order: VerifyOrder = {
      ...range,
      foreground: crew.foreground.memory,
      ...(pace === undefined ? {} : { pace }),
      ...(this.#goal === undefined || pass === 'again' ? {} : { goal: this.#goal }),
    };
    const found = await crew.work<VerifyResult>('verify', order, {
      signal: this.#stop,
      onProgress: (value) => pass === 'first' && this.#progress(value as { blobs: number; bytes: number }),
    });
    if (found.reached !== undefined) this.#complete = false;
    if (pass === 'first') {
      this.result.blobs += found.blobs;
      this.result.bytes += found.bytes;
      this.result.unreachable += found.unreachable.length;
      if (range.volume !== noVolume) this.unread += found.unreachable.length;
      this.#unreadable.push(...found.unreadable.slice(0, unreadableMax - this.#unreadable.length).map(named));
    }
    return found;
  }

  async #settle(range: VerifyRange, found: VerifyResult, pass: 'first' | 'again'): Promise<void> {
    const { crew } = this.#parts;
    const settled = await crew.commit<SettleResult>('scrub-settle', {
      range,
      ...found,
      foreground: crew.foreground.memory,
    } satisfies SettleRequest);
    this.result.adopted += settled.adopted;
    this.result.badRows += settled.repairedRows;
    for (const damage of settled.damaged) this.#tell(damage, pass);
  }

  #tell(found: FoundDamage, pass: 'first' | 'again'): void {
    const damage = named(found);
    const { id, reason, references, name } = damage;
    if (pass === 'again' && this.#damaged.some((known) => known.name === name)) return;
    this.#damaged.push(damage);
    this.#parts.emit('damage', { id, reason, references });
  }

  /** Ranges come oldest first: where one may wait, so may all behind it. An empty one has nothing to wait for. */
  #isEnough(since: number): boolean {
    if (this.#goal === undefined || since === Number.MAX_SAFE_INTEGER) return false;
    return new Goal(this.#goal).isReached(since);
  }

  #pace(): PaceOrder | undefined {
    const { rate } = this.#options;
    if (rate === undefined) return undefined;
    return { bytesPerSecond: rate, elapsedMs: this.#elapsed(), memory: this.#memory };
  }

  #elapsed(): number {
    return this.#parts.host.clock.monotonic() - this.#start;
  }

  #progress(more: { readonly blobs: number; readonly bytes: number }): void {
    this.#read.blobs += more.blobs;
    this.#read.bytes += more.bytes;
    const { blobs, bytes } = this.#read;
    const bytesPerSecond = Math.round((bytes / Math.max(1, this.#elapsed())) * 1000);
    const left = Math.max(0, this.#totals.bytes - bytes);
    this.#options.onProgress?.({
      blobs,
      bytes,
      totalBlobs: this.#totals.blobs,
      totalBytes: this.#totals.bytes,
      bytesPerSecond,
      ...(bytesPerSecond === 0 ? {} : { leftMs: Math.round((left / bytesPerSecond) * 1000) }),
    });
  }
}

function named({ id: name, told: id, reason, references }: FoundDamage): NamedDamage {
  return { id, reason, references, name };
}

/** Volumes and alternates. */
async function unusable(crew: Crew): Promise<string[]> {
  return await crew.work<string[]>('query', { name: 'unusable', args: [] });
}

/** With the roots and owners that need each blob. */
async function withTouched(crew: Crew, found: readonly NamedDamage[]): Promise<ScrubResult['damaged']> {
  const told: ScrubResult['damaged'][number][] = [];
  for (const { name, ...damage } of found) {
    const [touches] = await crew.work<Touched[]>('query', { name: 'touched', args: [[name]] });
    told.push({ ...damage, touches: touches! });
  }
  return told;
}
