/** Runs seeded schedules of several processes on one store, finds those that break a promise, and where a replay may begin. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { openStore } from '../../engine/index.ts';
import type { Cast, Episode, Told } from './actor.ts';
import type { World } from './brief.ts';
import type { Schedule } from './steps.ts';
import { type Cue, processesMax, sharedTurns, Turns } from './turns.ts';
import { makeUniverse, parameters } from './universe.ts';

export interface RacesOptions {
  /** The first schedule; each number is one. */
  readonly from: number;
  readonly schedules: number;
  readonly processes?: number;
  /** A step or two of some of them, and not several of all: default true. */
  readonly brief?: boolean;
  /** What all stores are, instead of one kind after the other. */
  readonly world?: World;
  /** Schedules on one store; the fewer, the dearer. */
  readonly perStore?: number;
  /** The engine's door, if not this repository's. */
  readonly engine?: string;
  /** Threads for several runs, of the engine that they were made for: to start them costs more than a few schedules. */
  readonly stage?: Stage;
  /** The same steps in each schedule: only who goes on when is random. */
  readonly work?: Schedule['work'];
  /** Who goes on when, by names of points: nothing is left to chance. */
  readonly script?: readonly Cue[];
  readonly stopAtFirst?: boolean;
  readonly trace?: (line: string) => void;
  readonly onStore?: (report: RacesReport) => void;
}

export interface RaceFailure {
  readonly schedule: number;
  /** The schedule at which a new store began: from here it is replayed. */
  readonly storeBegan: number;
  readonly problem: string;
}

export interface RacesReport {
  schedules: number;
  stores: number;
  /** Points at which somebody else could have gone on, and how often that was so. */
  steps: number;
  switches: number;
  readonly failures: RaceFailure[];
  seconds: number;
}

const worlds: { readonly brief: readonly World[]; readonly long: readonly World[] } = {
  brief: ['plain', 'borrowing', 'mirrored', 'plain', 'chunked', 'borrowing'],
  long: ['plain', 'plain', 'mirrored', 'chunked'],
};
/** So often it is looked whether anybody took a step; whoever takes none for so many looks hangs. A machine that is busy looks later, too. */
const lookMs = 200;
const looksMax = 600;

/** Which kind of store schedules play on: it goes by the number of the first one, so that a replay has the same. */
function worldOf(from: number, perStore: number, brief: boolean): World {
  const all = brief ? worlds.brief : worlds.long;
  return all[Math.floor(from / perStore) % all.length]!;
}

export async function runRaces(options: RacesOptions): Promise<RacesReport> {
  const { from, schedules, processes = 3, brief = true } = options;
  const { perStore = brief ? 512 : 64 } = options;
  const report: RacesReport = { schedules: 0, stores: 0, steps: 0, switches: 0, failures: [], seconds: 0 };
  const started = performance.now();
  const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-races-'));
  const stage = options.stage ?? new Stage(options.engine);
  try {
    for (let at = from; at < from + schedules;) {
      const to = Math.min(from + schedules, (Math.floor(at / perStore) + 1) * perStore);
      const folder = mkdtempSync(join(base, 'store-'));
      const world = options.world ?? worldOf(at, perStore, brief);
      const { trace, work, script } = options;
      const episode = {
        folder,
        processes,
        from: at,
        to,
        world,
        brief,
        trace: trace !== undefined,
        work,
        script,
      };
      const end = await stage.play(episode, trace);
      rmSync(folder, { recursive: true, force: true });
      report.stores++;
      report.schedules += end.done;
      report.steps += end.steps;
      report.switches += end.switches;
      report.seconds = (performance.now() - started) / 1000;
      const { failure } = end;
      if (failure !== undefined) {
        report.failures.push({ schedule: failure.schedule, storeBegan: at, problem: failure.failed });
        if (options.stopAtFirst === true) break;
      }
      options.onStore?.(report);
      at = to;
    }
  } finally {
    if (options.stage === undefined) await stage.close();
    rmSync(base, { recursive: true, force: true });
  }
  return report;
}

type Failed = Extract<Told, { failed: string }>;
interface End {
  readonly done: number;
  readonly steps: number;
  readonly switches: number;
  readonly failure: Failed | undefined;
}

