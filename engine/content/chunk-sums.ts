/** Checksums of a large blob's chunks, loaded from the catalog a row at a time. */
import type { BlobReader, BlobRow } from '../catalog/blob-rows.ts';
import type { Statements } from '../catalog/statements.ts';
import { StoreError } from '../errors.ts';
import { equalBytes, toHex } from '../codec/bytes.ts';

/** Bytes of sums per row; as the commit thread writes them. */
const sumsRowBytes = 65_536;
const perRow = sumsRowBytes / 4;

export interface ChunkSums {
  /** CRC-32 of a chunk. */
  at(chunk: number): number;
}

/** Rows are loaded when a chunk of theirs is asked for: one for a range read, one after another for a whole one. */
export function loadChunkSums(sql: Statements, rows: BlobReader, blob: BlobRow): ChunkSums {
  const get = sql.arrays('SELECT sums, sum FROM chunk_sums WHERE blob = ? AND part = ?');
  let part = -1;
  let view: DataView<ArrayBufferLike> = new DataView(new ArrayBuffer(0));
  return {
    at(chunk) {
      const wanted = Math.floor(chunk / perRow);
      if (wanted !== part) {
        const row = get.get(blob.n, wanted) as [Uint8Array, Uint8Array] | undefined;
        if (
          row === undefined ||
          !equalBytes(rows.hasher.sum('chunk_sums', [blob.n, wanted, row[0]]), row[1])
        ) {
          throw new StoreError('corrupt', 'the chunk checksums of a blob are damaged', {
            id: toHex(blob.id),
            reason: 'its chunk checksums are missing or damaged',
            incarnation: blob.incarnation,
            references: blob.refcount,
          });
        }
        view = new DataView(row[0].buffer, row[0].byteOffset, row[0].length);
        part = wanted;
      }
      const at = 4 * (chunk % perRow);
      return at + 4 <= view.byteLength ? view.getUint32(at, true) : Number.NaN;
    },
  };
}
