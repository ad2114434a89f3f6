/** `holdfast push DIR REMOTE [ROOT...]`: makes roots at another store what they are here. */
import { push as pushRoots } from '../index.ts';
import { tellTransfer, withRemote } from './remote.ts';
import { type Verb, withReadableStore } from './verb.ts';

export const push: Verb = {
  define: (program) =>
    program
      .command('push')
      .description('give roots, and all they reach, to another store')
      .argument('<dir>', 'the store')
      .argument('<remote>', 'a folder, or ssh://user@host/path')
      .argument('[root...]', 'names of roots; all without it'),
  run: (context, [directory, remote, ...names]) =>
    withReadableStore(directory!, context, (store) =>
      tellTransfer(context, 'push', (onProgress) =>
        withRemote(remote!, 'push', {
          context,
          work: (transport) =>
            pushRoots(store, transport, {
              signal: context.signal,
              onProgress,
              ...(names.length === 0 ? {} : { roots: names }),
            }),
        }),
      ),
    ),
};
