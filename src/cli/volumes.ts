/** `holdfast volumes ACTION DIR …`: the group of volumes: list, extend, reduce, move, rebalance. */
import { resolve } from 'node:path';
import type { MoveResult, Store, VolumeInfo } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { Progress } from './progress.ts';
import { parseBytes, showBytes, showCount } from './units.ts';
import { type Context, type Verb, withReadableStore, withStore } from './verb.ts';

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
      .description('the volumes of a store: list, extend, reduce, move, rebalance')
      .argument('<action>', 'list; extend DIR PATH; reduce DIR VOLUME; move DIR FROM [TO]; rebalance DIR')
      .argument('<dir>', 'the store')
      .argument('[args...]', 'a path, or ids as list shows them')
      .option('--kind <kind>', 'extend: "directory" for large blobs, "sqlite" for small ones', 'directory')
      .option('--cap <bytes>', 'extend: allocate at most this there, as in 500GB')
      .option(
        '--allocation <how>',
        'extend: from now on "linear" fills one after the other, "striped" spreads',
      ),
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
  reduce: {
    names: ['VOLUME'],
    required: 1,
    run: (context, directory, { args: [volume] }) =>
      move(context, directory, (store, how) => store.volumes.reduce(volume!, how)),
  },
  move: {
    names: ['FROM', '[TO]'],
    required: 1,
    run: (context, directory, { args: [from, to] }) =>
      move(context, directory, (store, how) => store.volumes.move(from!, to, how)),
  },
  rebalance: {
    names: [],
    required: 0,
    run: (context, directory) => move(context, directory, (store, how) => store.volumes.rebalance(how)),
  },
};

async function list(context: Context, directory: string): Promise<number> {
  const { output } = context;
  const found = await withReadableStore(directory, context, (store) => store.volumes.list());
  for (const volume of found) await output.line(describe(volume));
  await output.result({ volumes: found });
  return found.some(({ problem }) => problem !== undefined) ? exitCodes.unavailable : exitCodes.fine;
}

async function extend(
  context: Context,
  directory: string,
  { args: [path], options }: { readonly args: readonly string[]; readonly options: Options },
): Promise<number> {
  const { kind, cap, allocation } = options as Readonly<Record<string, string | undefined>>;
  const added = await withStore(directory, context, (store) =>
    store.volumes.extend(resolve(path!), {
      kind: kind as 'directory' | 'sqlite',
      ...(cap === undefined ? {} : { cap: parseBytes(cap) }),
      ...(allocation === undefined ? {} : { allocation: allocation as 'linear' | 'striped' }),
    }),
  );
  await context.output.line(describe(added));
  await context.output.result(added);
  return exitCodes.fine;
}

/** Runs what moves blobs, with progress; shared with `holdfast compact`. */
export async function move<Result extends MoveResult>(
  context: Context,
  directory: string,
  work: (
    store: Store,
    how: { readonly signal: AbortSignal; readonly onProgress: (moved: MoveResult) => void },
  ) => Promise<Result>,
): Promise<number> {
  const { output, signal } = context;
  const progress = new Progress(output, 'moved', 'blob');
  const onProgress = ({ blobs, bytes }: MoveResult): void => progress.update({ files: blobs, bytes });
  const result = await withStore(directory, context, (store) => work(store, { signal, onProgress })).finally(
    () => progress.end(),
  );
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
