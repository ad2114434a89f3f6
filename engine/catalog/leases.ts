/** Leases: a process is alive while it holds the kernel lock on its lease file. Pids and times are hints only. */
import type { Database, DatabaseClass } from '../driver.ts';
import { StoreError, systemCode } from '../errors.ts';
import type { Files } from '../host.ts';

/** A lease held by this process: an exclusive SQLite lock on a file of its own. Never open that file in any other way. */
export class Lease {
  readonly uuid: string;
  readonly #db: Database;
  readonly #path: string;
  readonly #files: Files;

  /** Take it under the catalog's write lock: whoever clears dead leases holds that too, and cannot meet one that is not locked yet. */
  constructor(
    driver: DatabaseClass,
    files: Files,
    place: { readonly folder: string; readonly uuid: string },
  ) {
    this.uuid = place.uuid;
    this.#files = files;
    this.#path = leasePath(files, place.folder, place.uuid);
    this.#db = new driver(this.#path, { timeout: 0 });
    try {
      // The lock is all there is to it: no content, so no journal and no sync.
      this.#db.pragma('journal_mode = MEMORY');
      this.#db.pragma('synchronous = OFF');
      this.#db.exec('BEGIN EXCLUSIVE');
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Lets go and removes the file. */
  close(): void {
    this.#db.close();
    removeQuietly(this.#files, this.#path);
  }
}

/** Whether nobody holds this lease any more. Any doubt means somebody does. */
export function isDead(
  driver: DatabaseClass,
  files: Files,
  place: { readonly folder: string; readonly uuid: string },
): boolean {
  const path = leasePath(files, place.folder, place.uuid);
  if (files.facts(path) === undefined) return true;
  let db: Database | undefined;
  try {
    db = new driver(path, { timeout: 0, fileMustExist: true });
    db.exec('BEGIN EXCLUSIVE; ROLLBACK');
    return true;
  } catch (error) {
    // Only a lock answers "alive". Trouble of any other kind says nothing, and nothing said is no licence to sweep.
    if (systemCode(error)?.startsWith('SQLITE_') !== true) throw error;
    return false;
  } finally {
    db?.close();
  }
}

export function removeLeaseFile(
  files: Files,
  place: { readonly folder: string; readonly uuid: string },
): void {
  removeQuietly(files, leasePath(files, place.folder, place.uuid));
}

/** Leases that have a file or a marker in the folder. */
export function leasesIn(files: Files, folder: string): string[] {
  const names = files.list(folder).map((name) => new TextDecoder().decode(name));
  return names.flatMap((name) => /^([0-9a-f]+)[.](?:db|library)$/.exec(name)?.[1] ?? []);
}

/**
 * Refuses a second copy of SQLite in this process: two copies do not see each other's locks, and the second one's commits are lost
 * without an error. A marker file per open store names process and library; globalThis cannot, since each thread has its own.
 */
export class LibraryMarker {
  readonly #files: Files;
  readonly #path: string;
  readonly #folder: string;
  readonly #owner: { readonly process: string; readonly library: string };

  constructor(
    files: Files,
    place: { readonly folder: string; readonly uuid: string },
    owner: { readonly process: string; readonly library: string },
  ) {
    this.#files = files;
    this.#path = files.join(place.folder, `${place.uuid}.library`);
    this.#folder = place.folder;
    this.#owner = owner;
    this.#make();
  }

  /** Call it with the lease just taken: until then a marker looks like one whose process died, and may have been swept. */
  confirm(): void {
    if (this.#files.facts(this.#path) === undefined) this.#make();
  }

  #make(): void {
    try {
      const file = this.#files.open(this.#path, 'create');
      try {
        file.write(new TextEncoder().encode(`${this.#owner.process}\n${this.#owner.library}\n`), 0);
      } finally {
        file.close();
      }
      this.#refuseOthers();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    removeQuietly(this.#files, this.#path);
  }

  #refuseOthers(): void {
    refuseOtherLibrary(this.#files, this.#folder, this.#owner);
  }
}

/** `busy` when this process has the store open through another copy of SQLite. For readers, which leave no marker. */
export function refuseOtherLibrary(
  files: Files,
  folder: string,
  owner: { readonly process: string; readonly library: string },
): void {
  for (const raw of files.list(folder)) {
    const name = new TextDecoder().decode(raw);
    if (!name.endsWith('.library')) continue;
    const lines = readText(files, files.join(folder, name)).split('\n');
    const [process, library] = lines;
    // One that is not whole is being written by somebody who looks at ours next, or was left by a disk that failed.
    const whole = lines.length === 3;
    if (!whole || process !== owner.process || library === owner.library) continue;
    throw new StoreError(
      'busy',
      'this process has the store open through another copy of SQLite; two copies in one process lose data',
      { open: library!, refused: owner.library },
    );
  }
}

function readText(files: Files, path: string): string {
  try {
    const file = files.open(path, 'read');
    try {
      const bytes = new Uint8Array(4096);
      return new TextDecoder().decode(bytes.subarray(0, file.read(bytes, 0)));
    } finally {
      file.close();
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return '';
    throw error;
  }
}

function leasePath(files: Files, folder: string, uuid: string): string {
  return files.join(folder, `${uuid}.db`);
}

function removeQuietly(files: Files, path: string): void {
  try {
    files.removeFile(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
