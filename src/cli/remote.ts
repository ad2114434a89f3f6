/** Finds the store that REMOTE means: a folder of this machine, or `ssh://user@host/path`; and tells what a transfer did. */
import {
  type Replicated,
  type Store,
  type Transport,
  openStore,
  pair,
  serve,
  sshTransport,
} from '../index.ts';
import { exitCodes } from './exit.ts';
import { Progress } from './progress.ts';
import { showBytes, showCount, showName, showSeconds } from './units.ts';
import { type Context, openReadable } from './verb.ts';

/** What is done with a remote: it gives, or it takes. */
export type RemoteUse = 'pull' | 'push';

/** Runs work against the store at a remote, and ends the remote whatever happens. */
export async function withRemote<Result>(
  remote: string,
  use: RemoteUse,
  how: { readonly context: Context; readonly work: (transport: Transport) => Promise<Result> },
): Promise<Result> {
  const { context, work } = how;
  if (remote.startsWith('ssh:')) return await work(sshTransport(remote));
  const { signal } = context;
  const store: Store =
    use === 'pull'
      ? await openReadable(remote, { signal })
      : await openStore(remote, { mode: 'open', schedule: 'leave', signal });
  try {
    const [here, there] = pair();
    const [done, served] = await Promise.allSettled([
      work(here),
      serve(store, there, { allow: use, signal }),
    ]);
    // Where it began is where it can be understood: the other side only hears of it.
    if (done.status === 'rejected') throw done.reason;
    if (served.status === 'rejected') throw served.reason;
    return done.value;
  } finally {
    await store.close();
  }
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
