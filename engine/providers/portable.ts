/** The codec's provider in plain JavaScript, for runtimes without node:*; also the cross-check of the native one. */
import { sha256 } from '@noble/hashes/sha2.js';
import { type InflateOptions, deflateSync, inflateSync } from 'fflate';
import { toHex } from '../codec/bytes.ts';
import type { Compressor, Provider } from '../codec/provider.ts';

/** CRC-32 table for the reflected polynomial 0xedb88320 (ISO 3309, as in zlib). */
const table = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

type Level = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

/** fflate's `deflateSync` is raw deflate (RFC 1951), without zlib's header. */
const deflate: Compressor = {
  compress: (bytes, level) => deflateSync(bytes, { level: level as Level }),
  compressLater: (bytes, level) => Promise.resolve(deflateSync(bytes, { level: level as Level })),
  decompress(bytes, size) {
    // One byte of room too many, so that a stream which holds more than it should is seen.
    const options: InflateOptions = { out: new Uint8Array(size + 1) };
    const out = inflateSync(bytes, options);
    if (out.length !== size) throw new Error(`${out.length} bytes came out, not ${size}`);
    return out;
  },
};

export const portableProvider: Provider = {
  sha256: (bytes) => sha256(bytes),
  sha256Hex: (bytes) => toHex(sha256(bytes)),
  hasher() {
    const hash = sha256.create();
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
  },
  crc32(bytes) {
    let crc = 0xffff_ffff;
    for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
    return (crc ^ 0xffff_ffff) >>> 0;
  },
  deflate,
  zstd: undefined,
};
