/** `holdfast compact DIR`: gives the space of dead small blobs back, and ends moves that were interrupted. */
import type { Verb } from './verb.ts';
import { move } from './volumes.ts';

export const compact: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('compact')
      .description('copy what lives out of volumes that are mostly dead, and remove them')
      .argument('<dir>', 'the store'),
  run: (context, [directory]) => move(context, directory!, (store, how) => store.compact(how)),
};
