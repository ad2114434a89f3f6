/** Bytes that a thread gives away: in a buffer of their own, which moves to the other thread instead of being copied. */
import { Moved } from '../rpc.ts';

/** Bytes in an ArrayBuffer of their own, so that it can be moved to another thread. */
export function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
  return whole ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes);
}

export function moveBytes(bytes: Uint8Array | undefined): Moved | undefined {
  if (bytes === undefined) return undefined;
  const mine = own(bytes);
  return new Moved(mine, [mine.buffer]);
}
