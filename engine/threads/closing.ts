/** What the commit thread has open, and giving it back. */
import type { Catalog } from '../catalog/catalog.ts';
import type { Lease, LibraryMarker } from '../catalog/leases.ts';
import type { Committer } from '../commit/committer.ts';
import { removeFolderIfThere } from '../commit/create.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import type { Alternates } from '../content/alternates.ts';
import type { Lending } from '../content/lending.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Files } from '../host.ts';
import { type RecoverContext, tempFolders } from '../maintenance/recover.ts';
import type { Realm } from '../keys/realm.ts';

export interface Parts {
  readonly realm: Realm;
  readonly catalog: Catalog;
  readonly volumes: VolumeSet;
  readonly committer: Committer;
  readonly recovery: RecoverContext;
  readonly lease: Lease;
  readonly marker: LibraryMarker;
  readonly opened: { readonly wallMs: number; readonly monotonicMs: number };
  readonly alternates: Alternates;
  readonly lending: Lending;
  readonly library: string;
}

/** Every step is tried, whatever becomes of those before; returns the first failure. Of a writer in doubt nothing more is written. */
export function closeParts(parts: Parts, files: Files, poisoned: boolean): unknown {
  const { catalog, volumes, recovery, lease, marker, alternates } = parts;
  let temps: string[] = [];
  const steps: (() => void)[] = [
    () => {
      if (!poisoned) temps = tempFolders(recovery).map((folder) => files.join(folder, lease.uuid));
    },
    () => alternates.close(),
    () => volumes.close(),
    () => {
      if (poisoned) return;
      // Idle hands the volume on, and a lease that is given back needs no recovery.
      catalog.transaction((transaction) => {
        transaction.changed = true;
        catalog.db.prepare('UPDATE volumes SET lease = NULL WHERE lease = ?').run(lease.uuid);
        catalog.db.prepare('DELETE FROM leases WHERE uuid = ?').run(lease.uuid);
      });
      catalog.checkpoints.truncate();
    },
    () => catalog.close(),
    () => {
      if (poisoned) return;
      for (const folder of temps) removeFolderIfThere(files, folder);
    },
    () => marker.close(),
    () => lease.close(),
  ];
  let failure: unknown;
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      // On a full disk the lease cannot be given back; the next opener finds it dead, and nothing else is missing.
      if (!StoreError.is(toStoreError(error, 'closing'), 'no-space')) failure ??= error;
    }
  }
  return failure;
}
