/** Incarnations: what tells two copies of one blob apart. */
import type { Host } from '../host.ts';

/** 48 random bits: two copies of one blob never share a name. */
export function randomIncarnation(host: Host): number {
  return incarnationOf(host.random(6), 0);
}

/** The same of random bytes that are there already. */
export function incarnationOf(random: Uint8Array, at: number): number {
  const view = new DataView(random.buffer, random.byteOffset + at, 6);
  return view.getUint32(0) * 0x1_0000 + view.getUint16(4);
}
