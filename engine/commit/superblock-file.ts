/** Reads the superblock of a store, for whoever needs no more of it. */
import type { StoreLayout } from '../catalog/layout.ts';
import type { Provider } from '../codec/provider.ts';
import { type Superblock, decodeSuperblock } from '../codec/superblock.ts';
import type { Files } from '../host.ts';

/** Undefined where there is none: the folder is no store, or not one yet. */
export function readSuperblock(
  files: Files,
  layout: StoreLayout,
  provider: Provider,
): Superblock | undefined {
  const size = files.facts(layout.superblock)?.size;
  if (size === undefined) return undefined;
  const bytes = new Uint8Array(Math.min(size, 65_536));
  const file = files.open(layout.superblock, 'read');
  try {
    file.read(bytes, 0);
  } finally {
    file.close();
  }
  return decodeSuperblock(provider, bytes);
}
