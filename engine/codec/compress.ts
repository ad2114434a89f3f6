/** Which chunks are worth compressing, and compressing them: media and noise are found out early and left as they are. */
import type { CompressionMode, CompressionParameters } from '../api.ts';
import { type ChunkCodec, type StoredChunk, chunkCodecs, compressorOf } from './chunks.ts';
import type { Provider } from './provider.ts';

/** Compressed is kept when it saves at least an eighth: less is not worth decompressing at every read. */
const worthIt = (stored: number, plain: number): boolean => stored <= plain - plain / 8;
/** A saving that `always` is content with: any. */
const smaller = (stored: number, plain: number): boolean => stored < plain;
/** After this many chunks in a row that did not pay, most are left alone … */
const missesMax = 3;
/** … but one in so many is tried, since content may change its nature. */
const retryEvery = 16;
/** Below this, the frame of a compressed stream eats what it saves. */
const tiny = 64;
/** Bytes looked at to estimate the entropy of a chunk. */
const sampleBytes = 4096;
/** Bits a byte, order 0, above which a sample is taken for media or noise. Text lies at 4 to 5, base64 at 6, JPEG above 7.9. */
const noisyBits = 7.6;

/** Media that are compressed already. `image/svg+xml`, `image/bmp`, `audio/wav` and their like are not among them. */
const mediaShape =
  /^(?:image\/(?:jpe?g|png|gif|webp|avif|hei[cf]|jxl)|video\/|audio\/(?!(?:x-)?wav|(?:x-)?aiff|basic|l16|midi)|font\/woff|application\/(?:zip|gzip|x-(?:gzip|bzip2|xz|7z-compressed|rar-compressed)|zstd|vnd\.rar|epub\+zip|vnd\.openxmlformats|vnd\.oasis|java-archive))/i;

/** Whether a media type names something that is compressed already. */
export function isCompressedMedia(mediaType: string | undefined): boolean {
  return mediaType !== undefined && mediaShape.test(mediaType);
}

/** First bytes of files that are compressed already: offset, bytes. */
const signatures: readonly (readonly [at: number, bytes: readonly number[]])[] = [
  [0, [0xff, 0xd8, 0xff]], // JPEG
  [0, [0x89, 0x50, 0x4e, 0x47]], // PNG
  [0, [0x47, 0x49, 0x46, 0x38]], // GIF
  [8, [0x57, 0x45, 0x42, 0x50]], // WebP
  [4, [0x66, 0x74, 0x79, 0x70]], // MP4, MOV, HEIC, AVIF
  [0, [0x1a, 0x45, 0xdf, 0xa3]], // Matroska, WebM
  [0, [0x4f, 0x67, 0x67, 0x53]], // Ogg
  [0, [0x66, 0x4c, 0x61, 0x43]], // FLAC
  [0, [0x49, 0x44, 0x33]], // MP3 with ID3
  [0, [0x50, 0x4b, 0x03, 0x04]], // zip and what is one
  [0, [0x1f, 0x8b]], // gzip
  [0, [0x28, 0xb5, 0x2f, 0xfd]], // zstd
  [0, [0xfd, 0x37, 0x7a, 0x58, 0x5a]], // xz
  [0, [0x42, 0x5a, 0x68]], // bzip2
  [0, [0x37, 0x7a, 0xbc, 0xaf]], // 7z
  [0, [0x52, 0x61, 0x72, 0x21]], // rar
];

/** Whether content begins like a file that is compressed already. */
export function looksCompressed(start: Uint8Array): boolean {
  return signatures.some(([at, bytes]) => bytes.every((byte, i) => start[at + i] === byte));
}

/** In place of a level of zstd. */
const deflateLevel = 6;

const counts = new Uint16Array(256);

