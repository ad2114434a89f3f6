/** A transport that carries no more than so many bytes a second, both ways together. */
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '../../engine/index.ts';
import type { Transport } from '../../sync/index.ts';

/** Pieces are cut so that none takes longer, ms: then neither side takes the pauses for silence. */
const pieceMs = 125;
const pieceBytesMin = 256;

/** `rate`: bytes a second, at least one. Waiting keeps the process alive. */
export function pacedTransport(inner: Transport, rate: number): Transport {
  if (!Number.isSafeInteger(rate) || rate < 1)
    throw new StoreError('invalid-argument', 'a rate is at least one byte a second');
  const pieceBytes = Math.max(pieceBytesMin, Math.floor((rate * pieceMs) / 1000));
  const ended = new AbortController();
  /** When all that went through so far has had its time. */
  let freeAt = performance.now();
  let received: Uint8Array | undefined;
  const turn = async (bytes: number): Promise<void> => {
    const now = performance.now();
    const startAt = Math.max(now, freeAt);
    freeAt = startAt + (bytes / rate) * 1000;
    if (startAt > now) await sleep(startAt - now, undefined, { signal: ended.signal }).catch(() => undefined);
  };
  return {
    async send(bytes) {
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        const piece = bytes.subarray(at, at + pieceBytes);
        await turn(piece.length);
        await inner.send(piece);
      }
    },
    async receive() {
      const bytes = received ?? (await inner.receive());
      received = undefined;
      if (bytes === undefined) return undefined;
      if (bytes.length > pieceBytes) received = bytes.subarray(pieceBytes);
      await turn(Math.min(bytes.length, pieceBytes));
      return bytes.subarray(0, pieceBytes);
    },
    async close(reason) {
      ended.abort();
      received = undefined;
      await inner.close(reason);
    },
  };
}
