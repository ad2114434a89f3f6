/** The codec's provider in plain JavaScript, for runtimes without node:*; also the cross-check of the native one. */
import { gcm } from '@noble/ciphers/aes.js';
import { argon2idAsync } from '@noble/hashes/argon2.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { scryptAsync } from '@noble/hashes/scrypt.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { type InflateOptions, deflateSync, inflateSync } from 'fflate';
import { toHex } from '../codec/bytes.ts';
import { type Aead, type Compressor, type Provider, tagBytes } from '../codec/provider.ts';

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
  crc32(bytes, before = 0) {
    let crc = before ^ 0xffff_ffff;
    for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
    return (crc ^ 0xffff_ffff) >>> 0;
  },
  deflate,
  zstd: undefined,

  hmacSha256: (key, message) => hmac(sha256, key, message),
  hmacSha512: (key, message) => hmac(sha512, key, message),
  hkdfSha256: (key, salt, info) => hkdf(sha256, key, salt, info, 32),
  aead,
  nativeKdf: 'scrypt',
  argon2id: (passphrase, salt, { memoryKiB, passes, lanes }) =>
    argon2idAsync(passphrase, salt, { m: memoryKiB, t: passes, p: lanes, dkLen: 32 }),
  scrypt: (passphrase, salt, { log2N, r, p }) =>
    scryptAsync(passphrase, salt, { N: 2 ** log2N, r, p, dkLen: 32, maxmem: 128 * r * (2 ** log2N + p + 2) }),
};

function aead(key: Uint8Array): Aead {
  return {
    sealed: ({ nonce, aad, bytes }) => [gcm(key, nonce, aad).encrypt(bytes)],
    seal: ({ nonce, aad, bytes }, target) => target.set(gcm(key, nonce, aad).encrypt(bytes)),
    open({ nonce, aad, bytes }) {
      if (bytes.length < tagBytes) return undefined;
      try {
        return gcm(key, nonce, aad).decrypt(bytes);
      } catch (error) {
        // The one error that tells of the bytes; any other is a wrong call.
        if (error instanceof Error && error.message.includes('tag')) return undefined;
        throw error;
      }
    },
  };
}
