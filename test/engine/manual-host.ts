/** This machine, with a clock that moves only when a test moves it, and turns of the event loop until what that woke has come to rest. */
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { type MemoryClock, memoryHost } from '../../engine/hosts/memory.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import type { Host } from '../../engine/index.ts';

export interface ManualHost extends Host {
  readonly clock: MemoryClock;
}

/** Threads run inline, files are real. `startMs` is what the wall clock shows at first. */
export function manualHost(startMs: number): ManualHost {
  const { clock } = memoryHost({ startMs });
  const host: ManualHost = { ...nodeHost({ inline: true }), clock, threads: inlineThreads(() => host) };
  return host;
}

/** Until it holds, or for so many turns that it never will. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 20_000; turn++) {
    if (holds()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`never: ${what}`);
}
