/** Reads every stored copy of every volume that is there, verifies it, and gives each blob the row of a good one. */
import { type BlobRow, storedForms } from '../catalog/blob-rows.ts';
import type { Transaction } from '../catalog/catalog.ts';
import type { VolumeRow } from '../catalog/group.ts';
import { concatBytes, fromHex, toHex } from '../codec/bytes.ts';
import { findRecords } from '../codec/find-records.ts';
import { writeChunkSums } from '../commit/committer.ts';
import { type VerifiedRecord, linksOf, verifyFile, verifyRecord } from '../content/verify-content.ts';
import { StoreError } from '../errors.ts';
import type { ListedPart, PartName } from '../volume.ts';
import { fanOut, partFile } from '../volumes/directory.ts';
import { rootManifest } from './adopt-chunked.ts';
import { type CopyPlace, dropFurtherCopy } from './further-copy.ts';
import { type RebuildContext, addLink, inSlices } from './rebuild-context.ts';

/** A copy that was verified, as its row would be. */
export interface Copy extends CopyPlace {
  readonly kind: number;
  readonly size: number;
  /** Of a bare file: its chunk checksums. */
  readonly sums?: Uint8Array;
  /** Of a node. */
  readonly content?: Uint8Array;
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
        const record = judged(context, { volume: row.id, name }, () => verifyRecord(provider, bytes));
        if (record === undefined) continue;
        takeCopy(transaction, context, {
          ...recordCopy(record),
          volume: row.n,
          extent,
          start: found.at,
        });
        tell(record.content.length);
      }
    });
  } catch (error) {
    if (StoreError.is(error, 'corrupt') && error.facts['volume'] === row.id)
      throw new VolumeDamaged(row.id, error);
    throw error;
  }
}

/** What a record says of its row, but for where it lies. */
export function recordCopy({
  head,
  content,
  length,
}: VerifiedRecord): Omit<Copy, 'volume' | 'extent' | 'start'> {
  const isNode = head.kind === 'node';
  return {
    id: head.id,
    kind: isNode ? 1 : 0,
    codec: storedForms.plain,
    size: content.length,
    stored: length,
    incarnation: head.incarnation,
    ...(isNode ? { content } : {}),
  };
}

async function scanFiles(context: RebuildContext, row: VolumeRow): Promise<void> {
  const { volumes } = context;
  const tell = tally(context);
  await inSlices(context, namedParts(volumes.directory(row.n).parts(0, 255)), (transaction, name) => {
    context.signal.throwIfAborted();
    const file = volumes.directory(row.n).open(name);
    if (file === undefined) return;
    const { provider, superblock } = context;
    const how = { provider, chunkBytes: superblock.parameters.chunkBytes };
    const digest = judged(context, { volume: row.id, name: partFile(name) }, () =>
      verifyFile(how, file, name),
    );
    if (digest === undefined) return;
    takeCopy(transaction, context, {
      id: fromHex(name.id)!,
      kind: 0,
      codec: name.framed === true ? storedForms.framed : storedForms.plain,
      size: digest.size,
      stored: digest.stored,
      volume: row.n,
      extent: fanOut(name.id),
      start: 0,
      incarnation: name.incarnation,
      sums: digest.sums,
    });
    tell(digest.size);
  });
}

/** Files with other names are nobody's. */
function* namedParts(parts: Iterable<ListedPart>): Generator<PartName> {
  for (const { name } of parts) if (name !== undefined) yield name;
}

/** Runs a verification; damage is reported. */
function judged<Result>(
  { report }: RebuildContext,
  where: { readonly volume: string; readonly name: string },
  verify: () => Result | undefined,
): Result | undefined {
  try {
    const result = verify();
    if (result === undefined) report.damage({ ...where, reason: 'its content does not hash to its name' });
    return result;
  } catch (error) {
    if (!StoreError.is(error, 'corrupt')) throw error;
    report.damage({ ...where, reason: error.message });
    return undefined;
  }
}

/** One good copy is chosen: the first, or the first that is a node. The others are further copies. */
export function takeCopy(transaction: Transaction, context: RebuildContext, copy: Copy): void {
  const { volumes } = context;
  const { blobs } = transaction.catalog;
  const found = blobs.inspect(copy.id);
  if (found === undefined) {
    const { sums, content, ...facts } = copy;
    const row = transaction.insert({ ...facts, id: copy.id.slice() });
    if (sums !== undefined) writeChunkSums(transaction.catalog, row.n, sums);
    noteNode(transaction, row, content);
    return;
  }
  const { row } = found;
  if (row.kind >= copy.kind) {
    if (row.kind > copy.kind) noteRaw(transaction, row.n, copy);
    return dropFurtherCopy(transaction, volumes, copy);
  }
  const sums = transaction.catalog.sql
    .values('SELECT sums FROM chunk_sums WHERE blob = ? ORDER BY part')
    .all(row.n) as Uint8Array[];
  const raw: Copy = { ...row, ...(sums.length === 0 ? {} : { sums: concatBytes(...sums) }) };
  noteRaw(transaction, row.n, raw);
  dropFurtherCopy(transaction, volumes, raw);
  becomeCopy(transaction, row, copy);
  noteNode(transaction, row, copy.content);
}

/** Points a row to another copy. */
export function becomeCopy(transaction: Transaction, row: BlobRow, copy: Omit<Copy, 'content'>): void {
  const { kind, codec, stored, volume, extent, start, incarnation, sums } = copy;
  Object.assign(row, { kind, codec, stored, volume, extent, start, incarnation });
  transaction.changed = true;
  transaction.catalog.blobs.update(row);
  transaction.catalog.sql.rows('DELETE FROM chunk_sums WHERE blob = ?').run(row.n);
  if (sums !== undefined) writeChunkSums(transaction.catalog, row.n, sums);
}

/** Writes down what a node links to, and whether it may be the manifest of a chunked blob. */
export function noteNode(transaction: Transaction, row: BlobRow, content: Uint8Array | undefined): void {
  if (content === undefined) return;
  const { catalog } = transaction;
  for (const { kind, id } of linksOf(content))
    addLink(catalog, { parent: row.n, child: fromHex(id)!, kind: kind === 'node' ? 1 : 0 });
  if (rootManifest(content) !== undefined)
    catalog.sql.rows('INSERT OR IGNORE INTO work.manifests (n) VALUES (?)').run(row.n);
}

function noteRaw({ catalog }: Transaction, n: number, copy: Copy): void {
  catalog.sql
    .rows('INSERT OR IGNORE INTO work.raws VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
    .run(
      n,
      copy.volume,
      copy.extent,
      copy.start,
      copy.stored,
      copy.codec,
      copy.incarnation,
      copy.sums ?? null,
    );
}

/** Counts verified blobs and tells now and then. */
export function tally({ progress }: RebuildContext): (bytes: number) => void {
  return (bytes) => progress({ blobs: 1, bytes });
}
