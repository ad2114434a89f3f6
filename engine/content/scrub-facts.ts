/** What the catalog knows about verification: how long copies wait, what scrubs there were. */
import type { ScrubRecord } from '../api.ts';
import { storedForms } from '../catalog/blob-rows.ts';
import type { Statements } from '../catalog/statements.ts';

/** A part of a volume; of chunked and borrowed blobs, which have none, a part of their numbers. */
export interface VerifyRange {
  readonly volume: number;
  readonly fromExtent: number;
  readonly toExtent: number;
  /** Of a directory: large files, for which a scrub waits for the disk; for small blobs it waits for the processor. */
  readonly files?: true;
}

/** Of a row `b` of blobs, or `c` of copies: when it was verified in that place, or stored if it never was there. */
const waitsSince = (place: string): string =>
  `coalesce((SELECT at FROM verified AS v WHERE v.blob = b.n AND v.volume = ${place}.volume), b.created)`;
const copyRows = 'FROM copies AS c JOIN blobs AS b ON b.n = c.blob WHERE c.suspect = 0';

/** Since when the longest waiting copy of each range waits; where nothing in it does, after all others. */
export function waitingSince(sql: Statements, ranges: readonly VerifyRange[]): number[] {
  const first = sql.values(
    `SELECT min(${waitsSince('b')}) FROM blobs AS b WHERE volume = ? AND extent BETWEEN ? AND ? AND suspect = 0`,
  );
  const further = sql.values(
    `SELECT min(${waitsSince('c')}) ${copyRows} AND c.volume = ? AND c.extent BETWEEN ? AND ?`,
  );
  return ranges.map(({ volume, fromExtent, toExtent }) => {
    const found = [first, further].map(
      (query) => query.get(volume, fromExtent, toExtent) as number | null | undefined,
    );
    return Math.min(...found.map((at) => at ?? Number.MAX_SAFE_INTEGER));
  });
}

/** The extent with the copy of a range that waits longest; undefined where nothing lies. */
export function oldestExtent(
  sql: Statements,
  { volume, fromExtent, toExtent }: VerifyRange,
): number | undefined {
  const place = [volume, fromExtent, toExtent] as const;
  const found = [
    `SELECT b.extent, ${waitsSince('b')} AS at FROM blobs AS b WHERE volume = ? AND extent BETWEEN ? AND ?`,
    `SELECT c.extent, ${waitsSince('c')} AS at FROM copies AS c JOIN blobs AS b ON b.n = c.blob
       WHERE c.volume = ? AND c.extent BETWEEN ? AND ?`,
  ].flatMap((rows) => {
    const oldest = sql.arrays(`${rows} ORDER BY at, 1 LIMIT 1`).get(...place);
    return oldest === undefined ? [] : [oldest as [number, number]];
  });
  return found.toSorted(([, a], [, b]) => a - b)[0]?.[0];
}

export interface Waiting {
  /** Absent when nothing is stored that is not known to be damaged. */
  readonly oldestMs?: number;
  readonly overdue: { readonly blobs: number; readonly bytes: number };
}

/** Over all copies not known to be damaged. O(blobs). */
export function waitingCopies(sql: Statements, before: number): Waiting {
  const facts = (place: string, rows: string): [number | null, number, number] =>
    sql
      .arrays(
        `SELECT min(at), coalesce(sum(at < ?), 0), coalesce(sum(iif(at < ?, bytes, 0)), 0)
           FROM (SELECT ${waitsSince(place)} AS at, iif(b.codec >= ${storedForms.chunked}, 0, b.size) AS bytes ${rows})`,
      )
      .get(before, before) as [number | null, number, number];
  const all = [facts('b', 'FROM blobs AS b WHERE b.suspect = 0'), facts('c', copyRows)];
  const times = all.flatMap(([at]) => (at === null ? [] : [at]));
  const sum = (of: 1 | 2): number => all.reduce((total, one) => total + one[of], 0);
  return {
    ...(times.length === 0 ? {} : { oldestMs: Math.min(...times) }),
    overdue: { blobs: sum(1), bytes: sum(2) },
  };
}

/** Newest first. */
export function scrubRecords(sql: Statements, limit: number): ScrubRecord[] {
  const rows = sql
    .arrays(
      'SELECT begun, ended, blobs, bytes, damaged, healed, complete, elapsed FROM scrubs ORDER BY n DESC LIMIT ?',
    )
    .all(limit) as [number, number | null, number, number, number, number, number, number][];
  return rows.map(([begunMs, ended, blobs, bytes, damaged, healed, complete, milliseconds]) => ({
    begunMs,
    ...(ended === null ? {} : { endedMs: ended }),
    blobs,
    bytes,
    damaged,
    healed,
    complete: complete !== 0,
    milliseconds,
  }));
}
