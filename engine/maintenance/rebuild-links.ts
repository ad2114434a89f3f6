/** Links, roots and owners become references: dead nodes are left out, what is lost gets a row that says so, counts are made. */
import { noVolume, storedForms } from '../catalog/blob-rows.ts';
import { borrowedRow, decodeBorrow } from '../catalog/borrow.ts';
import type { Transaction } from '../catalog/catalog.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { registrationNames } from '../catalog/registrations.ts';
import { toHex } from '../codec/bytes.ts';
import { randomIncarnation } from '../content/incarnation.ts';
import { fanOut } from '../volumes/directory.ts';
import { Walk, adoptChunked } from './adopt-chunked.ts';
import { adoptVerifiedCopy } from './adopt-copy.ts';
import { dropCopies, keepFurtherCopy } from './further-copy.ts';
import { type RebuildContext, inSlices, paged, resolve } from './rebuild-context.ts';
import { tellLost } from './rebuild-lost.ts';
import { makeNodes, unlessOther, unmakeNode } from './rebuild-nodes.ts';
import { type Copy, becomeCopy } from './rebuild-scan.ts';

const pageRows = 1000;

/**
 * Whether a file lies below a bad node that nothing else needs. Records of what is dead stay, files go: so that tree lives, and what it lacks
 * was lost in a way that leaves no trace, as a file does.
 */
const leadsToFile = `EXISTS (
  WITH RECURSIVE below (n) AS (
    SELECT bad.n UNION SELECT l.n FROM below JOIN work.links l ON l.parent = below.n WHERE l.n IS NOT NULL
  )
  SELECT 1 FROM below JOIN main.blobs b ON b.n = below.n JOIN main.volumes v ON v.n = b.volume
  WHERE v.kind = 'directory' AND b.n != bad.n
    AND b.n NOT IN (SELECT n FROM work.roots WHERE n IS NOT NULL UNION SELECT n FROM work.owners WHERE n IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM work.links o WHERE o.n = b.n AND o.parent NOT IN (SELECT n FROM below))
)`;

/** After all copies have rows and the log was replayed. Returns how many chunked blobs came back. */
export async function linkAll(context: RebuildContext): Promise<{ chunked: number }> {
  const { catalog } = context;
  const chunked = await chunkedBlobs(context);
  for (const table of ['links', 'roots', 'owners'] as const) resolve(catalog, table);
  await makeNodes(context);
  await borrowAgain(context);
  for (const table of ['links', 'roots', 'owners'] as const) resolve(catalog, table);
  catalog.db.exec('CREATE INDEX work.links_by_n ON links (n)');
  await settleIncomplete(context);
  await loseMissing(context);
  await writeReferences(context);
  await writeCounts(context);
  return { chunked };
}

/**
 * What the log says was borrowed and is not here: while there are alternates, it is borrowed still. What nothing refers to any more goes
 * with the next collection.
 */
async function borrowAgain(context: RebuildContext): Promise<void> {
  const { catalog, host, layout } = context;
  if (registrationNames(host.files, layout.alternates).length === 0) return;
  const borrows = catalog.sql.arrays('SELECT id, borrow FROM work.borrowed WHERE id > ? ORDER BY id LIMIT ?');
  const all = paged<[Uint8Array, string]>(
    (last) => borrows.all(last?.[0] ?? new Uint8Array(0), pageRows) as [Uint8Array, string][],
  );
  await inSlices(context, all, (transaction, [id, borrow]) => {
    if (catalog.blobs.numberOf(id) === undefined) transaction.insert(borrowedRow(id, decodeBorrow(borrow)));
  });
}

async function chunkedBlobs(context: RebuildContext): Promise<number> {
  const { catalog } = context;
  let chunked = 0;
  const manifests = paged<number>(
    (last) =>
      catalog.sql
        .values('SELECT n FROM work.manifests WHERE n > ? ORDER BY n LIMIT ?')
        .all(last ?? 0, pageRows) as number[],
  );
  await inSlices(context, manifests, (transaction, n) => {
    const row = catalog.blobs.byNumber(n);
    if (row === undefined) return;
    const stored = unlessOther(() => new Walk(transaction, context).stored(row));
    if (stored !== undefined && adoptChunked(transaction, context, { row, stored })) chunked++;
  });
  return chunked;
}

