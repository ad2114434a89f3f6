/** What the codec needs from the runtime: hashing, checksums and compression. Two implementations give the same bytes back. */

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
  crc32(bytes: Uint8Array): number;
  /** Raw deflate (RFC 1951), levels 1 to 9. */
  readonly deflate: Compressor;
  /** Zstandard (RFC 8878), levels 1 to 19; undefined where the runtime has none. */
  readonly zstd: Compressor | undefined;
}
