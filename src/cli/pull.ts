/** `holdfast pull DIR REMOTE [ROOT...]`: makes roots here what they are at another store. */
import { pull as pullRoots } from '../index.ts';
import {
  type TransferOptions,
  addRemoteArguments,
  earlyStart,
  tellTransfer,
  withJobs,
  withRemote,
} from './remote.ts';
import { type Verb, asItLies, withStore } from './verb.ts';

export const pull: Verb = {
  define: (program) =>
    addRemoteArguments(
      program
        .command('pull')
        .description('take roots, and all they reach, from another store')
        .argument('<dir>', 'the store'),
    ),
  async run(surrounding, [directory, remote, ...names], given) {
    const options = given as TransferOptions;
    const { context, byLocators } = await asItLies(
      directory!,
      withJobs(surrounding, options),
      options.byLocators === true,
    );
    const early = earlyStart(remote!, directory!);
    try {
      return await withStore(
        directory!,
        context,
        (store) =>
          tellTransfer(context, 'pull', (onProgress) =>
            withRemote(remote!, 'pull', {
              context,
              directory: directory!,
              options: { ...options, ...(byLocators ? { byLocators } : {}) },
              early,
              work: (transport) =>
                pullRoots(store, transport, {
                  signal: context.signal,
                  onProgress,
                  ...(names.length === 0 ? {} : { roots: names }),
                  ...(byLocators ? { by: 'locators' } : {}),
                  ...(options.allowRollback === true ? { rollback: 'allow' } : {}),
                }),
            }),
          ),
        { meanwhile: () => early.begin() },
      );
    } finally {
      await early.end();
    }
  },
};
