/** SQLite (better-sqlite3) that counts the buckets read, with and without the write lock, for stores whose threads run inline. */
import Sqlite from 'better-sqlite3';
import type { Database, DatabaseClass, SqlValue, Statement } from '../../engine/driver.ts';

/** Since the process began. */
export const buckets = { locked: 0, free: 0 };

const Base = Sqlite as unknown as DatabaseClass;

export default class LockDatabase extends Base implements Database {
  #locked = false;

  override exec(sql: string): this {
    this.#locked = sql.startsWith('BEGIN IMMEDIATE');
    return super.exec(sql) as this;
  }

  override prepare(sql: string): Statement {
    const statement = super.prepare(sql);
    if (!/^SELECT child, kind, owner, .*\bsum\b.* FROM refs /.test(sql)) return statement;
    const all = statement.all.bind(statement);
    statement.all = (...values: readonly SqlValue[]): unknown[] => {
      if (this.#locked) buckets.locked++;
      else buckets.free++;
      return all(...values);
    };
    return statement;
  }
}
