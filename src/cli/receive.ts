/** `holdfast receive DIR [--resume]`: takes in from stdin what `send` wrote, and sets its root. */
import { createReadStream, fstatSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { StoreError, receiveStream } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { Progress } from './progress.ts';
import { showBytes, showCount, showName, showSeconds } from './units.ts';
import { type Verb, withStore } from './verb.ts';

export const receive: Verb = {
  define: (program) =>
    program
      .command('receive')
      .description('take in from stdin what send wrote; the root moves when all of it was right')
      .argument('<dir>', 'the store')
      .option('--resume', 'go on where the same stream was cut'),
  async run(context, [directory], { resume }) {
    const { output, signal } = context;
    if (process.stdin.isTTY)
      throw new UsageError('receive reads a stream from stdin: < FILE, or behind a pipe');
    const began = performance.now();
    await withStore(directory!, context, async (store) => {
      const progress = new Progress(output, 'receive', 'blob');
      let input: Readable | undefined;
      // A pipe that nobody writes to must not keep us.
      const stop = (): void => void input?.destroy();
      signal.addEventListener('abort', stop, { once: true });
      try {
        const received = await receiveStream(
          store,
          seekable() ? (offset) => (input = fileFrom(offset)) : (input = process.stdin),
          {
            resume: resume === true,
            signal,
            onProgress: ({ blobs, bytes }) => progress.update({ files: blobs, bytes }),
          },
        );
        progress.end();
        const { name, id, changed, blobs, bytes, resumedAt, streamBytes } = received;
        const seconds = (performance.now() - began) / 1000;
        await output.line(`${id} ${showName(name)}${changed ? '' : ' (unchanged)'}`);
        const from = resumedAt === 0 ? '' : `, from byte ${resumedAt} on`;
        output.note(
          `${showCount(blobs, 'blob')} new, ${showBytes(bytes)}, of a stream of ${showBytes(streamBytes)}${from}, in ${showSeconds(seconds)}`,
        );
        await output.result({ ...received, seconds });
      } catch (error) {
        // An input that was destroyed fails in its own words.
        signal.throwIfAborted();
        throw ofStream(error);
      } finally {
        progress.end();
        signal.removeEventListener('abort', stop);
        stop();
      }
    });
    return exitCodes.fine;
  },
};

/** In the words of who has a file in hand, and no peer. */
function ofStream(error: unknown): unknown {
  const [refusal, why] = StoreError.is(error, 'corrupt')
    ? (/^(?:.*not a frame of holdfast sync|the peer is refused): (.*)$/s.exec(error.message) ?? [])
    : [];
  if (refusal === undefined) return error;
  const text = `the stream is damaged, or none of holdfast, and no root was set: ${why}; have it sent again`;
  return new StoreError('corrupt', text, (error as StoreError).facts, error);
}

/** Whether stdin is a file, of which the beginning need not be read again. */
function seekable(): boolean {
  return fstatSync(0).isFile();
}

function fileFrom(offset: number): Readable {
  return createReadStream('', { fd: 0, start: offset, autoClose: false, highWaterMark: 256 * 1024 });
}
