/** Reads the records of a SQLite volume without SQLite, whatever has become of the file: every record of which all bytes are there. */
import type { ReadAt } from './frame.ts';
import { findRecords } from './find-records.ts';
import type { Provider } from './provider.ts';
import type { RecordView } from './record.ts';
import { StoreError } from '../errors.ts';
import { type ExtentCell, leafCells, leafType, overflowHeadBytes, sqlitePageBytes } from './sqlite-cells.ts';

const overflowBytes = sqlitePageBytes - overflowHeadBytes;
/** SQLite never uses the page that holds the byte at 1 GiB: its locks lie there. */
const lockPage = 0x4000_0000 / sqlitePageBytes + 1;
/** Pages that are read together where nothing says which belong together: 40 MiB; half of them hold the largest record. */
const runPages = 2560;
/** Pages kept in memory. */
const pagesKept = 64;
/** Rows of which the rest is sought among pages that nobody claims, and such pages, at most. */
const guessedMax = 4096;
/** No row has more: a record of the largest blob, with its table. */
const rowBytesMax = (runPages / 2) * overflowBytes;
/** Rows are put together from this many times the bytes of the file, and a bit; twice, where sizes and chains do not lie. */
const effortMax = 6;
const effortSpare = 16 * 1024 * 1024;
/** Bytes that are tried where the rest of a row has to be guessed: beyond it one gives up. */
const guessBytesMax = 1024 * 1024 * 1024;

/** A record and its bytes, which last until the next one is asked for. Its head and its content were verified by their checksums. */
export interface SalvagedRecord {
  readonly record: RecordView;
  readonly bytes: Uint8Array;
}

/**
 * Rows are put together from their leaf and its chain of overflow pages. A chain that is broken goes on with the next page, where
 * SQLite put it: a volume is only ever appended to. What is left over is read page by page. A record may be given more than once.
 * O(bytes of the file), whatever is in it; memory for 40 MiB of pages.
 */
export function* salvageRecords(
  provider: Provider,
  read: ReadAt,
  fileBytes: number,
): Generator<SalvagedRecord> {
  yield* new Salvage(provider, new Pages(read, fileBytes)).run();
}

class Salvage {
  readonly #provider: Provider;
  readonly #pages: Pages;
  /** By page: 1 where it is a leaf, 2 where a row that is whole goes through it. */
  readonly #known: Uint8Array;
  readonly #broken: { readonly page: number; readonly cell: ExtentCell }[] = [];
  #effort: number;

  constructor(provider: Provider, pages: Pages) {
    this.#provider = provider;
    this.#pages = pages;
    this.#known = new Uint8Array(pages.count + 2);
    this.#effort = effortMax * pages.count * sqlitePageBytes + effortSpare;
  }

