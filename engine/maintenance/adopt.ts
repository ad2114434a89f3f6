/** Takes stored copies without a catalog row back in: evidence of a lost row is never deleted on sight. */
import type { Transaction } from '../catalog/catalog.ts';
import { type BlobRow, storedForms } from '../catalog/blob-rows.ts';
import { copyAt } from '../catalog/copy-rows.ts';
import type { VolumeRow } from '../catalog/group.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { equalBytes, fromHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { Frame } from '../codec/frame.ts';
import { readRecord } from '../codec/record.ts';
import { writeChunkSums } from '../commit/files.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import { adoptChunked } from './adopt-chunked.ts';
import { adoptFileCopy, adoptRecordCopy, isKnownCopy, isSameForm } from './adopt-copy.ts';
import { FramedFile, Scratch } from '../content/blob-file.ts';
import { type ContentDigest, Digester } from '../content/digest.ts';
import type { Contents } from '../content/contents.ts';
import { isDamage } from '../content/damage.ts';
import { StoreError } from '../errors.ts';
import type { BlobFacts } from '../keys/realm.ts';
import type { Host, OpenFile } from '../host.ts';
import type { Locator, PartName } from '../volume.ts';
import { fanOut } from '../volumes/directory.ts';

/** Bytes hashed at once. */
const sliceBytes = 1024 * 1024;

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
  const found = transaction.catalog.blobs.inspect(id);
  if (found !== undefined) {
    const { catalog } = transaction;
    const record = { volume: place.row.n, name, locator };
    if (isKnownCopy(catalog, found.row, { ...record, incarnation: name.incarnation })) return;
    if (found.sound && adoptRecordCopy(transaction, context, found.row, record)) report.adopted++;
    // Other copies are in use: this one is dead. A row that is unsound, or suspect without mirrors, is healed by putting, not here.
    else context.volumes.free(transaction, place.row.n, locator);
    return;
  }
  const bytes = context.volumes.sqlite(place.row).read(name, locator, 0, locator.length);
  const record = bytes === undefined ? undefined : verified(context, bytes, id);
  if (record === undefined) {
    report.damaged++;
    return;
  }
  const children = record.links.map((link) => transaction.catalog.blobs.inspect(fromHex(link.name)!)?.row);
  if (children.includes(undefined)) {
    report.incomplete++;
    return;
  }
  const row = transaction.insert({
    id,
    kind: record.kind === 'node' ? 1 : 0,
    codec: storedForms.plain,
    size: record.stored.length,
    stored: locator.length,
    volume: place.row.n,
    extent: locator.extent,
    start: locator.offset,
    incarnation: name.incarnation,
    label: context.contents.labelOf(record.facts),
  });
  for (const child of children)
    transaction.reference(transaction.catalog.blobs.byNumber(child!.n)!, {
      kind: ownerKinds.node,
      owner: row.n,
    });
  report.adopted++;
  if (record.kind === 'node') adoptChunked(transaction, context, { row, stored: record.stored });
}

interface VerifiedRecord {
  readonly kind: 'raw' | 'node';
  /** Its content as it is stored. */
  readonly stored: Uint8Array;
  readonly facts: BlobFacts | undefined;
  /** By names on disk. */
  readonly links: readonly { readonly name: string }[];
}

