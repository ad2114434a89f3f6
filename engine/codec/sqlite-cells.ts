/** Cells of the table `extents` on a page of a SQLite volume, found without SQLite: by the page's pointers, and by what cells look like. */
import { seekMagic } from './find-records.ts';

/** The page size of every SQLite volume (docs/format.md). What a damaged file says of itself is not asked. */
export const sqlitePageBytes = 16_384;
/** Bytes of an overflow page before its content: the number of the next one, big-endian. */
export const overflowHeadBytes = 4;
/** A leaf keeps at most this much of a row to itself (SQLite file format, 1.6: U − 35). */
const localMax = sqlitePageBytes - 35;
/** Otherwise at least this much: (U − 12) · 32 / 255 − 23. */
const localMin = Math.floor(((sqlitePageBytes - 12) * 32) / 255) - 23;
/** Type byte, free block, cells, begin of the content, fragments. */
const leafHeadBytes = 8;
/** Of what a page says of itself no more than this many cells are believed. */
const cellsMax = 1024;
export const leafType = 0x0d;

/** The data of a row as far as it lies on its leaf. */
export interface ExtentCell {
  /** Where the data begins in the page, and where the part that lies there ends. */
  readonly from: number;
  readonly to: number;
  /** Bytes of the data in all; undefined where that cannot be told. */
  readonly size: number | undefined;
  /** Page on which it goes on, as it says; undefined where all of it is here. */
  readonly overflow: number | undefined;
}

/**
 * Rows of `extents` on a leaf page. A cell is taken where two of three agree: the length it begins with, the header of its row, and the
 * magic of the record its data begins with. What a pointer leads to and is no such cell is taken as data of unknown size up to the
 * next cell. O(bytes of the page).
 */
export function leafCells(page: Uint8Array): ExtentCell[] {
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  // By place and size: of two that begin at one place, what is read of them tells which it is.
  const cells = new Map<string, ExtentCell>();
  const add = (cell: ExtentCell | undefined): boolean => {
    if (cell !== undefined) cells.set(`${cell.from} ${cell.size}`, cell);
    return cell !== undefined;
  };
  const unclear: number[] = [];
  const starts = new Set<number>([page.length]);
  let least = page.length;
  const isLeaf = page[0] === leafType;
  const slotsEnd = isLeaf ? page.length : slotsOf(view);
  const told = leafHeadBytes + 2 * Math.min(cellsMax, view.getUint16(3));
  for (let slot = leafHeadBytes; slot + 2 <= Math.min(least, slotsEnd); slot += 2) {
    const pointer = view.getUint16(slot);
    if (pointer < leafHeadBytes || pointer + 8 > page.length) continue;
    if (add(cellAt(page, view, pointer))) {
      starts.add(pointer);
      least = Math.min(least, pointer);
    } else if (slot < told) unclear.push(pointer);
  }
  for (let at = seekMagic(page, leafHeadBytes); at < page.length; at = seekMagic(page, at + 1))
    add(cellBefore(page, view, at));
  if (!isLeaf) return [...cells.values()];
  for (const pointer of unclear) starts.add(pointer);
  const ends = [...starts].sort((a, b) => a - b);
  const found = [...cells.values()];
  for (const pointer of unclear) {
    const to = ends.find((start) => start > pointer)! - 4;
    if (to <= pointer || found.some((cell) => cell.from > pointer && cell.from <= to)) continue;
    add({ from: pointer, to, size: undefined, overflow: view.getUint32(to) });
  }
  return [...cells.values()];
}

/** Where the pointers end, on a page that does not say that it is a leaf but looks like one; 0 where it does not. */
function slotsOf(view: DataView): number {
  const end = leafHeadBytes + 2 * view.getUint16(3);
  const content = view.getUint16(5);
  const first = view.getUint16(leafHeadBytes);
  return end > leafHeadBytes && end <= content && first >= content && first < view.byteLength ? end : 0;
}

/** The cell that a pointer leads to: payload length, rowid, header, data. */
function cellAt(page: Uint8Array, view: DataView, pointer: number): ExtentCell | undefined {
  const payload = readVarint(page, pointer);
  if (payload === undefined) return undefined;
  const rowid = readVarint(page, payload.next);
  if (rowid === undefined) return undefined;
  const start = rowid.next;
  const told = rowHeader(page, start);
  const magicAt = (from: number): boolean => seekMagic(page.subarray(from, from + 4), 0) === 0;
  if (told !== undefined) {
    const from = start + told.bytes;
    if (told.bytes + told.size === payload.value || magicAt(from))
      return makeCell(view, start, told.bytes, told.size);
  }
  // The header may be damaged: the length gives it back.
  for (let bytes = 3; bytes <= 7; bytes++) {
    const size = payload.value - bytes;
    if (size >= 0 && varintBytes(2 * size + 12) === bytes - 2 && magicAt(start + bytes))
      return makeCell(view, start, bytes, size);
  }
  return undefined;
}

/** The cell whose data begins here, by the row header right before it. */
function cellBefore(page: Uint8Array, view: DataView, from: number): ExtentCell | undefined {
  for (let bytes = 3; bytes <= 7; bytes++) {
    const start = from - bytes;
    if (start < leafHeadBytes) return undefined;
    const told = rowHeader(page, start);
    if (told?.bytes === bytes) return makeCell(view, start, bytes, told.size);
  }
  return undefined;
}

/** Of a row (NULL for the rowid, a blob): bytes of the header, and of the blob. */
function rowHeader(page: Uint8Array, start: number): { bytes: number; size: number } | undefined {
  const bytes = page[start];
  if (bytes === undefined || bytes < 3 || bytes > 7 || page[start + 1] !== 0) return undefined;
  const type = readVarint(page, start + 2);
  if (type === undefined || type.next !== start + bytes) return undefined;
  if (type.value < 12 || type.value % 2 !== 0) return undefined;
  return { bytes, size: (type.value - 12) / 2 };
}

function makeCell(view: DataView, start: number, headerBytes: number, size: number): ExtentCell | undefined {
  const local = localBytes(headerBytes + size);
  const to = start + local;
  const from = start + headerBytes;
  if (local === headerBytes + size)
    return to <= view.byteLength ? { from, to, size, overflow: undefined } : undefined;
  return to + 4 <= view.byteLength ? { from, to, size, overflow: view.getUint32(to) } : undefined;
}

/** Bytes of a row that stay on its leaf. */
function localBytes(payload: number): number {
  if (payload <= localMax) return payload;
  const some = localMin + ((payload - localMin) % (sqlitePageBytes - overflowHeadBytes));
  return some <= localMax ? some : localMin;
}

/** A SQLite varint below 2^53; undefined where there is none. */
function readVarint(page: Uint8Array, at: number): { value: number; next: number } | undefined {
  let value = 0;
  for (let i = 0; i < 7; i++) {
    const byte = page[at + i];
    if (byte === undefined) return undefined;
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return { value, next: at + i + 1 };
  }
  return undefined;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}
