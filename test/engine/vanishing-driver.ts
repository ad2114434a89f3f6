/** SQLite (better-sqlite3) under which another process seems to take a file away, at the moment when its header is read. */
import { renameSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import type { Database, DatabaseClass, Statement } from '../../engine/driver.ts';

/** Files that vanish, each once: the end of the name. */
export const vanishing = new Set<string>();

const Base = Sqlite as unknown as DatabaseClass;

export default class VanishingDatabase extends Base implements Database {
  readonly #path: string;

  constructor(path: string, options: ConstructorParameters<DatabaseClass>[1] = {}) {
    super(path, options);
    this.#path = path;
  }

  override prepare(sql: string): Statement {
    const end = [...vanishing].find((name) => this.#path.endsWith(name));
    if (end !== undefined && sql.includes('FROM header')) {
      vanishing.delete(end);
      renameSync(this.#path, `${this.#path}.away`);
      // As SQLite says it when the file is gone between two of its own calls.
      throw Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSTAT' });
    }
    return super.prepare(sql);
  }
}
