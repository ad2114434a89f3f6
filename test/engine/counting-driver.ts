/** SQLite (better-sqlite3) that counts transactions and reads of records, for stores whose threads run inline. */
import Sqlite from 'better-sqlite3';
import type { Database, DatabaseClass, SqlValue, Statement } from '../../engine/driver.ts';

/** Since the process began. */
export const counted = { writes: 0, recordReads: 0 };

const Base = Sqlite as unknown as DatabaseClass;

export default class CountingDatabase extends Base implements Database {
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
