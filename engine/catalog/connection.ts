/** Opens a connection to the catalog with settings that are read back: better-sqlite3 reopens WAL databases at NORMAL by itself. */
import type { Database, DatabaseClass } from '../driver.ts';
import { checkpointPages } from './checkpoints.ts';
import { StoreError, systemCode, toStoreError } from '../errors.ts';

export interface ConnectionOptions {
  readonly driver: DatabaseClass;
  readonly durability: 'full' | 'relaxed';
  readonly readonly?: boolean;
  readonly platform: string;
  readonly create?: boolean;
  readonly busyMs?: number;
}

/** The SQLite that fixed the WAL-reset bug (3.51.3, March 2026): with older ones, two writers can lose a commit. */
const sqliteOldest = [3, 51, 3] as const;
/**
 * Pages that a connection keeps in memory, as SQLite's `cache_size` (KiB, negative): of a writer those that a commit changes, which it would
 * otherwise write down before its time; of a reader little more than the inner pages, since the system keeps the others as well.
 */
const cacheKiB = { write: -16_000, read: -4_000 };
/** The WAL is cut back to this size after a checkpoint. */
const journalBytesMax = 64 * 1024 * 1024;

/** `needs-rebuild` when the file is gone or is no database. */
export function openConnection(path: string, options: ConnectionOptions): Database {
  const db = openFile(path, options);
  try {
    checkVersion(db);
    const synchronous = options.durability === 'full' ? 2 : 1;
    const wanted: [pragma: string, value: unknown][] = [
      ['synchronous', synchronous],
      ['foreign_keys', 1],
      ['cell_size_check', 1],
      ['trusted_schema', 0],
      ['mmap_size', 0],
      ['temp_store', 2],
      ['cache_size', options.readonly === true ? cacheKiB.read : cacheKiB.write],
    ];
    if (options.readonly !== true)
      wanted.push(['journal_size_limit', journalBytesMax], ['wal_autocheckpoint', checkpointPages]);
    if (options.platform === 'darwin') wanted.push(['fullfsync', 1], ['checkpoint_fullfsync', 1]);
    if (options.readonly !== true) db.pragma('journal_mode = WAL');
    for (const [pragma, value] of wanted) db.pragma(`${pragma} = ${String(value)}`);
    if (db.pragma('journal_mode', { simple: true }) !== 'wal') throw refused('journal_mode');
    for (const [pragma, value] of wanted) {
      const got = db.pragma(pragma, { simple: true });
      // mmap_size answers nothing where SQLite was built without it, which is what is wanted.
      if (got !== value && !(pragma === 'mmap_size' && got === undefined)) throw refused(pragma);
    }
    return db;
  } catch (error) {
    db.close();
    if (notADatabase(error)) throw rebuild(path, error);
    throw options.readonly === true ? unreadable(path, error) : error;
  }
}

function openFile(path: string, options: ConnectionOptions): Database {
  try {
    return new options.driver(path, {
      readonly: options.readonly ?? false,
      fileMustExist: options.create !== true,
      timeout: options.busyMs ?? 10_000,
    });
  } catch (error) {
    if (notADatabase(error)) throw rebuild(path, error);
    throw options.readonly === true ? unreadable(path, error) : error;
  }
}

/** SQLite keeps who reads and who writes in a file beside the catalog, even where it only reads. */
function unreadable(path: string, error: unknown): Error {
  const code = systemCode(error);
  const doing =
    code === 'SQLITE_CANTOPEN' || code?.startsWith('SQLITE_READONLY') === true
      ? 'opening the catalog (its folder must be writable, also for reading)'
      : 'opening the catalog';
  return toStoreError(error, doing, { path });
}

function notADatabase(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'SQLITE_NOTADB' || code?.startsWith('SQLITE_CORRUPT') === true;
}

function rebuild(path: string, error: unknown): StoreError {
  return new StoreError('needs-rebuild', 'the catalog (index.db) is damaged beyond opening', { path }, error);
}

function refused(pragma: string): StoreError {
  return new StoreError(
    'unavailable',
    `SQLite did not take the setting ${pragma}; without it puts would not be durable`,
  );
}

function checkVersion(db: Database): void {
  const version = db.prepare('SELECT sqlite_version()').pluck().get() as string;
  const parts = version.split('.').map(Number);
  for (let i = 0; i < sqliteOldest.length; i++) {
    if (parts[i]! > sqliteOldest[i]!) return;
    if (parts[i]! < sqliteOldest[i]!)
      throw new StoreError(
        'unsupported-runtime',
        `SQLite ${version} is older than ${sqliteOldest.join('.')}, which can lose commits`,
      );
  }
}
