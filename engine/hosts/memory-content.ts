/** The bytes of one file in memory, by pages, with what a crash would leave of them. */
import { systemError } from './memory-path.ts';

const pageBytes = 4096;
/** What a disk writes whole: a crash keeps or drops each of these. */
const sectorBytes = 512;

/** Decides what of the unsynced survives a crash. */
export interface Survival {
  /** Whether one sector, one change of a folder, one file's attributes survive. */
  keeps(): boolean;
  /** Which part of a growth survives, 0 to 1. */
  portion(): number;
}

/** The room of a file system, counted in pages. */
export class Budget {
  readonly capacityBytes: number;
  usedBytes = 0;

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  take(pages: number): void {
    if (this.usedBytes + pages * pageBytes > this.capacityBytes) throw systemError('ENOSPC', 'write');
    this.usedBytes += pages * pageBytes;
  }

  /** Forgets what was counted: after a crash the files are counted anew. */
  clear(): void {
    this.usedBytes = 0;
  }

  /** Counts without a limit what was there already. */
  count(pages: number): void {
    this.usedBytes += pages * pageBytes;
  }

  give(pages: number): void {
    this.usedBytes -= pages * pageBytes;
  }
}

/** Holes take no room and read as zeros. */
export class MemoryContent {
  readonly #budget: Budget;
  #size = 0;
  #syncedSize = 0;
  readonly #pages = new Map<number, Uint8Array>();
  /** Pages changed since the last sync, as they were then. */
  readonly #before = new Map<number, Uint8Array | undefined>();

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  get size(): number {
    return this.#size;
  }

  /** Copies what there is; returns how many bytes. */
  read(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.length, this.#size - position));
    for (let done = 0; done < count;) {
      const { index, from, length } = pieceAt(position + done, count - done);
      const page = this.#pages.get(index);
      if (page === undefined) target.fill(0, done, done + length);
      else target.set(page.subarray(from, from + length), done);
      done += length;
    }
    return count;
  }

  /** Writes all, or as much as there is room for and then throws ENOSPC: as a real disk does. */
  write(source: Uint8Array, position: number): void {
    for (let done = 0; done < source.length;) {
      const { index, from, length } = pieceAt(position + done, source.length - done);
      this.#writable(index).set(source.subarray(done, done + length), from);
      done += length;
      this.#size = Math.max(this.#size, position + done);
    }
  }

  truncate(size: number): void {
    if (size < this.#size) {
      const { index, from } = pieceAt(size, 1);
      if (from > 0 && this.#pages.has(index)) this.#writable(index).fill(0, from);
      const first = Math.ceil(size / pageBytes);
      for (const index of [...this.#pages.keys()]) if (index >= first) this.#drop(index);
    }
    this.#size = size;
  }

  sync(): void {
    this.#before.clear();
    this.#syncedSize = this.#size;
  }

  /** Goes back to what was synced, but for what survives. */
  crash(survival: Survival): void {
    const grown = this.#size - this.#syncedSize;
    const shrunk = grown < 0 && survival.keeps();
    const size = shrunk ? this.#size : this.#syncedSize + Math.floor(Math.max(0, grown) * survival.portion());
    for (const [index, before] of this.#before) {
      const after = this.#pages.get(index);
      if (after === undefined) {
        if (!shrunk && before !== undefined) this.#pages.set(index, before);
        continue;
      }
      for (let at = 0; at < pageBytes; at += sectorBytes) {
        if (survival.keeps()) continue;
        if (before === undefined) after.fill(0, at, at + sectorBytes);
        else after.set(before.subarray(at, at + sectorBytes), at);
      }
    }
    this.#size = Math.max(this.#size, size);
    this.truncate(size);
    this.sync();
  }

  /** How many pages take room. */
  get pages(): number {
    return this.#pages.size;
  }

  #writable(index: number): Uint8Array {
    const page = this.#pages.get(index);
    if (page !== undefined) {
      if (!this.#before.has(index)) this.#before.set(index, page.slice());
      return page;
    }
    this.#budget.take(1);
    const fresh = new Uint8Array(pageBytes);
    if (!this.#before.has(index)) this.#before.set(index, undefined);
    this.#pages.set(index, fresh);
    return fresh;
  }

  #drop(index: number): void {
    if (!this.#before.has(index)) this.#before.set(index, this.#pages.get(index));
    this.#pages.delete(index);
    this.#budget.give(1);
  }
}

function pieceAt(position: number, wanted: number): { index: number; from: number; length: number } {
  const index = Math.floor(position / pageBytes);
  const from = position - index * pageBytes;
  return { index, from, length: Math.min(wanted, pageBytes - from) };
}
