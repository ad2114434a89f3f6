/** `holdfast init DIR`: makes a store in an absent or empty folder. */
import { Option } from 'commander';
import {
  type ChunkingMode,
  type CompressionMode,
  type EncryptionParameters,
  type Layout,
  type Secret,
  type Store,
  StoreError,
  openStore,
  readParameters,
} from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { type ReplicaOptions, initReplica } from './init-replica.ts';
import { describeSlot, tellRecoveryKey } from './keys.ts';
import { askNewPassphrase, isGiven, readSecret, secretToOpen, wipe } from './secret.ts';
import { type Context, type Verb, brief } from './verb.ts';

type InitOptions = {
  readonly compress?: CompressionMode;
  readonly chunking?: ChunkingMode;
  readonly layout?: Layout;
  readonly encrypt?: true;
  readonly padding?: EncryptionParameters['padding'];
  readonly recovery?: true;
} & Partial<ReplicaOptions>;

export const init: Verb = {
  define: (program) =>
    program
      .command('init')
      .description('make a store in an absent or empty folder')
      .argument('<dir>', 'the folder')
      .addOption(
        new Option(
          '--compress <mode>',
          'what the store compresses: nothing (unless said otherwise), what is worth it, everything',
        ).choices(['off', 'auto', 'always']),
      )
      .addOption(
        new Option(
          '--chunking <mode>',
          'cut large blobs where their content says so, to store alike parts once; off unless said otherwise',
        ).choices(['off', 'fastcdc']),
      )
      .addOption(
        new Option(
          '--layout <layout>',
          'large blobs as files (unless said otherwise), or all content in SQLite volumes',
        ).choices(['hybrid', 'sqlite-only']),
      )
      .option('--encrypt', 'encrypt the store; without one of the keys below, asks for a passphrase')
      .option('--recovery', 'with --encrypt: make a recovery key as well, and print it')
      .addOption(
        new Option('--padding <how>', 'with --encrypt: round sizes up, by 12 % at most').choices([
          'none',
          'padme',
        ]),
      )
      .addOption(
        new Option(
          '--replica-of <store>',
          'a replica of the encrypted store in this folder, or at ssh:// or http(s)://: its wrapped keys and parameters, and no secret',
        ).conflicts(['compress', 'chunking', 'layout', 'encrypt', 'padding', 'recovery']),
      )
      .option('--token-file <file>', '--replica-of http(s): the token is in this file')
      .option(
        '--tls-ca <file>',
        '--replica-of https: trust the certificates in this file (PEM), and no others',
      )
      .option('--allow-plain-http', '--replica-of http: send the token without TLS to another machine too'),
  async run(context, [directory], given) {
    const options = given as unknown as InitOptions;
    if (options.replicaOf !== undefined)
      return await initReplica(context, directory!, { ...options, replicaOf: options.replicaOf });
    if ([options.tokenFile, options.tlsCa, options.allowPlainHttp].some((one) => one !== undefined))
      throw new UsageError('--token-file, --tls-ca and --allow-plain-http go with --replica-of');
    const { encrypt, padding, recovery, compress: compression = 'off' } = options;
    const { chunking = 'off', layout = 'hybrid' } = options;
    const wanted = isGiven(context.key) || padding !== undefined || recovery === true;
    if (encrypt !== true && wanted)
      throw new UsageError('a key, --recovery and --padding are for an encrypted store: say --encrypt');
    const isThere = await readParameters(directory!).then(
      () => true,
      () => false, // opening says what is wrong
    );
    if (isThere && recovery === true)
      throw new UsageError(
        `${directory!} is a store already: use holdfast keys add ${directory!} --recovery`,
      );
    const secret = encrypt === true ? await firstSecret(directory!, { ...context, isThere }) : undefined;
    const store = await openStore(directory!, {
      schedule: 'leave',
      ...brief,
      mode: 'create',
      compression,
      chunking,
      layout,
      ...(secret === undefined ? {} : { encryption: { secret, padding: padding ?? 'none' } }),
      signal: context.signal,
    }).finally(() => wipe(secret));
    try {
      if (encrypt === true && store.parameters.encryption === null)
        throw new StoreError('conflict', `${directory!} is a store already, and is not encrypted`);
      if (isThere) checkAsAsked(directory!, store, options);
      await tell(store, {
        ...context,
        directory: directory!,
        created: !isThere,
        recovery: recovery === true,
      });
    } finally {
      await store.close();
    }
    return exitCodes.fine;
  },
};

/** What is fixed when a store is made stays; who asked for something else is to know. */
function checkAsAsked(
  directory: string,
  { parameters }: Store,
  { compress, chunking, layout, padding }: InitOptions,
): void {
  const fixed = [
    ['compress', compress, parameters.compression.mode],
    ['chunking', chunking, parameters.chunking.mode],
    ['layout', layout, parameters.layout],
    ['padding', padding, parameters.encryption?.padding],
  ] as const;
  for (const [option, asked, is] of fixed)
    if (asked !== undefined && asked !== is)
      throw new StoreError(
        'conflict',
        `${directory} is a store already, made with --${option} ${is}, which stays: for --${option} ${asked} make another store`,
      );
}

async function firstSecret(
  directory: string,
  context: Context & { readonly isThere: boolean },
): Promise<Secret | undefined> {
  if (context.isThere) return await secretToOpen(directory, context.key, context);
  return (
    (await readSecret(context.key, context)) ??
    (await askNewPassphrase(context, '--key-file or --passphrase-fd'))
  );
}

async function tell(
  store: Store,
  context: Context & { readonly directory: string; readonly created: boolean; readonly recovery: boolean },
): Promise<void> {
  const { output, directory, created, recovery } = context;
  const { storeId, format } = await store.stats();
  await output.line(
    created ? `made store ${storeId} in ${directory}` : `${directory} is store ${storeId} already`,
  );
  const { encryption } = store.parameters;
  if (encryption === null) return await output.result({ directory, storeId, format, created, encryption });
  const added = recovery ? await store.keys.add('recovery-key') : undefined;
  const { realm, slots } = await store.keys.list();
  await output.line(`realm ${realm}, padding ${encryption.padding}`);
  for (const slot of slots) await output.line(describeSlot(slot));
  if (added?.recoveryKey !== undefined) await tellRecoveryKey(context, added.recoveryKey);
  else if (created)
    output.note(
      `Nobody can read this store without its key. "holdfast keys add ${directory} --recovery" makes a second one.`,
    );
  await output.result({
    directory,
    storeId,
    format,
    created,
    encryption,
    slots,
    ...(added === undefined ? {} : { recoveryKey: added.recoveryKey }),
  });
}
