/** `holdfast push DIR REMOTE [ROOT...]`: makes roots at another store what they are here. */
import { push as pushRoots } from '../index.ts';
import { type TransferOptions, addRemoteArguments, tellTransfer, withRemote } from './remote.ts';
import { type Verb, withReadableStore } from './verb.ts';

export const push: Verb = {
  define: (program) =>
    addRemoteArguments(
      program
        .command('push')
        .description('give roots, and all they reach, to another store')
        .argument('<dir>', 'the store'),
    ),
  run: (context, [directory, remote, ...names], given) =>
    withReadableStore(directory!, context, (store) =>
      tellTransfer(context, 'push', (onProgress) =>
        withRemote(remote!, 'push', {
          context,
          directory: directory!,
          options: given,
          work: (transport) =>
            pushRoots(store, transport, {
              signal: context.signal,
              onProgress,
              ...(names.length === 0 ? {} : { roots: names }),
              ...((given as TransferOptions).allowRollback === true ? { rollback: 'allow' } : {}),
            }),
        }),
      ),
    ),
};
