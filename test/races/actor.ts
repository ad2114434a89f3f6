/** The thread of one process: plays its part of schedule after schedule, in turn with the others; the first one also judges. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import type { OpenOptions, Store } from '../../engine/index.ts';
import { pair, pull, serve } from '../../sync/index.ts';
import { gatedHost } from './gated-host.ts';
import { judgeFolder, judgeStore } from './judge.ts';
import { Process } from './process.ts';
import { type Schedule, makeSchedule } from './steps.ts';
import { Turns, useTurns } from './turns.ts';
import { makeUniverse, parameters } from './universe.ts';

/** What a thread is started with. */
export interface Cast {
  readonly memory: SharedArrayBuffer;
  readonly me: number;
  readonly processes: number;
  /** The engine's door; a broken copy for a mutant. */
  readonly engine: string;
  /** A store that others receive from. */
  readonly source: string;
}

/** Schedules `from` to before `to`, one after another on one new store. */
export interface Episode {
  readonly folder: string;
  readonly from: number;
  readonly to: number;
  readonly group: 'plain' | 'mirrored' | 'chunked';
  readonly trace: boolean;
  /** The same steps in each schedule, instead of those of its seed. */
  readonly work?: Schedule['work'] | undefined;
}

export type Told =
  | { readonly trace: string }
  | { readonly failed: string; readonly schedule: number; readonly me: number }
  | { readonly done: number; readonly switches: number; readonly steps: number };

const { memory, me, processes, engine, source } = workerData as Cast;
const port = parentPort!;
const tell = (told: Told): void => port.postMessage(told);
const blobs = makeUniverse();
/** A scrub of everything is dear: each so many schedules, and at the end. */
const deepEvery = 32;

const door = (await import(pathToFileURL(engine).href)) as {
  openStore(folder: string, options: OpenOptions): Promise<Store>;
};
port.on('message', (episode: Episode) => void play(episode));
tell({ done: 0, switches: 0, steps: 0 });

async function play(episode: Episode): Promise<void> {
  const { folder, from, to, group } = episode;
  const traced = episode.trace ? (line: string): void => tell({ trace: line }) : undefined;
  const turns = new Turns(memory, me, traced);
  useTurns(turns);
  const host = gatedHost(turns, from);
  const path = join(folder, 'store');
  const open = (): Promise<Store> =>
    door.openStore(path, {
      host,
      threads: { count: 0 },
      driver: { module: new URL('./gated-driver.ts', import.meta.url).href },
      durability: 'relaxed',
      parameters,
      ...(group === 'chunked' ? { layout: 'sqlite-only' } : {}),
    });
  let process: Process | undefined;
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
    if (me === 0) await makeGroup(store, folder, group);
    const giveWay = (): boolean => (turns.giveWay('step'), !turns.alone);
    const received = blobs.length - 1;
    const standing = { me, blobs, holding: turns.holding(me), open, giveWay, receive, received };
    process = new Process(store, standing);
  };

  // All open it, one after another; then schedule after schedule; then all close.
  if (me === 0) turns.begin({ seed: from, rate: 0, processes });
  else turns.wait();
  await doing(start);
  turns.leave();
  for (; schedule < to && !turns.stopped; schedule++) {
    const movable = group !== 'chunked';
    const plan = makeSchedule(schedule, { processes, blobs: blobs.length, movable, work: episode.work });
    if (me === 0) {
      host.epochMs += 1000;
      turns.begin({ seed: schedule, rate: plan.rate, processes });
      turns.giveWay('begin');
    } else host.epochMs += 1000;
    await doing(() => process!.doAll(plan.work[me]!));
    turns.leave();
    if (me > 0) continue;
    count.done++;
    count.steps += turns.steps;
    count.switches += turns.switches;
    await doing(() => judge(process!.store, turns, { path, plan, last: schedule === to - 1 }));
    if (turns.failed) break;
  }
  // All close. After a failure at once, whatever state they are in.
  if (me === 0) {
    turns.begin({ seed: 1, rate: 0, processes });
    if (turns.failed) turns.stop(processes);
  }
  await doing(async () => {
    await process!.giveUp();
    await process!.store.close();
  });
  if (!turns.stopped) turns.leave();
  if (me === 0) turns.stop(processes);
  tell(count);
}

async function judge(
  store: Store,
  turns: Turns,
  about: { readonly path: string; readonly plan: Schedule; readonly last: boolean },
): Promise<void> {
  judgeFolder(about.path);
  let mask = 0;
  for (let p = 0; p < processes; p++) {
    const { blobs: held, root } = turns.holding(p);
    mask |= held | (root === 0 ? 0 : 1 << (root - 1));
  }
  await judgeStore(store, { blobs, mask }, about.last || about.plan.seed % deepEvery === 0);
}

async function makeGroup(store: Store, folder: string, group: Episode['group']): Promise<void> {
  if (group === 'chunked') return;
  // Of mirrored ones there must be one more, or nothing could move.
  for (const n of group === 'mirrored' ? [1, 2] : [1]) {
    await store.volumes.extend(join(folder, `disk ${n}`));
    await store.volumes.extend(join(folder, `packs ${n}`), { kind: 'sqlite' });
  }
  if (group === 'mirrored') await store.volumes.mirror(2);
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
