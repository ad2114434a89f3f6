/** The thread of one process: plays its part of schedule after schedule, in turn with the others; the first one also judges. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import type { OpenOptions, Store } from '../../engine/index.ts';
import { pair, pull, serve } from '../../sync/index.ts';
import { gatedHost } from './gated-host.ts';
import { type World, makeBriefSchedule } from './brief.ts';
import { FolderJudge, judgeAll, judgeHeld } from './judge.ts';
import { Process, must } from './process.ts';
import { type Schedule, makeSchedule } from './steps.ts';
import { type Cue, Turns, useTurns } from './turns.ts';
import { makeUniverse, parameters } from './universe.ts';

/** What a thread is started with. */
export interface Cast {
  readonly memory: SharedArrayBuffer;
  readonly me: number;
  /** The engine's door; a broken copy for a mutant. */
  readonly engine: string;
  /** A store that others receive from. */
  readonly source: string;
}

/** Schedules `from` to before `to`, one after another on one new store. */
export interface Episode {
  readonly folder: string;
  /** How many take part: the first ones. */
  readonly processes: number;
  readonly from: number;
  readonly to: number;
  readonly world: World;
  /** A step or two of a few of them, instead of several of all. */
  readonly brief: boolean;
  readonly trace: boolean;
  /** The same steps in each schedule, instead of those of its seed. */
  readonly work?: Schedule['work'] | undefined;
  /** Who goes on when, instead of chance. */
  readonly script?: readonly Cue[] | undefined;
}

export type Told =
  | { readonly trace: string }
  | { readonly failed: string; readonly schedule: number; readonly me: number }
  | { readonly done: number; readonly switches: number; readonly steps: number };

const { memory, me, engine, source } = workerData as Cast;
const port = parentPort!;
const tell = (told: Told): void => port.postMessage(told);
const blobs = makeUniverse();
/** A collection and a scrub of everything are dear: each so many schedules, and at the end. */
const deepEvery = { brief: 256, long: 32 } as const;

const door = (await import(pathToFileURL(engine).href)) as {
  openStore(folder: string, options: OpenOptions): Promise<Store>;
};
port.on('message', (episode: Episode) => void play(episode));
tell({ done: 0, switches: 0, steps: 0 });

async function play(episode: Episode): Promise<void> {
  const { folder, processes, from, to, world, brief } = episode;
  const traced = episode.trace ? (line: string): void => tell({ trace: line }) : undefined;
  const { script } = episode;
  const turns = new Turns(memory, me, { trace: traced, script });
  useTurns(turns);
  const host = gatedHost(turns, from);
  const openAt = (name: 'base' | 'store'): Promise<Store> =>
    door.openStore(join(folder, name), {
      host,
      threads: { count: 0 },
      driver: { module: new URL('./gated-driver.ts', import.meta.url).href },
      durability: 'relaxed',
      parameters,
      ...(world === 'chunked' ? { layout: 'sqlite-only' } : {}),
    });
  // Where there is a base, the first one has it for itself.
  const borrows = world === 'borrowing' && me > 0;
  const open = (): Promise<Store> => openAt(world === 'borrowing' && me === 0 ? 'base' : 'store');
  let process: Process | undefined;
  let bench: Bench | undefined;
  let schedule = from;
  const count = { done: 0, switches: 0, steps: 0 };
  const doing = async (work: () => Promise<void>): Promise<void> => {
    try {
      if (!turns.failed) await work();
    } catch (error) {
      turns.fail();
      tell({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error), schedule, me });
    }
  };
  const start = async (): Promise<void> => {
    const store = await open();
    if (me === 0) await makeGroup(store, folder, world);
    if (borrows) await store.alternates.add(join(folder, 'base'));
    const giveWay = (): boolean => (turns.giveWay('step'), !turns.alone);
    const received = blobs.length - 1;
    const standing = { me, blobs, holding: turns.holding(me), open, giveWay, receive, received, borrows };
    process = new Process(store, standing);
  };
  const judge = async (last: boolean): Promise<void> => {
    bench ??= new Bench({ folder, processes }, world === 'borrowing' ? await openAt('store') : undefined);
    const all = last || schedule % deepEvery[brief ? 'brief' : 'long'] === 0;
    await bench.judge(process!.store, turns, all);
  };

  // All open it, one after another; then schedule after schedule; then all close.
  if (me === 0) turns.begin({ seed: from, rate: 0, processes });
  else turns.wait();
  await doing(start);
  turns.leave();
  for (; schedule < to && !turns.stopped; schedule++) {
    const plan = planOf(schedule, episode);
    host.epochMs += 1000;
    if (me === 0) {
      turns.begin({
        seed: schedule,
        rate: script === undefined ? plan.rate : 0,
        processes,
        scripted: script !== undefined,
      });
      turns.giveWay('begin');
    }
    await doing(() => process!.doAll(plan.work[me]!));
    turns.leave();
    if (me > 0) continue;
    count.done++;
    count.steps += turns.steps;
    count.switches += turns.switches;
    await doing(async () => {
      const { length } = script ?? [];
      must(turns.scripted === length, `the script stands at ${turns.scripted} of ${length}`);
      await judge(schedule === to - 1);
    });
    if (turns.failed) break;
  }
  // All close. After a failure at once, whatever state they are in.
  if (me === 0) {
    turns.begin({ seed: 1, rate: 0, processes });
    if (turns.failed) turns.stop(processes);
  }
  await doing(async () => {
    await bench?.close();
    await process!.giveUp();
    await process!.store.close();
  });
  if (!turns.stopped) turns.leave();
  if (me === 0) turns.stop(processes);
  tell(count);
}

