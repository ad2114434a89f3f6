/** The copies of a blob as commits change them: made together, retired together, marked one by one, another one taken for the first. */
import type { Transaction } from '../catalog/catalog.ts';
import { type BlobRow, isPlaced, partNameOf } from '../catalog/blob-rows.ts';
import { type CopyRow, copyAt } from '../catalog/copy-rows.ts';
import { readGroup } from '../catalog/group.ts';
import { fromHex } from '../codec/bytes.ts';
import { StoreError } from '../errors.ts';
import type { Part } from '../volume.ts';
import { type PlacedRecords, type VolumeSet, locatorOf } from './volume-set.ts';

/** What is done after the COMMIT, when nothing leads to the old copies any more. */
export type Afterwards = (() => void)[];

export interface RetireContext {
  readonly volumes: VolumeSet;
  /** Moves a damaged file out of the way, never deletes it. */
  readonly quarantine: (row: BlobRow) => void;
}

/**
 * Appends records to as many members as the group wants copies, durable in each when it returns. Members that are away are done without
 * while `minCopies` are made; one that is there and full fails the put, since somebody can do something about it.
 */
export function appendCopies(
  transaction: Transaction,
  volumes: VolumeSet,
  parts: readonly Part[],
): PlacedRecords[] {
  const placed = [volumes.append(transaction, parts)];
  const { copies, minCopies } = readGroup(transaction.catalog.sql);
  const taken = new Set<number>();
  while (placed.length < copies) {
    taken.add(volumes.member(placed.at(-1)!.volume));
    try {
      placed.push(volumes.append(transaction, parts, { without: taken }));
    } catch (error) {
      if (!StoreError.is(error, 'unavailable') || placed.length < minCopies) throw error;
      break;
    }
  }
  return placed;
}

/** A copy that no row points to any more: a record is free, a file goes after the COMMIT, a damaged one is set aside. */
export function retire(
  transaction: Transaction,
  context: RetireContext,
  row: BlobRow,
  afterwards: Afterwards,
): void {
  const { volumes, quarantine } = context;
  if (!isPlaced(row)) return;
  if (!volumes.isDirectory(row.volume)) return volumes.free(transaction, row.volume, locatorOf(row));
  volumes.charge(transaction, row.volume, -row.stored);
  afterwards.push(() => {
    try {
      if (row.suspect !== 0) quarantine(row);
      else volumes.directory(row.volume).delete(partNameOf(row));
    } catch (error) {
      // In a volume that is away it stays; when that is back, a scrub drops it as a second copy.
      if (!StoreError.is(error, 'unavailable')) throw error;
    }
  });
}

/** Retires a further copy, and takes its row away. */
export function retireCopy(
  transaction: Transaction,
  context: RetireContext,
  found: { readonly row: BlobRow; readonly copy: CopyRow },
  afterwards: Afterwards,
): void {
  transaction.changed = true;
  transaction.catalog.copies.delete(found.copy);
  retire(transaction, context, copyAt(found.row, found.copy), afterwards);
}

/** All copies but the first, of a blob that is collected or put anew. */
export function retireFurther(
  transaction: Transaction,
  context: RetireContext,
  row: BlobRow,
  afterwards: Afterwards,
): void {
  const { copies } = transaction.catalog;
  for (const copy of copies.of(row.n)) retireCopy(transaction, context, { row, copy }, afterwards);
  copies.deleteAll(row.n); // rows whose checksum does not hold
}

/** The further copy becomes the first, which reads try first, and the first a further one. In a running transaction. */
export function exchange(transaction: Transaction, row: BlobRow, copy: CopyRow): void {
  const { catalog } = transaction;
  const { n: blob, volume, extent, start, incarnation, suspect } = row;
  transaction.changed = true;
  catalog.copies.delete(copy);
  catalog.copies.put({ blob, volume, extent, start, incarnation, suspect });
  Object.assign(row, copyAt(row, copy));
  catalog.blobs.update(row);
}

/** Whether a blob has fewer copies, not counting those found damaged, than the group wants. */
export function lacksCopies({ catalog }: Transaction, row: BlobRow): boolean {
  const { copies } = readGroup(catalog.sql);
  if (copies === 1 || !isPlaced(row)) return false;
  const suspects = [row, ...catalog.copies.of(row.n)].map(({ suspect }) => suspect);
  return suspects.filter((suspect) => suspect === 0).length < copies;
}

/** The same as the answer to a put says it. */
export function lacking(transaction: Transaction, row: BlobRow): { readonly incomplete?: true } {
  return lacksCopies(transaction, row) ? { incomplete: true } : {};
}

/** Which copy was found damaged. */
export interface CopyName {
  readonly id: string;
  readonly incarnation: number;
  /** Number of its volume. */
  readonly volume: number;
}

/** Marks that very copy. False when it is in use no more. Where another copy is not known to be bad, that one becomes the first. */
export function markCopy(transaction: Transaction, damage: CopyName): boolean {
  const { catalog } = transaction;
  const found = catalog.blobs.inspect(fromHex(damage.id)!);
  if (found === undefined) return false;
  const { row, sound } = found;
  const copies = sound ? catalog.copies.of(row.n) : [];
  const isMeant = (place: { readonly volume: number; readonly incarnation: number }): boolean =>
    place.volume === damage.volume && place.incarnation === damage.incarnation;
  if (!isMeant(row)) {
    const copy = copies.find(isMeant);
    if (copy === undefined) return false;
    transaction.changed = true;
    if (copy.suspect === 0) catalog.copies.put({ ...copy, suspect: 1 });
    return true;
  }
  if (!sound) return true;
  const good = copies.find(({ suspect }) => suspect === 0);
  if (row.suspect === 0) {
    row.suspect = 1;
    transaction.saveCounts(row);
  }
  if (good !== undefined) exchange(transaction, row, good);
  return true;
}