/** The threads; made anew after a failure, since nobody knows in what state they are, and where there are too few. */
export class Stage {
  readonly #engine: string;
  /** Where the store is from which is received; not made yet where undefined. */
  #base: string | undefined;
  #memory = sharedTurns();
  #workers: Worker[] = [];

  constructor(engine: string = new URL('../../engine/index.ts', import.meta.url).pathname) {
    this.#engine = engine;
  }

  async play(episode: Episode, trace?: (line: string) => void): Promise<End> {
    if (this.#workers.length < episode.processes) {
      await this.#end();
      await this.#start(episode.processes);
    }
    const workers = this.#workers.slice(0, episode.processes);
    const traced: string[] = [];
    new Turns(this.#memory, 0).reset();
    const end = await new Promise<End>((resolve) => {
      let failure: Failed | undefined;
      let counts = { done: 0, steps: 0, switches: 0 };
      let ended = 0;
      const finish = (): void => {
        clearInterval(silence);
        resolve({ ...counts, failure });
      };
      const turns = new Turns(this.#memory, 0);
      let [seen, looks] = [turns.progress, 0];
      const silence = setInterval(() => {
        looks = turns.progress === seen ? looks + 1 : 0;
        seen = turns.progress;
        if (looks < looksMax) return;
        failure ??= { failed: `nobody takes a step (${looks} looks)`, schedule: episode.from, me: 0 };
        finish();
      }, lookMs);
      workers.forEach((worker, me) => {
        worker.removeAllListeners('message').removeAllListeners('error');
        worker.on('error', (error) => {
          failure ??= { failed: error.stack ?? error.message, schedule: episode.from, me };
          finish();
        });
        worker.on('message', (told: Told) => {
          if ('trace' in told) traced.push(told.trace);
          else if ('failed' in told) failure ??= told;
          else {
            if (me === 0) counts = told;
            if (++ended === workers.length) finish();
          }
        });
        worker.postMessage(episode);
      });
    });
    traced.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
    for (const line of traced) trace?.(line);
    if (end.failure !== undefined) await this.#end();
    return end;
  }

  async close(): Promise<void> {
    await this.#end();
    if (this.#base !== undefined) rmSync(this.#base, { recursive: true, force: true });
    this.#base = undefined;
  }

  async #end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    this.#workers = [];
  }

  async #start(count: number): Promise<void> {
    if (this.#base === undefined) {
      this.#base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-races-'));
      await makeSource(this.#base);
    }
    this.#memory = sharedTurns();
    const cast = { memory: this.#memory, engine: this.#engine, source: this.#base };
    this.#workers = Array.from({ length: count }, (_, me) => {
      const workerData: Cast = { ...cast, me };
      // Short-lived buffers of many stores: a small nursery would be swept all the time.
      const resourceLimits = { maxYoungGenerationSizeMb: 96 };
      return new Worker(new URL('./actor.ts', import.meta.url), { workerData, resourceLimits });
    });
    await Promise.all(
      this.#workers.map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.once('message', resolve);
            worker.once('error', reject);
          }),
      ),
    );
  }
}

/** What is received: the whole universe under a root for each process. */
async function makeSource(folder: string): Promise<void> {
  const store = await openStore(folder, { threads: { count: 0 }, parameters, durability: 'relaxed' });
  try {
    const blobs = makeUniverse();
    for (const { bytes, node } of blobs) await store.put(bytes, node === undefined ? {} : { kind: 'node' });
    for (let p = 0; p < processesMax; p++) await store.roots.set(`root ${p}`, blobs.at(-1)!.id);
  } finally {
    await store.close();
  }
}

/** The latest schedule from which a new store still shows the failure, and what it shows then. */
export async function shrinkRace(failure: RaceFailure, options: RacesOptions): Promise<RaceFailure> {
  let best = failure;
  for (let back = 0; failure.schedule - back > failure.storeBegan; back = back === 0 ? 1 : back * 2) {
    const from = failure.schedule - back;
    // One store, of the same kind.
    const { failures } = await runRaces({ ...options, from, schedules: back + 1, stopAtFirst: true });
    const [again] = failures;
    if (again?.schedule === failure.schedule) {
      best = again;
      break;
    }
  }
  return best;
}
