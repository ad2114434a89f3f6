/** Reads every stored copy of every volume that is there, verifies it, and gives each blob the row of a good one. */
import { type BlobRow, storedForms } from '../catalog/blob-rows.ts';
import type { Transaction } from '../catalog/catalog.ts';
import type { VolumeRow } from '../catalog/group.ts';
import { concatBytes, fromHex, toHex } from '../codec/bytes.ts';
import { findRecords } from '../codec/find-records.ts';
import { writeChunkSums } from '../commit/files.ts';
import type { NamedLink } from '../content/contents.ts';
import { isDamage } from '../content/damage.ts';
import { type VerifiedRecord, isUnknown, verifyFile, verifyRecord } from '../content/verify-content.ts';
import { StoreError } from '../errors.ts';
import type { ListedPart, PartName } from '../volume.ts';
import { fanOut, partFile } from '../volumes/directory.ts';
import { rootManifest } from './adopt-chunked.ts';
import { adoptVerifiedCopy } from './adopt-copy.ts';
import { type CopyPlace, dropCopies, dropFurtherCopy } from './further-copy.ts';
import { copiesOf, viewOf } from './placed.ts';
import { type RebuildContext, addLink, inSlices } from './rebuild-context.ts';

/** A copy that was verified, as its row would be. */
export interface Copy extends CopyPlace {
  readonly kind: number;
  readonly size: number;
  readonly label: Uint8Array | null;
  /** Of a bare file: its chunk checksums. */
  readonly sums?: Uint8Array;
  readonly node?: NodeFacts;
}

/** What there is to know of a node. */
export interface NodeFacts {
  readonly links: readonly NamedLink[];
  /** It may be the manifest of a chunked blob, its root. */
  readonly manifest: boolean;
}

/** A volume that SQLite took for sound turned out not to be while it was read. */
export class VolumeDamaged extends Error {
  readonly volume: string;

  constructor(volume: string, cause: unknown) {
    super(`volume ${volume} is damaged`, { cause });
    this.volume = volume;
  }
}

export async function scanVolumes(context: RebuildContext): Promise<void> {
  for (const row of context.volumes.rows()) {
    if (row.kind === 'folder' || !context.volumes.usable(row)) continue;
    if (row.kind === 'sqlite') await scanRecords(context, row);
    else await scanFiles(context, row);
  }
}

async function scanRecords(context: RebuildContext, row: VolumeRow): Promise<void> {
  const { volumes, provider, report } = context;
  const tell = tally(context);
  try {
    await inSlices(context, volumes.sqlite(row).extents(1, row.extents), (transaction, { extent, data }) => {
      for (const found of findRecords(provider, data)) {
        const where = `extent ${extent}, byte ${found.at}`;
        if ('damage' in found) {
          report.damage({ volume: row.id, name: where, reason: `its record ${found.damage}` });
          continue;
        }
        const bytes = data.subarray(found.at, found.at + found.record.length);
        const name = `${where}: ${toHex(found.record.head.id)}`;
        const record = judged(context, { volume: row.id, name }, () => verifyRecord(context, bytes));
        if (record === undefined) continue;
        takeCopy(transaction, context, {
          ...recordCopy(context, record),
          volume: row.n,
          extent,
          start: found.at,
        });
        tell(record.stored.length);
      }
    });
  } catch (error) {
    if (StoreError.is(error, 'corrupt') && error.facts['volume'] === row.id)
      throw new VolumeDamaged(row.id, error);
    throw error;
  }
}

/** What a record says of its row, but for where it lies. */
export function recordCopy(
  { contents }: RebuildContext,
  { head, stored, facts, links, length }: VerifiedRecord,
): Omit<Copy, 'volume' | 'extent' | 'start'> {
  const isNode = head.kind === 'node';
  const content = (): Uint8Array =>
    contents.content({ kind: head.kind, name: head.id, size: stored.length }, stored);
  return {
    id: head.id,
    kind: isNode ? 1 : 0,
    codec: storedForms.plain,
    size: stored.length,
    stored: length,
    incarnation: head.incarnation,
    label: contents.labelOf(facts),
    ...(isNode ? { node: { links, manifest: rootManifest(content()) !== undefined } } : {}),
  };
}

async function scanFiles(context: RebuildContext, row: VolumeRow): Promise<void> {
  const { volumes } = context;
  const tell = tally(context);
  await inSlices(context, namedParts(volumes.directory(row.n).parts(0, 255)), (transaction, name) => {
    context.signal.throwIfAborted();
    const file = volumes.directory(row.n).open(name);
    if (file === undefined) return;
    const { provider, contents, superblock } = context;
    const how = { provider, contents, chunkBytes: superblock.parameters.chunkBytes };
    const verified = judged(context, { volume: row.id, name: partFile(name) }, () =>
      verifyFile(how, file, name),
    );
    if (verified === undefined) return;
    takeCopy(transaction, context, {
      id: fromHex(name.id)!,
      kind: 0,
      codec: name.framed === true ? storedForms.framed : storedForms.plain,
      size: verified.size,
      stored: verified.stored,
      volume: row.n,
      extent: fanOut(name.id),
      start: 0,
      incarnation: name.incarnation,
      label: contents.labelOf(verified.facts),
      sums: verified.sums,
    });
    tell(verified.size);
  });
}

