/** A run of chunks as they are stored, one after another as bytes: how a part of a blob goes from store to store without being decoded. */
import { StoreError } from '../errors.ts';
import { type StoredChunk, chunkCodecs, chunkLength, decodeChunk } from './chunks.ts';
import type { Provider } from './provider.ts';

/*
 * chunk · chunk · …
 *
 * A chunk is codec and stored length (4 and 28 bits) u32 · bytes of content u32 · the stored bytes. Runs joined are a run.
 */

/** A chunk and the bytes of content it stands for. */
export interface EncodedChunk extends StoredChunk {
  readonly length: number;
}

/** Content of one run, and chunks of it: what a stranger's run may ask of whoever decodes it. */
export const runContentMax: number = 1024 * 1024;
export const runChunksMax = 256;

const chunkHeadBytes = 8;
const lengthMask = 0x0fff_ffff;
const codecs: readonly number[] = Object.values(chunkCodecs);

export function encodeRun(chunks: readonly EncodedChunk[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunkHeadBytes + chunk.bytes.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const chunk of chunks) {
    view.setUint32(at, ((chunk.codec << 28) | chunk.bytes.length) >>> 0, true);
    view.setUint32(at + 4, chunk.length, true);
    bytes.set(chunk.bytes, at + chunkHeadBytes);
    at += chunkHeadBytes + chunk.bytes.length;
  }
  return bytes;
}

/**
 * The chunks of a run; views of it. `corrupt` for anything but chunks that are not empty, one after another, of which the compressed
 * ones are smaller than their content. What they decode to is not looked at.
 */
export function readRun(bytes: Uint8Array): EncodedChunk[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const chunks: EncodedChunk[] = [];
  for (let at = 0; at < bytes.length;) {
    if (at + chunkHeadBytes > bytes.length) throw bad('ends inside a chunk');
    const word = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    const codec = codecs.find((known) => known === word >>> 28);
    const stored = word & lengthMask;
    at += chunkHeadBytes;
    if (codec === undefined) throw bad('has a codec that is unknown here');
    if (stored > bytes.length - at) throw bad('ends inside a chunk');
    const fits = codec === chunkCodecs.identity ? stored === length : stored < length;
    if (stored === 0 || !fits) throw bad(`has ${stored} bytes that stand for ${length}`);
    chunks.push({ codec: codec as StoredChunk['codec'], bytes: bytes.subarray(at, at + stored), length });
    at += stored;
  }
  return chunks;
}

/**
 * The chunks of a run that came from elsewhere: those that are compressed are so by `codec`, and the run is shorter than its content,
 * `corrupt` otherwise. `limit-exceeded` for one that is too much to decode at once.
 */
export function receivedRun(bytes: Uint8Array, codec: number): EncodedChunk[] {
  const chunks = readRun(bytes);
  const length = contentOf(chunks);
  if (chunks.length > runChunksMax || length > runContentMax)
    throw new StoreError('limit-exceeded', `a run has ${chunks.length} chunks of ${length} bytes`);
  if (chunks.some((chunk) => chunk.codec !== chunkCodecs.identity && chunk.codec !== codec))
    throw bad('has another codec than it says');
  if (bytes.length >= length) throw bad('is no shorter than its content');
  return chunks;
}

/** Bytes of content that these chunks stand for. */
export function contentOf(chunks: readonly EncodedChunk[]): number {
  return chunks.reduce((sum, { length }) => sum + length, 0);
}

/** The content of these chunks, in one piece. `corrupt` where one does not give what it says; `incompatible-format` without its codec. */
export function decodeRun(provider: Provider, chunks: readonly EncodedChunk[]): Uint8Array {
  const content = new Uint8Array(contentOf(chunks));
  let at = 0;
  for (const chunk of chunks) {
    content.set(decodeOne(provider, chunk), at);
    at += chunk.length;
  }
  return content;
}

export function decodeOne(provider: Provider, { codec, bytes, length }: EncodedChunk): Uint8Array {
  return decodeChunk(provider, { codec, length: bytes.length, crc: 0 }, bytes, length);
}

/** A blob cut into chunks of one size. */
export interface ChunkedContent {
  readonly size: number;
  readonly chunkLog2: number;
  /** A chunk as it is stored, its checksum verified; valid until the next call. */
  chunk(index: number): { readonly codec: number; readonly bytes: Uint8Array };
}

/**
 * The chunks that end within offset..end, as many as fit a run. Of one that begins before `offset` the rest is decoded, and stands as it
 * is. None where the first does not end within.
 */
export function cutRun(
  provider: Provider,
  content: ChunkedContent,
  range: { readonly offset: number; readonly end: number },
): EncodedChunk[] {
  const { size, chunkLog2 } = content;
  const chunkBytes = 2 ** chunkLog2;
  const run: EncodedChunk[] = [];
  for (let index = Math.floor(range.offset / chunkBytes); index * chunkBytes < size; index++) {
    const start = index * chunkBytes;
    const length = chunkLength(index, size, chunkLog2);
    if (start + length > range.end || run.length === runChunksMax) break;
    const stored = content.chunk(index);
    const chunk = { codec: stored.codec as StoredChunk['codec'], bytes: stored.bytes, length };
    if (start >= range.offset) run.push({ ...chunk, bytes: chunk.bytes.slice() });
    else {
      const rest = decodeOne(provider, chunk).slice(range.offset - start);
      run.push({ codec: chunkCodecs.identity, bytes: rest, length: rest.length });
    }
  }
  return run;
}

function bad(why: string): StoreError {
  return new StoreError('corrupt', `a run of chunks ${why}`);
}
