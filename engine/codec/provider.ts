/** What the codec needs from the runtime: hashing and checksums. Two implementations give the same bytes. */

/** A running hash. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** 32 bytes; the hasher is spent. */
  digest(): Uint8Array;
}

export interface Provider {
  /** sha256 (FIPS 180-4). */
  sha256(bytes: Uint8Array): Uint8Array;
  /** sha256 as 64 lower-case hex digits. */
  sha256Hex(bytes: Uint8Array): string;
  hasher(): Hasher;
  /** CRC-32 as in zlib and PNG (reflected polynomial 0xedb88320), as an unsigned 32-bit number. */
  crc32(bytes: Uint8Array): number;
}
