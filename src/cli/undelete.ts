/** `holdfast undelete DIR ROOT`: brings a deleted root back, as long as gc has not taken what it held. */
import { UsageError, exitCodes } from './exit.ts';
import { type Verb, brief, withStore } from './verb.ts';

export const undelete: Verb = {
  define: (program) =>
    program
      .command('undelete')
      .description('bring a deleted root back; "trash" tells which there are')
      .argument('<dir>', 'the store')
      .argument('<root>', 'the name it had')
      .option('--as <name>', 'under another name')
      .option('--sequence <number>', 'which of several, as "trash" numbers them (default: the last)'),
  async run(context, [directory, name], options) {
    const { output } = context;
    const { sequence, as = name } = options as { readonly sequence?: string; readonly as?: string };
    if (sequence !== undefined && !/^\d{1,15}$/.test(sequence))
      throw new UsageError(`not a number: ${JSON.stringify(sequence)}`);
    const which = sequence === undefined ? {} : { sequence: Number(sequence) };
    const id = await withStore(
      directory!,
      context,
      (store) => store.roots.restore(name!, { as: as!, ...which }),
      brief,
    );
    await output.line(`${JSON.stringify(as)} is ${id} again`);
    await output.result({ root: as, id });
    return exitCodes.fine;
  },
};
