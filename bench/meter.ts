/** Measures one run of one case: seconds, event-loop delay on the calling thread, peak memory, processor time. */
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';

export interface Work {
  /** Content bytes gone through; 0 where that means nothing. */
  readonly bytes: number;
  readonly operations: number;
}

export interface Measurement extends Work {
  readonly seconds: number;
  /** Time between two looks at a timer of 1 ms, so an idle thread shows a little over 1. */
  readonly loopP99Ms: number;
  readonly loopMaxMs: number;
  readonly peakBytes: number;
  /** Of all threads, in user and system mode. */
  readonly cpuSeconds: number;
  /** Whatever else the case has to tell; names end with their unit. */
  readonly facts: Readonly<Record<string, number>>;
}

const resolutionMs = 1;
/** Turns of the loop before and after the work, so that the histogram holds all of it and nothing else. */
const settleMs = 6;

export class Meter {
  readonly #facts: Record<string, number> = {};
  #measured: Omit<Measurement, 'peakBytes' | 'facts'> | undefined;
  #peakBytes: number | undefined;

  /** Times the work. Once a run. */
  async time(work: () => Promise<Work> | Work): Promise<void> {
    if (this.#measured !== undefined) throw new Error('a case times one piece of work');
    const loop = monitorEventLoopDelay({ resolution: resolutionMs });
    loop.enable();
    await wait(settleMs);
    loop.reset();
    await wait(settleMs); // the first look after a reset has nothing to compare with
    const cpu = process.cpuUsage();
    const start = performance.now();
    const done = await work();
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    // Work that never let the loop turn shows only now.
    await wait(settleMs);
    loop.disable();
    this.#measured = {
      ...done,
      seconds,
      cpuSeconds: (user + system) / 1e6,
      loopP99Ms: loop.count === 0 ? seconds * 1000 : loop.percentile(99) / 1e6,
      loopMaxMs: loop.count === 0 ? seconds * 1000 : loop.max / 1e6,
    };
  }

  fact(name: string, value: number): void {
    this.#facts[name] = value;
  }

  /** Where the work was done by another process, its peak counts. */
  peakIs(bytes: number): void {
    this.#peakBytes = bytes;
  }

  result(): Measurement {
    if (this.#measured === undefined) throw new Error('the case timed nothing');
    return { ...this.#measured, peakBytes: this.#peakBytes ?? peakBytes(), facts: this.#facts };
  }
}

/**
 * Largest resident size of this process. On Linux from the memory's own high-water mark: the one of `resourceUsage` also holds
 * what the parent had when it forked.
 */
export function peakBytes(): number {
  try {
    const kib = /^VmHWM:\s*(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    if (kib !== undefined) return Number(kib) * 1024;
  } catch {
    // not Linux
  }
  return process.resourceUsage().maxRSS * 1024;
}
