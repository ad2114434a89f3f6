/** What the catalog says about copies in numbers: of one blob, and of all. */
import { type BlobRow, isBorrowed, isChunked, storedForms } from '../catalog/blob-rows.ts';
import { readGroup } from '../catalog/group.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import type { Statements } from '../catalog/statements.ts';

/** Copies not found damaged. Of a chunked blob those of its manifest, in which it lies. */
export function goodCopies(sql: Statements, row: BlobRow): number {
  if (isBorrowed(row)) return 0;
  const lies = isChunked(row) ? manifestOf(sql, row) : row;
  if (lies === undefined) return 0;
  const further = sql.values('SELECT count(*) FROM copies WHERE blob = ? AND suspect = 0').get(lies.n);
  return Number(lies.suspect === 0) + (further as number);
}

function manifestOf(sql: Statements, row: BlobRow): BlobRow | undefined {
  return sql
    .rows('SELECT b.* FROM refs JOIN blobs AS b ON b.n = child WHERE refs.kind = ? AND owner = ?')
    .get(ownerKinds.chunked, row.n) as BlobRow | undefined;
}

/** Of the whole group. O(blobs) where it is mirrored. What lies in volumes that are `away`, by id, is no copy then. */
export function mirrorFacts(
  sql: Statements,
  away: readonly string[] = [],
): {
  readonly copies: number;
  readonly missing: number;
  /** Of further copies. */
  readonly storedBytes: number;
} {
  const { copies } = readGroup(sql);
  const storedBytes = sql
    .values('SELECT coalesce(sum(stored), 0) FROM copies JOIN blobs ON n = blob')
    .get() as number;
  if (copies === 1) return { copies, missing: 0, storedBytes };
  const good = `suspect = 0 AND volume NOT IN (SELECT n FROM volumes WHERE id IN (SELECT value FROM json_each(?)))`;
  const ids = JSON.stringify(away);
  const missing = sql
    .values(
      `SELECT count(*) FROM blobs AS b WHERE codec < ?
         AND (${good}) + (SELECT count(*) FROM copies WHERE blob = b.n AND ${good}) < ?`,
    )
    .get(storedForms.chunked, ids, ids, copies) as number;
  return { copies, missing, storedBytes };
}

/** What a scrub has to verify: every copy, and its content bytes. */
export function scrubWork(sql: Statements): { readonly blobs: number; readonly bytes: number } {
  const [blobs, bytes] = sql
    .arrays('SELECT count(*), coalesce(sum(iif(codec >= ?, 0, size)), 0) FROM blobs')
    .get(storedForms.chunked) as [number, number];
  const [copies, more] = sql
    .arrays('SELECT count(*), coalesce(sum(size), 0) FROM copies JOIN blobs ON n = blob')
    .get() as [number, number];
  return { blobs: blobs + copies, bytes: bytes + more };
}
