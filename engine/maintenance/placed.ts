/** Copies by where they lie, first and further ones alike: listed for a volume, read from whichever is good, put in another place. */
import { type BlobRow, partNameOf } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { type CopyRow, type Place, copyAt } from '../catalog/copy-rows.ts';
import type { Statements } from '../catalog/statements.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { type VolumeSet, locatorOf } from '../commit/volume-set.ts';
import { recordContent } from '../content/reader.ts';
import { StoreError, toStoreError } from '../errors.ts';

/** A copy of a blob. */
export interface Placed {
  /** The blob's own row, with its first copy. */
  readonly row: BlobRow;
  /** Absent where this is the first copy. */
  readonly copy?: CopyRow;
}

/** How far a walk over the copies of a volume has come. */
export interface PlaceCursor {
  readonly extent: number;
  readonly start: number;
  readonly n: number;
}

/** As if it were the only copy; the row itself where it is the first. */
export function viewOf({ row, copy }: Placed): BlobRow {
  return copy === undefined ? row : copyAt(row, copy);
}

/** All copies of a blob, the first one first, those found damaged last. */
export function copiesOf(catalog: Catalog, row: BlobRow): Placed[] {
  return [{ row }, ...catalog.copies.of(row.n).map((copy) => ({ row, copy }))];
}

/** The next copies in a volume, by place. */
export function placedAfter(
  catalog: Catalog,
  { n, after }: { readonly n: number; readonly after: PlaceCursor },
  count: number,
): Placed[] {
  const where = [n, after.extent, after.start, after.n, count];
  const first = catalog.sql
    .rows(
      'SELECT * FROM blobs WHERE volume = ? AND (extent, start, n) > (?, ?, ?) ORDER BY extent, start, n LIMIT ?',
    )
    .all(...where) as BlobRow[];
  const further = catalog.copies.sound(
    catalog.sql
      .rows(
        'SELECT * FROM copies WHERE volume = ? AND (extent, start, blob) > (?, ?, ?) ORDER BY extent, start, blob LIMIT ?',
      )
      .all(...where),
  );
  if (further.length === 0) return first.map((row) => ({ row }));
  const byNumber = catalog.sql.rows('SELECT * FROM blobs WHERE n = ?');
  const placed = further.flatMap((copy): Placed[] => {
    const row = byNumber.get(copy.blob) as BlobRow | undefined;
    return row === undefined ? [] : [{ row, copy }];
  });
  const key = ({ row, copy }: Placed): Place => copy ?? row;
  return [...first.map((row): Placed => ({ row })), ...placed]
    .toSorted((a, b) => key(a).extent - key(b).extent || key(a).start - key(b).start || a.row.n - b.row.n)
    .slice(0, count);
}

/** Where to go on after a copy. */
export function cursorAt(last: Placed | undefined): { readonly next?: PlaceCursor } {
  if (last === undefined) return {};
  const { extent, start, n } = viewOf(last);
  return { next: { extent, start, n } };
}

/** Members that hold other copies of the blob: this one may not go there. */
export function otherMembers(catalog: Catalog, volumes: VolumeSet, { row, copy }: Placed): Set<number> {
  const { volume } = copy ?? row;
  const others = copiesOf(catalog, row).map((one) => viewOf(one).volume);
  return new Set(others.filter((other) => other !== volume).map((other) => volumes.member(other)));
}

/** A blob's records whose bytes were found wrong, and the bytes of one that is right. */
export interface GoodRecord {
  readonly bytes: Uint8Array;
  readonly bad: readonly Placed[];
}

/** The stored bytes of a blob from the first of these copies that is good. Throws what the first of them failed with where none is. */
export function readRecordOf(
  { volumes, provider }: { readonly volumes: VolumeSet; readonly provider: Provider },
  candidates: readonly Placed[],
): GoodRecord {
  const bad: Placed[] = [];
  let failure: StoreError | undefined;
  for (const placed of candidates) {
    const view = viewOf(placed);
    try {
      const bytes = reading(view, () =>
        volumes.sqlite(volumes.row(view.volume)).read(partNameOf(view), locatorOf(view), 0, view.stored),
      );
      if (bytes === undefined) throw new StoreError('corrupt', 'its record is missing');
      recordContent(provider, view, bytes);
      return { bytes, bad };
    } catch (error) {
      if (!StoreError.is(error)) throw error;
      if (error.code === 'corrupt') bad.push(placed);
      failure ??= error;
    }
  }
  throw failure ?? new StoreError('unavailable', 'no copy of it is there');
}

/** A disk that cannot be read is no reason to stop writing to the others. */
function reading<Result>(row: BlobRow, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    throw toStoreError(error, `reading blob ${toHex(row.id)}`, { id: toHex(row.id) });
  }
}

/** The copy lies elsewhere now, and is good. In a running transaction. */
export function moveCopy(
  transaction: Transaction,
  { row, copy }: Placed,
  place: Omit<Place, 'incarnation'> & { readonly incarnation?: number },
): void {
  const { catalog } = transaction;
  transaction.changed = true;
  // The copy was read back, but it is the scrub's word that goes with it.
  catalog.sql
    .rows('UPDATE OR REPLACE verified SET volume = ? WHERE blob = ? AND volume = ?')
    .run(place.volume, row.n, copy?.volume ?? row.volume);
  if (copy === undefined) {
    Object.assign(row, place);
    catalog.blobs.update(row);
    return;
  }
  catalog.copies.delete(copy);
  catalog.copies.put({ ...copy, ...place, suspect: 0 });
}

/** A file that no row leads to any more goes after the COMMIT (tombstones.ts), also when that comes late. In a running transaction. */
export function bury(transaction: Transaction, volumes: VolumeSet, view: BlobRow): void {
  transaction.catalog.sql
    .rows('INSERT INTO tombstones (volume, id, incarnation, framed, bytes) VALUES (?, ?, ?, ?, ?)')
    .run(view.volume, view.id, view.incarnation, Number(partNameOf(view).framed === true), view.stored);
  volumes.charge(transaction, view.volume, -view.stored);
}

/** Those that may not go to the same members, together. */
export function groupByMembers<Item>(
  items: readonly Item[],
  membersOf: (item: Item) => ReadonlySet<number>,
): { readonly without: ReadonlySet<number>; readonly items: Item[] }[] {
  const groups = new Map<string, { readonly without: ReadonlySet<number>; readonly items: Item[] }>();
  for (const item of items) {
    const without = membersOf(item);
    const key = [...without].toSorted((a, b) => a - b).join();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { without, items: [item] });
    else group.items.push(item);
  }
  return [...groups.values()];
}

/** Bytes that all copies in a volume take. O(copies of the volume). */
export function storedIn(sql: Statements, volume: number): number {
  return sql
    .values(
      'SELECT coalesce((SELECT sum(stored) FROM blobs WHERE volume = ?), 0) + coalesce((SELECT sum(stored) FROM copies c JOIN blobs b ON b.n = c.blob WHERE c.volume = ?), 0)',
    )
    .get(volume, volume) as number;
}
