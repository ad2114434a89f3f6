/** What other stores borrow from this one: their catalogs are asked before anything is deleted, and when one cannot be, nothing is. */
import { BlobReader, type BlobRow, isBorrowed } from '../catalog/blob-rows.ts';
import { openConnection } from '../catalog/connection.ts';
import { type StoreLayout, layoutOf } from '../catalog/layout.ts';
import { refuseOtherLibrary } from '../catalog/leases.ts';
import { type Registration, readRegistrations } from '../catalog/registrations.ts';
import { RowHasher, bucketOf, bucketRows, sumBytes, xorInto } from '../catalog/row-sums.ts';
import { type Transaction, readState } from '../catalog/catalog.ts';
import { waitingGap } from '../catalog/gap.ts';
import { checkCatalog } from '../catalog/schema.ts';
import { Statements } from '../catalog/statements.ts';
import { equalBytes } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { readSuperblock } from '../commit/superblock-file.ts';
import type { Database, DatabaseClass } from '../driver.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Host } from '../host.ts';

export interface BorrowersOptions {
  readonly host: Host;
  readonly driver: DatabaseClass;
  readonly library: string;
  readonly provider: Provider;
  readonly layout: StoreLayout;
}

interface Borrower {
  readonly db: Database;
  readonly rows: BlobReader;
  readonly path: string;
}

/** Every store that is registered as a borrower, open for reading. */
export class Borrowers {
  readonly #borrowers: readonly Borrower[];

  /** `unavailable`, naming the first that cannot be asked. */
  static open(options: BorrowersOptions): Borrowers {
    const opened: Borrower[] = [];
    try {
      for (const registration of readRegistrations(
        options.host.files,
        options.provider,
        options.layout.borrowers,
      ))
        opened.push(openBorrower(options, registration));
      return new Borrowers(opened);
    } catch (error) {
      for (const { db } of opened) db.close();
      throw error;
    }
  }

  private constructor(borrowers: readonly Borrower[]) {
    this.#borrowers = borrowers;
  }

  get count(): number {
    return this.#borrowers.length;
  }

  /** `corrupt` when a row that tells it is damaged. O(borrowers). */
  isBorrowed(id: Uint8Array): boolean {
    return this.#borrowers.some(({ rows }) => {
      const row = rows.byId(id);
      return row !== undefined && isBorrowed(row);
    });
  }

  /**
   * Whether the rows that tell what is borrowed are all there and as they were written, a bucket at a time; throws `unavailable`, naming
   * the first store in which they are not. O(blobs of all borrowers), with turns for others.
   */
  async verify(pause: () => Promise<void>): Promise<void> {
    for (const { db, rows, path } of this.#borrowers) {
      const last = (db.prepare('SELECT max(n) FROM blobs').pluck().get() as number | null) ?? 0;
      for (let bucket = 0; bucket <= bucketOf(last); bucket++) {
        if (!isWhole(db, rows, bucket))
          throw new StoreError(
            'unavailable',
            `the catalog of ${path}, which borrows from this store, is damaged`,
            {
              path,
            },
          );
        await pause();
      }
    }
  }

  close(): void {
    for (const { db } of this.#borrowers) db.close();
  }
}

/** Opens the borrowers and takes them back where they are not as they should be. */
export async function verifiedBorrowers(
  open: () => Borrowers,
  pause: () => Promise<void>,
): Promise<Borrowers> {
  const borrowers = open();
  try {
    await borrowers.verify(pause);
    return borrowers;
  } catch (error) {
    borrowers.close();
    throw error;
  }
}

function isWhole(db: Database, reader: BlobReader, bucket: number): boolean {
  // Both at one moment: the borrower goes on writing.
  db.exec('BEGIN');
  try {
    const from = bucket * bucketRows;
    const rows = db.prepare('SELECT * FROM blobs WHERE n BETWEEN ? AND ?').all(from, from + bucketRows - 1);
    const stored = db.prepare('SELECT count, hash FROM buckets WHERE kind = 1 AND bucket = ?').get(bucket) as
      { readonly count: number; readonly hash: Uint8Array } | undefined;
    const hash = new Uint8Array(sumBytes);
    for (const row of rows as (BlobRow & { readonly sum: Uint8Array })[]) {
      if (!reader.holds(row)) return false;
      // It is asked for by its id, over an index that has no checksums.
      if (isBorrowed(row) && reader.numberOf(row.id) !== row.n) return false;
      xorInto(hash, row.sum);
    }
    return rows.length === (stored?.count ?? 0) && (stored === undefined || equalBytes(hash, stored.hash));
  } finally {
    db.exec('COMMIT');
  }
}

/** Stands for all blobs. */
export const everything = 0;

/**
 * Says which blobs may be deleted next, durably, before anybody is asked who borrowed them: from then on nobody borrows one. Each process
 * says so for itself; what a dead one said is cleared with its lease.
 */
export function markDying(transaction: Transaction, lease: string, numbers: readonly number[]): void {
  transaction.changed = true;
  const mark = transaction.catalog.sql.rows('INSERT OR IGNORE INTO dying (blob, lease) VALUES (?, ?)');
  for (const n of numbers) mark.run(n, lease);
}

export function unmarkDying(transaction: Transaction, lease: string): void {
  const { changes } = transaction.catalog.sql.rows('DELETE FROM dying WHERE lease = ?').run(lease);
  if (changes > 0) transaction.changed = true;
}

function openBorrower(options: BorrowersOptions, { storeId, path }: Registration): Borrower {
  const { host, driver, library, provider } = options;
  const layout = layoutOf(host.files, path);
  let db: Database | undefined;
  try {
    const found = readSuperblock(host.files, layout, provider)?.storeId;
    if (found === undefined) throw new StoreError('unavailable', 'there is no store');
    if (found !== storeId) throw new StoreError('unavailable', `another store is in its place: ${found}`);
    refuseOtherLibrary(host.files, layout.leases, { process: `${host.pid} ${host.processStart}`, library });
    db = openConnection(layout.index, {
      driver,
      durability: 'full',
      readonly: true,
      platform: host.platform,
    });
    checkCatalog(db);
    // Where its rows may not be all there were, they do not tell all that it borrows.
    const sql = new Statements(db);
    const doubt = waitingGap(sql) || readState(sql).doubt;
    if (doubt !== '') throw new StoreError('unavailable', doubt);
    return { db, rows: new BlobReader(db, new RowHasher()), path };
  } catch (error) {
    db?.close();
    const told = toStoreError(error, 'reading it');
    if (!StoreError.is(told)) throw error;
    throw new StoreError(
      'unavailable',
      `${path} (store ${storeId}) borrows from this store and cannot be asked what: ${told.message}; when it is gone for good, "holdfast alternates forget" says so`,
      { path },
      error,
    );
  }
}
