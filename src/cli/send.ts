/** `holdfast send DIR ROOT [--since ROOT|@BOOKMARK] [--compressed]`: writes a root, and all it reaches, to stdout as an offline stream. */
import { type BlobId, type Store, StoreError, bookmarks, sendStream } from '../index.ts';
import { isId } from './address.ts';
import { Stopped, UsageError, exitCodes } from './exit.ts';
import { Progress } from './progress.ts';
import { parseBytes, showBytes, showCount, showSeconds } from './units.ts';
import { type Verb, withReadableStore } from './verb.ts';

export const send: Verb = {
  define: (program) =>
    program
      .command('send')
      .description('write a root, and all it reaches, to stdout, for receive; not encrypted')
      .argument('<dir>', 'the store')
      .argument('<root>', 'the name of the root')
      .option('--since <base>', 'only what this snapshot has not: a root, an id, @ or @PEER for a bookmark')
      .option('--part <size>', 'how much a cut may cost; default 64 MiB')
      .option('--compressed', 'as it is stored compressed; who receives it needs the codec of this store'),
  async run(context, [directory, root], options) {
    const { output, signal } = context;
    const { since, part, compressed } = options as {
      readonly since?: string;
      readonly part?: string;
      readonly compressed?: true;
    };
    if (output.json) throw new UsageError('stdout belongs to the stream: send has no result as JSON');
    if (process.stdout.isTTY)
      throw new UsageError('a stream is nothing for a terminal: send it to a file or a pipe');
    const began = performance.now();
    await withReadableStore(directory!, context, async (store) => {
      const progress = new Progress(output, 'send', 'blob');
      const stream = sendStream(store, root!, {
        ...(since === undefined ? {} : { since: await baseOf(store, root!, since) }),
        ...(part === undefined ? {} : { partBytes: parseBytes(part) }),
        ...(compressed === undefined ? {} : { compressed }),
        signal,
        onProgress: ({ blobs, bytes }) => progress.update({ files: blobs, bytes }),
      });
      let next = await stream.next();
      try {
        for (; next.done !== true; next = await stream.next()) {
          signal.throwIfAborted();
          await output.bytes(next.value);
        }
        await output.flush();
        signal.throwIfAborted();
      } catch (error) {
        // Of other verbs it is fine when nobody wants to read the rest: a stream would be cut.
        if (!(error instanceof Stopped) || error.by !== 'EPIPE') throw error;
        throw new StoreError('unavailable', 'nobody reads the stream any more', {}, error);
      } finally {
        await stream.return(undefined as never);
        progress.end();
      }
      const { id, blobs, streamBytes, parts } = next.value;
      const seconds = (performance.now() - began) / 1000;
      output.note(
        `${id}: ${showCount(blobs, 'blob')}, ${showBytes(streamBytes)} in ${showCount(parts, 'part')} and ${showSeconds(seconds)}`,
      );
    });
    return exitCodes.fine;
  },
};

/** What a base is called: a root, its id, or a bookmark of a peer. */
async function baseOf(store: Store, root: string, base: string): Promise<BlobId> {
  if (!base.startsWith('@')) {
    const id = (await store.roots.get(base)) ?? (isId(base) ? base : undefined);
    if (id !== undefined) return id;
    throw new StoreError('not-found', `there is no root ${JSON.stringify(base)}`, { root: base });
  }
  const marks = await bookmarks(store, root);
  const found = marks.filter(({ peer }) => peer.startsWith(base.slice(1)));
  const first = found[0];
  const known =
    marks.length === 0 ? 'no peer is known' : `known: ${marks.map(({ peer }) => `@${peer}`).join(', ')}`;
  if (first === undefined)
    throw new StoreError('not-found', `there is no bookmark ${base} of ${root}; ${known}`, { root });
  if (base !== '@' && found.length > 1) throw new UsageError(`${base} may mean several; ${known}`);
  return first.id;
}
