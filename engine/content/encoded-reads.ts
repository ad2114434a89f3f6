/** Reads of blobs for other stores: as chunks the way they are stored, where those are compressed and the reader can take them. */
import type { EncodedRead } from '../api.ts';
import type { BlobRow } from '../catalog/blob-rows.ts';
import { type EncodedChunk, contentOf, encodeRun, runContentMax } from '../codec/chunk-run.ts';
import { chunkCodecs } from '../codec/chunks.ts';
import type { ShortRead } from './many-reads.ts';
import type { Reader } from './reader.ts';

export interface EncodedReadOrder extends ShortRead {
  /** How chunks may be compressed for whoever asks. */
  readonly codecs: readonly number[];
}

/** A part of what a row points to, from an offset within it or at its end. Chunks are verified by their checksums, and not decoded. */
export function readEncoded(
  reader: Reader,
  row: BlobRow,
  { offset, length, codecs }: EncodedReadOrder,
): EncodedRead {
  const file = reader.open(row);
  try {
    const { size } = file;
    const end = Math.min(size, offset + length);
    if (offset >= end) return { ...asContent(new Uint8Array(0)), size };
    const chunks = file.encoded?.(offset, Math.min(end, offset + runContentMax)) ?? [];
    const codec = chunks.find((chunk) => chunk.codec !== chunkCodecs.identity)?.codec;
    if (codec === undefined && chunks.length > 0) return { ...asContent(joined(chunks)), size };
    const bytes = codec !== undefined && isOneOf(codec, chunks, codecs) ? encodeRun(chunks) : undefined;
    if (codec !== undefined && bytes !== undefined && bytes.length < contentOf(chunks))
      return { bytes, codec, length: contentOf(chunks), size };
    return { ...asContent(file.read(offset, end)), size };
  } finally {
    file.close();
  }
}

/** Whether the codec may be sent, and is the only one. */
function isOneOf(codec: number, chunks: readonly EncodedChunk[], codecs: readonly number[]): boolean {
  return (
    codecs.includes(codec) &&
    chunks.every((chunk) => chunk.codec === chunkCodecs.identity || chunk.codec === codec)
  );
}

function asContent(bytes: Uint8Array): Omit<EncodedRead, 'size'> {
  return { bytes, codec: chunkCodecs.identity, length: bytes.length };
}

function joined(chunks: readonly EncodedChunk[]): Uint8Array {
  const bytes = new Uint8Array(contentOf(chunks));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk.bytes, at);
    at += chunk.length;
  }
  return bytes;
}
