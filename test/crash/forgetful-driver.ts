/** SQLite (better-sqlite3) that can be made to forget what it has read: each page is then read from its file again. */
import { createRequire } from 'node:module';
import type { Database, DatabaseClass, Statement } from '../../engine/driver.ts';

const Sqlite = createRequire(import.meta.url)('better-sqlite3') as DatabaseClass;
/** Of this thread, by the path of their files. */
const open = new Map<ForgetfulDatabase, string>();

export default class ForgetfulDatabase implements Database {
  readonly #db: Database;

  constructor(path: string, options?: ConstructorParameters<DatabaseClass>[1]) {
    this.#db = new Sqlite(path, options);
    open.set(this, path);
  }

  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  prepare(sql: string): Statement {
    return this.#db.prepare(sql);
  }

  exec(sql: string): unknown {
    return this.#db.exec(sql);
  }

  pragma(text: string, options?: { simple?: boolean }): unknown {
    return this.#db.pragma(text, options);
  }

  close(): unknown {
    open.delete(this);
    return this.#db.close();
  }

  forget(): void {
    this.#db.pragma('shrink_memory');
  }
}

/** Drops all pages that connections to this file keep; says to how many there are. */
export function forgetPages(path: string): number {
  const those = [...open].filter(([, of]) => of === path);
  for (const [db] of those) db.forget();
  return those.length;
}
