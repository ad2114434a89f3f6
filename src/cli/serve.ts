/** `holdfast serve DIR`: answers one peer on stdin and stdout, as ssh starts it, or peers with tokens over HTTP. */
import { Option } from 'commander';
import { serve as servePeer, streamTransport } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { type HttpServing, serveHttp } from './serve-http.ts';
import { addJobs, byLocatorsFlag, withJobs } from './remote.ts';
import { type Verb, asItLies, withReadableStore } from './verb.ts';

interface ServeVerbOptions extends HttpServing {
  readonly stdio?: true;
  readonly jobs?: string;
  readonly http?: string;
  readonly byLocators?: true;
  readonly only?: 'pull' | 'push' | 'append';
}

export const serve: Verb = {
  define: (program) =>
    addJobs(program.command('serve'))
      .description('let other stores pull from this one and push to it')
      .argument('<dir>', 'the store')
      .option('--stdio', 'speak the sync protocol on stdin and stdout')
      .option('--http <host:port>', 'listen there; a port alone is of 127.0.0.1, port 0 any that is free')
      .option('--tls-cert <file>', '--http: the certificate and its chain (PEM)')
      .option('--tls-key <file>', '--http: its key (PEM)')
      .option('--allow-plain-http', '--http: listen without TLS where other machines can reach it')
      .option(
        byLocatorsFlag,
        'ask for no passphrase: without its keys an encrypted store is served to others of its realm',
      )
      .addOption(
        new Option(
          '--only <what>',
          '--stdio: the peer may only take (pull), only give (push), or only give roots that are new here (append)',
        ).choices(['pull', 'push', 'append']),
      ),
  async run(surrounding, [directory], given) {
    const options = given as ServeVerbOptions;
    // Without keys it is served as it lies.
    const { context } = await asItLies(
      directory!,
      withJobs(surrounding, options),
      options.byLocators === true,
    );
    const { stdio, http, only, tlsCert, tlsKey, allowPlainHttp } = options;
    if ((stdio === undefined) === (http === undefined))
      throw new UsageError('serve on --stdio, or on --http');
    if (http !== undefined) {
      if (only !== undefined)
        throw new UsageError('--only is for --stdio: over HTTP its token says what a peer may do');
      return await serveHttp(context, directory!, { ...options, at: http });
    }
    if ([tlsCert, tlsKey, allowPlainHttp].some((option) => option !== undefined))
      throw new UsageError('--tls-cert, --tls-key and --allow-plain-http are for --http');
    if (context.output.json)
      throw new UsageError('stdout belongs to the protocol: serve --stdio has no result as JSON');
    await withReadableStore(directory!, context, async (store) => {
      const transport = streamTransport({ input: process.stdin, output: process.stdout });
      await servePeer(store, transport, { allow: only ?? 'both', signal: context.signal });
    });
    return exitCodes.fine;
  },
};
