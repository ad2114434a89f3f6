/** The codec's provider on native code: node:crypto and node:zlib. */
import * as crypto from 'node:crypto';
import * as zlib from 'node:zlib';
import type { Compressor, Provider } from '../codec/provider.ts';

type Callback = (error: Error | null, result: Uint8Array) => void;

/** Runs one of zlib's calls on libuv's threads. */
function later(start: (done: Callback) => void): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    start((error, result) => (error === null ? resolve(result) : reject(error))),
  );
}

function exactly(size: number, bytes: Uint8Array): Uint8Array {
  if (bytes.length !== size) throw new Error(`${bytes.length} bytes came out, not ${size}`);
  return bytes;
}

/** At most `size` bytes, in one piece: zlib's own pieces of 16 KiB cost half of the time. It takes no limit of 0, and no piece below 64. */
const room = (size: number): { maxOutputLength: number; chunkSize: number } => ({
  maxOutputLength: Math.max(1, size),
  chunkSize: Math.max(64, size),
});

const deflate: Compressor = {
  compress: (bytes, level) => zlib.deflateRawSync(bytes, { level }),
  compressLater: (bytes, level) => later((done) => zlib.deflateRaw(bytes, { level }, done)),
  decompress: (bytes, size) => exactly(size, zlib.inflateRawSync(bytes, room(size))),
};

const zstdLevel = (level: number): zlib.ZstdOptions => ({
  params: { [zlib.constants.ZSTD_c_compressionLevel]: level },
});

/** Not in Node before 22.15; a namespace import finds out without failing. */
const zstd: Compressor | undefined =
  (zlib as Partial<typeof zlib>).zstdCompressSync === undefined
    ? undefined
    : {
        compress: (bytes, level) => zlib.zstdCompressSync(bytes, zstdLevel(level)),
        // Told the size, it chooses tables that fit, as the other one does.
        compressLater: (bytes, level) =>
          later((done) =>
            zlib.zstdCompress(bytes, { ...zstdLevel(level), pledgedSrcSize: bytes.length }, done),
          ),
        decompress: (bytes, size) => exactly(size, zlib.zstdDecompressSync(bytes, room(size))),
      };

export const nodeProvider: Provider = {
  sha256: (bytes) => crypto.hash('sha256', bytes, 'buffer'),
  sha256Hex: (bytes) => crypto.hash('sha256', bytes, 'hex'),
  hasher() {
    const hash = crypto.createHash('sha256');
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
  },
  crc32: (bytes) => zlib.crc32(bytes),
  deflate,
  zstd,
};