function planOf(schedule: number, { processes, brief, world, work }: Episode): Schedule {
  const options = { processes, blobs: blobs.length };
  if (brief && work === undefined) return makeBriefSchedule(schedule, { ...options, world });
  return makeSchedule(schedule, { ...options, movable: world === 'plain' || world === 'mirrored', work });
}

/** Judges a store, and its base where there is one, when a schedule is over and nobody is at work. */
class Bench {
  readonly #folders: readonly FolderJudge[];
  readonly #processes: number;
  /** What the tenants have, where the first process has their base. */
  readonly #tenant: Store | undefined;

  constructor({ folder, processes }: Pick<Episode, 'folder' | 'processes'>, tenant: Store | undefined) {
    const names = tenant === undefined ? ['store'] : ['base', 'store'];
    this.#folders = names.map((name) => new FolderJudge(join(folder, name)));
    this.#processes = processes;
    this.#tenant = tenant;
  }

  async judge(store: Store, turns: Turns, all: boolean): Promise<void> {
    for (const folder of this.#folders) folder.judge();
    if (this.#folders.length === 2) this.#folders[1]!.judgeBorrowed(this.#folders[0]!);
    let [mask, tenants] = [0, 0];
    for (let p = 0; p < this.#processes; p++) {
      const { blobs: held, root } = turns.holding(p);
      const own = held | (root === 0 ? 0 : 1 << (root - 1));
      if (p > 0 && this.#tenant !== undefined) tenants |= own;
      else mask |= own;
    }
    await judgeHeld(store, { blobs, mask });
    if (this.#tenant !== undefined) {
      await judgeHeld(this.#tenant, { blobs, mask: tenants });
      // What its base has it has, too.
      const alsoHere = (1 << blobs.length) - 1;
      if (all) await judgeAll(this.#tenant, { blobs, mask: tenants, alsoHere });
    }
    if (all) await judgeAll(store, { blobs, mask, alsoHere: tenants });
    if (all && this.#tenant !== undefined) await judgeHeld(this.#tenant, { blobs, mask: tenants });
  }

  async close(): Promise<void> {
    for (const folder of this.#folders) folder.close();
    await this.#tenant?.close();
  }
}

async function makeGroup(store: Store, folder: string, world: World): Promise<void> {
  if (world === 'chunked' || world === 'borrowing') return;
  // Of mirrored ones there must be one more, or nothing could move.
  for (const n of world === 'mirrored' ? [1, 2] : [1]) {
    await store.volumes.extend(join(folder, `disk ${n}`));
    await store.volumes.extend(join(folder, `packs ${n}`), { kind: 'sqlite' });
  }
  if (world === 'mirrored') await store.volumes.mirror(2);
}

/** Opened once; it is never written to, and ends with the thread. */
let opened: Promise<Store> | undefined;

/** Replication from a store that stands still. */
async function receive(store: Store, root: string): Promise<void> {
  const from = await (opened ??= openSource());
  const [here, there] = pair();
  const ends = await Promise.allSettled([pull(store, here, { roots: [root] }), serve(from, there)]);
  const [first] = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as Error] : []));
  if (first !== undefined) throw first;
}

async function openSource(): Promise<Store> {
  const { openStore: openReal } = await import('../../engine/index.ts');
  return await openReal(source, { mode: 'read-only', threads: { count: 0 } });
}
