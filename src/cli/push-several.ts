/** A push to several remotes at once: each for itself, all told, and the source read once as far as they keep together. */
import { type PushOptions, type Replicated, type Store, fanOut } from '../index.ts';
import { UsageError, exitCodes, toldError } from './exit.ts';
import { type RemoteOptions, keysOf, withRemote } from './remote.ts';
import { isGiven } from './secret.ts';
import { showBytes, showCount, showName } from './units.ts';
import type { Context } from './verb.ts';

interface Several {
  readonly context: Context;
  /** The store that knows the names of remotes. */
  readonly directory: string;
  readonly options: RemoteOptions;
  readonly how: PushOptions;
}

/** Resolves to the exit code: the greatest of those that each would have had alone. */
export async function pushSeveral(
  store: Store,
  remotes: readonly string[],
  { context, directory, options, how }: Several,
): Promise<number> {
  const { output, signal } = context;
  if (new Set(remotes).size !== remotes.length) throw new UsageError('name each remote once');
  const { tokenFile, tlsCa, allowPlainHttp } = options;
  if (isGiven(keysOf(options)) || [tokenFile, tlsCa, allowPlainHttp].some((one) => one !== undefined))
    throw new UsageError(
      'what opens one remote is not told to others: with --also, use names of holdfast remote',
    );
  const { push, reads } = fanOut(store);
  const ended = await Promise.allSettled(
    remotes.map((remote) =>
      withRemote(remote, 'push', {
        context,
        directory,
        options,
        work: (transport) => push(transport, how),
      }),
    ),
  );
  signal.throwIfAborted();
  let exit: number = exitCodes.fine;
  const told: object[] = [];
  for (const [i, one] of ended.entries()) {
    const remote = remotes[i]!;
    if (one.status === 'fulfilled') {
      told.push({ remote, ...(await tellOne(context, remote, one.value)) });
      continue;
    }
    const { code, message, exit: failed } = toldError(one.reason);
    output.note(`${remote}: ${code}: ${message}`);
    told.push({ remote, error: { code, message } });
    exit = Math.max(exit, failed);
  }
  await output.result({ remotes: told, reads: { ...reads } });
  return exit;
}

async function tellOne({ output }: Context, remote: string, done: Replicated): Promise<object> {
  const { roots, blobs, sentBytes, receivedBytes, roundTrips } = done;
  for (const { name, id, changed } of roots)
    await output.line(`${remote}: ${id} ${showName(name)}${changed ? '' : ' (unchanged)'}`);
  const bytes = sentBytes + receivedBytes;
  output.note(`${remote}: ${showCount(blobs, 'blob')}, ${showBytes(bytes)} on the wire`);
  return { roots, blobs, bytes, contentBytes: done.bytes, roundTrips };
}
