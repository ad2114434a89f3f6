/** `holdfast repair DIR`: has what is damaged or lost from copies, alternates, or another store. */
import type { RepairOptions, RepairResult, Store } from '../index.ts';
import { exitCodes } from './exit.ts';
import { showCount } from './units.ts';
import { type Context, type Verb, openReadable, unlockingOther, withStore } from './verb.ts';

/** Lines that people are shown; with --json there are all. */
const shownMax = 20;

export const repair: Verb = {
  define: (program) =>
    program
      .command('repair')
      .description('scrub, and have what is damaged from other copies, alternates, or another store')
      .argument('<dir>', 'the store')
      .option('--from <store>', 'another store, to be asked for what is not to be had otherwise'),
  async run(context, [directory], options) {
    const { output, signal } = context;
    const from = options['from'] as string | undefined;
    const work = (how: RepairOptions<Store>): Promise<RepairResult> =>
      withStore(directory!, context, (store) => store.repair({ ...how, signal }));
    const result = from === undefined ? await work({}) : await withOther(context, from, work);
    const { healed, sources, remaining, unreachable } = result;
    for (const { id, reason } of remaining.slice(0, shownMax)) output.note(`damaged still: ${id}: ${reason}`);
    if (remaining.length > shownMax) output.note(`… and ${remaining.length - shownMax} more`);
    if (unreachable > 0)
      output.note(
        `${showCount(unreachable, 'borrowed blob')} of which nothing can be said: an alternate is away`,
      );
    const whence = `${sources.mirrors} from mirrors, ${sources.alternates} from alternates, ${sources.from} from ${from ?? 'another store'}`;
    await output.line(`${showCount(healed, 'blob')} healed (${whence}); ${remaining.length} damaged still`);
    await output.result(result);
    if (remaining.length > 0) return exitCodes.damage;
    return unreachable > 0 ? exitCodes.unavailable : exitCodes.fine;
  },
};

async function withOther(
  context: Context,
  from: string,
  work: (how: RepairOptions<Store>) => Promise<RepairResult>,
): Promise<RepairResult> {
  const other = await unlockingOther(from, context, (key) => openReadable(from, key));
  try {
    return await work({ from: other });
  } finally {
    await other.close();
  }
}
