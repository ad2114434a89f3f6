/** Takes stored bytes that no row leads to for the copy that a mirrored blob lacks. */
import { type BlobRow, isPlaced, partNameOf } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import { exchange, lacksCopies } from '../commit/copies.ts';
import { type VolumeSet, locatorOf } from '../commit/volume-set.ts';
import { recordContent } from '../content/reader.ts';
import { StoreError } from '../errors.ts';
import type { Locator, PartName } from '../volume.ts';
import type { Provider } from '../codec/provider.ts';
import type { CopyPlace } from './further-copy.ts';
import { copiesOf, viewOf } from './placed.ts';

/** Whether a row of this blob leads to this very record, or to this very file. */
export function isKnownCopy(
  catalog: Catalog,
  row: BlobRow,
  place: { readonly volume: number; readonly incarnation: number; readonly locator?: Locator },
): boolean {
  const { volume, incarnation, locator } = place;
  return copiesOf(catalog, row).some((placed) => {
    const view = viewOf(placed);
    if (view.volume !== volume) return false;
    return locator === undefined
      ? view.incarnation === incarnation
      : view.extent === locator.extent && view.start === locator.offset;
  });
}

/** True when the record is a copy from now on. It was read and is equal to what the others are. */
export function adoptRecordCopy(
  transaction: Transaction,
  { volumes, provider }: { readonly volumes: VolumeSet; readonly provider: Provider },
  row: BlobRow,
  record: { readonly volume: number; readonly name: PartName; readonly locator: Locator },
): boolean {
  const { volume, name, locator } = record;
  const same = name.incarnation === row.incarnation && locator.length === row.stored;
  if (!same || !isPlaced(row) || volumes.isDirectory(row.volume)) return false;
  if (!isWanted(transaction, volumes, row, volume)) return false;
  const { catalog } = transaction;
  const place = { volume, extent: locator.extent, start: locator.offset, incarnation: row.incarnation };
  const view: BlobRow = { ...row, ...place };
  try {
    const bytes = volumes.sqlite(volumes.row(volume)).read(name, locator, 0, locator.length);
    if (bytes === undefined) return false;
    recordContent(provider, view, bytes);
  } catch (error) {
    if (StoreError.is(error)) return false;
    throw error;
  }
  for (const old of catalog.copies.of(row.n))
    if (old.volume === volume) volumes.free(transaction, volume, locatorOf(viewOf({ row, copy: old })));
  take(transaction, row, place);
  return true;
}

/** The same for a file in a directory. `isGood` reads it and says whether it holds the blob; it is asked only where one is wanted. */
export function adoptFileCopy(
  transaction: Transaction,
  volumes: VolumeSet,
  row: BlobRow,
  file: {
    readonly volume: number;
    readonly name: PartName;
    readonly extent: number;
    readonly isGood: () => boolean;
  },
): boolean {
  const { volume, name, extent } = file;
  if (!isPlaced(row) || !volumes.isDirectory(row.volume) || !isWanted(transaction, volumes, row, volume))
    return false;
  if (!isSameForm(row, name, volumes.directory(volume).size(name)) || !file.isGood()) return false;
  volumes.charge(transaction, volume, row.stored);
  take(transaction, row, { volume, extent, start: 0, incarnation: name.incarnation });
  return true;
}

/** The same of a copy that was verified just now, a record or a file. */
export function adoptVerifiedCopy(
  transaction: Transaction,
  volumes: VolumeSet,
  row: BlobRow,
  copy: CopyPlace,
): boolean {
  const { codec, stored, volume, extent, start, incarnation } = copy;
  const isFile = volumes.isDirectory(volume);
  if (!isPlaced(row) || isFile !== volumes.isDirectory(row.volume)) return false;
  const same = codec === row.codec && stored === row.stored && (isFile || incarnation === row.incarnation);
  if (!same || !isWanted(transaction, volumes, row, volume)) return false;
  take(transaction, row, { volume, extent, start, incarnation });
  return true;
}

/** All copies of a blob are stored in one form. */
export function isSameForm(row: BlobRow, name: PartName, size: number | undefined): boolean {
  return size === row.stored && (name.framed === true) === (partNameOf(row).framed === true);
}

function isWanted(transaction: Transaction, volumes: VolumeSet, row: BlobRow, volume: number): boolean {
  if (!lacksCopies(transaction, row)) return false;
  const member = volumes.member(volume);
  return copiesOf(transaction.catalog, row).every((placed) => {
    const view = viewOf(placed);
    return view.suspect !== 0 || volumes.member(view.volume) !== member;
  });
}

function take(
  transaction: Transaction,
  row: BlobRow,
  place: {
    readonly volume: number;
    readonly extent: number;
    readonly start: number;
    readonly incarnation: number;
  },
): void {
  const copy = { blob: row.n, ...place, suspect: 0 };
  transaction.changed = true;
  transaction.catalog.copies.put(copy);
  // The first one is known to be bad: this one is read from now on.
  if (row.suspect !== 0) exchange(transaction, row, copy);
}
