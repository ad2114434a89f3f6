/** Rows of roots and records of their log in the caller's words; a name that does not open is told by the key that it is found by. */
import type { RootEntry, RootLogEntry } from '../api.ts';
import type { BlobRow } from '../catalog/blob-rows.ts';
import type { RootRow } from '../catalog/reference-rows.ts';
import { equalBytes, fromHex, toHex } from '../codec/bytes.ts';
import { StoreError } from '../errors.ts';
import type { Reader } from './reader.ts';

export type StoredRoot = RootRow & { readonly sum: Uint8Array };

/** A row whose name was not opened, and the blob that it points to. `corrupt` where it is not what was written. */
export function rowOfRoot({ realm, rows }: Reader, root: StoredRoot): BlobRow {
  const { name: key, blob, changed, sequence, shown, sum } = root;
  if (!equalBytes(rows.hasher.sum('roots', [key, blob, changed, sequence, shown]), sum))
    throw new StoreError('corrupt', 'the catalog row of a root is damaged');
  if (realm.keyOf(shown) !== key)
    throw new StoreError('tampered', 'the name of a root stands in the place of another');
  const row = rows.byNumber(blob);
  if (row === undefined) throw new StoreError('corrupt', 'a root points to a blob that is not here');
  return row;
}

/**
 * In an encrypted store a root's name is bound to the key it is found by and to the blob it points to: `tampered` where it stands for
 * another, or points to another.
 */
export function rootEntry(reader: Reader, root: StoredRoot, tell: (row: BlobRow) => string): RootEntry {
  const row = rowOfRoot(reader, root);
  return {
    name: reader.realm.tell('root', root.shown, toHex(row.id)),
    id: tell(row),
    changedMs: root.changed,
  };
}

/** Why a root has no name here. Undefined where it has one. */
export function unopenedReason(
  { realm }: Reader,
  shown: string,
  locator: string,
): 'tampered' | 'wrong-key' | undefined {
  if (realm.state !== 'open') return undefined;
  try {
    const name = realm.tell('root', shown, locator);
    return realm.find('root', name) === realm.keyOf(shown) ? undefined : 'tampered';
  } catch (error) {
    // Of a form that no sealer writes, which whoever may set roots can bring.
    if (!StoreError.is(error)) throw error;
    return error.code === 'wrong-key' ? 'wrong-key' : 'tampered';
  }
}

/** All that have a name here, in the order of their keys. One without is anybody's who may push, and keeps no other from being told. */
export function namedRoots(reader: Reader, tell: (row: BlobRow) => string): RootEntry[] {
  return storedRoots(reader).flatMap((root) => {
    const row = rowOfRoot(reader, root);
    return unopenedReason(reader, root.shown, toHex(row.id)) === undefined
      ? rootEntry(reader, root, tell)
      : [];
  });
}

export function storedRoots({ sql }: Reader): StoredRoot[] {
  return sql.rows('SELECT * FROM roots ORDER BY name').all() as StoredRoot[];
}

/** How many roots have a name that does not open. With keys; without, and in a plain store, none. */
export function unopenedRoots(reader: Reader): number {
  if (reader.realm.state !== 'open') return 0;
  const { rows } = reader;
  return storedRoots(reader).filter(({ blob, shown }) => {
    const row = rows.byNumber(blob);
    return row !== undefined && unopenedReason(reader, shown, toHex(row.id)) !== undefined;
  }).length;
}

/** A record of the log. Of a blob that was collected since, what it was called on disk is all that is left. */
export function toldEntry(reader: Reader, entry: RootLogEntry): RootLogEntry {
  const { rows, contents } = reader;
  if (!contents.sealed) return entry;
  const isRoot = entry.change === 'set' || entry.change === 'delete';
  const name = toldName(reader, isRoot ? 'root' : 'owner', entry.name, isRoot ? (entry.id ?? '') : '');
  if (entry.id === undefined) return { ...entry, name };
  const row = rows.byId(fromHex(entry.id)!);
  return { ...entry, name, id: row === undefined ? entry.id : reader.tell(row) };
}

/**
 * The name, wherever it is bound: a root that was deleted by its key stands in the log as it was set. Its key where no one of these opens it.
 */
export function toldName(
  { realm }: Pick<Reader, 'realm'>,
  kind: 'root' | 'owner',
  shown: string,
  ...places: readonly string[]
): string {
  for (const at of places)
    try {
      return realm.tell(kind, shown, at);
    } catch (error) {
      if (!StoreError.is(error)) throw error;
    }
  return realm.keyOf(shown);
}
