/** `holdfast push DIR REMOTE [ROOT...]`: makes roots at another store, or at several at once, what they are here. */
import { type PushOptions, push as pushRoots } from '../index.ts';
import { pushSeveral } from './push-several.ts';
import {
  type TransferOptions,
  addRemoteArguments,
  earlyStart,
  tellTransfer,
  withJobs,
  withRemote,
} from './remote.ts';
import { type Verb, asItLies, withReadableStore } from './verb.ts';

interface PushVerbOptions extends TransferOptions {
  readonly also: readonly string[];
}

export const push: Verb = {
  define: (program) =>
    addRemoteArguments(
      program
        .command('push')
        .description('give roots, and all they reach, to another store')
        .argument('<dir>', 'the store'),
    ).option(
      '--also <remote>',
      'to this one too, at the same time and reading once; may be given several times',
      (one: string, all: readonly string[]) => [...all, one],
      [] as readonly string[],
    ),
  async run(surrounding, [directory, remote, ...names], given) {
    const { also = [], ...said } = given as Partial<PushVerbOptions>;
    const { context, byLocators } = await asItLies(
      directory!,
      withJobs(surrounding, said),
      said.byLocators === true,
    );
    const options = { ...said, ...(byLocators ? ({ byLocators } as const) : {}) };
    const how: PushOptions = {
      signal: context.signal,
      ...(names.length === 0 ? {} : { roots: names }),
      ...(byLocators ? { by: 'locators' } : {}),
      ...(options.allowRollback === true ? { rollback: 'allow' } : {}),
    };
    const several = also.length > 0;
    const early = earlyStart(remote!, directory!);
    try {
      return await withReadableStore(
        directory!,
        context,
        (store) =>
          several
            ? pushSeveral(store, [remote!, ...also], { context, directory: directory!, options, how })
            : tellTransfer(context, 'push', (onProgress) =>
                withRemote(remote!, 'push', {
                  context,
                  directory: directory!,
                  options,
                  early,
                  work: (transport) => pushRoots(store, transport, { ...how, onProgress }),
                }),
              ),
        several ? {} : { meanwhile: () => early.begin() },
      );
    } finally {
      await early.end();
    }
  },
};
