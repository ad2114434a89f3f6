/** Frames: length prefix, sequence number, checksum, deterministic CBOR header, raw payload; written, and cut out of a stream of bytes. */
import type { Provider } from '../../engine/codec/provider.ts';
import { StoreError } from '../../engine/errors.ts';
import { headerBytesMax, payloadBytesMax } from './limits.ts';

/** u32 header length, u32 payload length, u32 sequence, u32 CRC-32 of the twelve bytes before and the header; little-endian. */
export const prefixBytes = 16;

export interface Frame {
  /** Prefix and header, as they came. */
  readonly head: Uint8Array;
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
}

const none = new Uint8Array(0);

/** Writes the frames of one direction. */
export class FrameWriter {
  readonly #crc32: Provider['crc32'];
  #sequence = 0;

  constructor(provider: Pick<Provider, 'crc32'>) {
    this.#crc32 = (bytes) => provider.crc32(bytes);
  }

  /** Prefix and header; the payload follows them as it is, and is not copied. */
  head(header: Uint8Array, payloadLength: number): Uint8Array {
    const bytes = new Uint8Array(prefixBytes + header.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, header.length, true);
    view.setUint32(4, payloadLength, true);
    view.setUint32(8, this.#sequence, true);
    bytes.set(header, prefixBytes);
    view.setUint32(12, checksum(bytes, this.#crc32), true);
    this.#sequence = (this.#sequence + 1) >>> 0;
    return bytes;
  }
}

/**
 * Cuts the bytes of one direction into frames. Keeps at most one frame's bytes, and refuses lengths over the limit before it keeps
 * any. The checksum holds the order of frames and their headers; payloads are held by the ids of the blobs they are part of.
 */
export class FrameReader {
  readonly #crc32: Provider['crc32'];
  readonly #payloadMax: number;
  readonly #bytes: ByteQueue;
  #sequence: number;
  /** A header that was verified; its payload is still awaited. */
  #head: { readonly head: Uint8Array; readonly payloadLength: number } | undefined;

  /**
   * `sequence`: the number of the first frame that comes. `owns`: what is pushed belongs to the reader alone, which then gives its
   * memory back as soon as it can.
   */
  constructor(
    provider: Pick<Provider, 'crc32'>,
    payloadMax: number = payloadBytesMax,
    { sequence = 0, owns = false }: { readonly sequence?: number; readonly owns?: boolean } = {},
  ) {
    this.#bytes = new ByteQueue({ largeBytes: payloadMax, owns });
    this.#crc32 = (bytes) => provider.crc32(bytes);
    this.#payloadMax = payloadMax;
    this.#sequence = sequence;
  }

  /** Takes more bytes in; they must not change while frames are read. */
  push(bytes: Uint8Array): void {
    this.#bytes.push(bytes);
  }

  /** The next whole frame, undefined when more bytes are needed. `corrupt` or `limit-exceeded` for one that cannot be. */
  next(): Frame | undefined {
    this.#head ??= this.#readHead();
    if (this.#head === undefined || this.#bytes.length < this.#head.payloadLength) return undefined;
    const { head, payloadLength } = this.#head;
    this.#head = undefined;
    return { head, header: head.subarray(prefixBytes), payload: this.#bytes.take(payloadLength) };
  }

  /** The payload of a frame is not needed any more: its memory may hold another one. Harmless for any other bytes. */
  recycle(payload: Uint8Array): void {
    this.#bytes.recycle(payload);
  }

  /** The number of the next frame. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Whether bytes of an unfinished frame are here: then an end is a cut. */
  get inside(): boolean {
    return this.#head !== undefined || this.#bytes.length > 0;
  }

  /** Verified before its payload is waited for. */
  #readHead(): { readonly head: Uint8Array; readonly payloadLength: number } | undefined {
    if (this.#bytes.length < prefixBytes) return undefined;
    const prefix = viewOf(this.#bytes.peek(prefixBytes));
    const headerLength = prefix.getUint32(0, true);
    const payloadLength = prefix.getUint32(4, true);
    if (headerLength === 0 || headerLength > headerBytesMax)
      throw bad(`has a header of ${headerLength} bytes`, 'limit-exceeded');
    if (payloadLength > this.#payloadMax)
      throw bad(`has a payload of ${payloadLength} bytes, over ${this.#payloadMax}`, 'limit-exceeded');
    if (this.#bytes.length < prefixBytes + headerLength) return undefined;
    const head = this.#bytes.take(prefixBytes + headerLength);
    const view = viewOf(head);
    if (view.getUint32(12, true) !== checksum(head, this.#crc32)) throw bad('does not match its checksum');
    const sequence = view.getUint32(8, true);
    if (sequence !== this.#sequence) throw bad(`has number ${sequence} where ${this.#sequence} belongs`);
    this.#sequence = (this.#sequence + 1) >>> 0;
    return { head, payloadLength };
  }
}

/** Chunks smaller than this are copied together: a peer that sends single bytes must not cost an object for each. */
const crumbBytes = 4096;
const trayBytes = 64 * 1024;

/** Memory of large payloads that waits to be used again; more than a window of them never lies about. */
const spareMax = 9;

/** Bytes that came in and were not taken yet. */
class ByteQueue {
  readonly #options: { readonly largeBytes: number; readonly owns: boolean };
  readonly #spare: ArrayBuffer[] = [];
  readonly #made = new WeakSet<ArrayBufferLike>();
  #chunks: Uint8Array[] = [];
  #first = 0;
  /** Room left behind the last chunk, when that is a tray of crumbs. */
  #tray: { readonly bytes: Uint8Array; used: number } | undefined;
  length = 0;

  constructor(options: { readonly largeBytes: number; readonly owns: boolean }) {
    this.#options = options;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.length += bytes.length;
    if (bytes.length >= crumbBytes) {
      this.#tray = undefined;
      this.#chunks.push(bytes);
      return;
    }
    if (this.#tray === undefined || this.#tray.used + bytes.length > trayBytes) {
      this.#tray = { bytes: new Uint8Array(trayBytes), used: bytes.length };
      this.#tray.bytes.set(bytes);
      this.#chunks.push(this.#tray.bytes.subarray(0, bytes.length));
      return;
    }
    this.#tray.bytes.set(bytes, this.#tray.used);
    this.#tray.used += bytes.length;
    const last = this.#chunks.at(-1)!;
    const begin = last.byteOffset - this.#tray.bytes.byteOffset;
    this.#chunks[this.#chunks.length - 1] = this.#tray.bytes.subarray(begin, this.#tray.used);
  }

  peek(count: number): Uint8Array {
    if (this.#chunks[this.#first]!.length < count) {
      const joined = this.take(count);
      this.#first -= 1;
      if (this.#first < 0) {
        this.#chunks.unshift(joined);
        this.#first = 0;
      } else this.#chunks[this.#first] = joined;
      this.length += count;
      // What was joined is no longer the tray's end.
      if (this.#first === this.#chunks.length - 1) this.#tray = undefined;
    }
    return this.#chunks[this.#first]!.subarray(0, count);
  }

  /** In one piece; joined only when they lie across chunks. */
  take(count: number): Uint8Array {
    if (count === 0) return none;
    this.length -= count;
    const first = this.#chunks[this.#first]!;
    if (first.length >= count) {
      this.#advance(first, count);
      return first.subarray(0, count);
    }
    const joined = this.#room(count);
    for (let at = 0; at < count;) {
      const chunk = this.#chunks[this.#first]!;
      const part = Math.min(chunk.length, count - at);
      joined.set(part === chunk.length ? chunk : chunk.subarray(0, part), at);
      this.#advance(chunk, part);
      at += part;
      // All of it was copied, and nothing of it was handed out as a view.
      if (part === chunk.byteLength && part === chunk.buffer.byteLength) this.#free(chunk);
    }
    return joined;
  }

  recycle(bytes: Uint8Array): void {
    const { buffer } = bytes;
    if (!this.#made.has(buffer) || this.#spare.length === spareMax) return;
    if (!this.#spare.includes(buffer as ArrayBuffer)) this.#spare.push(buffer as ArrayBuffer);
  }

  /** Of the memory that came back, where it would be filled at least by half. */
  #room(count: number): Uint8Array {
    const { largeBytes } = this.#options;
    if (count * 2 <= largeBytes || count > largeBytes) return new Uint8Array(count);
    const buffer = this.#spare.pop() ?? new ArrayBuffer(largeBytes);
    this.#made.add(buffer);
    return new Uint8Array(buffer, 0, count);
  }

  /** At once: the collector counts such memory only when tens of megabytes have gathered. */
  #free({ buffer }: Uint8Array): void {
    if (this.#options.owns && buffer instanceof ArrayBuffer && !buffer.resizable) buffer.transfer(0);
  }

  #advance(chunk: Uint8Array, count: number): void {
    if (chunk.length > count) {
      this.#chunks[this.#first] = chunk.subarray(count);
      return;
    }
    if (this.#first === this.#chunks.length - 1) this.#tray = undefined;
    this.#first += 1;
    // The array itself gives way now and then, so that taking is O(1) on average.
    if (this.#first > 64 && this.#first * 2 > this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#first);
      this.#first = 0;
    }
  }
}

/** CRC-32 of the lengths, the sequence and the header: all of the head but the checksum itself. */
function checksum(head: Uint8Array, crc32: Provider['crc32']): number {
  const covered = new Uint8Array(head.length - 4);
  covered.set(head.subarray(0, 12));
  covered.set(head.subarray(prefixBytes), 12);
  return crc32(covered);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bad(how: string, code: 'corrupt' | 'limit-exceeded' = 'corrupt'): StoreError {
  return new StoreError(code, `not a frame of holdfast sync: it ${how}`);
}