  *run(): Generator<SalvagedRecord> {
    // Page 1 is of SQLite's own.
    for (let n = 2; n <= this.#pages.count; n++) yield* this.#leaf(n);
    const heads: number[] = [];
    for (let n = 2; n <= this.#pages.count;) {
      if (this.#known[n] !== 0) {
        n++;
        continue;
      }
      let end = n;
      while (end <= this.#pages.count && this.#known[end] === 0 && end - n < runPages) {
        if (heads.length < guessedMax && this.#mayBegin(end)) heads.push(end);
        end++;
      }
      yield* this.#records(this.#chain(n, end - n));
      // A record that the end of this run cut is whole in the next.
      n = end - n < runPages ? end : n + runPages / 2;
    }
    let left = Math.min(guessBytesMax, effortMax * this.#pages.count * sqlitePageBytes + effortSpare);
    for (const { page, cell } of this.#broken) {
      for (const first of heads) {
        if ((left -= Math.min(rowBytesMax, cell.size!)) < 0) return;
        yield* this.#records(this.#row(page, cell, (at) => (at === undefined ? first : at + 1)));
      }
    }
  }

  *#leaf(n: number): Generator<SalvagedRecord> {
    const page = this.#pages.read(n);
    const cells = leafCells(page);
    if (cells.length === 0 && page[0] !== leafType) return;
    // A page in the middle of a row may hold what looks like a row: it is one of the chain all the same.
    if (page[0] === leafType) this.#known[n] = 1;
    let whole = cells.length > 0;
    for (const cell of cells) {
      if (this.#effort < 0) whole = false;
      else whole = (yield* this.#cell(n, cell)) && whole;
    }
    // What lies in the page and in no row that can be told.
    if (!whole) yield* this.#records([page.slice()]);
  }

  /** True when all of the row was records. */
  *#cell(n: number, cell: ExtentCell): Generator<SalvagedRecord, boolean> {
    const first = cell.overflow;
    const asTold: number[] = [];
    const told = this.#row(n, cell, (at) => (at === undefined ? first : this.#pages.next(at)), asTold);
    if (yield* this.#records(told, cell.size)) {
      for (const page of asTold) this.#known[page] = 2;
      return true;
    }
    // Where its size cannot be told, what lies behind its leaf is found with the pages that are left over.
    if (cell.size === undefined || first === undefined) return false;
    const inLine: number[] = [];
    const line = this.#row(n, cell, (at) => (at === undefined ? first : at + 1), inLine);
    if (inLine.join() !== asTold.join() && (yield* this.#records(line, cell.size))) {
      for (const page of inLine) this.#known[page] = 2;
      return true;
    }
    if (this.#broken.length < guessedMax) this.#broken.push({ page: n, cell });
    return false;
  }

  /** The bytes of a row as far as `follow` leads; the pages it went through are noted in `through`. */
  #row(
    page: number,
    cell: ExtentCell,
    follow: (at: number | undefined) => number | undefined,
    through: number[] = [],
  ): Uint8Array[] {
    const pieces = [this.#pages.read(page).slice(cell.from, cell.to)];
    // A row of unknown size goes on as long as the largest might; chains that go in a circle, no longer either.
    let left = Math.min(cell.size ?? rowBytesMax, rowBytesMax) - (cell.to - cell.from);
    let at: number | undefined;
    while (left > 0 && cell.overflow !== undefined) {
      at = follow(at);
      if (at === lockPage) at++;
      if (at === undefined || at < 2 || at > this.#pages.count || this.#known[at] === 1) break;
      through.push(at);
      pieces.push(this.#pages.read(at).slice(overflowHeadBytes, overflowHeadBytes + left));
      left -= overflowBytes;
      this.#effort -= overflowBytes;
    }
    return pieces;
  }

  /** The content of pages in line. */
  #chain(from: number, count: number): Uint8Array[] {
    return Array.from({ length: count }, (_, i) => this.#pages.read(from + i).slice(overflowHeadBytes));
  }

  /** A page that the one before it does not lead to may be the first of a chain. */
  #mayBegin(n: number): boolean {
    return n === 2 || this.#known[n - 1] !== 0 || this.#pages.next(n - 1) !== n;
  }

  /** Gives the good records in the bytes; true when there was nothing else in them, up to the size they should have. */
  *#records(pieces: readonly Uint8Array[], size?: number): Generator<SalvagedRecord, boolean> {
    const bytes = joined(pieces);
    let good = 0;
    for (const found of findRecords(this.#provider, bytes)) {
      if ('damage' in found) continue;
      if (!isSound(found.record)) continue;
      good += found.record.length;
      yield { record: found.record, bytes: bytes.subarray(found.at, found.at + found.record.length) };
    }
    return good > 0 && good === size;
  }
}

/** Whether all of its chunks are what they were; `incompatible-format` where this runtime cannot tell. */
function isSound(record: RecordView): boolean {
  try {
    record.content();
    return true;
  } catch (error) {
    if (StoreError.is(error, 'corrupt')) return false;
    throw error;
  }
}

/** Pages of a file by number, from 1; the last one may be cut and is filled with zeros. */
class Pages {
  readonly count: number;
  readonly #read: ReadAt;
  readonly #kept = new Map<number, Uint8Array>();

  constructor(read: ReadAt, fileBytes: number) {
    this.#read = read;
    this.count = Math.ceil(fileBytes / sqlitePageBytes);
  }

  read(n: number): Uint8Array {
    let page = this.#kept.get(n);
    if (page !== undefined) return page;
    page = new Uint8Array(sqlitePageBytes);
    page.set(this.#read((n - 1) * sqlitePageBytes, sqlitePageBytes));
    this.#kept.set(n, page);
    if (this.#kept.size > pagesKept) this.#kept.delete(this.#kept.keys().next().value!);
    return page;
  }

  /** The overflow page that a page names as the next one. */
  next(n: number): number {
    const page = this.read(n);
    return new DataView(page.buffer, page.byteOffset).getUint32(0);
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
