/** The codec's provider on native code: node:crypto and node:zlib. */
import * as crypto from 'node:crypto';
import * as zlib from 'node:zlib';
import type { Provider } from '../codec/provider.ts';

export const nodeProvider: Provider = {
  sha256: (bytes) => crypto.hash('sha256', bytes, 'buffer'),
  sha256Hex: (bytes) => crypto.hash('sha256', bytes, 'hex'),
  hasher() {
    const hash = crypto.createHash('sha256');
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
  },
  crc32: (bytes) => zlib.crc32(bytes),
};
