/** What a store is, told without opening it: whether it asks for a key, above all. */
import type { ReplicaSeed, StoreParameters } from './api.ts';
import { layoutOf } from './catalog/layout.ts';
import { readSuperblock } from './commit/superblock-file.ts';
import { StoreError, toStoreError } from './errors.ts';
import type { Host } from './host.ts';
import { nodeHost } from './hosts/node.ts';
import { nodeProvider } from './providers/node.ts';

/**
 * The parameters of the store in a folder, from its superblock: one small file is read, nothing is opened, locked or recovered.
 * `not-a-store` where there is none; `corrupt` and `incompatible-format` as `openStore` says them.
 */
export async function readParameters(
  directory: string,
  options: { readonly host?: Host } = {},
): Promise<StoreParameters> {
  const { files } = options.host ?? nodeHost({ inline: true });
  let superblock;
  try {
    superblock = readSuperblock(files, layoutOf(files, directory), nodeProvider);
  } catch (error) {
    throw toStoreError(error, `looking at the store in ${directory}`, { path: directory });
  }
  if (superblock === undefined)
    throw new StoreError('not-a-store', `${directory} is not a store`, { path: directory });
  return superblock.parameters;
}

/** The parameters that a replica is to have. `invalid-argument` for a seed that is none, which may have come from anywhere. */
export function seedParameters(seed: ReplicaSeed<StoreParameters> | undefined): StoreParameters | undefined {
  if (seed === undefined) return undefined;
  const { keys, offered = [], parameters } = { ...seed } as Partial<ReplicaSeed<Partial<StoreParameters>>>;
  const areFiles = Array.isArray(offered) && [keys, ...offered].every((one) => one instanceof Uint8Array);
  const encryption: unknown = (parameters as Partial<StoreParameters> | null | undefined)?.encryption;
  if (!areFiles || typeof encryption !== 'object' || encryption === null)
    throw new StoreError(
      'invalid-argument',
      'replicaOf takes what sealed.seed() of an encrypted store gave: its file of keys, and its parameters',
    );
  return parameters as StoreParameters;
}
