/** Nodes of which there are only plain bytes, found again: a put of those healed them once. */
import { type BlobRow, isChunked, noVolume } from '../catalog/blob-rows.ts';
import type { Transaction } from '../catalog/catalog.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { fromHex } from '../codec/bytes.ts';
import { decodeManifest } from '../codec/manifest.ts';
import { decodeNode, nodeBytesMax } from '../codec/node.ts';
import type { BlobFile } from '../content/blob-file.ts';
import { ChunkedFile } from '../content/chunked-file.ts';
import { type NamedLink, copyOf } from '../content/contents.ts';
import { isDamage } from '../content/damage.ts';
import { StoreError } from '../errors.ts';
import { Walk, rootManifest } from './adopt-chunked.ts';
import { type RebuildContext, inSlices, resolve } from './rebuild-context.ts';
import { noteNode } from './rebuild-scan.ts';

/**
 * Records say that they are a node's; files and chunks cannot. So what is a node's by its bytes, and has all that it links to, is one:
 * files and chunked blobs that a root or an owner holds, and whatever a node links to as a node. O(such blobs): the beginning of each
 * is read, and all of it where that may be a node's.
 */
export async function makeNodes(context: RebuildContext): Promise<void> {
  const { catalog, contents } = context;
  // Sealed and padded it takes less than twice that.
  const bytesMax = (contents.sealed ? 2 : 1) * nodeBytesMax;
  const candidates = (which: string): number[] =>
    catalog.sql
      .values(`SELECT b.n FROM main.blobs b WHERE b.kind = 0 AND b.size <= ? AND ${which}`)
      .all(bytesMax) as number[];
  const large = `(b.volume = ${noVolume} OR b.volume IN (SELECT v.n FROM main.volumes v WHERE v.kind = 'directory'))`;
  const held = 'b.n IN (SELECT n FROM work.roots UNION SELECT n FROM work.owners)';
  const linked = 'b.n IN (SELECT n FROM work.links WHERE kind = 1)';
  await makeThese(context, candidates(`${large} AND ${held}`));
  // One that becomes a node may link to the next.
  while ((await makeThese(context, candidates(linked))) > 0);
}

/** Returns how many became nodes. */
async function makeThese(context: RebuildContext, numbers: readonly number[]): Promise<number> {
  const { catalog } = context;
  let made = 0;
  await inSlices(context, numbers, (transaction, n) => {
    const row = catalog.blobs.byNumber(n)!;
    const links = unlessOther(() => linksIn(transaction, context, row));
    if (links?.every(({ name }) => catalog.blobs.inspect(fromHex(name)!)) !== true) return;
    made++;
    row.kind = 1;
    transaction.changed = true;
    catalog.blobs.update(row);
    catalog.sql.rows('INSERT INTO work.made VALUES (?)').run(n);
    // A manifest is a record, and was found as one.
    noteNode(transaction, row, { links, manifest: false });
  });
  if (made > 0) resolve(catalog, 'links');
  return made;
}

/** What looked like a node, and is just bytes: what it would link to is only here as what a put left that was refused, or is dead. */
export function unmakeNode(transaction: Transaction, n: number): void {
  const { catalog } = transaction;
  const row = catalog.blobs.byNumber(n)!;
  row.kind = 0;
  transaction.changed = true;
  catalog.blobs.update(row);
  catalog.sql.rows('DELETE FROM work.links WHERE parent = ?').run(n);
  catalog.sql.rows('DELETE FROM work.made WHERE n = ?').run(n);
}

/** Undefined where the bytes of a blob are no node. */
function linksIn(
  transaction: Transaction,
  context: RebuildContext,
  row: BlobRow,
): readonly NamedLink[] | undefined {
  const { realm } = context.contents;
  const file = openContent(transaction, context, row);
  try {
    if (file.size < 2 || file.size > nodeBytesMax || file.read(0, 1)[0] !== arrayOfThree) return undefined;
    const { links } = decodeNode(file.read(0, file.size));
    return links.map(({ kind, id }) => ({ kind, name: realm.nameOf(id) }));
  } finally {
    file.close();
  }
}

/** Undefined where bytes are something else. What cannot be read now ends the rebuild: it would pass for something else. */
export function unlessOther<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch (error) {
    if (isDamage(error) || StoreError.is(error, 'incompatible-format')) return undefined;
    throw error;
  }
}

/** How every node begins (codec/node.ts). */
const arrayOfThree = 0x83;

function openContent(transaction: Transaction, context: RebuildContext, row: BlobRow): BlobFile {
  const { contents } = context;
  const { blobs, refs } = transaction.catalog;
  const walk = new Walk(transaction, context);
  if (!isChunked(row)) return contents.open(row, walk.open(row));
  const contentOf = (found: BlobRow | undefined): Uint8Array => {
    if (found === undefined) throw new StoreError('corrupt', 'a part of it is missing');
    return contents.content(copyOf(found), walk.stored(found));
  };
  const part = (id: string): Uint8Array => contentOf(blobs.byId(fromHex(contents.realm.nameOf(id))!));
  const [n] = refs.childrenOf(row.n, ownerKinds.chunked);
  const root = rootManifest(contentOf(n === undefined ? undefined : blobs.byNumber(n)));
  if (root === undefined) throw new StoreError('corrupt', 'its manifest is damaged');
  return new ChunkedFile(root.root.size, root, {
    manifest: (id) => decodeManifest(part(id)),
    chunk: (id, from, to) => part(id).subarray(from, to),
  });
}
