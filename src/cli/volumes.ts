/** `holdfast volumes ACTION DIR …`: the group of volumes: list, extend, locate, reduce, move, mirror, rebalance. */
import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { MoveResult, Store, StoreStats, VolumeInfo } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { Progress } from './progress.ts';
import { parseBytes, showBytes, showCount } from './units.ts';
import { type Context, type Verb, brief, withReadableStore, withStore } from './verb.ts';

type Options = Readonly<Record<string, unknown>>;

interface Action {
  /** Names of the arguments behind the store; the last ones may be left out. */
  readonly names: readonly string[];
  readonly required: number;
  run(
    context: Context,
    directory: string,
    given: { readonly args: readonly string[]; readonly options: Options },
  ): Promise<number>;
}

export const volumes: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('volumes')
      .description('the volumes of a store: list, extend, locate, reduce, move, mirror, rebalance')
      .argument(
        '<action>',
        'list; extend DIR PATH; locate DIR VOLUME PATH; reduce DIR VOLUME; move DIR FROM [TO]; mirror DIR COPIES; rebalance DIR',
      )
      .argument('<dir>', 'the store')
      .argument(
        '[args...]',
        'a path, ids or paths as list shows them, or on how many members each blob is kept',
      )
      .option('--kind <kind>', 'extend: "directory" for large blobs, "sqlite" for small ones', 'directory')
      .option('--cap <bytes>', 'extend: allocate at most this there, as in 500GB')
      .option(
        '--allocation <how>',
        'extend: from now on "linear" fills one after the other, "striped" spreads',
      )
      .option('--min-copies <count>', 'mirror: puts fail when fewer copies can be made; 1 if not said'),
  async run(context, [name, directory, ...args], options) {
    const action = actions[name!];
    if (action === undefined)
      throw new UsageError(`no action ${JSON.stringify(name)}; there are ${Object.keys(actions).join(', ')}`);
    if (args.length < action.required || args.length > action.names.length)
      throw new UsageError(`usage: holdfast volumes ${name!} DIR ${action.names.join(' ')}`.trimEnd());
    return await action.run(context, directory!, { args, options });
  },
};

const actions: Readonly<Record<string, Action>> = {
  list: { names: [], required: 0, run: list },
  extend: { names: ['PATH'], required: 1, run: extend },
  locate: { names: ['VOLUME', 'PATH'], required: 2, run: locate },
  reduce: {
    names: ['VOLUME'],
    required: 1,
    run: (context, directory, { args: [volume] }) =>
      move(context, directory, async (store, how) =>
        store.volumes.reduce(await volumeNamed(store, volume!), how),
      ),
  },
  move: {
    names: ['FROM', '[TO]'],
    required: 1,
    run: (context, directory, { args: [from, to] }) =>
      move(context, directory, async (store, how) => {
        const target = to === undefined ? undefined : await volumeNamed(store, to);
        return await store.volumes.move(await volumeNamed(store, from!), target, how);
      }),
  },
  mirror: { names: ['COPIES'], required: 1, run: mirror },
  rebalance: {
    names: [],
    required: 0,
    run: (context, directory) => move(context, directory, (store, how) => store.volumes.rebalance(how)),
  },
};

async function list(context: Context, directory: string): Promise<number> {
  const { output } = context;
  const work = async (store: Store): Promise<StoreStats & { found: readonly VolumeInfo[] }> => ({
    ...(await store.stats()),
    found: await store.volumes.list(),
  });
  const { found, copies, missingCopies } = await withReadableStore(directory, context, work, brief);
  for (const volume of found) await output.line(describe(volume));
  const missing = missingCopies === 0 ? '' : `; ${showCount(missingCopies, 'blob')} with fewer`;
  if (copies > 1) await output.line(`${copies} copies of each blob${missing}`);
  await output.result({ volumes: found, copies, missingCopies });
  return found.some(({ problem }) => problem !== undefined) ? exitCodes.unavailable : exitCodes.fine;
}

