/** Where a sorted map is cut into nodes: rules that depend on the entries alone, so that equal maps are equal trees. */
import type { NodeContent } from '../../engine/codec/node.ts';
import type { Provider } from '../../engine/codec/provider.ts';

/** A link of a node, as the engine knows it. */
export type Link = NodeContent['links'][number];

/** One pair of the map. The value may refer to its links; their order is kept, and one link may stand in many entries. */
export interface MapEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly links: readonly Link[];
}

/** The version byte in every map node; all constants of this file are part of it. */
export const rulesVersion = 1;
/** A key ends a level-L node when the low `6 (L + 1)` bits of its sha256 are zero: about 64 entries a node. */
const bitsPerLevel = 6;
export const keyBytesMax = 4096;
export const valueBytesMax: number = 16 * 1024;
export const entryLinksMax = 64;
/** Keys chosen to meet no boundary still give a node at least fifteen children, so this is out of reach. */
export const levelMax = 15;
/** Forced split: an entry that would bring a node above this weight starts the next one. */
export const nodeWeightMax: number = 64 * 1024;

/** What an entry counts for the forced split. A formula, not the encoded size, which depends on the neighbours' links. */
export function entryWeight(entry: MapEntry): number {
  return 16 + entry.key.length + entry.value.length + 35 * entry.links.length;
}

export function childWeight(key: Uint8Array): number {
  return 16 + key.length + 35;
}

/**
 * How many levels this key ends a node of: 0 none, 1 level 0, 2 levels 0 and 1, …
 * The sha256 counts as a big-endian number, so its low bits are those of the last byte.
 */
export function levelsEnded(key: Uint8Array, provider: Provider): number {
  const digest = provider.sha256(key);
  let zeros = 0;
  for (let i = digest.length - 1; i >= 0; i--) {
    const byte = digest[i]!;
    if (byte !== 0) {
      zeros += 31 - Math.clz32(byte & -byte);
      break;
    }
    zeros += 8;
  }
  return Math.floor(zeros / bitsPerLevel);
}
