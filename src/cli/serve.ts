/** `holdfast serve DIR --stdio`: answers one peer on stdin and stdout, as ssh and other programs start it. */
import { serve as servePeer, streamTransport } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { type Verb, withReadableStore } from './verb.ts';

export const serve: Verb = {
  define: (program) =>
    program
      .command('serve')
      .description('let another store pull from this one and push to it')
      .argument('<dir>', 'the store')
      .option('--stdio', 'speak the sync protocol on stdin and stdout')
      .option('--only <what>', 'pull: the peer may only take; push: it may only give'),
  async run(context, [directory], options) {
    const { stdio, only } = options as { readonly stdio?: true; readonly only?: string };
    if (stdio !== true) throw new UsageError('there is only --stdio to serve on');
    if (context.output.json)
      throw new UsageError('stdout belongs to the protocol: serve has no result as JSON');
    if (only !== undefined && only !== 'pull' && only !== 'push')
      throw new UsageError(`--only is pull or push, not ${JSON.stringify(only)}`);
    await withReadableStore(directory!, context, async (store) => {
      const transport = streamTransport({ input: process.stdin, output: process.stdout });
      await servePeer(store, transport, { allow: only ?? 'both', signal: context.signal });
    });
    return exitCodes.fine;
  },
};
