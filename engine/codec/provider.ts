/** What the codec needs from the runtime: hashing, checksums, compression, encryption. Two implementations give the same bytes back. */

/** A running hash. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** 32 bytes; the hasher is spent. */
  digest(): Uint8Array;
}

/**
 * One way of compressing. What two implementations of it write may differ; what they read may not. `decompress` gives exactly
 * `size` bytes, or throws whatever it likes: bytes that would become more than `size` must never take more memory than that.
 */
export interface Compressor {
  compress(bytes: Uint8Array, level: number): Uint8Array;
  /** The same off this thread where the runtime can; at once where it cannot. The bytes must not change meanwhile. */
  compressLater(bytes: Uint8Array, level: number): Promise<Uint8Array>;
  decompress(bytes: Uint8Array, size: number): Uint8Array;
}

export interface Provider {
  /** sha256 (FIPS 180-4). */
  sha256(bytes: Uint8Array): Uint8Array;
  /** sha256 as 64 lower-case hex digits. */
  sha256Hex(bytes: Uint8Array): string;
  hasher(): Hasher;
  /** CRC-32 as in zlib and PNG (reflected polynomial 0xedb88320), as an unsigned 32-bit number. */
  /** `before`: of the bytes that stand in front of these. */
  crc32(bytes: Uint8Array, before?: number): number;
  /** Raw deflate (RFC 1951), levels 1 to 9. */
  readonly deflate: Compressor;
  /** Zstandard (RFC 8878), levels 1 to 19; undefined where the runtime has none. */
  readonly zstd: Compressor | undefined;

  /** HMAC (RFC 2104) with SHA-256: 32 bytes. */
  hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array;
  /** HMAC (RFC 2104) with SHA-512: 64 bytes. */
  hmacSha512(key: Uint8Array, message: Uint8Array): Uint8Array;
  /** HKDF (RFC 5869) with SHA-256, extract and expand: 32 bytes. */
  hkdfSha256(key: Uint8Array, salt: Uint8Array, info: Uint8Array): Uint8Array;
  /** AES-256-GCM under this key of 32 bytes. The key stays the caller's, and must stand until the last use. */
  aead(key: Uint8Array): Aead;
  /** The key derivation for passphrases that this runtime does natively. Both can be done everywhere. */
  readonly nativeKdf: 'argon2id' | 'scrypt';
  /** Argon2id version 1.3 (RFC 9106): 32 bytes. Takes as long as its cost says, off this thread where that can be had. */
  argon2id(passphrase: Uint8Array, salt: Uint8Array, cost: Argon2Cost): Promise<Uint8Array>;
  /** scrypt (RFC 7914): 32 bytes. */
  scrypt(passphrase: Uint8Array, salt: Uint8Array, cost: ScryptCost): Promise<Uint8Array>;
}

/** Bytes that a seal adds: the tag of GCM, never shortened. */
export const tagBytes = 16;

/** One message of an AEAD. The bytes may be used again as soon as the call returns. */
export interface AeadMessage {
  /** 12 bytes, never twice under one key. */
  readonly nonce: Uint8Array;
  /** Authenticated, not encrypted. */
  readonly aad: Uint8Array;
  /** To seal: the plaintext. To open: ciphertext ‖ tag. */
  readonly bytes: Uint8Array;
}

/** Authenticated encryption under one key: AES-256-GCM with 96-bit nonces and 128-bit tags (NIST SP 800-38D). */
export interface Aead {
  /** Writes ciphertext ‖ tag to the start of `target`, which overlaps nothing of the message. */
  seal(message: AeadMessage, target: Uint8Array): void;
  /** The same in memory of its own, in pieces. */
  sealed(message: AeadMessage): Uint8Array[];
  /** The plaintext in bytes of its own, or undefined when the tag does not hold: nothing unverified is ever returned. */
  open(message: AeadMessage): Uint8Array | undefined;
}

export interface Argon2Cost {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly lanes: number;
}

export interface ScryptCost {
  /** N = 2^log2N. */
  readonly log2N: number;
  readonly r: number;
  readonly p: number;
}
