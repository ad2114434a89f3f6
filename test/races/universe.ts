/** The few blobs that all processes of a schedule quarrel over: small ones, files, and nodes that link to them. */
import { createHash } from 'node:crypto';
import { type BlobId, type Link, encodeNode } from '../../engine/index.ts';
import { seededBytes } from '../crash/random.ts';

/** Sizes that make records, files and chunks of very few bytes. */
export const parameters = {
  smallMax: 512,
  extentBytes: 4096,
  chunkBytes: 4096,
  volumeBytesMax: 1024 * 1024,
} as const;

export interface Blob {
  readonly id: BlobId;
  readonly bytes: Uint8Array;
  /** Of a node: the blobs it links to, and what it is put from. */
  readonly node?: { readonly children: readonly number[]; readonly links: readonly Link[] };
}

const nameOf = (bytes: Uint8Array): BlobId => createHash('sha256').update(bytes).digest('hex');

export function makeUniverse(): Blob[] {
  const blobs: Blob[] = [100, 300, 500, 1500, 3000].map((size, i) => {
    const bytes = seededBytes(i + 1, size);
    return { id: nameOf(bytes), bytes };
  });
  const node = (payload: string, children: readonly number[]): void => {
    const links = children
      .map((n): Link => ({ kind: blobs[n]!.node === undefined ? 'raw' : 'node', id: blobs[n]!.id }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const bytes = encodeNode({ links, payload: new TextEncoder().encode(payload) });
    blobs.push({ id: nameOf(bytes), bytes, node: { children, links } });
  };
  node('one', [0, 3]);
  node('two', [1, 5]);
  return blobs;
}

/** The blobs of a mask, and all that they lead to. */
export function closure(blobs: readonly Blob[], mask: number): Set<number> {
  const reached = new Set<number>();
  const walk = (n: number): void => {
    if (reached.has(n)) return;
    reached.add(n);
    for (const child of blobs[n]!.node?.children ?? []) walk(child);
  };
  blobs.forEach((_, n) => (mask & (1 << n)) !== 0 && walk(n));
  return reached;
}
