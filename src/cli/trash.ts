/** `holdfast trash DIR`: the deleted roots that can be brought back. */
import { exitCodes } from './exit.ts';
import { showName, showTime } from './units.ts';
import { type Verb, brief, withReadableStore } from './verb.ts';

export const trash: Verb = {
  define: (program) =>
    program
      .command('trash')
      .description('deleted roots whose content is still here; "undelete" brings one back')
      .argument('<dir>', 'the store'),
  async run(context, [directory]) {
    const { output } = context;
    const deleted = await withReadableStore(directory!, context, (store) => store.roots.deleted(), brief);
    for (const { name, id, deletedMs, sequence, keptUntilMs } of deleted) {
      const kept =
        keptUntilMs === undefined ? 'held by something else' : `kept until ${showTime(keptUntilMs)}`;
      await output.line(
        `${showTime(deletedMs)}  ${id.slice(0, 12)}  ${showName(name)}  (change ${sequence}, ${kept})`,
      );
    }
    await output.result({ deleted });
    return exitCodes.fine;
  },
};
