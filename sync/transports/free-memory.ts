/** Gives the memory of large pieces back as soon as nobody needs them: the collector counts it only when tens of megabytes have gathered. */

/** Smaller ones are not worth a call. */
const worthBytes = 16 * 1024;

/**
 * Frees bytes that their owner has done with. A view of a part of a buffer is left alone, since the rest may be somebody's. The bytes
 * are empty afterwards.
 */
export function freeMemory(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (bytes.length < worthBytes || bytes.length !== buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer && !buffer.resizable) buffer.transfer(0);
}
