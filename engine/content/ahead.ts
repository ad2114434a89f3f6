/** Large files read ahead, past the machine's cache: while one piece is verified the next one comes from the disk. */
import type { DirectFile, OpenFile, ReadableFile } from '../host.ts';

/** Of smaller ones the first slices are all there is. */
const leastBytes = 1024 * 1024;

/** The one that is read from, and the next: where the disk is faster, more of them would take memory and gain nothing. */
const piecesMax = 2;

interface Piece {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Of whoever reads one file after the other, each from its beginning to its end. */
export class Ahead {
  #current: AheadFile | undefined;

  /** The same file; takes it over. */
  of(file: OpenFile): ReadableFile {
    this.#current = new AheadFile(file);
    return this.#current;
  }

  /** Between two reads of the current file: resolves when what comes next is in memory, and lets what follows come. */
  async ready(): Promise<void> {
    await this.#current?.ready();
  }
}

class AheadFile implements ReadableFile {
  readonly #file: OpenFile;
  /** Null: there is no such way, or there is none any more. */
  #direct: DirectFile | null | undefined;
  #size = 0;
  /** One after the other. */
  #pieces: Piece[] = [];
  #coming: Promise<void> | undefined;
  /** Where the last read ended, and its length. */
  #next = 0;
  #length = 0;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  /** What did not come is read as from any file, which also tells why it cannot be. */
  read(target: Uint8Array, position: number): number {
    let done = 0;
    for (const { at, bytes } of this.#pieces) {
      const from = position + done - at;
      if (from < 0 || from >= bytes.length) continue;
      const part = bytes.subarray(from, from + target.length - done);
      target.set(part, done);
      done += part.length;
    }
    if (done < target.length) done += this.#file.read(target.subarray(done), position + done);
    [this.#next, this.#length] = [position + done, target.length];
    this.#keepNext();
    return done;
  }

  /** What it was read from is given back when more is asked for. */
  view(position: number, length: number): Uint8Array | undefined {
    const piece = this.#pieces.find(
      ({ at, bytes }) => at <= position && position + length <= at + bytes.length,
    );
    if (piece === undefined) return undefined;
    [this.#next, this.#length] = [position + length, length];
    return piece.bytes.subarray(position - piece.at, position - piece.at + length);
  }

  async ready(): Promise<void> {
    if (this.#direct === undefined) this.#begin();
    this.#keepNext();
    const end = Math.min(this.#size, this.#next + this.#length);
    while (this.#direct !== null && this.#behind() < end) await this.#come();
    if (this.#direct !== null && this.#behind() < this.#size && this.#pieces.length < piecesMax)
      void this.#come();
  }

  facts(): ReturnType<OpenFile['facts']> {
    return this.#file.facts();
  }

  close(): void {
    this.#end();
    this.#file.close();
  }

  #begin(): void {
    this.#direct = null;
    try {
      this.#size = this.#file.facts().size;
      if (this.#size >= leastBytes) this.#direct = this.#file.direct?.() ?? null;
    } catch {
      // told by the next read
    }
  }

  /** Up to where it is in memory, from where reading goes on. */
  #behind(): number {
    const last = this.#pieces.at(-1);
    return last === undefined ? this.#next : last.at + last.bytes.length;
  }

  /** One at a time. */
  #come(): Promise<void> {
    this.#coming ??= this.#fetch().finally(() => (this.#coming = undefined));
    return this.#coming;
  }

  async #fetch(): Promise<void> {
    const direct = this.#direct!;
    const behind = this.#behind();
    const at = behind - (behind % direct.alignBytes);
    try {
      const bytes = await direct.read(at);
      const isWhole =
        bytes.length > 0 && (bytes.length % direct.alignBytes === 0 || at + bytes.length === this.#size);
      const fits = this.#direct === direct && this.#behind() >= at && this.#behind() < at + bytes.length;
      if (isWhole && fits) {
        this.#pieces.push({ at, bytes });
        return;
      }
      direct.release(bytes);
      // Reading went on elsewhere meanwhile.
      if (isWhole) return;
    } catch {
      // told by the next read
    }
    this.#end();
  }

  /** Reading goes on without. */
  #end(): void {
    const direct = this.#direct;
    this.#keep(() => false);
    this.#direct = null;
    direct?.close();
  }

  /** What is behind reading is not read again. */
  #keepNext(): void {
    this.#keep(({ at, bytes }) => at <= this.#next && this.#next < at + bytes.length);
  }

  #keep(isWanted: (piece: Piece) => boolean): void {
    const first = this.#pieces.findIndex(isWanted);
    const dropped = first === -1 ? this.#pieces.splice(0) : this.#pieces.splice(0, first);
    for (const { bytes } of dropped) this.#direct?.release(bytes);
  }
}
