/** Finds records in bytes that may be damaged anywhere: where one cannot be read, the next is sought by its magic. */
import { StoreError } from '../errors.ts';
import { chunkLog2Min } from './chunks.ts';
import type { Provider } from './provider.ts';
import { type RecordView, measureRecord, readRecord, recordHeadBytes, recordOverhead } from './record.ts';

/** What `findRecords` meets: a record whose head holds (its content may not), or bytes that are no record. */
export type FoundRecord =
  | { readonly at: number; readonly record: RecordView }
  | { readonly at: number; readonly length: number; readonly damage: string };

/** 'H' 'F' 'r' and the record version, as codec/record.ts writes them. */
const magicBytes = [0x48, 0x46, 0x72, 0x01] as const;
/**
 * Heads that are tried while seeking may make this many times the bytes to be hashed: damage never comes near it, and bytes made to
 * look like a million heads with long tables end there.
 */
const effortMax = 8;

/**
 * Records in order of where they begin; they do not overlap. In sound bytes it gives what `readExtent` gives. O(bytes), whatever the
 * bytes are. `incompatible-format` for a sound head of a later version.
 */
export function* findRecords(provider: Provider, bytes: Uint8Array): Generator<FoundRecord> {
  const effort = { left: effortMax * bytes.length + 65_536 };
  let at = 0;
  while (at < bytes.length) {
    const found = tryRecord(provider, bytes, at, effort);
    if (typeof found !== 'string') {
      yield { at, record: found };
      at += found.length;
      continue;
    }
    let next = at + 1;
    for (; next < bytes.length; next++) {
      next = seekMagic(bytes, next);
      if (next < bytes.length && typeof tryRecord(provider, bytes, next, effort) !== 'string') break;
    }
    yield { at, length: Math.min(next, bytes.length) - at, damage: found };
    at = next;
  }
}

/** Where the next magic begins, or the end. */
export function seekMagic(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(magicBytes[0], from); at >= 0; at = bytes.indexOf(magicBytes[0], at + 1)) {
    if (bytes[at + 1] === magicBytes[1] && bytes[at + 2] === magicBytes[2] && bytes[at + 3] === magicBytes[3])
      return at;
  }
  return bytes.length;
}

/** The record that begins there, or why there is none. */
function tryRecord(
  provider: Provider,
  bytes: Uint8Array,
  at: number,
  effort: { left: number },
): RecordView | string {
  if (effort.left < 0) return 'is one of too many that look like records';
  const found = measureRecord(provider, bytes, at);
  if (typeof found !== 'string')
    try {
      return readRecord(provider, bytes, at);
    } catch (error) {
      if (!StoreError.is(error, 'corrupt')) throw error;
      return error.message; // a number or a kind that cannot be
    }
  effort.left -= claimedBytes(bytes, at);
  return found;
}

/** Bytes that may have been hashed to see that there is no record: its head with as many chunks as it claims. */
function claimedBytes(bytes: Uint8Array, at: number): number {
  const rest = bytes.length - at;
  if (rest < recordHeadBytes) return rest;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, recordHeadBytes);
  const chunkLog2 = Math.max(chunkLog2Min, view.getUint8(7));
  return Math.min(rest, recordOverhead(view.getUint32(68, true), chunkLog2));
}
