/** The SQLite driver the engine is given: the part of better-sqlite3's interface that it uses. */

export type SqlValue = null | number | bigint | string | Uint8Array;

export interface Statement {
  run(...values: readonly SqlValue[]): { changes: number; lastInsertRowid: number | bigint };
  get(...values: readonly SqlValue[]): unknown;
  all(...values: readonly SqlValue[]): unknown[];
  raw(on?: boolean): Statement;
  pluck(on?: boolean): Statement;
}

export interface Database {
  prepare(sql: string): Statement;
  exec(sql: string): unknown;
  pragma(text: string, options?: { simple?: boolean }): unknown;
  close(): unknown;
  readonly inTransaction: boolean;
}

export type DatabaseClass = new (
  path: string,
  options?: { readonly?: boolean; fileMustExist?: boolean; timeout?: number },
) => Database;

/**
 * Which driver a store uses: the file URL of a module whose default export is a DatabaseClass. A URL and not a class, because
 * worker threads load it themselves. One store is opened by one copy of SQLite per process: two do not see each other's locks.
 */
export interface DriverChoice {
  readonly module: string;
}

/** Loads the driver's class in this thread. */
export async function loadDriver(choice: DriverChoice): Promise<DatabaseClass> {
  const loaded = (await import(choice.module)) as { default: DatabaseClass };
  return loaded.default;
}
