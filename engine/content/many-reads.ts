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

/** Answers in the order of the reads, each as `Reader.read` would give it; `failed` makes the answer of one that failed. */
export function readMany<Failed>(
  reader: Reader,
  reads: readonly ShortRead[],
  failed: (error: unknown, id: BlobId) => Failed,
): (Failed | { readonly value: Uint8Array | undefined })[] {
  const rows = rowsOf(reader, reads);
  const records = rows.filter((row) => row !== undefined && isRecord(reader, row)) as BlobRow[];
  try {
    reader.ahead.fill(records, (n) => reader.places.sqlite(n));
    return reads.map(({ id, offset, length }, i) => {
      try {
        const row = rows[i];
        if (row === undefined) return { value: reader.read(id, offset, length) };
        return { value: reader.again(row, (current) => reader.readRow(current, offset, length)) };
      } catch (error) {
        return failed(error, id);
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
