/** `holdfast scrub DIR`: reads and verifies every byte of a store. */
import { Progress } from './progress.ts';
import { exitCodes } from './exit.ts';
import { showBytes, showCount, showRate, showSeconds } from './units.ts';
import { type Verb, isLocked, withStore } from './verb.ts';

export const scrub: Verb = {
  keyless: true,
  define: (program) =>
    program.command('scrub').description('read and verify everything').argument('<dir>', 'the store'),
  async run(context, [directory]) {
    const { output, signal } = context;
    const progress = new Progress(output, 'scrub', 'blob');
    const { result, verified } = await withStore(directory!, context, async (store) => ({
      verified: isLocked(store, context) ? ('stored-bytes' as const) : ('content' as const),
      result: await store.scrub({
        signal,
        onProgress: ({ blobs, bytes, totalBlobs, totalBytes }) =>
          progress.update({ files: blobs, bytes, totalFiles: totalBlobs, totalBytes }),
      }),
    })).finally(() => progress.end());
    for (const { id, reason, references } of result.damaged)
      output.note(`damaged: ${id}: ${reason} (${showCount(references, 'reference')})`);
    if (result.badRows > 0) output.note(`${showCount(result.badRows, 'row')} of the catalog damaged`);
    if (result.missingCopies > 0)
      output.note(`${showCount(result.missingCopies, 'blob')} with fewer copies than wanted`);
    const seconds = result.milliseconds / 1000;
    const verdict =
      result.damaged.length === 0 ? 'no damage' : `${showCount(result.damaged.length, 'blob')} damaged`;
    const healed =
      result.healed === 0 ? '' : ` left, ${showCount(result.healed, 'copy', 'copies')} made anew`;
    await output.line(
      `${verdict}${healed}: ${showCount(result.blobs, 'blob')}, ${showBytes(result.bytes)}, in ${showSeconds(seconds)} (${showRate(result.bytes, seconds)})`,
    );
    if (verified === 'stored-bytes')
      await output.line(
        'without a key only stored bytes were verified: damage is seen, whether the content is authentic is not',
      );
    await output.result({ ...result, verified });
    if (result.damaged.length + result.badRows > 0) return exitCodes.damage;
    return result.missingCopies > 0 ? exitCodes.unavailable : exitCodes.fine;
  },
};
