/** `holdfast scrub DIR`: reads and verifies every byte of a store. */

import { Progress } from './progress.ts';
import { showLog, tellDamage, withPaths } from './damage-report.ts';
import { exitCodes } from './exit.ts';
import {
  parseBytes,
  parseDuration,
  showBytes,
  showCopies,
  showCount,
  showRate,
  showSeconds,
} from './units.ts';
import { type Verb, isLocked, withStore } from './verb.ts';

export const scrub: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('scrub')
      .description('read and verify everything, what was verified longest ago first')
      .argument('<dir>', 'the store')
      .option('--rate <size>', 'read at most so much a second: 50MB')
      .option('--time-box <duration>', 'stop after 90s, 10m or 6h; the next scrub goes on there'),
  async run(context, [directory], options) {
    const { output, signal } = context;
    const rate = options['rate'] === undefined ? {} : { rate: parseBytes(String(options['rate'])) };
    const box =
      options['timeBox'] === undefined ? {} : { timeBoxMs: parseDuration(String(options['timeBox'])) };
    const progress = new Progress(output, 'scrub', 'blob');
    const { result, verified, copies } = await withStore(directory!, context, async (store) => {
      const scrubbed = await store.scrub({
        signal,
        ...rate,
        ...box,
        onProgress: ({ blobs, bytes, totalBlobs, totalBytes }) =>
          progress.update({ files: blobs, bytes, totalFiles: totalBlobs, totalBytes }),
      });
      return {
        copies: (await store.stats()).copies,
        verified: isLocked(store, context) ? ('stored-bytes' as const) : ('content' as const),
        result: {
          ...scrubbed,
          damaged: await withPaths(store, scrubbed.damaged),
          unreadable: await withPaths(store, scrubbed.unreadable),
        },
      };
    }).finally(() => progress.end());
    for (const found of result.damaged) tellDamage(output, found);
    for (const found of result.unreadable) tellDamage(output, found, 'cannot be read');
    if (result.badRows > 0) output.note(`${showCount(result.badRows, 'row')} of the catalog damaged`);
    if (result.rootLog !== undefined) output.note(showLog(result.rootLog));
    if (result.unreachable > 0)
      output.note(
        `${showCount(result.unreachable, 'blob')} of which nothing can be said: ${result.away.length > 0 ? 'what they lie in is away' : 'a disk cannot read them, or what they lie in was away'}`,
      );
    if (result.missingCopies > 0)
      output.note(`${showCount(result.missingCopies, 'blob')} with fewer copies than wanted`);
    for (const one of result.away) output.note(one);
    const seconds = result.milliseconds / 1000;
    const verdict =
      result.damaged.length > 0
        ? `${showCount(result.damaged.length, 'blob')} damaged`
        : result.rootLog === undefined
          ? 'no damage'
          : 'no blob damaged';
    const healed =
      result.healed === 0 ? '' : ` left, ${showCount(result.healed, 'copy', 'copies')} made anew`;
    await output.line(
      `${verdict}${healed}: ${showCopies(result.blobs, copies)}, ${showBytes(result.bytes)}, in ${showSeconds(seconds)} (${showRate(result.bytes, seconds)})`,
    );
    if (!result.complete)
      await output.line(
        `out of time: ${showCopies(result.left.blobs, copies)}, ${showBytes(result.left.bytes)} left; the next scrub begins with those`,
      );
    if (verified === 'stored-bytes')
      await output.line(
        'without a key only stored bytes were verified: damage is seen, whether the content is authentic is not',
      );
    await output.result({ ...result, verified });
    if (result.damaged.length + result.badRows > 0 || result.rootLog !== undefined) return exitCodes.damage;
    return result.missingCopies + result.unreachable > 0 ? exitCodes.unavailable : exitCodes.fine;
  },
};
