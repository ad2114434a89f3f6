/** All blobs a run may put, known beforehand: steps name them by number, and dropping steps changes none of them. */
import { createHash } from 'node:crypto';
import { type Link, encodeNode, sortLinks } from '../../engine/index.ts';
import { type Random, seededBytes, seededRandom } from '../../test/crash/random.ts';

/** Small, so that few bytes meet every boundary. */
export const parameters = {
  smallMax: 16_384,
  extentBytes: 16_384,
  chunkBytes: 4096,
  volumeBytesMax: 1024 * 1024,
} as const;

export interface RawBlob {
  readonly kind: 'raw';
  readonly id: string;
  readonly bytes: Uint8Array;
}

export interface NodeBlob {
  readonly kind: 'node';
  readonly id: string;
  /** The encoded node. */
  readonly bytes: Uint8Array;
  readonly payload: Uint8Array;
  readonly links: readonly Link[];
  /** Numbers of the blobs it links to, each once. */
  readonly children: readonly number[];
}

export type Blob = RawBlob | NodeBlob;

const { smallMax, chunkBytes } = parameters;
const sizes = [
  0,
  1,
  2,
  100,
  1000,
  1000,
  3000,
  chunkBytes - 1,
  chunkBytes,
  chunkBytes + 1,
  9000,
  12_000,
  smallMax - 1,
  smallMax,
  smallMax + 1,
  20_000,
  2 * smallMax,
  70_000,
  300_000,
];
const rawCount = 30;
const nodeCount = 16;

/** The same for the same seed. Nodes link only to blobs of lower numbers, nodes among them. */
export function makeUniverse(seed: number): readonly Blob[] {
  const random = seededRandom(seed, 0x0b10b5);
  const blobs: Blob[] = [];
  for (let i = 0; i < rawCount; i++) {
    const blob = rawOf(seed * 131 + i, random.pick(sizes));
    // Of no bytes there is only one blob, of one byte there are few.
    const twice = blobs.some(({ id }) => id === blob.id);
    blobs.push(twice ? rawOf(seed * 131 + i, 500 + i) : blob);
  }
  while (blobs.length < rawCount + nodeCount) {
    const node = nodeOf(blobs, random);
    if (!blobs.some(({ id }) => id === node.id)) blobs.push(node);
  }
  return blobs;
}

function rawOf(seed: number, size: number): RawBlob {
  const bytes = seededBytes(seed >>> 0, size).slice();
  return { kind: 'raw', id: idOf(bytes), bytes };
}

function nodeOf(blobs: readonly Blob[], random: Random): NodeBlob {
  const count = random.pick([0, 1, 1, 2, 3, 8]);
  const picks = Array.from({ length: count }, () => random.below(blobs.length));
  const links = sortLinks(
    picks.map((n): Link => {
      const { kind, id } = blobs[n]!;
      // A node may be linked as bytes, too.
      return { kind: random.chance(0.1) ? 'raw' : kind, id };
    }),
  );
  const payload = seededBytes(random.below(2 ** 31), random.pick([0, 10, 200, 5000, 20_000])).slice();
  const bytes = encodeNode({ links, payload });
  return { kind: 'node', id: idOf(bytes), bytes, payload, links, children: [...new Set(picks)] };
}

function idOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
