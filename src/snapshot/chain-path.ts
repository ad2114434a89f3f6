/** From a chain of nodes to a path: what the way from a root to a blob is called where the root is a snapshot. */
import { type BlobId, type Store, StoreError } from '../../engine/index.ts';
import { decodeMapNode, isLeaf } from '../../sync/tree/map-node.ts';
import { decodeEntry } from './entry.ts';

/**
 * The path to the last blob of a chain, whose first one is a snapshot; of a part of a folder or of a file, that folder's or file's. The
 * empty path is the snapshot itself. Undefined where the chain is not one of a snapshot, or its names cannot be read: without keys, or
 * because a node on the way is damaged.
 */
export async function pathOfChain(store: Store, chain: readonly BlobId[]): Promise<string | undefined> {
  const names: string[] = [];
  try {
    for (const [at, id] of chain.slice(0, -1).entries()) {
      const content = await store.getNode(id);
      if (content === undefined) return undefined;
      const node = decodeMapNode(content);
      if (!isLeaf(node)) continue;
      const pair = node.entries.find(({ links }) => links.some((link) => link.id === chain[at + 1]));
      if (pair === undefined) return undefined;
      const entry = decodeEntry(pair);
      names.push(entry.name);
      // What comes below a file are its chunks.
      if (entry.type === 'file') break;
    }
  } catch (error) {
    if (StoreError.is(error)) return undefined;
    throw error;
  }
  return names.join('/');
}
