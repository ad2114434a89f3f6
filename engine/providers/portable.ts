/** The codec's provider in plain JavaScript, for runtimes without node:*; also the cross-check of the native one. */
import { sha256 } from '@noble/hashes/sha2.js';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';

/** CRC-32 table for the reflected polynomial 0xedb88320 (ISO 3309, as in zlib). */
const table = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

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
};
