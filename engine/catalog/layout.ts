/** Where things lie in a store's folder. */
import type { Files } from '../host.ts';

export interface StoreLayout {
  readonly root: string;
  readonly superblock: string;
  readonly index: string;
  readonly rootLog: string;
  readonly blobs: string;
  readonly volumes: string;
  readonly temps: string;
  readonly leases: string;
  readonly quarantine: string;
  readonly ballast: string;
  /** Of an encrypted store: its file of keys, and the same once more. */
  readonly keys: string;
  readonly keysCopy: string;
  /** Held while a store is being made; its presence says that what else lies there is an unfinished store of ours. */
  readonly creating: string;
  /** Locked while a catalog is rebuilt. */
  readonly rebuilding: string;
  /** The catalog that is being built. */
  readonly rebuilt: string;
  /** Folder of the alternates of this store, and of the stores that borrow from it: a file for each. */
  readonly alternates: string;
  readonly borrowers: string;
}

export function layoutOf(files: Files, root: string): StoreLayout {
  const at = (name: string): string => files.join(root, name);
  return {
    root,
    superblock: at('superblock'),
    index: at('index.db'),
    rootLog: at('roots.log'),
    blobs: at('blobs'),
    volumes: at('volumes'),
    temps: at('tmp'),
    leases: at('leases'),
    quarantine: at('quarantine'),
    ballast: at('ballast'),
    keys: at('keys'),
    keysCopy: at('keys.copy'),
    creating: at('creating.db'),
    rebuilding: at('rebuilding.db'),
    rebuilt: at('rebuilt.db'),
    alternates: at('alternates'),
    borrowers: at('borrowers'),
  };
}
