/** The lock of a rebuild: while it is held nobody opens the store, and it is not had while somebody has the store open. */
import type { Database, DatabaseClass } from '../driver.ts';
import { StoreError, systemCode } from '../errors.ts';
import type { FileFacts, Files } from '../host.ts';
import type { StoreLayout } from './layout.ts';
import { isDead, leasesIn } from './leases.ts';

/**
 * Whoever opens takes a lease and then looks for this lock; whoever rebuilds takes this lock and then looks for leases. So of two at
 * the same moment one sees the other, or both do. The file stays: to remove it would let two have a lock of that name.
 */
export class RebuildLock {
  readonly #db: Database;

  /** `busy` when another rebuild is under way, or the store is open. */
  constructor(driver: DatabaseClass, files: Files, layout: StoreLayout) {
    this.#db = new driver(layout.rebuilding, { timeout: 0 });
    try {
      this.#db.pragma('journal_mode = MEMORY');
      this.#db.pragma('synchronous = OFF');
      lock(this.#db);
      const open = leasesIn(files, layout.leases).filter(
        (uuid) => !isDead(driver, files, { folder: layout.leases, uuid }),
      );
      if (open.length > 0)
        throw new StoreError('busy', 'the store is open; close it everywhere before its catalog is rebuilt', {
          leases: open,
        });
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  release(): void {
    this.#db.close();
  }
}

/** For whoever opens, with the lease taken: `busy` while a catalog is rebuilt, or when the one that was `opened` is not there any more. */
export function refuseWhileRebuilt(
  driver: DatabaseClass,
  files: Files,
  { layout, opened }: { readonly layout: StoreLayout; readonly opened: FileFacts | undefined },
): void {
  if (files.facts(layout.rebuilding) === undefined) return;
  const db = new driver(layout.rebuilding, { timeout: 0, fileMustExist: true });
  try {
    lock(db);
    db.exec('ROLLBACK');
  } finally {
    db.close();
  }
  if (opened?.ino !== files.facts(layout.index)?.ino)
    throw new StoreError('busy', 'the catalog was replaced by a rebuild while it was opened');
}

function lock(db: Database): void {
  try {
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    if (systemCode(error)?.startsWith('SQLITE_BUSY') !== true) throw error;
    throw new StoreError('busy', 'the catalog of this store is being rebuilt', {}, error);
  }
}
