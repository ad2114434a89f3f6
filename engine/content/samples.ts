/** Samples of a source from all over, to see whether it can be compressed. */
import type { OpenFile } from '../host.ts';

const samples = 8;
const sampleBytes = 16 * 1024;

/** Pieces from all over a source. */
export function samplesOf(source: Pick<OpenFile, 'read'>, size: number): Uint8Array[] {
  const step = Math.max(sampleBytes, Math.floor(size / samples));
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < size && pieces.length < samples; at += step) {
    const piece = new Uint8Array(Math.min(sampleBytes, size - at));
    pieces.push(piece.subarray(0, source.read(piece, at)));
  }
  return pieces;
}

export function bytesSource(bytes: Uint8Array): Pick<OpenFile, 'read'> {
  return {
    read(target, position) {
      const piece = bytes.subarray(position, position + target.length);
      target.set(piece);
      return piece.length;
    },
  };
}
