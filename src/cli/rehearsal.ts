/** The whole way of a folder, as named steps: into a store, verified there, out again, compared byte by byte. */
import { realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  type ImportResult,
  type ScrubResult,
  type Store,
  importPaths,
  openStore,
  restoreTree,
} from '../index.ts';
import { type Comparison, compareTrees } from './compare.ts';
import type { Output } from './output.ts';
import { Progress, type ProgressState } from './progress.ts';

export interface Step {
  readonly name: 'import' | 'scrub' | 'restore' | 'compare';
  readonly bytes: number;
  readonly seconds: number;
}

export interface Rehearsal {
  readonly imported: ImportResult;
  readonly scrubbed: ScrubResult;
  readonly compared: Comparison;
  readonly steps: readonly Step[];
}

export interface RehearsalPlan {
  /** What to import; a link is followed. */
  readonly source: string;
  readonly store: string;
  /** Where to restore to: absent or an empty folder. */
  readonly out: string;
  readonly output: Output;
  readonly signal: AbortSignal;
}

export async function rehearse(plan: RehearsalPlan): Promise<Rehearsal> {
  const { output, signal } = plan;
  const source = await realpath(plan.source);
  const steps: Step[] = [];
  const timed = async <Result extends { readonly bytes: number }>(
    name: Step['name'],
    work: (tell: (state: ProgressState) => void) => Promise<Result>,
  ): Promise<Result> => {
    signal.throwIfAborted();
    const progress = new Progress(output, name, name === 'scrub' ? 'blob' : 'file');
    const began = performance.now();
    const result = await work((state) => progress.update(state)).finally(() => progress.end());
    steps.push({ name, bytes: result.bytes, seconds: (performance.now() - began) / 1000 });
    return result;
  };
  const store = await openStore(plan.store, { schedule: 'leave', signal });
  try {
    const imported = await timed('import', (onProgress) =>
      importPaths(store, [source], { root: 'start', signal, onProgress }),
    );
    const totals = { totalFiles: imported.files, totalBytes: imported.bytes };
    const scrubbed = await timed('scrub', (tell) => scrubStore(store, { signal, tell }));
    await timed('restore', (tell) =>
      restoreTree(store, imported.root, plan.out, {
        signal,
        onProgress: (state) => tell({ ...state, ...totals }),
      }),
    );
    const without = new Set(imported.skipped.map(({ path }) => path));
    const restored = join(plan.out, basename(source));
    const compared = await timed('compare', (tell) =>
      compareTrees(source, restored, {
        without,
        signal,
        onProgress: (state) => tell({ ...state, ...totals }),
      }),
    );
    return { imported, scrubbed, compared, steps };
  } finally {
    await store.close();
  }
}

function scrubStore(
  store: Store,
  { signal, tell }: { readonly signal: AbortSignal; readonly tell: (state: ProgressState) => void },
): Promise<ScrubResult> {
  return store.scrub({
    signal,
    onProgress: ({ blobs, bytes, totalBlobs, totalBytes }) =>
      tell({ files: blobs, bytes, totalFiles: totalBlobs, totalBytes }),
  });
}
