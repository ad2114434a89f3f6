/** Takes stored copies without a catalog row back in: evidence of a lost row is never deleted on sight. */
import type { Transaction } from '../catalog/catalog.ts';
import { type BlobRow, storedForms } from '../catalog/blob-rows.ts';
import { copyAt } from '../catalog/copy-rows.ts';
import type { VolumeRow } from '../catalog/group.ts';
import { isLost, ownerKinds } from '../catalog/reference-rows.ts';
import { fromHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { writeChunkSums } from '../commit/files.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import { adoptChunked } from './adopt-chunked.ts';
import { adoptFileCopy, adoptRecordCopy, isKnownCopy, isSameForm } from './adopt-copy.ts';
import type { Contents } from '../content/contents.ts';
import { type VerifiedFile, outcomeOf, verifyFile, verifyRecord } from '../content/verify-content.ts';
import { StoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import type { Locator, PartName } from '../volume.ts';
import { fanOut } from '../volumes/directory.ts';

export interface AdoptContext {
  readonly volumes: VolumeSet;
  readonly provider: Provider;
  readonly contents: Contents;
  readonly host: Host;
  readonly chunkBytes: number;
  readonly quarantine: (volume: number, name: PartName) => void;
}

export interface AdoptReport {
  adopted: number;
  /** Nodes whose links are not all here: left as they are, tried again next time. */
  incomplete: number;
  /** Copies that are not what they say. */
  damaged: number;
}

export function emptyReport(): AdoptReport {
  return { adopted: 0, incomplete: 0, damaged: 0 };
}

/** Records of extents from..to that no row points to. Children lie before their parents, so one pass adopts whole trees. */
export function adoptRecords(
  transaction: Transaction,
  context: AdoptContext,
  place: { readonly row: VolumeRow; readonly from: number; readonly to: number },
): AdoptReport {
  const report = emptyReport();
  const volume = context.volumes.sqlite(place.row);
  const freed = transaction.catalog.sql.values(
    'SELECT 1 FROM freed WHERE volume = ? AND extent = ? AND start = ?',
  );
  try {
    for (const part of volume.parts(place.from, place.to)) {
      if (part.name === undefined) {
        report.damaged++;
        continue;
      }
      if (freed.get(place.row.n, part.locator.extent, part.locator.offset) !== undefined) continue;
      adoptRecord(transaction, context, { row: place.row, name: part.name, locator: part.locator }, report);
    }
  } catch (error) {
    // The volume itself is damaged here: what lies behind cannot be told, and must not keep the store from opening.
    if (!StoreError.is(error, 'corrupt') || error.facts['volume'] !== volume.id) throw error;
    report.damaged++;
  }
  return report;
}

function adoptRecord(
  transaction: Transaction,
  context: AdoptContext,
  place: { readonly row: VolumeRow; readonly name: PartName; readonly locator: Locator },
  report: AdoptReport,
): void {
  const { name, locator } = place;
  const id = fromHex(name.id)!;
  const { catalog } = transaction;
  const { blobs, refs } = catalog;
  const found = blobs.inspect(id);
  if (found !== undefined && !(found.sound && isLost(refs, found.row))) {
    const record = { volume: place.row.n, name, locator };
    if (isKnownCopy(catalog, found.row, { ...record, incarnation: name.incarnation })) return;
    if (found.sound && adoptRecordCopy(transaction, context, found.row, record)) report.adopted++;
    // Other copies are in use: this one is dead. A row that is unsound, or suspect without mirrors, is healed by putting, not here.
    else context.volumes.free(transaction, place.row.n, locator);
    return;
  }
  const bytes = context.volumes.sqlite(place.row).read(name, locator, 0, locator.length);
  const record = outcomeOf(() => (bytes === undefined ? undefined : verifyRecord(context, bytes, id)));
  if (record === undefined || record === 'unreadable') {
    report.damaged++;
    return;
  }
  const isNode = record.head.kind === 'node';
  const children = record.links.map((link) => blobs.inspect(fromHex(link.name)!)?.row);
  if (children.includes(undefined)) {
    report.incomplete++;
    return;
  }
  const facts = {
    kind: isNode ? 1 : 0,
    codec: storedForms.plain,
    size: record.stored.length,
    stored: locator.length,
    volume: place.row.n,
    extent: locator.extent,
    start: locator.offset,
    incarnation: name.incarnation,
    label: context.contents.labelOf(record.facts),
  };
  let row: BlobRow;
  if (found === undefined) row = transaction.insert({ id, ...facts });
  else {
    ({ row } = found);
    Object.assign(row, facts, { suspect: 0, kind: Math.max(row.kind, facts.kind) });
    transaction.changed = true;
    blobs.update(row);
  }
  for (const child of children)
    transaction.reference(blobs.byNumber(child!.n)!, { kind: ownerKinds.node, owner: row.n });
  report.adopted++;
  if (isNode) adoptChunked(transaction, context, { row, stored: record.stored });
}

/** A file of the directory volume that no row points to: hashed, then adopted, dropped as a second copy, or set aside as damaged. */
export function adoptFile(
  transaction: Transaction,
  context: AdoptContext,
  place: { readonly volume: number; readonly name: PartName },
  report: AdoptReport,
): void {
  const { volume, name } = place;
  const directory = context.volumes.directory(volume);
  const found = transaction.catalog.blobs.inspect(fromHex(name.id)!);
  const { catalog } = transaction;
  if (found !== undefined && isKnownCopy(catalog, found.row, { volume, incarnation: name.incarnation }))
    return;
  const standing = found !== undefined && found.sound && found.row.suspect === 0 ? found.row : undefined;
  // Where the copy in use is away, nothing can be said of it: this one stays as it is.
  if (standing !== undefined && !context.volumes.usableNumber(standing.volume)) return;
  const read = (): VerifiedFile | 'unreadable' | undefined => {
    const file = directory.open(name);
    return file === undefined ? undefined : outcomeOf(() => verifyFile(context, file, name));
  };
  const copies = standing === undefined ? [] : catalog.copies.of(standing.n);
  const differs = copies.length > 0 && !isSameForm(standing!, name, directory.size(name));
  const stands = standing !== undefined && context.volumes.holds(standing);
  if (stands || (differs && copies.some((copy) => isThere(context.volumes, copyAt(standing!, copy))))) {
    const isGood = (): boolean => typeof read() === 'object';
    const copy = { volume, name, extent: fanOut(name.id), isGood };
    if (adoptFileCopy(transaction, context.volumes, standing!, copy)) report.adopted++;
    else directory.delete(name);
    return;
  }
  if (directory.size(name) === undefined) return;
  const verified = read();
  if (verified === undefined || verified === 'unreadable') {
    if (verified === undefined) context.quarantine(volume, name);
    report.damaged++;
    return;
  }
  const { size, stored } = verified;
  const facts = {
    kind: 0,
    codec: name.framed === true ? storedForms.framed : storedForms.plain,
    stored,
    volume,
    extent: fanOut(name.id),
    start: 0,
    incarnation: name.incarnation,
    label: context.contents.labelOf(verified.facts) ?? found?.row.label ?? null,
  };
  if (found === undefined || found.sound) context.volumes.charge(transaction, volume, stored);
  if (found === undefined) {
    const row = transaction.insert({ id: fromHex(name.id)!, size, ...facts });
    writeChunkSums(transaction.catalog, row.n, verified.sums);
  } else if (found.sound) {
    if (differs) catalog.copies.deleteAll(found.row.n);
    // The copy the row points to is gone or bad, and this one is good: the row moves here.
    Object.assign(found.row, facts, { size, suspect: 0, kind: found.row.kind });
    transaction.changed = true;
    transaction.catalog.blobs.update(found.row);
    transaction.catalog.sql.rows('DELETE FROM chunk_sums WHERE blob = ?').run(found.row.n);
    writeChunkSums(transaction.catalog, found.row.n, verified.sums);
  }
  report.adopted++;
}

function isThere(volumes: VolumeSet, view: BlobRow): boolean {
  return view.suspect === 0 && volumes.isPresent(view.volume) && volumes.holds(view);
}
