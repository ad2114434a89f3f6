/** This machine with every call on files a point of the schedule, a clock that goes by points, and randomness with a seed. */
import { readdirSync } from 'node:fs';
import type { Clock, Files, Host, OpenFile, OpenMode } from '../../engine/host.ts';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import { seededRandom } from '../crash/random.ts';
import type { Turns } from './turns.ts';

/** What a point takes: a collection's slice of 15 ms is some hundred points. */
const msPerTick = 0.05;
const startMs = Date.UTC(2026, 0, 1);

/** `epochMs` is added to the clock: schedules on one store follow each other. */
export interface GatedHost extends Host {
  epochMs: number;
}

export function gatedHost(turns: Turns, seed: number): GatedHost {
  const below = nodeHost({ inline: true });
  const random = seededRandom(seed, turns.me);
  const host: GatedHost = {
    epochMs: 0,
    files: gatedFiles(below.files, turns),
    clock: gatedClock(turns, () => host.epochMs),
    threads: inlineThreads(() => host),
    random: (bytes) => Uint8Array.from({ length: bytes }, () => random.below(256)),
    platform: below.platform,
    pid: 1000 + turns.me,
    processStart: `process ${turns.me}`,
  };
  return host;
}

function gatedClock(turns: Turns, epochMs: () => number): Clock {
  const monotonic = (): number => epochMs() + turns.clock * msPerTick;
  const turn = (): Promise<void> =>
    new Promise((resolve) =>
      setImmediate(() => {
        turns.giveWay('yield');
        resolve();
      }),
    );
  return {
    now: () => startMs + monotonic(),
    monotonic,
    async sleep(ms, signal) {
      const due = monotonic() + ms;
      const isOver = (): boolean => monotonic() >= due || signal?.aborted === true;
      while (!isOver()) await turn();
    },
    yield: turn,
  };
}

function gatedFiles(below: Files, turns: Turns): Files {
  const gated =
    <Args extends unknown[], Result>(name: string, run: (...args: Args) => Result) =>
    (...args: Args): Result => {
      const hot = name === 'rename' || name === 'removeFile' || name === 'open';
      turns.point(`${name} ${typeof args[0] === 'string' ? args[0].slice(-50) : ''}`, hot);
      return run(...args);
    };
  return {
    open: gated('open', (path: string, mode: OpenMode, permissions?: number) =>
      gatedFile(below.open(path, mode, permissions), turns, path.endsWith('/ballast')),
    ),
    facts: gated('facts', (path: string) => below.facts(path)),
    linkFacts: gated('linkFacts', (path: string | Uint8Array) => below.linkFacts(path)),
    // In an order that every run has.
    list: gated('list', (path: string) =>
      readdirSync(path, { encoding: 'buffer' }).sort((a, b) => Buffer.compare(a, b)),
    ),
    readLink: gated('readLink', (path: string) => below.readLink(path)),
    makeFolder: gated('makeFolder', (path: string, permissions?: number) =>
      below.makeFolder(path, permissions),
    ),
    makeLink: gated('makeLink', (path: string, target: string) => below.makeLink(path, target)),
    removeFile: gated('removeFile', (path: string) => below.removeFile(path)),
    removeFolder: gated('removeFolder', (path: string) => below.removeFolder(path)),
    rename: gated('rename', (from: string, to: string) => below.rename(from, to)),
    syncFolder: (path) => turns.point(`syncFolder ${path.slice(-50)}`),
    setMode: gated('setMode', (path: string, mode: number) => below.setMode(path, mode)),
    setTimes: gated('setTimes', (path: string, mtimeNs: bigint) => below.setTimes(path, mtimeNs)),
    clone: gated('clone', (from: string, to: string) => below.clone(from, to)),
    realPath: (path) => below.realPath(path),
    // The machine's own would differ from run to run.
    space: () => ({ freeBytes: 2 ** 40, type: 0 }),
    join: (...parts) => below.join(...parts),
  };
}

/** `hollow`: nobody reads what is written, and a mebibyte of it after each collection is dear. */
function gatedFile(below: OpenFile, turns: Turns, hollow: boolean): OpenFile {
  return {
    read(target, position) {
      turns.point('file.read');
      return below.read(target, position);
    },
    write(source, position) {
      turns.point('file.write');
      if (!hollow) below.write(source, position);
    },
    facts() {
      turns.point('file.facts');
      return below.facts();
    },
    truncate(size) {
      turns.point('file.truncate');
      below.truncate(size);
    },
    // Nothing of a race depends on what the disk has of it.
    sync: () => turns.point('file.sync'),
    setMode: (mode) => below.setMode(mode),
    setTimes: (mtimeNs) => below.setTimes(mtimeNs),
    close: () => below.close(),
  };
}
