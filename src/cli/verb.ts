/** What a verb is, and what it is given: one file each, listed in program.ts. */
import type { Command } from 'commander';
import { type OpenOptions, type Store, StoreError, openStore, readParameters } from '../index.ts';
import type { Output } from './output.ts';
import { type Sources, isGiven, readSecret, secretToOpen, wipe } from './secret.ts';
import { isTerminal } from './terminal.ts';

export interface Context {
  readonly output: Output;
  /** Aborts on SIGINT, SIGTERM and when nobody reads stdout; the reason is a Stopped. */
  readonly signal: AbortSignal;
  /** What was given to open an encrypted store with. */
  readonly key: Sources;
  /** The work needs no keys: none is asked for, and an encrypted store is opened without. One that is given is used. */
  readonly keyless: boolean;
  /** For all stores that are opened, where it is given. */
  readonly threads?: OpenOptions['threads'];
}

export interface Verb {
  /** All it does, it does on an encrypted store without keys. */
  readonly keyless?: true;
  /** Adds the command with its arguments and options; `--json` and what opens an encrypted store are added to every one. */
  define(program: Command): Command;
  /** Resolves to the exit code. */
  run(context: Context, args: readonly string[], options: Readonly<Record<string, unknown>>): Promise<number>;
}

/**
 * For verbs that ask the catalog a little: worker threads would take longer to start than the answer takes. What reads or
 * writes contents has threads, so that it stops at once when told to.
 */
export const brief: OpenOptions = { threads: { count: 0 } };

/** A command does what it was told to do; what is scheduled is `maintain`'s, and that of applications. */
const task: OpenOptions = { schedule: 'leave' };

/** How a store is opened, and what else is begun then: after all that a person is asked for. */
interface Opening extends OpenOptions {
  readonly meanwhile?: (() => void) | undefined;
}

/** Opens a store that exists, and closes it whatever happens. */
export async function withStore<Result>(
  directory: string,
  context: Context,
  work: (store: Store) => Promise<Result>,
  { meanwhile, ...options }: Opening = {},
): Promise<Result> {
  const open = (key: Unlocking): Promise<Store> => {
    meanwhile?.();
    return openStore(directory, { ...options, ...key, ...task, mode: 'open' });
  };
  return await using(await unlocking(directory, context, open), work);
}

/** Like `withStore`, for verbs that only read: works on a store that may not be written too. */
export async function withReadableStore<Result>(
  directory: string,
  context: Context,
  work: (store: Store) => Promise<Result>,
  { meanwhile, ...options }: Opening = {},
): Promise<Result> {
  const open = (key: Unlocking): Promise<Store> => {
    meanwhile?.();
    return openReadable(directory, { ...options, ...key });
  };
  return await using(await unlocking(directory, context, open), work);
}

/** Whether the store is encrypted and was opened without keys. */
export function isLocked(store: Store, { key }: Context): boolean {
  return store.parameters.encryption !== null && !isGiven(key);
}

/**
 * What a store is opened with that goes to others: without keys where none is given and nobody can be asked, or where that is said. Then
 * it goes by locators, as it lies.
 */
export async function asItLies(
  directory: string,
  context: Context,
  byLocators: boolean,
): Promise<{ readonly context: Context; readonly byLocators: boolean }> {
  if (isGiven(context.key) || (isTerminal() && !byLocators)) return { context, byLocators };
  const encryption = (await readParameters(directory).catch(() => undefined))?.encryption;
  if (encryption === undefined || encryption === null) return { context, byLocators };
  return { context: { ...context, keyless: true }, byLocators: true };
}

type Unlocking = Pick<OpenOptions, 'signal' | 'encryption' | 'threads'>;

/** Works with what opens the store, asked for where it is needed, and wiped afterwards. */
export async function unlocking<Result>(
  directory: string,
  context: Context,
  work: (options: Unlocking) => Promise<Result>,
): Promise<Result> {
  const { key, keyless, signal, threads } = context;
  const secret = keyless ? await readSecret(key, context) : await secretToOpen(directory, key, context);
  try {
    return await work({
      signal,
      ...(secret === undefined ? {} : { encryption: { secret } }),
      ...(threads === undefined ? {} : { threads }),
    });
  } finally {
    wipe(secret);
  }
}

/** The same of a second store, which is opened with what opens the first one, if it is encrypted. */
export async function unlockingOther<Result>(
  directory: string,
  context: Context,
  work: (options: Unlocking) => Promise<Result>,
): Promise<Result> {
  const encryption = (await readParameters(directory).catch(() => undefined))?.encryption;
  if (encryption === undefined || encryption === null) return await work({ signal: context.signal });
  return await unlocking(directory, context, work);
}

/** For reading, and for writing too where that is allowed. */
export async function openReadable(directory: string, options: OpenOptions): Promise<Store> {
  try {
    return await openStore(directory, { ...options, ...task, mode: 'open' });
  } catch (error) {
    if (!StoreError.is(error, 'forbidden')) throw error;
    return await openStore(directory, { ...options, mode: 'read-only' });
  }
}

async function using<Result>(store: Store, work: (store: Store) => Promise<Result>): Promise<Result> {
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}
