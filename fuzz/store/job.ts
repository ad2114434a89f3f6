/** The jobs that play random steps on a store, and its canaries: stores that lie a little. */
import type { Store } from '../../engine/index.ts';
import { type Job, failureOf } from '../job.ts';
import { shrinkList, signatureOf } from '../shrink.ts';
import { type Sabotage, type Stage, play } from './player.ts';
import { type Placed, makeSteps, withKeySteps } from './steps.ts';
import { makeUniverse } from './universe.ts';

/** Plays that shrinking may cost; each takes as long as a run. */
const shrinkTries = 120;

/** What lies in the corpus. */
interface Kept {
  readonly seed: number;
  readonly steps: readonly Placed[];
}

function makeJob(name: string, stage: Stage, runs: number): Job {
  const stepsOf = (seed: number, run: number): Placed[] => {
    const steps = makeSteps(seed, run, makeUniverse(seed).length);
    return stage.encrypted === true ? withKeySteps(seed, run, steps) : steps;
  };
  return {
    name,
    slowMs: 20_000,
    // Threads that start and end keep some of it for the next ones.
    growthMaxMB: 256 + 160 * stage.threads,
    runs,
    async run(seed, run) {
      await play(seed, stepsOf(seed, run), stage);
      return 'accepted';
    },
    async replay(bytes) {
      const { seed, steps } = JSON.parse(Buffer.from(bytes).toString()) as Kept;
      await play(seed, steps, stage);
      return 'accepted';
    },
    async reduce(seed, run, finding) {
      const wanted = failureKind(finding.message);
      const fails = async (steps: readonly Placed[]): Promise<boolean> => {
        const failure = await failureOf(() => play(seed, steps, stage));
        return failure !== undefined && failureKind(failure.message) === wanted;
      };
      // What came after the step that failed was never played.
      const at = /^step (\d+) /.exec(finding.message)?.[1];
      const played = stepsOf(seed, run).slice(0, at === undefined ? undefined : Number(at) + 1);
      const steps = await shrinkList(played, fails, shrinkTries);
      const kept: Kept = { seed, steps };
      const text = [`universe of seed ${seed}`, ...steps.map((step) => JSON.stringify(step))].join('\n  ');
      return { text, bytes: Buffer.from(JSON.stringify(kept)) };
    },
  };
}

/** Without the step it happened at: the same thing may show at the next one, or only at the end. */
function failureKind(message: string): string {
  return signatureOf(message.replace(/^(?:step \d+ \([^)]*\)|at the end): /, ''));
}

export const storeJobs: readonly Job[] = [
  makeJob('store', { threads: 0 }, 300),
  makeJob('store-encrypted', { threads: 0, encrypted: true }, 300),
  /** The same with real threads: slower, and not quite the same each time. */
  makeJob('store-threads', { threads: 2 }, 40),
  makeJob('store-rebuild', { threads: 0, rebuildEvery: 12 }, 60),
  makeJob('store-rebuild-encrypted', { threads: 0, rebuildEvery: 12, encrypted: true }, 60),
];

/** A store of which one method is another. */
function withMethod(store: Store, method: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, name: keyof Store) {
      const value = name in method ? method[name] : target[name];
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
}

function canary(name: string, sabotage: Sabotage): Job {
  return makeJob(name, { threads: 0, sabotage }, 100);
}

export const storeCanaryJobs: readonly Job[] = [
  /** Lets go, and then takes hold again. */
  canary('canary-store-release', (store) =>
    withMethod(store, {
      async release(id, owner) {
        const released = await store.release(id, owner);
        if (released && owner === 'b') await store.retain(id, owner);
        return released;
      },
    }),
  ),
  /** Loses the last byte of a range that begins in the second chunk. */
  canary('canary-store-range', (store) =>
    withMethod(store, {
      async readRange(id, offset, length) {
        const bytes = await store.readRange(id, offset, length);
        return offset >= 4096 ? bytes?.subarray(0, -1) : bytes;
      },
    }),
  ),
];
