/** Finds the store that REMOTE means (a folder, `ssh://…`, `http(s)://…`, or a name for one); and tells what a transfer did. */
import type { Command } from 'commander';
import {
  type Remote,
  type Replicated,
  type Secret,
  type Store,
  StoreError,
  type Transport,
  httpTransport,
  openStore,
  pacedTransport,
  pair,
  readParameters,
  remotesOf,
  serve,
  sshTransport,
} from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { EarlyStart } from './early-start.ts';
import { Progress } from './progress.ts';
import { type Sources, addRemoteKeyOptions, isGiven, readSecret, wipe } from './secret.ts';
import { readSmallFile, readToken } from './small-file.ts';
import { parseBytes, showBytes, showCount, showName, showSeconds } from './units.ts';
import { type Context, openReadable } from './verb.ts';

/** What is done with a remote: it gives, or it takes. */
export type RemoteUse = 'pull' | 'push';

/** What may be said about a transfer. */
export interface TransferOptions extends RemoteOptions {
  readonly jobs?: string;
  readonly allowRollback?: true;
}

/** The option of `pull` and `push` that is for stores of one realm. */
export const byLocatorsFlag = '--by-locators';

/** What may be said about a remote, and how to reach it. */
export interface RemoteOptions {
  readonly tokenFile?: string;
  readonly tlsCa?: string;
  readonly allowPlainHttp?: true;
  readonly rate?: string;
  /** Nothing is opened for the transfer: a folder needs no keys. */
  readonly byLocators?: true;
  readonly remoteKeyFile?: string;
  readonly remotePassphraseFd?: number;
  readonly remoteRecoveryKeyFd?: number;
}

/** Adds the arguments and options that `pull` and `push` share. */
export function addRemoteArguments(command: Command): Command {
  return addRemoteOptions(
    addJobs(command)
      .option('--allow-rollback', 'let roots go back to what they were, or follow a store that was set back')
      .option(
        byLocatorsFlag,
        'encrypted stores of one realm: copy what is sealed as it lies, so that neither needs keys',
      )
      .argument('<remote>', 'a folder, ssh://user@host/path, http(s)://host, or a name of holdfast remote')
      .argument('[root...]', 'names of roots; all without it'),
  );
}

export function addJobs(command: Command): Command {
  return command.option(
    '--jobs <n>',
    'read, hash and write with at most so many threads for each store, 1 to 64; as many as there are cores without it, 2 to 4',
  );
}

/** What a command works with, when it was told with how many threads. */
export function withJobs(context: Context, { jobs }: { readonly jobs?: string }): Context {
  if (jobs === undefined) return context;
  const count = /^\d{1,2}$/.test(jobs) ? Number(jobs) : 0;
  if (count < 1 || count > 64)
    throw new UsageError(`--jobs is a number from 1 to 64, not ${JSON.stringify(jobs)}`);
  return { ...context, threads: { count } };
}

/** Adds what may be said about a remote. */
export function addRemoteOptions(command: Command): Command {
  return addRemoteKeyOptions(
    command
      .option('--token-file <file>', 'http(s): the token is in this file')
      .option('--tls-ca <file>', 'https: trust the certificates in this file (PEM), and no others')
      .option('--allow-plain-http', 'send the token without TLS to another machine too')
      .option('--rate <size>', 'send and receive at most so much a second, together: 2MB'),
  );
}

/** Reaches a remote, each time anew. */
export type Connect = () => Promise<Transport>;

interface Task<Result> {
  readonly context: Context;
  readonly options: RemoteOptions;
  readonly early?: EarlyStart;
  readonly work: (connect: Connect) => Promise<Result>;
}

/** To be begun while the store here is opened, and given to `withRemote`. */
export function earlyStart(remote: string, directory: string): EarlyStart {
  return new EarlyStart(async () => (await resolveRemote(remote, directory, {})).address);
}

