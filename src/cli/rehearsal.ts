/** The whole way of a folder, as named steps: into a store, verified, out again, compared; then to a second store, twice, and out of that. */
import { realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type ImportResult,
  type Replicated,
  type ScrubResult,
  type Store,
  importPaths,
  openStore,
  push,
  restoreTree,
  spawnTransport,
} from '../index.ts';
import { changeCopy } from './change-copy.ts';
import { type Comparison, compareTrees } from './compare.ts';
import type { Output } from './output.ts';
import { Progress, type ProgressState } from './progress.ts';

export interface Step {
  readonly name: 'import' | 'scrub' | 'restore' | 'compare' | 'replicate';
  readonly bytes: number;
  readonly seconds: number;
  /** Of `replicate`: what it took. */
  readonly transfer?: Replicated;
}

export interface Rehearsal {
  readonly imported: ImportResult;
  readonly scrubbed: ScrubResult;
  /** The folder and what came out of the store. */
  readonly compared: Comparison;
  readonly steps: readonly Step[];
  /** What was changed in the copy. */
  readonly changes: readonly string[];
  /** The changed copy and what came out of the replica. */
  readonly comparedReplica: Comparison;
  readonly replicaSteps: readonly Step[];
}

export interface RehearsalPlan {
  /** What to import; a link is followed. Only read. */
  readonly source: string;
  readonly store: string;
  /** Where to restore to: absent or an empty folder. */
  readonly out: string;
  /** Folders for the second store, and for what comes out of it: absent or empty. */
  readonly replica: string;
  readonly replicaOut: string;
  readonly output: Output;
  readonly signal: AbortSignal;
}

const root = 'start';
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const command = fileURLToPath(new URL(`./main.${extension}`, import.meta.url));

export async function rehearse(plan: RehearsalPlan): Promise<Rehearsal> {
  const source = await realpath(plan.source);
  const store = await openStore(plan.store, { schedule: 'leave', signal: plan.signal });
  try {
    const steps = new Steps(plan);
    const imported = await steps.import(store, source);
    const scrubbed = await steps.scrub(store);
    const restored = await steps.restore(store, imported, plan.out);
    const without = new Set(imported.skipped.map(({ path }) => path));
    const compared = await steps.compare(source, restored, without);
    const second = new Steps(plan);
    await (await openStore(plan.replica, { signal: plan.signal })).close();
    await second.replicate(store, plan.replica);
    // What was given is only read: it is its copy that changes.
    const changes = await changeCopy(restored);
    const changed = await second.import(store, restored);
    await second.replicate(store, plan.replica);
    const replica = await openStore(plan.replica, { mode: 'open', signal: plan.signal });
    try {
      const again = await second.restore(replica, changed, plan.replicaOut);
      const comparedReplica = await second.compare(restored, again, new Set());
      const replicaSteps = second.taken;
      return { imported, scrubbed, compared, steps: steps.taken, changes, comparedReplica, replicaSteps };
    } finally {
      await replica.close();
    }
  } finally {
    await store.close();
  }
}

/** The steps, each with its progress and the time it takes. */
class Steps {
  readonly taken: Step[] = [];
  readonly #plan: RehearsalPlan;
  #totals = { totalFiles: 0, totalBytes: 0 };

  constructor(plan: RehearsalPlan) {
    this.#plan = plan;
  }

  async import(store: Store, path: string): Promise<ImportResult> {
    const { signal } = this.#plan;
    const imported = await this.#timed('import', (onProgress) =>
      importPaths(store, [path], { root, signal, onProgress }),
    );
    this.#totals = { totalFiles: imported.files, totalBytes: imported.bytes };
    return imported;
  }

  scrub(store: Store): Promise<ScrubResult> {
    const { signal } = this.#plan;
    return this.#timed('scrub', (tell) =>
      store.scrub({
        signal,
        onProgress: ({ blobs, bytes, totalBlobs, totalBytes }) =>
          tell({ files: blobs, bytes, totalFiles: totalBlobs, totalBytes }),
      }),
    );
  }

  /** Resolves to the path of what was imported, as it is in `out`. */
  async restore(store: Store, imported: ImportResult, out: string): Promise<string> {
    const { signal, source } = this.#plan;
    await this.#timed('restore', (tell) =>
      restoreTree(store, imported.root, out, {
        signal,
        onProgress: (state) => tell({ ...state, ...this.#totals }),
      }),
    );
    return join(out, basename(await realpath(source)));
  }

  compare(first: string, second: string, without: ReadonlySet<string>): Promise<Comparison> {
    const { signal } = this.#plan;
    return this.#timed('compare', (tell) =>
      compareTrees(first, second, {
        without,
        signal,
        onProgress: (state) => tell({ ...state, ...this.#totals }),
      }),
    );
  }

  /** To a store that a process of its own serves over its stdin and stdout, as ssh would start it. */
  async replicate(store: Store, replica: string): Promise<void> {
    const { signal } = this.#plan;
    const transfer = await this.#timed('replicate', async (tell) => {
      const child = spawnTransport(process.execPath, ['--no-warnings', command, 'serve', replica, '--stdio']);
      const onProgress = ({ blobs, bytes }: { readonly blobs: number; readonly bytes: number }): void =>
        tell({ files: blobs, bytes });
      return await push(store, child, { roots: [root], signal, onProgress });
    });
    this.taken.push({ ...this.taken.pop()!, transfer });
  }

  async #timed<Result extends { readonly bytes: number }>(
    name: Step['name'],
    work: (tell: (state: ProgressState) => void) => Promise<Result>,
  ): Promise<Result> {
    const { output, signal } = this.#plan;
    signal.throwIfAborted();
    const things = name === 'scrub' || name === 'replicate' ? 'blob' : 'file';
    const progress = new Progress(output, name, things);
    const began = performance.now();
    const result = await work((state) => progress.update(state)).finally(() => progress.end());
    this.taken.push({ name, bytes: result.bytes, seconds: (performance.now() - began) / 1000 });
    return result;
  }
}
