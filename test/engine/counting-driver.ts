/** SQLite (better-sqlite3) that counts transactions, reads of records and pages kept in memory, for stores whose threads run inline. */
import Sqlite from 'better-sqlite3';
import type { Database, DatabaseClass, SqlValue, Statement } from '../../engine/driver.ts';

/** Since the process began. */
export const counted = { writes: 0, recordReads: 0 };

/** The files that were open, and how much of each its connection could keep in memory. */
export const closed: { readonly path: string; readonly readonly: boolean; readonly cacheKiB: number }[] = [];

const Base = Sqlite as unknown as DatabaseClass;

export default class CountingDatabase extends Base implements Database {
  declare readonly name: string;
  declare readonly open: boolean;
  declare readonly readonly: boolean;

  override close(): this {
    const cacheKiB = this.open ? -(super.pragma('cache_size', { simple: true }) as number) : 0;
    if (this.open) closed.push({ path: this.name, readonly: this.readonly, cacheKiB });
    return super.close() as this;
  }

  override exec(sql: string): this {
    if (sql.startsWith('BEGIN IMMEDIATE')) counted.writes++;
    return super.exec(sql) as this;
  }

  override prepare(sql: string): Statement {
    const statement = super.prepare(sql);
    if (!sql.startsWith('SELECT substr(data')) return statement;
    const get = statement.get.bind(statement);
    statement.get = (...values: readonly SqlValue[]): unknown => {
      counted.recordReads++;
      return get(...values);
    };
    return statement;
  }
}
