/** Chunks: the pieces of content that are compressed, checked and read one by one, and the table that says how each is stored. */
import { StoreError } from '../errors.ts';
import { release } from './bytes.ts';
import type { Compressor, Provider } from './provider.ts';

/** How a chunk is stored. Values are part of the format. */
export const chunkCodecs = { identity: 0, deflate: 1, zstd: 2 } as const;

export type ChunkCodec = (typeof chunkCodecs)[keyof typeof chunkCodecs];

/** A chunk as it is stored. */
export interface StoredChunk {
  readonly codec: ChunkCodec;
  readonly bytes: Uint8Array;
}

/** Bytes of one entry of a table. */
export const entryBytes = 8;
/** A chunk has at most 16 MiB: 2^24 bytes. The upper byte of an entry's first word is the codec. */
export const chunkLog2Min = 9;
export const chunkLog2Max = 24;
const lengthMask = 0x0fff_ffff;

export function chunkCount(bytes: number, chunkLog2: number): number {
  return Math.ceil(bytes / 2 ** chunkLog2);
}

/** Plaintext bytes of a chunk of `total` bytes. */
export function chunkLength(chunk: number, total: number, chunkLog2: number): number {
  return Math.min(2 ** chunkLog2, total - chunk * 2 ** chunkLog2);
}

/** codec and stored length (4 and 28 bits) u32 · CRC-32 of the stored bytes u32. */
export function writeEntry(view: DataView, at: number, entry: ChunkEntry): void {
  view.setUint32(at, ((entry.codec << 28) | entry.length) >>> 0, true);
  view.setUint32(at + 4, entry.crc, true);
}

export interface ChunkEntry {
  /** As it stands there; whether this runtime can read it shows when it is read. */
  readonly codec: number;
  readonly length: number;
  readonly crc: number;
}

export function readEntry(view: DataView, at: number): ChunkEntry {
  const word = view.getUint32(at, true);
  return { codec: word >>> 28, length: word & lengthMask, crc: view.getUint32(at + 4, true) };
}

/**
 * The content of a stored chunk whose checksum holds. `incompatible-format` where this runtime has not got its codec; `corrupt` when
 * what comes out is not `size` bytes.
 */
export function decodeChunk(
  provider: Provider,
  entry: ChunkEntry,
  stored: Uint8Array,
  size: number,
): Uint8Array {
  if (entry.codec === chunkCodecs.identity) {
    if (stored.length !== size) throw new StoreError('corrupt', 'a chunk has a wrong length');
    return stored;
  }
  try {
    return compressorOf(provider, entry.codec).decompress(stored, size);
  } catch (error) {
    if (StoreError.is(error)) throw error;
    throw new StoreError('corrupt', 'a chunk cannot be decompressed', {}, error);
  }
}

/** Bytes from..to of the content of a stored chunk, to the start of `target`, see `decodeChunk`. */
export function decodeInto(
  provider: Provider,
  chunk: { readonly codec: number; readonly bytes: Uint8Array; readonly length: number },
  cut: { readonly from: number; readonly to: number; readonly target: Uint8Array },
): void {
  const { codec, bytes, length } = chunk;
  const content = decodeChunk(provider, { codec, length: bytes.length, crc: 0 }, bytes, length);
  cut.target.set(content.subarray(cut.from, cut.to));
  if (content !== bytes) release(content);
}

export function checkChunk(provider: Provider, entry: ChunkEntry, stored: Uint8Array): void {
  if (stored.length !== entry.length || provider.crc32(stored) !== entry.crc)
    throw new StoreError('corrupt', 'the checksum of a chunk does not hold');
}

export function compressorOf(provider: Provider, codec: number): Compressor {
  if (codec === chunkCodecs.deflate) return provider.deflate;
  if (codec === chunkCodecs.zstd && provider.zstd !== undefined) return provider.zstd;
  throw new StoreError(
    'incompatible-format',
    codec === chunkCodecs.zstd
      ? 'this was compressed with zstd, which this runtime has not got (Node has it from 22.15 on)'
      : `this was compressed with codec ${codec}, unknown here`,
    { codec },
  );
}
