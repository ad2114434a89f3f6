/** The codec alone: every chunk of 64 KiB compressed on as many threads as there are cores, nothing stored. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import * as zlib from 'node:zlib';
import type { Codec, Compressed } from '../rival.ts';

const chunkBytes = 64 * 1024;
/** Of a chunk that saves less than this the original counts, as it would have to be stored. */
const worth = 1 / 8;

function compress(bytes: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, result: Uint8Array): void =>
      error === null ? resolve(result) : reject(error);
    if ((zlib as Partial<typeof zlib>).zstdCompress === undefined)
      return zlib.deflateRaw(bytes, { level: 6 }, done);
    const params = { [zlib.constants.ZSTD_c_compressionLevel]: 3 };
    zlib.zstdCompress(bytes, { params, pledgedSrcSize: bytes.length }, done);
  });
}

function* chunksOf(paths: readonly string[]): Generator<Uint8Array> {
  for (const path of paths) {
    const file = openSync(path, 'r');
    const { size } = fstatSync(file);
    for (let at = 0; at < size; at += chunkBytes) {
      const chunk = Buffer.alloc(Math.min(chunkBytes, size - at));
      yield chunk.subarray(0, readSync(file, chunk, 0, chunk.length, at));
    }
    closeSync(file);
  }
}

export const compressFiles: Codec['compressFiles'] = async (paths) => {
  const chunks = chunksOf(paths);
  const total: Compressed = { bytes: 0, stored: 0 };
  const lane = async (): Promise<void> => {
    for (const chunk of chunks) {
      const { length } = await compress(chunk);
      total.bytes += chunk.length;
      total.stored += length <= chunk.length * (1 - worth) ? length : chunk.length;
    }
  };
  await Promise.all(Array.from({ length: 2 * availableParallelism() }, lane));
  return total;
};
