/** `holdfast add DIR PATH...`: imports files and folders as one snapshot and makes it a root. */
import { type ImportResult, type Store, countPaths, importPaths } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import type { Output } from './output.ts';
import { Progress } from './progress.ts';
import { showBytes, showCount, showRate, showSeconds } from './units.ts';
import { type Context, type Verb, withStore } from './verb.ts';

interface AddOptions {
  readonly root: string;
  readonly rehash?: true;
  readonly keepGoing?: true;
}

export const add: Verb = {
  define: (program) =>
    program
      .command('add')
      .description('import files and folders as one snapshot; prints its id')
      .argument('<dir>', 'the store')
      .argument('<path...>', 'what to import; each enters under its last name')
      .option('--root <name>', 'the root to set; one that exists moves to the new snapshot', 'main')
      .option('--rehash', 'read every file, even if size, times and inode say that it is unchanged')
      .option('--keep-going', 'leave out what cannot be read, instead of leaving the root where it is'),
  async run(context, [directory, ...paths], options) {
    const wanted = options as unknown as AddOptions;
    if (wanted.root.includes(':'))
      throw new UsageError('the name of a root has no ":" here: ls, cat and get take it for ROOT:PATH');
    const began = performance.now();
    const result = await withStore(directory!, context, (store) =>
      importWithProgress(store, paths, { ...context, wanted }),
    );
    const seconds = (performance.now() - began) / 1000;
    tellLeftOut(context.output, result);
    context.output.note(summary(result, seconds));
    await context.output.line(result.root);
    const { root, files, folders, links, bytes, newBytes, filesRead, skipped, failures } = result;
    await context.output.result({
      root,
      name: wanted.root,
      files,
      folders,
      links,
      bytes,
      newBytes,
      filesRead,
      seconds,
      skipped,
      failures,
    });
    return exitCodes.fine;
  },
};

async function importWithProgress(
  store: Store,
  paths: readonly string[],
  how: Context & { readonly wanted: AddOptions },
): Promise<ImportResult> {
  const { output, signal, wanted } = how;
  const progress = new Progress(output, 'import');
  // Counting ahead costs a second look at every folder: only for somebody who wants to know how long it takes.
  const counted = new AbortController();
  let totals = {};
  const counting = output.watched
    ? countPaths(store, paths, AbortSignal.any([signal, counted.signal]))
    : undefined;
  counting?.then(
    ({ files, bytes }) => (totals = { totalFiles: files, totalBytes: bytes }),
    () => undefined, // then there is no estimate; the import itself tells what is wrong
  );
  try {
    return await importPaths(store, paths, {
      root: wanted.root,
      rehash: wanted.rehash === true,
      keepGoing: wanted.keepGoing === true,
      signal,
      onProgress: ({ files, bytes }) => progress.update({ files, bytes, ...totals }),
    });
  } finally {
    counted.abort();
    progress.end();
  }
}

function tellLeftOut(output: Output, result: ImportResult): void {
  for (const { path, reason } of result.skipped)
    output.warn(
      `skipped ${path}: ${reason === 'store' ? 'it is the store itself' : 'a FIFO, socket or device'}`,
    );
  for (const { message } of result.failures) output.warn(`left out: ${message}`);
  const more = result.skippedCount + result.failureCount - result.skipped.length - result.failures.length;
  if (more > 0) output.warn(`… and ${showCount(more, 'path')} more`);
}

function summary({ files, bytes, newBytes, filesRead }: ImportResult, seconds: number): string {
  const unchanged = filesRead < files ? `, ${showCount(files - filesRead, 'file')} unchanged` : '';
  return `${showCount(files, 'file')}, ${showBytes(bytes)}, ${showBytes(newBytes)} new${unchanged}, in ${showSeconds(seconds)} (${showRate(bytes, seconds)})`;
}
