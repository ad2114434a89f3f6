/** What one owner alone holds, page by page, for caches with a cap. */
import { type BlobRow, isBorrowed, isChunked } from '../catalog/blob-rows.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import type { Reader } from './reader.ts';

/** Looked up in one question, about 20 ms. */
const pageRows = 1_000;

export interface HeldBlob {
  /** Its number. */
  readonly n: number;
  /** That it takes in volumes; of a chunked one its content, of a borrowed one nothing. */
  readonly bytes: number;
  readonly usedMs: number;
  /** Where it was asked for. */
  readonly id?: string;
}

export interface HeldPage {
  readonly blobs: readonly HeldBlob[];
  /** Where the next page begins; absent behind the last. */
  readonly after?: number;
}

/** Blobs behind the number `after` to which this owner refers, and nothing else. */
export function heldBy(
  reader: Reader,
  owner: string,
  { after, ids }: { readonly after: number; readonly ids: boolean },
): HeldPage {
  const rows = reader.sql
    .rows(
      `SELECT b.*, (SELECT count(*) FROM copies WHERE blob = b.n) AS further
         FROM refs AS r JOIN blobs AS b ON b.n = r.child
         WHERE r.kind = ? AND r.owner = ? AND r.child > ? ORDER BY r.child LIMIT ?`,
    )
    .all(ownerKinds.application, reader.realm.find('owner', owner), after, pageRows) as (BlobRow & {
    readonly further: number;
  })[];
  const blobs = rows
    .filter(({ refcount }) => refcount === 1)
    .map((row): HeldBlob => ({
      n: row.n,
      bytes: bytesOf(reader, row),
      usedMs: row.touched,
      ...(ids ? { id: reader.tell(row) } : {}),
    }));
  return rows.length < pageRows ? { blobs } : { blobs, after: rows.at(-1)!.n };
}

function bytesOf(reader: Reader, row: BlobRow & { readonly further: number }): number {
  if (isBorrowed(row)) return 0;
  return isChunked(row) ? reader.sizeOf(row) : row.stored * (1 + row.further);
}
