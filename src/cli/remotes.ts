/** `holdfast remote ACTION DIR`: names for the stores one replicates with. */
import { resolve } from 'node:path';
import {
  type Remote,
  StoreError,
  isRemoteName,
  parseHttpAddress,
  parseSshTarget,
  readParameters,
  remotesOf,
  sshArguments,
} from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { isAddress } from './remote.ts';
import { showName } from './units.ts';
import type { Context, Verb } from './verb.ts';

type RemotesOptions = Pick<Remote, 'tokenFile' | 'tlsCa'>;

/** How many arguments stand behind the store. */
const counts: Readonly<Record<string, number>> = { add: 2, list: 0, remove: 1 };

export const remote: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('remote')
      .description('names for the stores to replicate with: add, list, remove')
      .argument('<action>', 'add DIR NAME ADDRESS; list DIR; remove DIR NAME')
      .argument('<dir>', 'the store')
      .argument('[name]', 'lower-case letters, digits, dot, dash and underscore')
      .argument('[address]', 'a folder, ssh://user@host/path, or http(s)://host')
      .option('--token-file <file>', 'add: where the token lies; only the path is kept')
      .option('--tls-ca <file>', 'add: trust the certificates in this file (PEM), and no others'),
  async run(context, [action, directory, name, address], given) {
    const options = given as RemotesOptions;
    const count = Object.hasOwn(counts, action!) ? counts[action!] : undefined;
    if (count === undefined)
      throw new UsageError(`no action ${JSON.stringify(action)}; there are add, list, remove`);
    if ([name, address].filter((one) => one !== undefined).length !== count)
      throw new UsageError('usage: holdfast remote add DIR NAME ADDRESS | list DIR | remove DIR NAME');
    if (action !== 'add' && (options.tokenFile !== undefined || options.tlsCa !== undefined))
      throw new UsageError('--token-file and --tls-ca are for remote add');
    if (name !== undefined && !isRemoteName(name))
      throw new UsageError(
        `not a name for a remote: ${JSON.stringify(name)}; lower-case letters, digits, . _ -, 64 at most`,
      );
    await readParameters(directory!); // says what is wrong where this is no store
    if (action === 'list') return await list(context, directory!);
    if (action === 'remove') return await remove(context, directory!, name!);
    return await add(context, directory!, { name: name!, target: checked(address!, options) });
  },
};

/** As it is kept: what lies on this machine by absolute path. */
function checked(address: string, { tokenFile, tlsCa }: RemotesOptions): Remote {
  const http = /^https?:/i.test(address);
  if (http) parseHttpAddress(address);
  else if (isAddress(address)) sshArguments(parseSshTarget(address));
  if (!http && (tokenFile !== undefined || tlsCa !== undefined))
    throw new UsageError('--token-file and --tls-ca are for http:// and https://');
  return {
    address: isAddress(address) ? address : resolve(address),
    ...(tokenFile === undefined ? {} : { tokenFile: resolve(tokenFile) }),
    ...(tlsCa === undefined ? {} : { tlsCa: resolve(tlsCa) }),
  };
}

async function add(
  { output }: Context,
  directory: string,
  { name, target }: { readonly name: string; readonly target: Remote },
): Promise<number> {
  await remotesOf(directory).add(name, target);
  await output.line(describe({ name, ...target }));
  await output.result({ name, ...target });
  return exitCodes.fine;
}

async function list({ output }: Context, directory: string): Promise<number> {
  const found = await remotesOf(directory).list();
  for (const one of found) await output.line(describe(one));
  await output.result({ remotes: found });
  return exitCodes.fine;
}

async function remove({ output }: Context, directory: string, name: string): Promise<number> {
  if (!(await remotesOf(directory).remove(name)))
    throw new StoreError('not-found', `there is no remote ${JSON.stringify(name)}`);
  await output.line(`removed ${name}`);
  await output.result({ removed: name });
  return exitCodes.fine;
}

function describe({ name, address, tokenFile }: Remote & { readonly name: string }): string {
  const token = tokenFile === undefined ? '' : `  (token in ${showName(tokenFile)})`;
  return `${name}  ${showName(address)}${token}`;
}
