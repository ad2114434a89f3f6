/** Tables of the catalog (index.db) and the migrations that lead to them. */
import type { Database } from '../driver.ts';
import { StoreError } from '../errors.ts';

/** "HFix". */
const applicationId = 0x48_46_69_78;

/**
 * Each entry leads from its index to the next version, inside one transaction. Never edited once released; only added to.
 *
 * blobs.prefix is the first 48 bits of the id: an index a third as large as one of whole ids, so that the random pages a batch of
 * new blobs touches are a third as many. blobs.n is a rowid that is never used twice: references are pairs of small numbers that lie together, instead of pairs of ids that
 * scatter. In an encrypted store blobs.id is a locator, blobs.label the sealed id and size, roots.name a keyed hash and roots.shown the
 * sealed name (engine/keys/realm.ts). For a SQLite volume (extent, start) is the record's place; for the directory extent is the fan-out folder, start 0.
 * A row of blobs holds the place of the first copy; `copies` has those of the others in a mirrored group, and is empty elsewhere.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE blobs (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    prefix INTEGER NOT NULL,
    id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    size INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    volume INTEGER NOT NULL,
    extent INTEGER NOT NULL,
    start INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    refcount INTEGER NOT NULL,
    created INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    touched_gen INTEGER NOT NULL,
    zero_since INTEGER,
    zero_gen INTEGER,
    suspect INTEGER NOT NULL,
    label BLOB,
    sum BLOB NOT NULL
  ) STRICT;
  CREATE INDEX blobs_by_prefix ON blobs (prefix);
  CREATE INDEX blobs_by_place ON blobs (volume, extent, start);
  CREATE INDEX blobs_unreferenced ON blobs (zero_since) WHERE zero_since IS NOT NULL;
  CREATE INDEX blobs_suspect ON blobs (n) WHERE suspect != 0;
  CREATE TABLE copies (
    blob INTEGER, volume INTEGER, extent INTEGER NOT NULL, start INTEGER NOT NULL, incarnation INTEGER NOT NULL,
    suspect INTEGER NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (blob, volume)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX copies_by_place ON copies (volume, extent, start);
  CREATE TABLE chunk_sums (blob INTEGER, part INTEGER, sums BLOB NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (blob, part)) STRICT, WITHOUT ROWID;
  CREATE TABLE refs (child INTEGER, kind INTEGER, owner ANY, sum BLOB NOT NULL, PRIMARY KEY (child, kind, owner)) STRICT, WITHOUT ROWID;
  CREATE INDEX refs_by_owner ON refs (kind, owner, child);
  CREATE TABLE roots (name TEXT PRIMARY KEY, blob INTEGER NOT NULL, changed INTEGER NOT NULL, sequence INTEGER NOT NULL, shown TEXT NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE volumes (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, state TEXT NOT NULL, lease TEXT,
    bytes INTEGER NOT NULL, dead INTEGER NOT NULL, extents INTEGER NOT NULL, generation INTEGER NOT NULL,
    path TEXT, folder INTEGER, cap INTEGER, goal TEXT, target INTEGER
  ) STRICT;
  CREATE TABLE freed (volume INTEGER, extent INTEGER, start INTEGER, length INTEGER NOT NULL, PRIMARY KEY (volume, extent, start)) STRICT, WITHOUT ROWID;
  CREATE TABLE tombstones (n INTEGER PRIMARY KEY AUTOINCREMENT, volume INTEGER NOT NULL, id BLOB NOT NULL, incarnation INTEGER NOT NULL, framed INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
  CREATE TABLE intents (n INTEGER PRIMARY KEY AUTOINCREMENT, lease TEXT NOT NULL, id BLOB NOT NULL, incarnation INTEGER NOT NULL, framed INTEGER NOT NULL, volume INTEGER NOT NULL DEFAULT 1, bytes INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE leases (uuid TEXT PRIMARY KEY, pid INTEGER NOT NULL, started INTEGER NOT NULL, horizon INTEGER) STRICT, WITHOUT ROWID;
  CREATE TABLE verified (blob INTEGER, volume INTEGER, at INTEGER NOT NULL, PRIMARY KEY (blob, volume)) STRICT, WITHOUT ROWID;
  CREATE TABLE scrubs (
    n INTEGER PRIMARY KEY AUTOINCREMENT, begun INTEGER NOT NULL, ended INTEGER, blobs INTEGER NOT NULL, bytes INTEGER NOT NULL,
    damaged INTEGER NOT NULL, healed INTEGER NOT NULL, complete INTEGER NOT NULL, elapsed INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE side (name TEXT, key TEXT, value BLOB NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (name, key)) STRICT, WITHOUT ROWID;
  CREATE TABLE buckets (kind INTEGER, bucket INTEGER, count INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (kind, bucket)) STRICT, WITHOUT ROWID;
  `,
  // Alternates. `dying`: blobs that a collection is about to delete, so that nobody borrows them meanwhile (maintenance/lent.ts).
  `
  CREATE INDEX blobs_borrowed ON blobs (n) WHERE codec = 3;
  CREATE TABLE dying (blob INTEGER, lease TEXT, PRIMARY KEY (blob, lease)) STRICT, WITHOUT ROWID;
  `,
];

/** The first version in which blobs may be borrowed from a store: its collection looks whether they are. */
export const lendingVersion = 2;

export const schemaVersion: number = migrations.length;

/** The version of an open catalog; `incompatible-format` when it is newer than this library. */
export function checkSchema(db: Database): number {
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version > schemaVersion) {
    throw new StoreError(
      'incompatible-format',
      `the catalog has version ${version}; this version of holdfast reads up to ${schemaVersion}`,
    );
  }
  return version;
}

/** Like checkSchema, of a store that was made: a catalog without tables is what is left of a lost one. */
export function checkCatalog(db: Database): void {
  if (checkSchema(db) === 0) throw new StoreError('needs-rebuild', 'the catalog (index.db) is empty');
}

/** Brings a catalog to the current schema: all steps in one transaction, so a kill leaves the old one whole. */
export function migrate(db: Database): void {
  if (checkSchema(db) === schemaVersion) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    for (let version = checkSchema(db); version < schemaVersion; version++) db.exec(migrations[version]!);
    db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion}; COMMIT`);
  } catch (error) {
    if (db.inTransaction) db.exec('ROLLBACK');
    throw error;
  }
}
