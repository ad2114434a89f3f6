/** `holdfast receive DIR [--resume]`: takes in from stdin what `send` wrote, and sets its root. */
import { createReadStream, fstatSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { receiveStream } from '../index.ts';
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
        throw error;
      } finally {
        progress.end();
        signal.removeEventListener('abort', stop);
        stop();
      }
    });
    return exitCodes.fine;
  },
};

/** Whether stdin is a file, of which the beginning need not be read again. */
function seekable(): boolean {
  return fstatSync(0).isFile();
}

function fileFrom(offset: number): Readable {
  return createReadStream('', { fd: 0, start: offset, autoClose: false, highWaterMark: 256 * 1024 });
}
