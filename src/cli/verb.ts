/** What a verb is, and what it is given: one file each, listed in program.ts. */
import type { Command } from 'commander';
import { type OpenOptions, type Store, StoreError, openStore } from '../index.ts';
import type { Output } from './output.ts';

export interface Context {
  readonly output: Output;
  /** Aborts on SIGINT, SIGTERM and when nobody reads stdout; the reason is a Stopped. */
  readonly signal: AbortSignal;
}

export interface Verb {
  /** Adds the command with its arguments and options; `--json` is added to every one. */
  define(program: Command): Command;
  /** Resolves to the exit code. */
  run(context: Context, args: readonly string[], options: Readonly<Record<string, unknown>>): Promise<number>;
}

/** Opens a store that exists, and closes it whatever happens. */
export async function withStore<Result>(
  directory: string,
  context: Context,
  work: (store: Store) => Promise<Result>,
): Promise<Result> {
  return await using(await openStore(directory, { mode: 'open', signal: context.signal }), work);
}

/** Like `withStore`, for verbs that only read: works on a store that may not be written too. */
export async function withReadableStore<Result>(
  directory: string,
  context: Context,
  work: (store: Store) => Promise<Result>,
): Promise<Result> {
  return await using(await openReadable(directory, { signal: context.signal }), work);
}

/** For reading, and for writing too where that is allowed. */
export async function openReadable(directory: string, options: OpenOptions): Promise<Store> {
  try {
    return await openStore(directory, { ...options, mode: 'open' });
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
