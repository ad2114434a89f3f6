/** Prepared statements of one connection, prepared once: preparing costs more than most of them take to run. */
import type { Database, Statement } from '../driver.ts';

export class Statements {
  readonly #db: Database;
  readonly #rows = new Map<string, Statement>();
  readonly #arrays = new Map<string, Statement>();
  readonly #values = new Map<string, Statement>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** Rows as objects. */
  rows(sql: string): Statement {
    return prepared(this.#rows, sql, () => this.#db.prepare(sql));
  }

  /** Rows as arrays. */
  arrays(sql: string): Statement {
    return prepared(this.#arrays, sql, () => this.#db.prepare(sql).raw());
  }

  /** The first column of each row. */
  values(sql: string): Statement {
    return prepared(this.#values, sql, () => this.#db.prepare(sql).pluck());
  }
}

function prepared(known: Map<string, Statement>, sql: string, prepare: () => Statement): Statement {
  let statement = known.get(sql);
  if (statement === undefined) known.set(sql, (statement = prepare()));
  return statement;
}