async function extend(
  context: Context,
  directory: string,
  { args: [path], options }: { readonly args: readonly string[]; readonly options: Options },
): Promise<number> {
  const { kind, cap, allocation } = options as Readonly<Record<string, string | undefined>>;
  const added = await withStore(
    directory,
    context,
    (store) =>
      store.volumes.extend(resolve(path!), {
        kind: kind as 'directory' | 'sqlite',
        ...(cap === undefined ? {} : { cap: parseBytes(cap) }),
        ...(allocation === undefined ? {} : { allocation: allocation as 'linear' | 'striped' }),
      }),
    brief,
  );
  await context.output.line(describe(added));
  await context.output.result(added);
  return exitCodes.fine;
}

async function locate(
  context: Context,
  directory: string,
  { args: [volume, path] }: { readonly args: readonly string[] },
): Promise<number> {
  const located = await withStore(
    directory,
    context,
    async (store) => store.volumes.locate(await volumeNamed(store, volume!), resolve(path!)),
    brief,
  );
  await context.output.line(describe(located));
  await context.output.result(located);
  return exitCodes.fine;
}

/** A volume may be called by the path it lies at, too. What is neither is left for the store to refuse. */
async function volumeNamed(store: Store, given: string): Promise<string> {
  const found = await store.volumes.list();
  if (found.some(({ id }) => id === given)) return given;
  const paths = [resolve(given), await realpath(given).catch(() => undefined)];
  return found.find(({ path }) => paths.includes(path))?.id ?? given;
}

async function mirror(
  context: Context,
  directory: string,
  { args: [copies], options }: { readonly args: readonly string[]; readonly options: Options },
): Promise<number> {
  const least = options['minCopies'] as string | undefined;
  const wish = least === undefined ? {} : { minCopies: countOf(least) };
  const wanted = countOf(copies!);
  const { blobs, bytes, missing } = await moving(context, directory, 'copied', (store, how) =>
    store.volumes.mirror(wanted, { ...how, ...wish }),
  );
  await context.output.line(
    `${showCount(wanted, 'copy', 'copies')} of each blob; copied ${showCount(blobs, 'blob')}, ${showBytes(bytes)}`,
  );
  if (missing > 0) context.output.note(`${showCount(missing, 'blob')} with fewer copies than wanted`);
  await context.output.result({ copies: wanted, blobs, bytes, missing });
  return missing > 0 ? exitCodes.unavailable : exitCodes.fine;
}

function countOf(text: string): number {
  if (!/^[0-9]{1,3}$/.test(text)) throw new UsageError(`not a number of copies: ${JSON.stringify(text)}`);
  return Number(text);
}

type Work<Result> = (
  store: Store,
  how: { readonly signal: AbortSignal; readonly onProgress: (moved: MoveResult) => void },
) => Promise<Result>;

/** Runs what moves or copies blobs, with progress. */
async function moving<Result extends MoveResult>(
  context: Context,
  directory: string,
  done: string,
  work: Work<Result>,
): Promise<Result> {
  const { output, signal } = context;
  const progress = new Progress(output, done, 'blob');
  const onProgress = ({ blobs, bytes }: MoveResult): void => progress.update({ files: blobs, bytes });
  return await withStore(directory, context, (store) => work(store, { signal, onProgress })).finally(() =>
    progress.end(),
  );
}

/** Runs what moves blobs, with progress, and tells what it came to; shared with `holdfast compact`. */
export async function move<Result extends MoveResult>(
  context: Context,
  directory: string,
  work: Work<Result>,
): Promise<number> {
  const { output } = context;
  const result = await moving(context, directory, 'moved', work);
  await output.line(`moved ${showCount(result.blobs, 'blob')}, ${showBytes(result.bytes)}`);
  await output.result(result);
  return exitCodes.fine;
}

function describe(volume: VolumeInfo): string {
  const { id, kind, state, path, cap, bytes, deadBytes, blobs, problem } = volume;
  const dead = deadBytes > 0 ? `, ${showBytes(deadBytes)} dead` : '';
  const limit = cap === undefined ? '' : ` of ${showBytes(cap)}`;
  const trouble = problem === undefined ? '' : `  ${problem}`;
  return `${id.padEnd(32)}  ${kind.padEnd(9)}  ${state.padEnd(8)}  ${showCount(blobs, 'blob')}, ${showBytes(bytes)}${limit}${dead}  ${path}${trouble}`;
}