/** Runs work against the store at a remote, over one connection, and ends the remote whatever happens. */
export async function withRemote<Result>(
  remote: string,
  use: RemoteUse,
  task: Omit<Task<Result>, 'work'> & {
    /** The store that knows its name. */
    readonly directory: string;
    readonly work: (transport: Transport) => Promise<Result>;
  },
): Promise<Result> {
  const work = async (connect: Connect): Promise<Result> => await task.work(await connect());
  return await withConnect(remote, use, { ...task, work });
}

/** The same with a connection whenever work wants one, and none if it does not. */
export async function withConnect<Result>(
  remote: string,
  use: RemoteUse,
  task: Task<Result> & { readonly directory: string },
): Promise<Result> {
  const { context, directory, options, early } = task;
  const rate = options.rate === undefined ? undefined : parseBytes(options.rate);
  if (rate === 0) throw new UsageError('--rate is at least one byte a second');
  const work = (connect: Connect): Promise<Result> =>
    task.work(rate === undefined ? connect : async () => pacedTransport(await connect(), rate));
  const target = await resolveRemote(remote, directory, options);
  const { address, tokenFile, tlsCa } = target;
  const http = /^https?:/i.test(address);
  if (!http && (tokenFile !== undefined || tlsCa !== undefined || options.allowPlainHttp === true))
    throw new UsageError('--token-file, --tls-ca and --allow-plain-http are for http:// and https://');
  if (!isAddress(address)) return await withFolder(address, use, { context, options, work });
  if (isGiven(keysOf(options)))
    throw new UsageError('--remote-key-file and the like are for folders: a server opens its store itself');
  return await work(async () =>
    http ? await connectHttp(target, context, options) : ((await early?.take()) ?? sshTransport(address)),
  );
}

/** Whether the remote is a folder of this machine, and which one. */
export async function folderOf(remote: string, directory: string): Promise<string | undefined> {
  const { address } = await resolveRemote(remote, directory, {});
  return isAddress(address) ? undefined : address;
}

async function resolveRemote(remote: string, directory: string, options: RemoteOptions): Promise<Remote> {
  const named = isAddress(remote) ? undefined : await remotesOf(directory).get(remote);
  return { address: remote, ...named, ...overridden(options) };
}

/** Whether this is an address by its form, and so neither a name nor a folder. A usage error where it is one of another kind. */
export function isAddress(remote: string): boolean {
  if (/^(?:ssh|https?):/i.test(remote)) return true;
  // Two letters at least: one is a drive.
  const scheme = /^([a-z][a-z0-9+.-]+:)\/\//i.exec(remote)?.[1];
  if (scheme !== undefined)
    throw new UsageError(
      `${scheme}// leads to no store: there are ssh://, http:// and https://, and folders`,
    );
  return false;
}

function overridden({ tokenFile, tlsCa }: RemoteOptions): Pick<Remote, 'tokenFile' | 'tlsCa'> {
  return { ...(tokenFile === undefined ? {} : { tokenFile }), ...(tlsCa === undefined ? {} : { tlsCa }) };
}

/** What opens the remote's own store. */
export function keysOf(options: RemoteOptions): Sources {
  const { remoteKeyFile, remotePassphraseFd, remoteRecoveryKeyFd } = options;
  return {
    ...(remoteKeyFile === undefined ? {} : { keyFile: remoteKeyFile }),
    ...(remotePassphraseFd === undefined ? {} : { passphraseFd: remotePassphraseFd }),
    ...(remoteRecoveryKeyFd === undefined ? {} : { recoveryKeyFd: remoteRecoveryKeyFd }),
  };
}

async function connectHttp(
  { address, tokenFile, tlsCa }: Remote,
  { output, signal }: Context,
  { allowPlainHttp }: RemoteOptions,
): Promise<Transport> {
  const token = tokenFile === undefined ? undefined : await readToken(tokenFile, output);
  const ca = tlsCa === undefined ? undefined : await readSmallFile(tlsCa, 'file of certificates');
  return await httpTransport(address, {
    signal,
    ...(token === undefined ? {} : { token }),
    ...(ca === undefined ? {} : { ca }),
    ...(allowPlainHttp === true ? { plain: 'allowed' } : {}),
  });
}