function verified(
  { provider, contents }: AdoptContext,
  bytes: Uint8Array,
  name: Uint8Array,
): VerifiedRecord | undefined {
  try {
    const record = readRecord(provider, bytes, 0);
    const { kind, sealed, id } = record.head;
    if (sealed !== contents.sealed || !equalBytes(id, name)) return undefined;
    const stored = record.content();
    const facts = contents.check({ kind, name, size: stored.length }, stored);
    return { kind, stored, facts, links: kind === 'node' ? contents.linksOf(stored) : [] };
  } catch (error) {
    if (StoreError.is(error)) return undefined;
    throw error;
  }
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
  const read = (): ReturnType<typeof digestFile> => {
    const file = directory.open(name);
    return file === undefined ? undefined : digestFile(context, file, name);
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
  const digest = read();
  if (digest === undefined || digest === 'unreadable') {
    if (digest === undefined) context.quarantine(volume, name);
    report.damaged++;
    return;
  }
  const { size, stored } = digest;
  const facts = {
    kind: 0,
    codec: name.framed === true ? storedForms.framed : storedForms.plain,
    stored,
    volume,
    extent: fanOut(name.id),
    start: 0,
    incarnation: name.incarnation,
    label: context.contents.labelOf(digest.facts) ?? found?.row.label ?? null,
  };
  if (found === undefined || found.sound) context.volumes.charge(transaction, volume, stored);
  if (found === undefined) {
    const row = transaction.insert({ id: fromHex(name.id)!, size, ...facts });
    writeChunkSums(transaction.catalog, row.n, digest.sums);
  } else if (found.sound) {
    if (differs) catalog.copies.deleteAll(found.row.n);
    // The copy the row points to is gone or bad, and this one is good: the row moves here.
    Object.assign(found.row, facts, { size, suspect: 0, kind: found.row.kind });
    transaction.changed = true;
    transaction.catalog.blobs.update(found.row);
    transaction.catalog.sql.rows('DELETE FROM chunk_sums WHERE blob = ?').run(found.row.n);
    writeChunkSums(transaction.catalog, found.row.n, digest.sums);
  }
  report.adopted++;
}

function isThere(volumes: VolumeSet, view: BlobRow): boolean {
  return view.suspect === 0 && volumes.isPresent(view.volume) && volumes.holds(view);
}

/**
 * What a file holds, and its size; undefined when it is not what its name says, `unreadable` when it takes another key, or another
 * version, to tell. Closes the file.
 */
function digestFile(
  context: AdoptContext,
  file: OpenFile,
  name: PartName,
): DigestedFile | 'unreadable' | undefined {
  try {
    const stored = file.facts().size;
    return name.framed === true
      ? digestFrame(context, file, { name, stored })
      : digestBare(context, file, { name, stored });
  } catch (error) {
    if (isDamage(error)) return undefined;
    if (StoreError.is(error, 'wrong-key') || StoreError.is(error, 'incompatible-format')) return 'unreadable';
    throw error;
  } finally {
    file.close();
  }
}

interface DigestedFile extends Pick<ContentDigest, 'size' | 'sums'> {
  readonly stored: number;
  readonly facts: BlobFacts | undefined;
}

function digestFrame(
  { provider, contents }: AdoptContext,
  file: OpenFile,
  { name, stored }: { readonly name: PartName; readonly stored: number },
): DigestedFile | undefined {
  const read = new Scratch().reader(file);
  const frame = new Frame(provider, read, stored);
  const bytes = fromHex(name.id)!;
  if (frame.sealed !== contents.sealed || !equalBytes(frame.id, bytes)) return undefined;
  const { size } = frame;
  const steps = contents.verify({ kind: 'raw', name: bytes, size }, new FramedFile(file, frame, read));
  for (;;) {
    const step = steps.next();
    if (step.done === true) return { size, stored, sums: new Uint8Array(0), facts: step.value };
  }
}

/** A file that is the content: there are none in an encrypted store. */
function digestBare(
  { provider, chunkBytes, contents }: AdoptContext,
  file: OpenFile,
  { name, stored }: { readonly name: PartName; readonly stored: number },
): DigestedFile | undefined {
  if (contents.sealed) return undefined;
  const digester = new Digester(provider, chunkBytes);
  const read = new Scratch().reader(file);
  for (let at = 0; at < stored; at += sliceBytes) digester.update(read(at, sliceBytes));
  const { id, size, sums } = digester.finish();
  return equalBytes(id, fromHex(name.id)!) ? { size, stored, sums, facts: undefined } : undefined;
}
