/** The codec's provider on native code: node:crypto and node:zlib. */
import * as crypto from 'node:crypto';
import * as zlib from 'node:zlib';
import { plainBytes, release } from '../codec/bytes.ts';
import { chunkLog2Max } from '../codec/chunks.ts';
import {
  type Aead,
  type AeadMessage,
  type Argon2Cost,
  type Compressor,
  type Provider,
  type ScryptCost,
  tagBytes,
} from '../codec/provider.ts';

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

/**
 * At most `size` bytes, in one piece: zlib's own pieces of 16 KiB cost half of the time. A piece that is just full makes it take memory for
 * another, and such memory is what sets off most collections of garbage. It takes no limit of 0, and no piece below 64.
 */
const room = (size: number): { maxOutputLength: number; chunkSize: number } => ({
  maxOutputLength: Math.max(1, size),
  chunkSize: size + 64,
});

const deflate: Compressor = {
  compress: (bytes, level) => zlib.deflateRawSync(bytes, { level }),
  compressLater: (bytes, level) => later((done) => zlib.deflateRaw(bytes, { level }, done)),
  decompress: (bytes, size) => exactly(size, zlib.inflateRawSync(bytes, room(size))),
};

const zstdLevel = (level: number): zlib.ZstdOptions => ({
  params: { [zlib.constants.ZSTD_c_compressionLevel]: level },
});

/** No chunk is longer, so none needs a longer window. What asks for one is not ours: the memory is taken before it shows. */
const windowLimit = { [zlib.constants.ZSTD_d_windowLogMax]: chunkLog2Max };

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
        decompress: (bytes, size) =>
          exactly(size, zlib.zstdDecompressSync(bytes, { ...room(size), params: windowLimit })),
      };

export const nodeProvider: Provider = {
  sha256: (bytes) => crypto.hash('sha256', bytes, 'buffer'),
  sha256Hex: (bytes) => crypto.hash('sha256', bytes, 'hex'),
  hasher() {
    const hash = crypto.createHash('sha256');
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
  },
  crc32: (bytes, before = 0) => zlib.crc32(bytes, before),
  deflate,
  zstd,

  hmacSha256: (key, message) =>
    plainBytes(crypto.createHmac('sha256', secretOf(key)).update(message).digest()),
  hmacSha512: (key, message) =>
    plainBytes(crypto.createHmac('sha512', secretOf(key)).update(message).digest()),
  hkdfSha256: (key, salt, info) => new Uint8Array(crypto.hkdfSync('sha256', secretOf(key), salt, info, 32)),
  aead,
  nativeKdf: hasArgon2() ? 'argon2id' : 'scrypt',
  argon2id,
  scrypt,
};

/** A key as KeyObject: measured, bytes in its place cost createCipheriv and createHmac 15 µs more on each call. */
function secretOf(key: Uint8Array): crypto.KeyObject {
  return crypto.createSecretKey(key);
}

const cipher = 'aes-256-gcm';
/** Without it node:crypto would accept tags cut to 4 bytes when opening. */
const gcm = { authTagLength: tagBytes } as const;

function aead(key: Uint8Array): Aead {
  const secret = secretOf(key);
  const sealed = ({ nonce, aad, bytes }: AeadMessage): [Uint8Array, Uint8Array] => {
    const sealing = crypto.createCipheriv(cipher, secret, nonce, gcm);
    sealing.setAAD(aad);
    const text = sealing.update(bytes);
    sealing.final();
    return [text, sealing.getAuthTag()];
  };
  return {
    sealed,
    seal(message, target) {
      const [text, tag] = sealed(message);
      target.set(text, 0);
      target.set(tag, text.length);
      release(text);
    },
    open({ nonce, aad, bytes }) {
      if (bytes.length < tagBytes) return undefined;
      const opening = crypto.createDecipheriv(cipher, secret, nonce, gcm);
      opening.setAAD(aad);
      opening.setAuthTag(bytes.subarray(bytes.length - tagBytes));
      const plain = plainBytes(opening.update(bytes.subarray(0, bytes.length - tagBytes)));
      try {
        opening.final();
        return plain;
      } catch {
        plain.fill(0);
        return undefined;
      }
    },
  };
}

/** Since Node 24.7; not in Electron, whose BoringSSL has no Argon2. */
function hasArgon2(): boolean {
  return typeof (crypto as Partial<typeof crypto>).argon2 === 'function';
}

/** The portable code gives the same bytes where there is no native one, so that such a store opens everywhere. */
async function argon2id(passphrase: Uint8Array, salt: Uint8Array, cost: Argon2Cost): Promise<Uint8Array> {
  const { memoryKiB, passes, lanes } = cost;
  if (!hasArgon2()) {
    const portable = await import('@noble/hashes/argon2.js');
    return portable.argon2idAsync(passphrase, salt, { m: memoryKiB, t: passes, p: lanes, dkLen: 32 });
  }
  const parameters = {
    message: passphrase,
    nonce: salt,
    memory: memoryKiB,
    passes,
    parallelism: lanes,
    tagLength: 32,
  };
  return new Promise((resolve, reject) => {
    crypto.argon2('argon2id', parameters, (error, key) =>
      error === null ? resolve(plainBytes(key)) : reject(error),
    );
  });
}

function scrypt(passphrase: Uint8Array, salt: Uint8Array, cost: ScryptCost): Promise<Uint8Array> {
  const { log2N, r, p } = cost;
  const N = 2 ** log2N;
  // OpenSSL wants a limit, and refuses at 32 MiB if none is given.
  const maxmem = 128 * r * (N + p + 2) + 1024;
  return new Promise((resolve, reject) => {
    crypto.scrypt(passphrase, salt, 32, { N, r, p, maxmem }, (error, key) =>
      error === null ? resolve(plainBytes(key)) : reject(error),
    );
  });
}