/** Opens the store in a folder that is a remote, with its own keys. */
export async function openFolder(
  folder: string,
  use: RemoteUse,
  { context, options }: Pick<Task<unknown>, 'context' | 'options'>,
): Promise<Store> {
  const { signal } = context;
  const secret = await secretOf(folder, context, options);
  const opening = {
    signal,
    schedule: 'leave' as const,
    ...(context.threads === undefined ? {} : { threads: context.threads }),
    ...(secret === undefined ? {} : { encryption: { secret } }),
  };
  try {
    return await (use === 'pull'
      ? openReadable(folder, opening)
      : openStore(folder, { ...opening, mode: 'open' }));
  } finally {
    wipe(secret);
  }
}

/** Serves a folder to ourselves. */
async function withFolder<Result>(
  folder: string,
  use: RemoteUse,
  { context, options, work }: Task<Result>,
): Promise<Result> {
  const { signal } = context;
  const store = await openFolder(folder, use, { context, options });
  const serving: Promise<unknown>[] = [];
  const connect = (): Promise<Transport> => {
    const [here, there] = pair();
    const one = serve(store, there, { allow: use, signal });
    one.catch(() => undefined); // told at the end
    serving.push(one);
    return Promise.resolve(here);
  };
  try {
    const [done] = await Promise.allSettled([work(connect)]);
    const served = await Promise.allSettled(serving);
    // Where it began is where it can be understood: the other side only hears of it.
    if (done.status === 'rejected') throw done.reason;
    for (const one of served) if (one.status === 'rejected') throw one.reason;
    return done.value;
  } finally {
    await store.close();
  }
}

/** Nobody is asked: of two passphrases it would not be clear which one is meant. */
async function secretOf(
  folder: string,
  context: Context,
  options: RemoteOptions,
): Promise<Secret | undefined> {
  const keys = keysOf(options);
  if (isGiven(keys)) return await readSecret(keys, context);
  if (options.byLocators === true) return undefined;
  // Whatever is wrong with the store, opening it says it better.
  const encryption = (await readParameters(folder).catch(() => undefined))?.encryption;
  if (encryption === undefined || encryption === null) return undefined;
  throw new StoreError(
    'wrong-key',
    `the store in ${folder} is encrypted: give --remote-key-file, --remote-passphrase-fd or --remote-recovery-key-fd, or, in a realm with this one, ${byLocatorsFlag}`,
    { realm: encryption.realm },
  );
}

/** A verb's transfer: with progress, a line for people, one object for programs. */
export async function tellTransfer(
  context: Context,
  step: RemoteUse,
  transfer: (
    onProgress: (state: { readonly blobs: number; readonly bytes: number }) => void,
  ) => Promise<Replicated>,
): Promise<number> {
  const { output } = context;
  const progress = new Progress(output, step, 'blob');
  const began = performance.now();
  let done: Replicated;
  try {
    done = await transfer(({ blobs, bytes }) => progress.update({ files: blobs, bytes }));
  } finally {
    progress.end();
  }
  const seconds = (performance.now() - began) / 1000;
  const { roots, blobs, sentBytes, receivedBytes, roundTrips } = done;
  for (const { name, id, changed } of roots)
    await output.line(`${id} ${showName(name)}${changed ? '' : ' (unchanged)'}`);
  const bytes = sentBytes + receivedBytes;
  output.note(
    `${showCount(roots.length, 'root')}, ${showCount(blobs, 'blob')}, ${showBytes(bytes)} on the wire in ${showCount(roundTrips, 'round trip')} and ${showSeconds(seconds)}`,
  );
  await output.result({ roots, blobs, bytes, contentBytes: done.bytes, roundTrips, seconds });
  return exitCodes.fine;
}
