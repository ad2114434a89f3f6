/** What a store is, told without opening it: whether it asks for a key, above all. */
import type { StoreParameters } from './api.ts';
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