/** Shannon entropy of byte frequencies in the middle of `bytes`, in bits a byte: 8 is noise. */
export function entropyOf(bytes: Uint8Array): number {
  const length = Math.min(bytes.length, sampleBytes);
  const from = (bytes.length - length) >> 1;
  counts.fill(0);
  for (let i = from; i < from + length; i++) counts[bytes[i]!]!++;
  let sum = 0;
  for (let value = 0; value < 256; value++) {
    const count = counts[value]!;
    if (count > 0) sum += count * Math.log2(count);
  }
  return length === 0 ? 0 : Math.log2(length) - sum / length;
}

export interface CompressOptions extends CompressionParameters {
  /** Of this put; `mode` in the parameters is the store's. */
  readonly mode: CompressionMode;
  readonly mediaType?: string | undefined;
}

/** Compresses the chunks of one blob, in order, and learns from each. */
export class ChunkCompressor {
  readonly #provider: Provider;
  readonly #options: CompressOptions;
  readonly #codec: ChunkCodec;
  readonly #level: number;
  #misses = 0;
  #chunk = 0;
  #hopeless: boolean;

  constructor(provider: Provider, options: CompressOptions) {
    this.#provider = provider;
    this.#options = options;
    // A store made where there is zstd is written on where there is none: what a chunk is stored by, it says itself.
    const without = options.codec === 'zstd' && provider.zstd === undefined;
    this.#codec = chunkCodecs[without ? 'deflate' : options.codec];
    this.#level = without ? deflateLevel : options.level;
    this.#hopeless =
      options.mode === 'off' || (options.mode === 'auto' && isCompressedMedia(options.mediaType));
  }

  /** What it compresses by. */
  get codec(): ChunkCodec {
    return this.#codec;
  }

  encode(chunk: Uint8Array): StoredChunk {
    if (!this.#promises(chunk)) return asItIs(chunk);
    const compressor = compressorOf(this.#provider, this.#codec);
    return this.#judge(chunk, compressor.compress(chunk, this.#level));
  }

  /** The same off this thread. Chunks under way at once do not learn from each other. */
  async encodeLater(chunk: Uint8Array): Promise<StoredChunk> {
    if (!this.#promises(chunk)) return asItIs(chunk);
    const compressor = compressorOf(this.#provider, this.#codec);
    return this.#judge(chunk, await compressor.compressLater(chunk, this.#level));
  }

  /** Whether a large blob of which these are samples from all over should be compressed at all. */
  isWorthwhile(samples: readonly Uint8Array[]): boolean {
    if (this.#options.mode === 'always') return true;
    if (this.#hopeless || (samples[0] !== undefined && looksCompressed(samples[0]))) return false;
    const quiet = samples.filter((sample) => entropyOf(sample) < noisyBits);
    if (quiet.length === 0) return false;
    const compressor = compressorOf(this.#provider, this.#codec);
    const all = samples.reduce((sum, sample) => sum + sample.length, 0);
    const saved = quiet.reduce(
      (sum, sample) => sum + Math.max(0, sample.length - compressor.compress(sample, this.#level).length),
      0,
    );
    return worthIt(all - saved, all);
  }

  #promises(chunk: Uint8Array): boolean {
    const { mode } = this.#options;
    if (mode === 'always') return chunk.length > 0;
    const first = this.#chunk++ === 0;
    if (first && looksCompressed(chunk)) this.#hopeless = true;
    if (this.#hopeless || chunk.length < tiny) return false;
    if (this.#misses >= missesMax && this.#chunk % retryEvery !== 0) return false;
    if (entropyOf(chunk) < noisyBits) return true;
    this.#misses++;
    return false;
  }

  #judge(chunk: Uint8Array, compressed: Uint8Array): StoredChunk {
    const good = this.#options.mode === 'always' ? smaller : worthIt;
    if (good(compressed.length, chunk.length)) {
      this.#misses = 0;
      return { codec: this.#codec, bytes: compressed };
    }
    this.#misses++;
    return asItIs(chunk);
  }
}

function asItIs(bytes: Uint8Array): StoredChunk {
  return { codec: chunkCodecs.identity, bytes };
}