/**
 * Nodes that link to what is not here, directly or over others. Those that a root, an owner or another such node needs are kept, and
 * what they miss is lost. The others are of trees that were collected: their records are still there, their children are not.
 */
async function settleIncomplete(context: RebuildContext): Promise<void> {
  const { catalog, report } = context;
  findIncomplete(context);
  if (report.isWhole) {
    // In a store that holds all it should, a node that lacks a child is dead: where its bytes were put again since, they are no node.
    const again = catalog.sql.rows(
      `SELECT n, n IN (SELECT n FROM work.made) AS made FROM work.bad
       WHERE n IN (SELECT n FROM work.made UNION SELECT n FROM work.raws) AND NOT ${leadsToFile}`,
    );
    const bad = (): { n: number; made: number }[] => again.all() as { n: number; made: number }[];
    for (let found = bad(); found.length > 0; found = bad()) {
      await inSlices(context, found, (transaction, { n, made }) =>
        made === 1 ? unmakeNode(transaction, n) : becomeRaw(transaction, context, n),
      );
      findIncomplete(context);
    }
  }
  findLive(context);
  const dead = catalog.sql.values(
    'SELECT n FROM work.bad WHERE n > ? AND n NOT IN (SELECT n FROM work.live) ORDER BY n LIMIT ?',
  );
  const all = paged<number>((last) => dead.all(last ?? 0, pageRows) as number[]);
  await inSlices(context, all, (transaction, n) => dropNode(transaction, context, n));
}

function findIncomplete({ catalog }: RebuildContext): void {
  const { sql } = catalog;
  sql.rows('DELETE FROM work.bad').run();
  sql.rows('INSERT INTO work.bad SELECT DISTINCT parent, 0 FROM work.links WHERE n IS NULL').run();
  const above = sql.rows(
    'INSERT OR IGNORE INTO work.bad SELECT l.parent, ? FROM work.bad b JOIN work.links l ON l.n = b.n WHERE b.round = ?',
  );
  for (let round = 0; above.run(round + 1, round).changes > 0;) round++;
}

function findLive({ catalog }: RebuildContext): void {
  const { sql } = catalog;
  sql
    .rows(
      'INSERT INTO work.live SELECT n, 0 FROM work.bad WHERE n IN (SELECT n FROM work.roots UNION SELECT n FROM work.owners)',
    )
    .run();
  const below = sql.rows(
    'INSERT OR IGNORE INTO work.live SELECT l.n, ? FROM work.live v JOIN work.links l ON l.parent = v.n JOIN work.bad b ON b.n = l.n WHERE v.round = ?',
  );
  for (let round = 0; below.run(round + 1, round).changes > 0;) round++;
}

function becomeRaw(transaction: Transaction, { volumes }: RebuildContext, n: number): void {
  const { catalog } = transaction;
  const row = catalog.blobs.byNumber(n)!;
  const found = catalog.sql
    .rows('SELECT * FROM work.raws WHERE n = ? ORDER BY volume, extent, start, incarnation')
    .all(n) as (Omit<Copy, 'id' | 'kind' | 'sums'> & { readonly sums: Uint8Array | null })[];
  const raws = found.map(({ sums, ...place }): Copy => ({
    ...place,
    id: row.id,
    kind: 0,
    ...(sums === null ? {} : { sums }),
  }));
  dropCopies(transaction, volumes, row);
  for (const [i, raw] of raws.entries()) {
    if (i === 0) becomeCopy(transaction, row, raw);
    else if (!adoptVerifiedCopy(transaction, volumes, row, raw)) continue;
    keepFurtherCopy(transaction, volumes, raw);
  }
  catalog.sql.rows('DELETE FROM work.links WHERE parent = ?').run(n);
  catalog.sql.rows('DELETE FROM work.raws WHERE n = ?').run(n);
}

/** Its record is dead. Where something may be missing that is not, it is left as it is, for a scrub to look at when all is back. */
function dropNode(transaction: Transaction, { volumes, report }: RebuildContext, n: number): void {
  const { catalog } = transaction;
  const row = catalog.blobs.byNumber(n)!;
  if (report.isWhole) dropCopies(transaction, volumes, row);
  else catalog.copies.deleteAll(n);
  catalog.sql.rows('DELETE FROM work.links WHERE parent = ?').run(n);
  catalog.sql.rows('DELETE FROM chunk_sums WHERE blob = ?').run(n);
  catalog.blobs.delete(row);
  transaction.changed = true;
}

