/** Records of the root log: chained by hash, so that a torn tail and a lost middle are both seen. */
import type { BlobId, RootLogEntry } from '../api.ts';
import { fromHex, readU64, toHex, writeU64 } from './bytes.ts';
import type { Provider } from './provider.ts';

/** "HFlog", the log's version, and the store's id (16 bytes) at offset 8. */
export const logHeadBytes = 24;
const logMagic = Uint8Array.of(0x48, 0x46, 0x6c, 0x6f, 0x67, 0, 0, 0);
/** Bytes of the hash that chains records: sha256 of (previous hash ‖ body), cut. */
export const chainBytes = 16;
const fixedBytes = 4 + 8 + 8 + 1 + 2 + 32;
const changes: readonly RootLogEntry['change'][] = ['set', 'delete', 'retain', 'release', 'borrow'];
const noId = '0'.repeat(64);
/** Longest name of a root or owner, in UTF-8 bytes. */
export const nameBytesMax = 1024;

export function encodeLogHead(storeId: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(logHeadBytes);
  bytes.set(logMagic);
  bytes.set(storeId, 8);
  return bytes;
}

/** The store id in a log's head, or undefined when it is no log of a known version. */
export function decodeLogHead(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < logHeadBytes) return undefined;
  for (let i = 0; i < logMagic.length; i++) if (bytes[i] !== logMagic[i]) return undefined;
  return bytes.slice(8, logHeadBytes);
}

/** length u32 · sequence u64 · time u64 · change u8 · name length u16 · id 32 (zeros for none) · name · hash 16. */
export function encodeLogRecord(
  provider: Provider,
  entry: RootLogEntry,
  previous: Uint8Array,
): { bytes: Uint8Array; hash: Uint8Array } {
  const name = new TextEncoder().encode(entry.name);
  const bytes = new Uint8Array(fixedBytes + name.length + chainBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  writeU64(view, 4, entry.sequence);
  writeU64(view, 12, entry.timeMs);
  view.setUint8(20, changes.indexOf(entry.change));
  view.setUint16(21, name.length, true);
  if (entry.id !== undefined) bytes.set(fromHex(entry.id)!, 23);
  bytes.set(name, fixedBytes);
  const body = bytes.subarray(0, bytes.length - chainBytes);
  const hash = chain(provider, previous, body);
  bytes.set(hash, body.length);
  return { bytes, hash };
}

export interface LogRecord {
  readonly entry: RootLogEntry;
  readonly hash: Uint8Array;
  readonly length: number;
}

/** The record at `at`, or undefined when the bytes there are not the next record of this chain (a torn tail, or damage). */
export function decodeLogRecord(
  provider: Provider,
  bytes: Uint8Array,
  at: number,
  previous: Uint8Array,
): LogRecord | undefined {
  if (at + fixedBytes + chainBytes > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
  const length = view.getUint32(0, true);
  const nameLength = view.getUint16(21, true);
  if (length !== fixedBytes + nameLength + chainBytes || at + length > bytes.length) return undefined;
  const body = bytes.subarray(at, at + length - chainBytes);
  const hash = chain(provider, previous, body);
  for (let i = 0; i < chainBytes; i++) if (hash[i] !== bytes[at + body.length + i]) return undefined;
  const change = changes[view.getUint8(20)];
  const id: BlobId = toHex(body.subarray(23, 55));
  const sequence = readU64(view, 4);
  const timeMs = readU64(view, 12);
  const name = readName(body.subarray(fixedBytes));
  const strange = change === undefined || name === undefined || (change === 'delete' && id !== noId);
  if (strange || Number.isNaN(sequence) || Number.isNaN(timeMs)) return undefined;
  const entry: RootLogEntry = {
    sequence,
    timeMs,
    change,
    name,
    ...(change === 'delete' ? {} : { id }),
  };
  return { entry, hash, length };
}

function readName(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { ignoreBOM: true, fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function chain(provider: Provider, previous: Uint8Array, body: Uint8Array): Uint8Array {
  const joined = new Uint8Array(chainBytes + body.length);
  joined.set(previous);
  joined.set(body, chainBytes);
  return provider.sha256(joined).slice(0, chainBytes);
}
