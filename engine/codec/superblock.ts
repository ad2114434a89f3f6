/** The superblock: the file that makes a folder a store, with its identity, format flags and parameters. */
import type {
  ChunkingMode,
  ChunkingParameters,
  CompressionMode,
  CompressionParameters,
  EncryptionParameters,
  Layout,
  StoreParameters,
} from '../api.ts';
import { StoreError } from '../errors.ts';
import { areCutSizes, usualCuts } from './fastcdc.ts';
import type { Provider } from './provider.ts';

/** The format written by this version, and the only one it reads: no promise of compatibility yet. */
export const formatVersion = 1;

/**
 * Flags as in ext4: an unknown `compat` flag is ignored, an unknown `roCompat` flag allows reading only, an unknown
 * `incompat` flag forbids opening.
 */
export interface Superblock {
  readonly format: number;
  readonly storeId: string;
  readonly createdMs: number;
  readonly compat: readonly string[];
  readonly roCompat: readonly string[];
  readonly incompat: readonly string[];
  readonly parameters: StoreParameters;
}

export const defaultParameters: StoreParameters = {
  smallMax: 256 * 1024,
  extentBytes: 64 * 1024,
  chunkBytes: 64 * 1024,
  volumeBytesMax: 1024 * 1024 * 1024,
  compression: { mode: 'off', codec: 'deflate', level: 6 },
  chunking: { mode: 'off', ...usualCuts },
  layout: 'hybrid',
  encryption: null,
};

export const layouts: readonly Layout[] = ['hybrid', 'sqlite-only'];

export const compressionModes: readonly CompressionMode[] = ['off', 'auto', 'always'];
const levels = { deflate: { usual: 6, max: 9 }, zstd: { usual: 3, max: 19 } } as const;

export const chunkingModes: readonly ChunkingMode[] = ['off', 'fastcdc'];

export function chunkingOf(
  option: ChunkingMode | Partial<ChunkingParameters> | undefined,
): ChunkingParameters {
  return { ...defaultParameters.chunking, ...(typeof option === 'string' ? { mode: option } : option) };
}

/** What an option of `openStore` means in a runtime that has zstd, or has not. */
export function compressionOf(
  option: CompressionMode | Partial<CompressionParameters> | undefined,
  hasZstd: boolean,
): CompressionParameters {
  const given = typeof option === 'string' ? { mode: option } : (option ?? {});
  const codec = given.codec ?? (hasZstd ? 'zstd' : 'deflate');
  return { mode: given.mode ?? 'off', codec, level: given.level ?? levels[codec]?.usual ?? 0 };
}

const head = 'holdfast store';

/** Three lines of text, so that a person who finds the folder sees what it is: a title, JSON, the JSON's sha256. */
export function encodeSuperblock(provider: Provider, superblock: Superblock): Uint8Array {
  const json = JSON.stringify(superblock);
  const sum = provider.sha256Hex(new TextEncoder().encode(json));
  return new TextEncoder().encode(`${head}\n${json}\n${sum}\n`);
}

/** Decodes and checks. `not-a-store`, `corrupt` or `incompatible-format` with the reason. */
export function decodeSuperblock(provider: Provider, bytes: Uint8Array): Superblock {
  const [title, json, sum, rest, ...more] = new TextDecoder('utf-8', { ignoreBOM: true })
    .decode(bytes)
    .split('\n');
  if (title !== head) throw new StoreError('not-a-store', 'the superblock is not one of holdfast');
  if (
    json === undefined ||
    rest !== '' ||
    more.length > 0 ||
    provider.sha256Hex(new TextEncoder().encode(json)) !== sum
  ) {
    throw new StoreError('corrupt', 'the superblock is damaged: its checksum does not hold');
  }
  return readJson(json);
}

