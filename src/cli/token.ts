/** `holdfast token ACTION DIR`: who may come in over HTTP. */
import { Option } from 'commander';
import { type Scope, StoreError, type TokenInfo, readParameters, scopes, tokensOf } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { showName, showTime } from './units.ts';
import type { Context, Verb } from './verb.ts';

interface TokenOptions {
  readonly scope?: Scope;
  readonly label?: string;
}

export const token: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('token')
      .description('who may come in over HTTP: create, list, revoke')
      .argument('<action>', 'create DIR --scope SCOPE; list DIR; revoke DIR ID')
      .argument('<dir>', 'the store')
      .argument('[id]', 'revoke: the id, as list shows it')
      .addOption(
        new Option(
          '--scope <scope>',
          'create: read: pull; append: push roots that are new there; admin: pull, push and move roots',
        ).choices(scopes),
      )
      .option('--label <text>', 'create: a name for people'),
  async run(context, [action, directory, id], given) {
    const options = given as TokenOptions;
    if (!['create', 'list', 'revoke'].includes(action!))
      throw new UsageError(`no action ${JSON.stringify(action)}; there are create, list, revoke`);
    if (action !== 'create' && (options.scope !== undefined || options.label !== undefined))
      throw new UsageError('--scope and --label are for token create');
    if ((id === undefined) !== (action !== 'revoke'))
      throw new UsageError('usage: holdfast token create|list DIR, or token revoke DIR ID');
    await readParameters(directory!); // says what is wrong where this is no store
    if (action === 'list') return await list(context, directory!);
    if (action === 'revoke') return await revoke(context, directory!, id!);
    return await create(context, directory!, options);
  },
};

async function create(
  { output }: Context,
  directory: string,
  { scope, label }: TokenOptions,
): Promise<number> {
  if (scope === undefined) throw new UsageError(`token create wants --scope ${scopes.join('|')}`);
  const made = await tokensOf(directory).create(scope, label);
  await output.line(made.token);
  output.note(`${describe(made)}. It is not shown again: keep it in a file that only you can read.`);
  await output.result(made);
  return exitCodes.fine;
}

async function list({ output }: Context, directory: string): Promise<number> {
  const tokens = await tokensOf(directory).list();
  for (const one of tokens) await output.line(describe(one));
  await output.result({ tokens });
  return exitCodes.fine;
}

async function revoke({ output }: Context, directory: string, id: string): Promise<number> {
  if (!/^[0-9a-f]{16}$/.test(id))
    throw new UsageError(
      `not the id of a token: ${JSON.stringify(id)}; "token list" shows them, 16 hex digits each`,
    );
  if (!(await tokensOf(directory).revoke(id)))
    throw new StoreError('not-found', `there is no token ${JSON.stringify(id)}`);
  await output.line(`revoked ${id}`);
  await output.result({ revoked: id });
  return exitCodes.fine;
}

function describe({ id, scope, label, createdMs, usedMs }: TokenInfo): string {
  const used = usedMs === null ? 'never used' : `used ${showTime(usedMs)}`;
  const named = label === '' ? '' : `  ${showName(label)}`;
  return `token ${id}  ${scope.padEnd(6)}  made ${showTime(createdMs)}, ${used}${named}`;
}
