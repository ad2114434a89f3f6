/** What a replica is made of, from a peer: its files of keys as they are, and its parameters. */
import { type ReplicaSeed, type StoreParameters, StoreError, nodeHost } from '../engine/index.ts';
import { Connection } from './connection.ts';
import { keysMax } from './protocol/limits.ts';
import { type PeerOptions, defaultStallMs } from './options.ts';
import type { Transport } from './transport.ts';

export type FetchSeedOptions = Pick<PeerOptions, 'host' | 'stallMs' | 'signal'>;

/**
 * Asks a peer that serves an encrypted store, and lets us pull, for what `openStore(…, { replicaOf })` takes. Nothing of it is secret
 * beyond what a copy of the store's folder gives: keys are wrapped. Closes the transport.
 */
export async function fetchSeed(
  transport: Transport,
  options: FetchSeedOptions = {},
): Promise<ReplicaSeed<StoreParameters>> {
  const { host = nodeHost(), stallMs = defaultStallMs, signal } = options;
  const connection = new Connection(transport, { host, stallMs });
  const abort = (): void =>
    void transport.close(new StoreError('unavailable', 'the seed is not wanted any more'));
  signal?.addEventListener('abort', abort, { once: true });
  try {
    signal?.throwIfAborted();
    const nobody = { storeId: 'none', namespace: 'locators', realm: new Uint8Array() } as const;
    connection.hello(nobody, ['content', 'manifest'], { seed: true });
    connection.send({ type: 'seed' });
    const seed = await answer(connection);
    connection.send({ type: 'bye' });
    await connection.close();
    return seed;
  } catch (error) {
    await connection.close(error).catch(() => undefined); // the error that ended it is the one to tell
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

async function answer(connection: Connection): Promise<ReplicaSeed<StoreParameters>> {
  const files: Uint8Array[] = [];
  while (files.length < keysMax) {
    const next = await connection.receive();
    if (next === undefined) throw new StoreError('unavailable', 'the peer closed without an answer');
    const { message } = next;
    if (message.type !== 'keys')
      throw new StoreError('corrupt', `the peer sends "${message.type}" where it has no place`);
    files.push(message.file);
    if (message.parameters.length === 0) continue;
    const [keys, ...offered] = files as [Uint8Array, ...Uint8Array[]];
    const parameters = decodeParameters(message.parameters);
    return { keys, ...(offered.length === 0 ? {} : { offered }), parameters };
  }
  throw new StoreError('limit-exceeded', 'the peer sends keys without end');
}

const names = [
  'smallMax',
  'extentBytes',
  'chunkBytes',
  'volumeBytesMax',
  'compression',
  'chunking',
  'layout',
  'encryption',
] as const satisfies readonly (keyof StoreParameters)[];

export function encodeParameters(parameters: StoreParameters): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(parameters));
}

/** What of them is wrong, opening says. */
function decodeParameters(bytes: Uint8Array): StoreParameters {
  let said: unknown;
  try {
    said = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new StoreError('corrupt', 'the parameters of the peer are no JSON', {}, error);
  }
  if (typeof said !== 'object' || said === null)
    throw new StoreError('corrupt', 'the parameters of the peer are no object');
  const known = said as Partial<StoreParameters>;
  if (Object.keys(known).some((name) => !(names as readonly string[]).includes(name)))
    throw new StoreError('incompatible-format', 'the peer has parameters that are not known here');
  return known as StoreParameters;
}