/** The JSON behind a right checksum may still be of another program, or another time: its shape is checked before anything is believed. */
function readJson(json: string): Superblock {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new StoreError('corrupt', 'the superblock holds no JSON', {}, error);
  }
  if (typeof value !== 'object' || value === null)
    throw new StoreError('corrupt', 'the superblock holds no object');
  const fields = value as Partial<Record<keyof Superblock, unknown>>;
  // First of all: another format may have other fields.
  const { format, incompat } = fields as Superblock;
  if (isCount(format) && isFlags(incompat) && (format !== formatVersion || incompat.length > 0)) {
    throw new StoreError(
      'incompatible-format',
      `this store has format ${[format, ...incompat].join(', ')}; this version reads format ${formatVersion}`,
    );
  }
  const bad = Object.entries(shape).find(([field, fits]) => !fits(fields[field as keyof Superblock]));
  if (bad !== undefined)
    throw new StoreError('corrupt', `the superblock's ${bad[0]} is not what it should be`);
  return value as Superblock;
}

function isChunking(value: Partial<ChunkingParameters> | undefined): boolean {
  if (typeof value !== 'object' || value === null || !chunkingModes.includes(value.mode!)) return false;
  const { least, average, greatest } = value;
  return areCutSizes({ least: least!, average: average!, greatest: greatest! });
}

function isCompression(value: Partial<CompressionParameters> | undefined): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { mode, codec, level } = value;
  if (!compressionModes.includes(mode!) || (codec !== 'deflate' && codec !== 'zstd')) return false;
  return Number.isInteger(level) && level! >= 1 && level! <= levels[codec].max;
}

export const paddings: readonly EncryptionParameters['padding'][] = ['none', 'padme'];

function isEncryption(value: EncryptionParameters | null | undefined): boolean {
  if (value === null) return true;
  if (typeof value !== 'object') return false;
  return /^[0-9a-f]{32}$/.test(value.realm) && paddings.includes(value.padding);
}

const numberNames = ['smallMax', 'extentBytes', 'chunkBytes', 'volumeBytesMax'] as const;
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isFlags = (value: unknown): boolean =>
  Array.isArray(value) && value.every((flag) => typeof flag === 'string');
const shape: Readonly<Record<keyof Superblock, (value: unknown) => boolean>> = {
  format: isCount,
  storeId: (value) => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value),
  createdMs: isCount,
  compat: isFlags,
  roCompat: isFlags,
  incompat: isFlags,
  parameters: (value) =>
    typeof value === 'object' &&
    value !== null &&
    isCompression((value as Partial<StoreParameters>).compression) &&
    isChunking((value as Partial<StoreParameters>).chunking) &&
    isEncryption((value as Partial<StoreParameters>).encryption) &&
    layouts.includes((value as StoreParameters).layout) &&
    numberNames.every((name) => isCount((value as Record<string, unknown>)[name])),
};

/** Refuses parameters that could not work. */
export function checkParameters(parameters: StoreParameters): StoreParameters {
  const { smallMax, extentBytes, chunkBytes, volumeBytesMax, compression, chunking, layout } = parameters;
  if (!layouts.includes(layout))
    throw new StoreError('invalid-argument', 'layout must be hybrid or sqlite-only');
  if (!isCompression(compression))
    throw new StoreError(
      'invalid-argument',
      'compression must be off, auto or always, with codec deflate (levels 1 to 9) or zstd (1 to 19)',
    );
  if (!isChunking(chunking))
    throw new StoreError(
      'invalid-argument',
      'chunking must be off or fastcdc, its average a power of two from 4 KiB to 4 MiB between the least and the greatest size',
    );
  const broken = numberNames.find((name) => !Number.isSafeInteger(parameters[name]));
  if (broken !== undefined)
    throw new StoreError('invalid-argument', `parameter ${broken} must be a whole number`);
  const log2 = Math.log2(chunkBytes);
  if (!Number.isInteger(log2) || log2 < 12 || log2 > 24) {
    throw new StoreError('invalid-argument', 'chunkBytes must be a power of two between 4 KiB and 16 MiB');
  }
  if (smallMax < 0 || smallMax > 16 * 1024 * 1024)
    throw new StoreError('invalid-argument', 'smallMax must lie between 0 and 16 MiB');
  if (extentBytes < 4096 || extentBytes > 1024 * 1024)
    throw new StoreError('invalid-argument', 'extentBytes must lie between 4 KiB and 1 MiB');
  if (volumeBytesMax < 1024 * 1024)
    throw new StoreError('invalid-argument', 'volumeBytesMax must be at least 1 MiB');
  return parameters;
}
