/** Short reads of many callers in one go: their rows are looked up together, and so are records that lie in one extent. */
import type { BlobId } from '../api.ts';
import { type BlobRow, isPlaced } from '../catalog/blob-rows.ts';
import { fromHex } from '../codec/bytes.ts';
import type { Reader } from './reader.ts';

export interface ShortRead {
  readonly id: BlobId;
  readonly offset: number;
  readonly length: number;
}

/** Answers in the order of the reads: what `read` makes of the row of each, undefined where there is none, `failed` of one that failed. */
export function readMany<Read extends ShortRead, Value, Failed>(
  reader: Reader,
  reads: readonly Read[],
  how: {
    readonly read: (row: BlobRow, read: Read) => Value;
    readonly failed: (error: unknown, id: BlobId) => Failed;
  },
): (Failed | { readonly value: Value | undefined })[] {
  const rows = rowsOf(reader, reads);
  const records = rows.filter((row) => row !== undefined && isRecord(reader, row)) as BlobRow[];
  try {
    reader.ahead.fill(records, (n) => reader.places.sqlite(n));
    return reads.map((one, i) => {
      try {
        const row = rows[i] ?? reader.row(one.id);
        return { value: row && reader.again(row, (current) => how.read(current, one)) };
      } catch (error) {
        return how.failed(error, one.id);
      }
    });
  } finally {
    reader.ahead.clear();
  }
}

/** Rows that are here and sound. What is wrong with another is told by the read of it alone. */
function rowsOf(reader: Reader, reads: readonly ShortRead[]): (BlobRow | undefined)[] {
  return reader.together(() =>
    reads.map(({ id }) => {
      try {
        const found = reader.rows.inspect(fromHex(reader.realm.nameOf(id))!);
        return found?.sound === true ? found.row : undefined;
      } catch {
        return undefined;
      }
    }),
  );
}

function isRecord(reader: Reader, row: BlobRow): boolean {
  try {
    return isPlaced(row) && !reader.isFile(row);
  } catch {
    return false; // its volume is not known any more; likewise
  }
}
