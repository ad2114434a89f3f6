/** The self-describing record in which a small blob lies in an extent: header, chunk checksums, payload. */
import type { BlobKind } from '../api.ts';
import { StoreError } from '../errors.ts';
import { readU64, writeU64 } from './bytes.ts';
import type { Provider } from './provider.ts';

/** 'H' 'F' 'r' and the record version. */
const magic = 0x00_72_46_48;
/** Bytes before the checksum list. */
export const recordHeadBytes = 72;
const kinds: readonly BlobKind[] = ['raw', 'node'];

/** How the payload of a record is encoded. Only the identity so far. */
export const identityCodec = 0;
const flagLast = 1;

export interface RecordHead {
  readonly kind: BlobKind;
  readonly codec: number;
  /** 32 bytes. */
  readonly id: Uint8Array;
  readonly incarnation: number;
  /** A blob of several records: which part, where it starts in the blob, whether it is the last. */
  readonly part: number;
  readonly offset: number;
  readonly last: boolean;
  /** Plaintext bytes of the whole blob. */
  readonly size: number;
  readonly chunkLog2: number;
  readonly payloadBytes: number;
}

/** Bytes a record with this payload takes. */
export function recordBytes(payloadBytes: number, chunkLog2: number): number {
  return recordHeadBytes + 4 * chunkCount(payloadBytes, chunkLog2) + 4 + payloadBytes;
}

export function chunkCount(bytes: number, chunkLog2: number): number {
  return Math.ceil(bytes / 2 ** chunkLog2);
}

/**
 * Writes a record into `target` at `at`; returns the offset behind it. The payload may already stand in its place
 * (`payloadPlace`), so that a file can be read straight into the record. Layout in docs/format.md.
 */
export function writeRecord(
  provider: Provider,
  target: Uint8Array,
  at: number,
  record: { readonly head: RecordHead; readonly payload: Uint8Array },
): number {
  const { head, payload } = record;
  const chunks = chunkCount(payload.length, head.chunkLog2);
  const view = new DataView(target.buffer, target.byteOffset + at);
  view.setUint32(0, magic, true);
  view.setUint8(4, kinds.indexOf(head.kind));
  view.setUint8(5, head.codec);
  view.setUint8(6, head.last ? flagLast : 0);
  view.setUint8(7, head.chunkLog2);
  target.set(head.id, at + 8);
  writeU64(view, 40, head.incarnation);
  view.setUint32(48, head.part, true);
  writeU64(view, 52, head.offset);
  writeU64(view, 60, head.size);
  view.setUint32(68, payload.length, true);
  for (let chunk = 0; chunk < chunks; chunk++) {
    view.setUint32(
      recordHeadBytes + 4 * chunk,
      provider.crc32(chunkOf(payload, chunk, head.chunkLog2)),
      true,
    );
  }
  const headEnd = recordHeadBytes + 4 * chunks;
  view.setUint32(headEnd, provider.crc32(target.subarray(at, at + headEnd)), true);
  const place = at + headEnd + 4;
  if (payload.byteOffset !== target.byteOffset + place || payload.buffer !== target.buffer)
    target.set(payload, place);
  return place + payload.length;
}

/** Where in a record its payload starts. */
export function payloadPlace(payloadBytes: number, chunkLog2: number): number {
  return recordBytes(payloadBytes, chunkLog2) - payloadBytes;
}

export interface RecordView {
  readonly head: RecordHead;
  /** A view, verified chunk by chunk. */
  readonly payload: Uint8Array;
  /** Bytes the record takes. */
  readonly length: number;
}

/**
 * Reads and verifies the record at `at`: head checksum, then every chunk's. `corrupt` with the reason otherwise.
 * With `headOnly` the chunks are not checked (for listing).
 */
export function readRecord(
  provider: Provider,
  bytes: Uint8Array,
  at: number,
  options: { readonly headOnly?: boolean } = {},
): RecordView {
  if (at + recordHeadBytes + 4 > bytes.length) throw damaged('ends inside its header');
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
  if (view.getUint32(0, true) !== magic) throw damaged('has no magic');
  const chunkLog2 = view.getUint8(7);
  const payloadBytes = view.getUint32(68, true);
  if (chunkLog2 < 9 || chunkLog2 > 30) throw damaged('has an impossible chunk size');
  const chunks = chunkCount(payloadBytes, chunkLog2);
  const headEnd = recordHeadBytes + 4 * chunks;
  const length = headEnd + 4 + payloadBytes;
  if (at + length > bytes.length) throw damaged('ends inside its payload');
  if (view.getUint32(headEnd, true) !== provider.crc32(bytes.subarray(at, at + headEnd)))
    throw damaged('header checksum does not hold');
  const kind = kinds[view.getUint8(4)];
  if (kind === undefined) throw damaged('has an unknown kind');
  if (view.getUint8(5) !== identityCodec) {
    throw new StoreError(
      'incompatible-format',
      `a record is encoded by codec ${view.getUint8(5)}, unknown here`,
    );
  }
  const flags = view.getUint8(6);
  if ((flags & ~flagLast) !== 0)
    throw new StoreError('incompatible-format', `a record has flags ${flags}, unknown here`);
  const incarnation = wholeNumber(view, 40);
  const offset = wholeNumber(view, 52);
  const size = wholeNumber(view, 60);
  const payload = bytes.subarray(at + headEnd + 4, at + length);
  for (let chunk = 0; options.headOnly !== true && chunk < chunks; chunk++) {
    if (
      view.getUint32(recordHeadBytes + 4 * chunk, true) !== provider.crc32(chunkOf(payload, chunk, chunkLog2))
    ) {
      throw damaged(`checksum of chunk ${chunk} does not hold`);
    }
  }
  const head: RecordHead = {
    kind,
    codec: identityCodec,
    id: bytes.subarray(at + 8, at + 40),
    incarnation,
    part: view.getUint32(48, true),
    offset,
    last: flags === flagLast,
    size,
    chunkLog2,
    payloadBytes,
  };
  return { head, payload, length };
}

/** The records of an extent, in order. Stops at the first that is damaged, naming it: what follows cannot be found by position. */
export function* readExtent(
  provider: Provider,
  extent: Uint8Array,
): Generator<{ at: number; record: RecordView } | { at: number; damage: string }> {
  let at = 0;
  while (at < extent.length) {
    let record: RecordView;
    try {
      record = readRecord(provider, extent, at, { headOnly: true });
    } catch (error) {
      yield { at, damage: error instanceof Error ? error.message : String(error) };
      return;
    }
    yield { at, record };
    at += record.length;
  }
}

function chunkOf(payload: Uint8Array, chunk: number, chunkLog2: number): Uint8Array {
  const start = chunk * 2 ** chunkLog2;
  return payload.subarray(start, Math.min(start + 2 ** chunkLog2, payload.length));
}

function wholeNumber(view: DataView, at: number): number {
  const value = readU64(view, at);
  if (Number.isNaN(value)) throw damaged('has a number beyond 53 bits');
  return value;
}

function damaged(why: string): StoreError {
  return new StoreError('corrupt', `a record ${why}`);
}