/** Files with other names are nobody's. */
function* namedParts(parts: Iterable<ListedPart>): Generator<PartName> {
  for (const { name } of parts) if (name !== undefined) yield name;
}

/** Runs a verification; damage is reported. What takes another key or version to tell ends the rebuild: it would pass for lost. */
function judged<Result>(
  { report }: RebuildContext,
  where: { readonly volume: string; readonly name: string },
  verify: () => Result,
): Result | undefined {
  try {
    return verify();
  } catch (error) {
    if (isUnknown(error))
      throw new StoreError(
        error.code,
        `volume ${where.volume}, ${where.name}: ${error.message}`,
        where,
        error,
      );
    if (!isDamage(error)) throw error;
    report.damage({ ...where, reason: error.message });
    return undefined;
  }
}

/**
 * One good copy is chosen: the first, or the first that is a node, or that was sealed under a newer epoch. The others are further copies:
 * those that a mirrored group wants stay.
 */
export function takeCopy(transaction: Transaction, context: RebuildContext, copy: Copy): void {
  const { volumes } = context;
  const { blobs } = transaction.catalog;
  const found = blobs.inspect(copy.id);
  if (found === undefined) {
    const { sums, node, ...facts } = copy;
    const row = transaction.insert({ ...facts, id: copy.id.slice() });
    if (sums !== undefined) writeChunkSums(transaction.catalog, row.n, sums);
    noteNode(transaction, row, node);
    return;
  }
  const { row } = found;
  if (row.kind > copy.kind) noteRaw(transaction, row.n, copy);
  if (!isBetter(context, copy, row)) {
    if (!adoptVerifiedCopy(transaction, volumes, row, copy)) dropFurtherCopy(transaction, volumes, copy);
    return;
  }
  if (copy.kind > row.kind) noteRaws(transaction, row);
  dropCopies(transaction, volumes, row);
  becomeCopy(transaction, row, copy);
  noteNode(transaction, row, copy.node);
}

function isBetter({ contents: { realm } }: RebuildContext, copy: Copy, row: BlobRow): boolean {
  if (copy.kind !== row.kind) return copy.kind > row.kind;
  return (realm.epochOf(copy.label) ?? 0) > (realm.epochOf(row.label) ?? 0);
}

/** Points a row to another copy. */
export function becomeCopy(transaction: Transaction, row: BlobRow, copy: Omit<Copy, 'node'>): void {
  const { kind, codec, size, stored, volume, extent, start, incarnation, label, sums } = copy;
  Object.assign(row, { kind, codec, size, stored, volume, extent, start, incarnation, label });
  transaction.changed = true;
  transaction.catalog.blobs.update(row);
  transaction.catalog.sql.rows('DELETE FROM chunk_sums WHERE blob = ?').run(row.n);
  if (sums !== undefined) writeChunkSums(transaction.catalog, row.n, sums);
}

/** Writes down what a node links to, and whether it may be the manifest of a chunked blob. */
export function noteNode(transaction: Transaction, row: BlobRow, node: NodeFacts | undefined): void {
  if (node === undefined) return;
  const { catalog } = transaction;
  for (const { kind, name } of node.links)
    addLink(catalog, { parent: row.n, child: fromHex(name)!, kind: kind === 'node' ? 1 : 0 });
  if (node.manifest) catalog.sql.rows('INSERT OR IGNORE INTO work.manifests (n) VALUES (?)').run(row.n);
}

/** All copies of a blob that was plain bytes until now. */
function noteRaws(transaction: Transaction, row: BlobRow): void {
  const { catalog } = transaction;
  const parts = catalog.sql
    .values('SELECT sums FROM chunk_sums WHERE blob = ? ORDER BY part')
    .all(row.n) as Uint8Array[];
  const sums = parts.length === 0 ? {} : { sums: concatBytes(...parts) };
  for (const placed of copiesOf(catalog, row)) noteRaw(transaction, row.n, { ...viewOf(placed), ...sums });
}

function noteRaw({ catalog }: Transaction, n: number, copy: Copy): void {
  const { volume, extent, start, incarnation, codec, size, stored, label, sums } = copy;
  catalog.sql
    .rows(
      'INSERT OR IGNORE INTO work.raws (n, volume, extent, start, incarnation, codec, size, stored, label, sums) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    )
    .run(n, volume, extent, start, incarnation, codec, size, stored, label, sums ?? null);
}

/** Counts verified blobs and tells now and then. */
export function tally({ progress }: RebuildContext): (bytes: number) => void {
  return (bytes) => progress({ blobs: 1, bytes });
}
