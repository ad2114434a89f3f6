/** The little deterministic CBOR (RFC 8949, 4.2) that map nodes and folder entries need: whole numbers, bytes, arrays. */
import { StoreError } from '../../engine/errors.ts';

const unsignedType = 0;
const negativeType = 1;
const bytesType = 2;
const arrayType = 4;

/** Writes values one after the other, each in its shortest form: the only one a reader takes. */
export class CborWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  /** A whole number of at most 53 bits. */
  integer(value: number): this {
    if (!Number.isSafeInteger(value)) throw new Error(`holdfast bug: ${value} is not a safe integer`);
    return value < 0 ? this.#head(negativeType, -1 - value) : this.#head(unsignedType, value);
  }

  bytes(value: Uint8Array): this {
    this.#head(bytesType, value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  /** Announces an array; its `count` values follow. */
  array(count: number): this {
    return this.#head(arrayType, count);
  }

  /** What was written; the writer is empty again. */
  finish(): Uint8Array {
    const written = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return written;
  }

  #head(type: number, value: number): this {
    this.#room(9);
    const major = type << 5;
    const width = widthOf(value);
    if (width === 0) {
      this.#bytes[this.#length++] = major | value;
      return this;
    }
    this.#bytes[this.#length++] = major | (24 + Math.log2(width));
    let rest = value;
    for (let i = width - 1; i >= 0; i--) {
      this.#bytes[this.#length + i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
    this.#length += width;
    return this;
  }

  #room(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Reads values back; anything but the one form CborWriter makes is `corrupt`. Bytes are views, not copies. */
export class CborReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  integer(): number {
    const type = (this.#bytes[this.#at] ?? 0xff) >> 5;
    if (type === negativeType) return -1 - this.#head(negativeType);
    return this.#head(unsignedType);
  }

  /** A whole number from 0 to `max`. */
  unsigned(max: number): number {
    const value = this.#head(unsignedType);
    if (value > max) throw this.bad(`has a number ${value} over ${max}`);
    return value;
  }

  bytes(lengthMax: number): Uint8Array {
    const length = this.#head(bytesType);
    if (length > lengthMax) throw this.bad(`has a part of ${length} bytes, over ${lengthMax}`);
    if (this.#at + length > this.#bytes.length) throw this.bad('ends early');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** The count of an array. Each value takes a byte at least, so a count beyond what is left is refused before anything is allocated. */
  array(): number {
    const count = this.#head(arrayType);
    if (count > this.#bytes.length - this.#at) throw this.bad('ends early');
    return count;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw this.bad('goes on after its end');
  }

  bad(how: string): StoreError {
    return new StoreError('corrupt', `not ${this.#what}: it ${how}`);
  }

  #head(type: number): number {
    const first = this.#bytes[this.#at];
    if (first === undefined) throw this.bad('ends early');
    if (first >> 5 !== type) throw this.bad('has a part of another type');
    const info = first & 31;
    this.#at += 1;
    if (info < 24) return info;
    if (info > 27) throw this.bad('has a malformed length');
    const width = 1 << (info - 24);
    if (this.#at + width > this.#bytes.length) throw this.bad('ends early');
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + this.#bytes[this.#at + i]!;
    this.#at += width;
    if (!Number.isSafeInteger(value)) throw this.bad('has a number over 53 bits');
    if (widthOf(value) !== width) throw this.bad('has a number in a longer form than needed');
    return value;
  }
}

/** Bytes after the first that the shortest head of a number takes. */
function widthOf(value: number): 0 | 1 | 2 | 4 | 8 {
  if (value < 24) return 0;
  if (value < 0x100) return 1;
  if (value < 0x1_0000) return 2;
  return value < 0x1_0000_0000 ? 4 : 8;
}
