/** `holdfast gc DIR`: frees what nothing refers to any more. */
import { exitCodes } from './exit.ts';
import { parseDuration, showBytes, showCount } from './units.ts';
import { type Verb, withStore } from './verb.ts';

export const gc: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('gc')
      .description('free what nothing refers to any more')
      .argument('<dir>', 'the store')
      .option('--grace <duration>', 'leave alone what lost its last reference less than this ago', '24h')
      .option('--dry-run', 'only tell what would be freed'),
  async run(context, [directory], options) {
    const { output, signal } = context;
    const graceMs = parseDuration(String(options['grace']));
    const dryRun = options['dryRun'] === true;
    const result = await withStore(directory!, context, (store) => store.gc({ graceMs, dryRun, signal }));
    const verb = dryRun ? 'would free' : 'freed';
    await output.line(
      `${verb} ${showCount(result.deleted, 'blob')}, ${showBytes(result.freedBytes)}; ${showCount(result.held, 'blob')} within the grace or in use`,
    );
    if (result.blocked !== undefined) output.note(`holdfast: nothing more was freed: ${result.blocked}`);
    await output.result({ ...result, dryRun });
    return result.blocked === undefined ? exitCodes.fine : exitCodes.failed;
  },
};
