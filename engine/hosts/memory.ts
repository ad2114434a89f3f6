/** A machine in memory for tests: it forgets at a crash what was not synced, its clock moves only when told, its randomness has a seed. */
import type { Clock, Host } from '../host.ts';
import type { Survival } from './memory-content.ts';
import { type Clones, type MemoryFiles, memoryFiles } from './memory-files.ts';
import { inlineThreads } from './inline-threads.ts';
import { MemoryTree } from './memory-tree.ts';

export interface MemoryHostOptions {
  /** Of `random`. */
  readonly seed?: number;
  /** Room for content, in bytes, counted in pages of 4 KiB; writes beyond it fail with ENOSPC. Default 1 TiB. */
  readonly capacityBytes?: number;
  /** Whether copy-on-write copies work. Default `yes`. */
  readonly clones?: Clones;
  /** What the wall clock shows at first, in ms since 1970. */
  readonly startMs?: number;
}

/**
 * What of the unsynced a crash leaves: `nothing`; `everything`, as when a process dies and the machine goes on;
 * or a random part: sectors of 512 bytes, the length of what was growing, attributes, and folder changes, each whole.
 */
export type CrashKeep = 'nothing' | 'everything' | { readonly seed: number };

/** A clock that moves only when told. File times come from it, so two changes at one time look alike. */
export interface MemoryClock extends Clock {
  /** Time passes: both clocks move, and sleepers whose time has come wake. */
  advance(ms: number): void;
  /** Somebody sets the wall clock: `monotonic` and the sleepers do not notice. */
  set(nowMs: number): void;
}

export interface MemoryHost extends Host {
  readonly files: MemoryFiles;
  readonly clock: MemoryClock;
  /**
   * The process dies, and the machine with it: open files fail with EBADF, threads fall silent, sleepers never wake.
   * Afterwards the host is the machine started again, with another pid.
   */
  crash(keep?: CrashKeep): void;
}

const tebibyte = 2 ** 40;

export function memoryHost(options: MemoryHostOptions = {}): MemoryHost {
  const { seed = 1, capacityBytes = tebibyte, clones = 'yes', startMs = Date.UTC(2024, 0, 1) } = options;
  const clock = new Manual(startMs);
  const tree = new MemoryTree(capacityBytes, () => clock.nowNs());
  const dice = seededDice(seed);
  const threads = inlineThreads(() => host);
  const host: MemoryHost = {
    files: memoryFiles(tree, clones),
    clock,
    threads,
    random: (bytes) => Uint8Array.from({ length: bytes }, () => dice() >>> 24),
    platform: 'linux',
    get pid() {
      return 1000 + tree.boot;
    },
    get processStart() {
      return `boot ${tree.boot}`;
    },
    crash(keep = 'nothing') {
      threads.abandon();
      clock.abandon();
      tree.crash(survivalOf(keep));
    },
  };
  return host;
}

class Manual implements MemoryClock {
  #now: number;
  #monotonic = 0;
  #sleepers: { readonly due: number; readonly wake: () => void }[] = [];

  constructor(nowMs: number) {
    this.#now = nowMs;
  }

  now(): number {
    return this.#now;
  }

  nowNs(): bigint {
    const whole = Math.floor(this.#now);
    return BigInt(whole) * 1_000_000n + BigInt(Math.round((this.#now - whole) * 1e6));
  }

  monotonic(): number {
    return this.#monotonic;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted || ms <= 0) return resolve();
      const sleeper = {
        due: this.#monotonic + ms,
        wake: (): void => {
          signal?.removeEventListener('abort', sleeper.wake);
          this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
          resolve();
        },
      };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', sleeper.wake, { once: true });
    });
  }

  yield(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  advance(ms: number): void {
    this.#now += ms;
    this.#monotonic += ms;
    const due = this.#sleepers.filter((sleeper) => sleeper.due <= this.#monotonic);
    for (const sleeper of due.sort((a, b) => a.due - b.due)) sleeper.wake();
  }

  set(nowMs: number): void {
    this.#now = nowMs;
  }

  abandon(): void {
    this.#sleepers = [];
  }
}

/** mulberry32 (Tommy Ettinger, public domain): whole numbers below 2^32. */
function seededDice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

function survivalOf(keep: CrashKeep): Survival {
  if (keep === 'nothing') return { keeps: () => false, portion: () => 0 };
  if (keep === 'everything') return { keeps: () => true, portion: () => 1 };
  const dice = seededDice(keep.seed);
  return { keeps: () => dice() % 2 === 0, portion: () => dice() / 2 ** 32 };
}
