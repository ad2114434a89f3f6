/** `holdfast init DIR --replica-of STORE`: a store of the same realm, that takes everything and can open nothing. */
import { type ReplicaSeed, type StoreParameters, type Transport, fetchSeed, openStore } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { type RemoteOptions, isAddress, withRemote } from './remote.ts';
import { isGiven } from './secret.ts';
import { type Context, brief, openReadable } from './verb.ts';

export type ReplicaOptions = Pick<RemoteOptions, 'tokenFile' | 'tlsCa' | 'allowPlainHttp'> & {
  readonly replicaOf: string;
};

export async function initReplica(
  context: Context,
  directory: string,
  { replicaOf: source, ...options }: ReplicaOptions,
): Promise<number> {
  const { output, signal } = context;
  if (isGiven(context.key))
    throw new UsageError('a replica has the keys of its source: whoever has a secret opens it later');
  const replicaOf = await seedOf(context, source, options);
  const store = await openStore(directory, {
    schedule: 'leave',
    ...brief,
    mode: 'create',
    replicaOf,
    signal,
  });
  try {
    const { storeId, format } = await store.stats();
    const { encryption } = store.parameters;
    const { realm, slots } = await store.keys.list();
    await output.line(`store ${storeId} in ${directory} is a replica of realm ${realm}`);
    output.note('It takes and gives by locators: "holdfast pull" and "holdfast push" need no key for it.');
    await output.result({ directory, storeId, format, encryption, slots });
  } finally {
    await store.close();
  }
  return exitCodes.fine;
}

/** From a folder of this machine, or from whoever serves the store. */
async function seedOf(
  context: Context,
  source: string,
  options: RemoteOptions,
): Promise<ReplicaSeed<StoreParameters>> {
  const { signal } = context;
  if (isAddress(source)) {
    const work = (transport: Transport): ReturnType<typeof fetchSeed> => fetchSeed(transport, { signal });
    return await withRemote(source, 'pull', { context, directory: '', options, work });
  }
  const { tokenFile, tlsCa, allowPlainHttp } = options;
  if ([tokenFile, tlsCa, allowPlainHttp].some((one) => one !== undefined))
    throw new UsageError('--token-file, --tls-ca and --allow-plain-http are for http:// and https://');
  const store = await openReadable(source, { ...brief, signal });
  try {
    return await store.sealed.seed();
  } finally {
    await store.close();
  }
}
