/** `holdfast rebuild DIR`: makes a new catalog for a store that lost it. */
import { type RebuildResult, rebuildStore } from '../index.ts';
import { exitCodes } from './exit.ts';
import type { Output } from './output.ts';
import { Progress } from './progress.ts';
import { showBytes, showCount, showName, showSeconds } from './units.ts';
import { type Verb, unlocking } from './verb.ts';

/** Lines of each list that people are shown; with --json there are more. */
const shownMax = 20;

export const rebuild: Verb = {
  define: (program) =>
    program
      .command('rebuild')
      .description('make a new catalog from volumes and roots.log, when index.db is lost')
      .argument('<dir>', 'the store')
      .option('--accept-gap', 'let collection go on without what could not be brought back'),
  async run(context, [directory], options) {
    const { output } = context;
    const progress = new Progress(output, 'rebuild', 'blob');
    const result = await unlocking(directory!, context, (key) =>
      rebuildStore(directory!, {
        ...key,
        acceptGap: options['acceptGap'] === true,
        onProgress: ({ blobs, bytes }) => progress.update({ files: blobs, bytes }),
      }),
    ).finally(() => progress.end());
    tell(output, result);
    const { blobs, bytes, roots, owners, milliseconds } = result;
    await output.line(
      `${verdict(result)}: ${showCount(blobs, 'blob')}, ${showBytes(bytes)}, ${showCount(roots, 'root')}, ${showCount(owners, 'reference')} by owners, in ${showSeconds(milliseconds / 1000)}`,
    );
    await output.result(result);
    return isWhole(result) ? exitCodes.fine : exitCodes.damage;
  },
};

function isWhole({ damagedCopies, missing, lostBlobs, gap }: RebuildResult): boolean {
  return damagedCopies === 0 && missing.length === 0 && lostBlobs === 0 && gap === undefined;
}

function verdict(result: RebuildResult): string {
  if (isWhole(result)) return 'rebuilt';
  const { lostBlobs, missing, damagedCopies, roots, owners } = result;
  if (missing.length > 0) return `rebuilt in part, ${showCount(missing.length, 'volume')} missing`;
  if (lostBlobs > 0) return `rebuilt, ${showCount(lostBlobs, 'blob')} lost`;
  if (damagedCopies > 0) return `rebuilt, ${showCount(damagedCopies, 'copy', 'copies')} damaged`;
  return roots + owners === 0
    ? 'rebuilt, without any root or owner'
    : 'rebuilt, perhaps without the newest roots and owners';
}

function tell(output: Output, result: RebuildResult): void {
  const { damaged, damagedCopies, missing, lost, gap, salvaged } = result;
  for (const { volume, name, reason } of damaged.slice(0, shownMax))
    output.note(`damaged: ${volume}: ${showName(name)}: ${reason}`);
  if (damagedCopies > shownMax) output.note(`and ${damagedCopies - shownMax} more damaged`);
  if (salvaged > 0) output.note(`${showCount(salvaged, 'record')} salvaged from damaged volumes`);
  for (const { volume, path } of missing) output.note(`missing: volume ${volume}: ${path}`);
  for (const { as, name, id } of lost.slice(0, shownMax))
    output.note(`lost: ${id}, of ${as} ${showName(name)}`);
  if (lost.length > shownMax) output.note(`and ${lost.length - shownMax} more that refer to what is lost`);
  if (gap !== undefined) output.note(`gap: ${gap}`);
}
