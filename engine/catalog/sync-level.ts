/** How durable commits of a connection are: less for the length of one transaction, whatever becomes of that. */
import type { Database } from '../driver.ts';
import { invariant } from '../errors.ts';

export class SyncLevel {
  readonly #db: Database;
  /** What `synchronous` has to be again. */
  #kept: number | undefined;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Runs a transaction of which the commit costs no sync. */
  lowered<Result>(transaction: () => Result): Result {
    this.restore();
    this.#kept = this.#db.pragma('synchronous', { simple: true }) as number;
    try {
      this.#db.pragma('synchronous = NORMAL');
      return transaction();
    } finally {
      try {
        this.restore();
      } catch {
        // What failed first is told, since it says whether the disk is in doubt. Whoever writes next comes to this again.
      }
    }
  }

  /** Before every transaction, which must not run where this throws. */
  restore(): void {
    if (this.#kept === undefined) return;
    // It is not changed within a transaction: one that could not be rolled back.
    if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
    this.#db.pragma(`synchronous = ${this.#kept}`);
    invariant(this.#db.pragma('synchronous', { simple: true }) === this.#kept, 'puts are synced');
    this.#kept = undefined;
  }
}
