/** What an application feels while something runs beside it: puts one after another, their times, and memory above what was there before. */
import { readFileSync } from 'node:fs';
import type { Store } from '../src/index.ts';
import type { Meter } from './meter.ts';

const putBytes = 8 * 1024;
/** Before the work, to compare with. */
const puts = { least: 20, most: 2_000 };

export interface Foreground {
  /** Waits for the work, putting meanwhile. */
  during<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Tells the meter `putAloneP99Ms`, `putP99Ms` and their ratio. */
  tell(meter: Meter): void;
}

/** Measures puts alone for so long, then lets work run beside more of them. */
export async function foreground(store: Store, aloneMs: number): Promise<Foreground> {
  let next = 0;
  const one = async (): Promise<number> => {
    const bytes = new Uint8Array(putBytes);
    const view = new DataView(bytes.buffer);
    view.setFloat64(0, Math.random());
    view.setUint32(8, next++);
    const start = performance.now();
    await store.put(bytes, { owner: 'foreground' });
    return performance.now() - start;
  };
  const many = async (isOver: (times: number) => boolean): Promise<number[]> => {
    const times: number[] = [];
    while (times.length < puts.least || !isOver(times.length)) times.push(await one());
    return times;
  };
  const until = performance.now() + aloneMs;
  const alone = await many((count) => performance.now() > until || count >= puts.most);
  let beside: readonly number[] = [];
  return {
    async during(work) {
      let ended = false;
      const done = work().finally(() => void (ended = true));
      const times = many(() => ended);
      const result = await done;
      beside = await times;
      return result;
    },
    tell(meter) {
      meter.fact('putAloneP99Ms', p99(alone));
      meter.fact('putP99Ms', p99(beside));
      meter.fact('putP99Ratio', p99(beside) / p99(alone));
    },
  };
}

function p99(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]!;
}

/** Resident bytes of this process now; what its peak is above them, work has taken. */
export function residentBytes(): number {
  try {
    const kib = /^VmRSS:\s*(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    if (kib !== undefined) return Number(kib) * 1024;
  } catch {
    // not Linux
  }
  return process.memoryUsage.rss();
}
