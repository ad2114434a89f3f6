/** Bounds the catalog's WAL: generous while the disk has room, tight when it is nearly full, so that what is committed can always be copied back. */
import type { Database } from '../driver.ts';
import { systemCode } from '../errors.ts';

/** Pages after which a commit checkpoints by itself: 64 MiB of 4 KiB pages. A page that many commits changed is copied back once. */
export const checkpointPages = 16_384;
/** The same on a disk that is nearly full. What the catalog still has to grow by then stays below the ballast. */
const checkpointPagesLow = 128;
/** Nearly full: less is free than a WAL of the generous size may have to be copied back into, twice over. */
const lowBytes = 2 * checkpointPages * 4096;

export class Checkpoints {
  readonly #db: Database;
  readonly #freeBytes: () => number;
  #low = false;

  /** `freeBytes` of the catalog's disk; where it throws, the disk counts as nearly full. */
  constructor(db: Database, freeBytes: () => number) {
    this.#db = db;
    this.#freeBytes = freeBytes;
  }

  /** Before a transaction: fits the bound to the room there is. A few microseconds. */
  adapt(): void {
    const low = this.#isLow();
    if (low === this.#low) return;
    this.#low = low;
    this.#db.pragma(`wal_autocheckpoint = ${low ? checkpointPagesLow : checkpointPages}`);
  }

  /** Before work that must go on without room: where the disk is nearly full, the WAL's space is given back to it. */
  makeRoom(): void {
    if (this.#isLow()) this.truncate();
  }

  /** Copies all of the WAL back and gives its space to the disk, as far as readers and room allow. */
  truncate(): void {
    try {
      this.#db.pragma('wal_checkpoint(TRUNCATE)');
    } catch (error) {
      // Without room the WAL stays, and is as good as before.
      if (systemCode(error) !== 'SQLITE_FULL') throw error;
    }
  }

  #isLow(): boolean {
    try {
      return this.#freeBytes() < lowBytes;
    } catch {
      return true;
    }
  }
}
