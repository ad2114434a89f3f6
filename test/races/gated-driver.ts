/** SQLite (better-sqlite3) where every statement is a point of the schedule, and waiting for a lock is handing the turn on. */
import { createRequire } from 'node:module';
import type { Database, DatabaseClass, SqlValue, Statement } from '../../engine/driver.ts';
import { turnsHere } from './turns.ts';

const Sqlite = createRequire(import.meta.url)('better-sqlite3') as DatabaseClass;
/** As often a lock is asked for, before it counts as not to be had. */
const patience = 20_000;

export default class GatedDatabase implements Database {
  readonly #db: Database;
  readonly #waits: boolean;
  readonly #name: string;

  constructor(path: string, options: ConstructorParameters<DatabaseClass>[1] = {}) {
    this.#waits = options.timeout !== 0;
    this.#name = path.slice(path.lastIndexOf('/') + 1);
    this.#name = this.#name === 'index.db' ? 'index' : this.#name.slice(0, 4);
    turnsHere().point(`open ${this.#name}`);
    this.#db = new Sqlite(path, { ...options, timeout: 0 });
  }

  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  prepare(sql: string): Statement {
    const what = `${this.#name}: ${sql.slice(0, 60)}`;
    const statement = this.#gated('prepare', () => this.#db.prepare(sql));
    const run = <Result>(work: () => Result): Result => this.#gated(what, work);
    const gated: Statement = {
      run: (...values: readonly SqlValue[]) => run(() => statement.run(...values)),
      get: (...values: readonly SqlValue[]) => run(() => statement.get(...values)),
      all: (...values: readonly SqlValue[]) => run(() => statement.all(...values)),
      raw: (on) => (statement.raw(on ?? true), gated),
      pluck: (on) => (statement.pluck(on ?? true), gated),
    };
    return gated;
  }

  exec(sql: string): unknown {
    return this.#gated(
      `${this.#name}: ${sql.slice(0, 60)}`,
      () => this.#db.exec(sql),
      /^(BEGIN|COMMIT)/.test(sql),
    );
  }

  pragma(text: string, options?: { simple?: boolean }): unknown {
    return this.#gated(`${this.#name}: ${text}`, () => this.#db.pragma(text, options));
  }

  close(): unknown {
    turnsHere().point(`close ${this.#name}`);
    return this.#db.close();
  }

  /** In a transaction a lock that is not there is no matter of waiting, but for its own begin and end. */
  #gated<Result>(what: string, work: () => Result, bound = false): Result {
    const turns = turnsHere();
    turns.point(what, bound);
    for (let tries = 0; ; tries++) {
      try {
        return work();
      } catch (error) {
        const busy = (error as { code?: string }).code?.startsWith('SQLITE_BUSY') === true;
        const may = this.#waits && (bound || !this.#db.inTransaction) && tries < patience;
        if (!busy || !may || !turns.blocked(what)) throw error;
      }
    }
  }
}
