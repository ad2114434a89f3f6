/** Hex and little-endian helpers for byte arrays, the same in every runtime. */

export function toHex(bytes: Uint8Array): string {
  const text = bytes.length === 32 ? idText : new Uint8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    text[2 * i] = digitCodes[bytes[i]! >> 4]!;
    text[2 * i + 1] = digitCodes[bytes[i]! & 15]!;
  }
  return ascii.decode(text);
}

/** Whether these lower-case hex digits are those of the bytes: without making text of them. */
export function isHexOf(text: string, bytes: Uint8Array): boolean {
  if (text.length !== 2 * bytes.length) return false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (
      text.charCodeAt(2 * i) !== digitCodes[byte >> 4] ||
      text.charCodeAt(2 * i + 1) !== digitCodes[byte & 15]
    )
      return false;
  }
  return true;
}

const digitCodes = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
/** Decoded in one piece: text put together from digits keeps its pieces, a kilobyte for each id, until somebody looks into it. */
const ascii = new TextDecoder('latin1');
const idText = new Uint8Array(64);

/** Value of a lower-case hex digit by character code, 16 for anything else. */
const lowerValues = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(code));
  return value < 0 ? 16 : value;
});

/** Bytes of an even number of lower-case hex digits; undefined for anything else. */
export function fromHex(text: string): Uint8Array | undefined {
  return fromDigits(text, lowerValues);
}

function fromDigits(text: string, values: Uint8Array): Uint8Array | undefined {
  if (text.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = values[text.charCodeAt(2 * i)] ?? 16;
    const low = values[text.charCodeAt(2 * i + 1)] ?? 16;
    if (high === 16 || low === 16) return undefined;
    bytes[i] = high * 16 + low;
  }
  return bytes;
}

/** Value of an upper-case hex digit by character code, 16 for anything else. */
const upperValues = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = '0123456789ABCDEF'.indexOf(String.fromCharCode(code));
  return value < 0 ? 16 : value;
});

/** The same of upper-case digits, as SQLite's `hex` writes them. */
export function fromUpperHex(text: string): Uint8Array | undefined {
  return fromDigits(text, upperValues);
}

const idShape = /^[0-9a-f]{64}$/;

/** Whether a value is a blob id in text form. */
export function isBlobId(value: unknown): value is string {
  return typeof value === 'string' && idShape.test(value);
}

/** Writes a whole number below 2^53 as 8 little-endian bytes. */
export function writeU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** Reads 8 little-endian bytes; NaN when the number does not fit 53 bits. */
export function readU64(view: DataView, offset: number): number {
  const high = view.getUint32(offset + 4, true);
  return high > 0x1f_ffff ? Number.NaN : high * 0x1_0000_0000 + view.getUint32(offset, true);
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Order by raw bytes, shorter first on a common prefix: the order of every sorted thing in a store. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Whether secrets are equal, in a time that tells nothing of where they differ. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/**
 * The same memory as a Uint8Array proper. A Buffer's `slice` does not copy: whoever slices a key out of one and wipes the
 * rest has wiped the key.
 */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A copy in memory of its own, also of a Buffer. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes);
}

/** Below this, memory is no burden; and Buffers may share theirs. */
const releasedMin = 16 * 1024;
/** What may lie behind bytes in memory that is theirs alone. */
const slackMax = 64;

/**
 * Gives the memory of bytes back now, where they have it for themselves: nobody else may look at them any more. Left to the garbage
 * collector, memory outside its heap is what sets off most of its runs: one for every thirty ranges read of compressed chunks.
 */
export function release(bytes: Uint8Array): void {
  const { buffer, byteOffset, length } = bytes;
  if (length < releasedMin || byteOffset !== 0 || buffer.byteLength - length > slackMax) return;
  // Not in Node before 21.
  (buffer as Partial<ArrayBuffer>).transfer?.(0);
}
