/** `holdfast init DIR --replica-of STORE`: a store of the same realm, that takes everything and can open nothing. */
import { type ReplicaSeed, type StoreParameters, openStore } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { isGiven } from './secret.ts';
import { type Context, brief, openReadable } from './verb.ts';

export async function initReplica(context: Context, directory: string, source: string): Promise<number> {
  const { output, signal } = context;
  if (isGiven(context.key))
    throw new UsageError('a replica has the keys of its source: whoever has a secret opens it later');
  const replicaOf = await seedOf(context, source);
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

async function seedOf({ signal }: Context, directory: string): Promise<ReplicaSeed<StoreParameters>> {
  const source = await openReadable(directory, { ...brief, signal });
  try {
    return await source.sealed.seed();
  } finally {
    await source.close();
  }
}
