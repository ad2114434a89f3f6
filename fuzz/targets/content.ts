/** Valid content for all targets: ids, names, payloads and links made from randomness. */
import type { Link } from '../../engine/api.ts';
import { toHex } from '../../engine/codec/bytes.ts';
import { type Random, seededBytes } from '../../test/crash/random.ts';

export function bytesOf(random: Random, lengthMax: number): Uint8Array {
  // Short ones are met often: that is where the boundaries are.
  const length = random.chance(0.5) ? random.below(Math.min(lengthMax, 32) + 1) : random.below(lengthMax + 1);
  return seededBytes(random.below(0x7fff_ffff), length).slice();
}

export function idBytesOf(random: Random): Uint8Array {
  return seededBytes(random.below(0x7fff_ffff), 32).slice();
}

export function linkOf(random: Random): Link {
  return { kind: random.chance(0.5) ? 'raw' : 'node', id: toHex(idBytesOf(random)) };
}

export function listOf<Item>(random: Random, countMax: number, make: (random: Random) => Item): Item[] {
  return Array.from({ length: random.below(countMax + 1) }, () => make(random));
}

const letters = [
  'a',
  'b',
  'Z',
  '0',
  '.',
  '-',
  '_',
  ' ',
  'ä',
  'ß',
  '日',
  '😀',
  '\u0301',
  '\ufeff',
  '\n',
  '"',
  '\\',
];

/** A well-formed text that is not empty, in all widths of UTF-8. */
export function textOf(random: Random, lettersMax: number): string {
  return Array.from({ length: 1 + random.below(lettersMax) }, () => random.pick(letters)).join('');
}

/** Mostly what is met, sometimes the largest and smallest that fit. */
export function numberOf(random: Random): number {
  return random.pick([
    0,
    1,
    random.below(1000),
    random.below(0x1_0000_0000),
    0x1_0000_0000,
    Number.MAX_SAFE_INTEGER,
  ]);
}
