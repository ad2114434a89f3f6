/** `holdfast alternates ACTION DIR …`: the stores that are searched after this one, and those that borrow from it. */
import { resolve } from 'node:path';
import type { AlternateInfo } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { showCount } from './units.ts';
import { type Context, type Verb, brief, withReadableStore, withStore } from './verb.ts';

export const alternates: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('alternates')
      .description('stores that are searched after this one: add, list, remove; borrowers, forget')
      .argument('<action>', 'add DIR STORE; list DIR; remove DIR STORE; borrowers DIR; forget DIR ID [STORE]')
      .argument('<dir>', 'the store')
      .argument('[args...]', 'the folder of the other store; forget: the id of a borrower, and where it lay')
      .option('--immutable', 'add: nothing is ever deleted from it; it is not told what is borrowed'),
  async run(context, [name, directory, ...args], options) {
    const action = actions[name!];
    if (action === undefined)
      throw new UsageError(`no action ${JSON.stringify(name)}; there are ${Object.keys(actions).join(', ')}`);
    if (args.length < action.least || args.length > action.most)
      throw new UsageError(`usage: holdfast alternates ${action.usage}`);
    return await action.run(context, directory!, args, options['immutable'] === true);
  },
};

interface Action {
  readonly usage: string;
  readonly least: number;
  readonly most: number;
  run(context: Context, directory: string, args: readonly string[], immutable: boolean): Promise<number>;
}

const actions: Readonly<Record<string, Action>> = {
  add: { usage: 'add DIR STORE', least: 1, most: 1, run: add },
  list: { usage: 'list DIR', least: 0, most: 0, run: list },
  remove: { usage: 'remove DIR STORE', least: 1, most: 1, run: remove },
  borrowers: { usage: 'borrowers DIR', least: 0, most: 0, run: borrowers },
  forget: { usage: 'forget DIR ID [STORE]', least: 1, most: 2, run: forget },
};

async function add(
  context: Context,
  directory: string,
  [path]: readonly string[],
  immutable: boolean,
): Promise<number> {
  const work = { path: resolve(path!), how: { immutable } };
  const added = await withStore(
    directory,
    context,
    (store) => store.alternates.add(work.path, work.how),
    brief,
  );
  await context.output.line(describe(added));
  await context.output.result(added);
  return exitCodes.fine;
}

async function list(context: Context, directory: string): Promise<number> {
  const found = await withReadableStore(directory, context, (store) => store.alternates.list(), brief);
  for (const one of found) await context.output.line(describe(one));
  await context.output.result({ alternates: found });
  return found.some(({ problem }) => problem !== undefined) ? exitCodes.unavailable : exitCodes.fine;
}

async function remove(context: Context, directory: string, [path]: readonly string[]): Promise<number> {
  await withStore(directory, context, (store) => store.alternates.remove(resolve(path!)), brief);
  await context.output.line(`${path!} is not searched any more`);
  await context.output.result({ removed: resolve(path!) });
  return exitCodes.fine;
}

async function borrowers(context: Context, directory: string): Promise<number> {
  const found = await withReadableStore(directory, context, (store) => store.alternates.borrowers(), brief);
  for (const { id, path } of found) await context.output.line(`${id}  ${path}`);
  await context.output.result({ borrowers: found });
  return exitCodes.fine;
}

async function forget(context: Context, directory: string, [id, path]: readonly string[]): Promise<number> {
  const where = path === undefined ? undefined : resolve(path);
  const forgotten = await withStore(
    directory,
    context,
    (store) => store.alternates.forget(id!, where),
    brief,
  );
  await context.output.line(`${showCount(forgotten, 'registration')} forgotten`);
  await context.output.result({ forgotten });
  return forgotten === 0 ? exitCodes.failed : exitCodes.fine;
}

function describe({ id, path, immutable, through, problem }: AlternateInfo): string {
  const how = `${immutable ? '  immutable' : ''}${through === undefined ? '' : `  through ${through}`}`;
  return `${id}  ${path}${how}${problem === undefined ? '' : `  ${problem}`}`;
}
