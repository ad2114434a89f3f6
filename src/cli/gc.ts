/** `holdfast gc DIR`: frees what nothing refers to any more. */
import { parseCap, showEvicted, withCapOptions } from './cap.ts';
import { UsageError, exitCodes } from './exit.ts';
import { parseDuration, showBytes, showCount, showName, showTime } from './units.ts';
import { type Verb, withStore } from './verb.ts';

export const gc: Verb = {
  keyless: true,
  define: (program) =>
    withCapOptions(program.command('gc'))
      .description('free what nothing refers to any more')
      .argument('<dir>', 'the store')
      .option('--grace <duration>', 'leave alone what lost its last reference less than this ago', '24h')
      .option('--dry-run', 'only tell what would be freed, and when')
      .option('--without <roots...>', 'with --dry-run: and what only these roots hold'),
  async run(context, [directory], options) {
    const { output, signal } = context;
    const graceMs = parseDuration(String(options['grace']));
    const dryRun = options['dryRun'] === true;
    const without = options['without'] as readonly string[] | undefined;
    if (without !== undefined && !dryRun) throw new UsageError('--without goes with --dry-run');
    const wanted = {
      graceMs,
      dryRun,
      signal,
      ...parseCap(options),
      ...(without === undefined ? {} : { without }),
    };
    const result = await withStore(directory!, context, (store) => store.gc(wanted));
    const verb = dryRun ? 'would free' : 'freed';
    await output.line(
      `${verb} ${showCount(result.deleted, 'blob')}, ${showBytes(result.freedBytes)}; ${showCount(result.held, 'blob')} within the grace or in use`,
    );
    const { later, without: alone, evicted } = result;
    if (evicted !== undefined) await output.line(`${dryRun ? 'would have ' : ''}${showEvicted(evicted)}`);
    if (later !== undefined)
      await output.line(
        `later: ${showCount(later.blobs, 'blob')}, ${showBytes(later.bytes)}, from ${showTime(later.firstMs)} to ${showTime(later.lastMs)}`,
      );
    if (alone !== undefined)
      await output.line(
        `without ${without!.map((root) => showName(JSON.stringify(root))).join(', ')}: ${showCount(alone.blobs, 'blob')}, ${showBytes(alone.bytes)} more, when the grace is over`,
      );
    if (result.blocked !== undefined) output.note(`holdfast: nothing more was freed: ${result.blocked}`);
    await output.result({ ...result, dryRun });
    return result.blocked === undefined ? exitCodes.fine : exitCodes.failed;
  },
};