/** Blobs that are referred to and of which no copy was found: rows that keep what refers to them, and read as damaged. */
async function loseMissing(context: RebuildContext): Promise<void> {
  const { catalog, host, report } = context;
  const wanted = catalog.sql.arrays(
    `SELECT id, max(kind) FROM (
       SELECT child AS id, kind FROM work.links WHERE n IS NULL AND child > ?
       UNION ALL SELECT id, 0 FROM work.roots WHERE n IS NULL AND id > ?
       UNION ALL SELECT id, 0 FROM work.owners WHERE n IS NULL AND id > ?
     ) GROUP BY id ORDER BY id LIMIT ?`,
  );
  catalog.transaction((transaction) => tellLost(transaction, context));
  const all = paged<[Uint8Array, number]>((last) => {
    const after = last?.[0] ?? new Uint8Array(0);
    return wanted.all(after, after, after, pageRows) as [Uint8Array, number][];
  });
  await inSlices(context, all, (transaction, [id, kind]) => {
    const row = transaction.insert({
      id,
      kind,
      codec: storedForms.chunked,
      size: 0,
      stored: 0,
      volume: noVolume,
      extent: fanOut(toHex(id)),
      start: 0,
      incarnation: randomIncarnation(host),
      label: null,
    });
    row.suspect = 1;
    transaction.saveCounts(row);
    report.lostBlobs++;
  });
  if (report.lostBlobs > 0)
    for (const table of ['links', 'roots', 'owners'] as const) resolve(catalog, table);
}

async function writeReferences(context: RebuildContext): Promise<void> {
  const { catalog } = context;
  const links = catalog.sql.arrays(
    'SELECT parent, child, n FROM work.links WHERE (parent, child) > (?, ?) ORDER BY parent, child LIMIT ?',
  );
  const all = paged<[number, Uint8Array, number]>(
    (last) =>
      links.all(last?.[0] ?? 0, last?.[1] ?? new Uint8Array(0), pageRows) as [number, Uint8Array, number][],
  );
  await inSlices(
    context,
    all,
    (_, [owner, , n]) => void catalog.refs.add(n, { kind: ownerKinds.node, owner }),
  );
  const owners = catalog.sql.arrays(
    'SELECT name, id, n FROM work.owners WHERE (name, id) > (?, ?) ORDER BY name, id LIMIT ?',
  );
  const held = paged<[string, Uint8Array, number]>(
    (last) =>
      owners.all(last?.[0] ?? '', last?.[1] ?? new Uint8Array(0), pageRows) as [string, Uint8Array, number][],
  );
  await inSlices(
    context,
    held,
    (_, [owner, , n]) => void catalog.refs.add(n, { kind: ownerKinds.application, owner }),
  );
  const roots = catalog.sql.arrays(
    'SELECT name, n, time, shown FROM work.roots WHERE name > ? ORDER BY name LIMIT ?',
  );
  const set = paged<[string, number, number, string]>(
    (last) => roots.all(last?.[0] ?? '', pageRows) as [string, number, number, string][],
  );
  await inSlices(context, set, (transaction, [name, blob, changed, shown]) => {
    catalog.refs.add(blob, { kind: ownerKinds.root, owner: name });
    catalog.roots.put({ name, blob, changed, sequence: transaction.state.generation, shown });
  });
}

/** The counts, from the references. */
async function writeCounts(context: RebuildContext): Promise<void> {
  const { catalog } = context;
  const counts = catalog.sql.arrays(
    'SELECT child, count(*) FROM main.refs WHERE child > ? GROUP BY child ORDER BY child LIMIT ?',
  );
  const all = paged<[number, number]>((last) => counts.all(last?.[0] ?? 0, pageRows) as [number, number][]);
  await inSlices(context, all, (transaction, [n, count]) => {
    const row = catalog.blobs.byNumber(n)!;
    row.refcount = count;
    row.zero_since = null;
    row.zero_gen = null;
    transaction.saveCounts(row);
  });
}
