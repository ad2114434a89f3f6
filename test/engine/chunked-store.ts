/** What tests of blobs in chunks share: sizes at which few bytes make many chunks, and looks into what they are made of. */
import type { ChunkingParameters, Store } from '../../engine/index.ts';
import { decodeManifest, isManifest } from '../../engine/codec/manifest.ts';
import { collect, smallParameters } from './store-folder.ts';

export const chunking: ChunkingParameters = {
  mode: 'fastcdc',
  least: 1024,
  average: 4096,
  greatest: 32_768,
};

export const chunkedParameters = { ...smallParameters, chunking } as const;

/** Bytes that never cut. */
export function even(size: number): Uint8Array {
  return new Uint8Array(size).fill(7);
}

/** `bytes` with some others in front of place `at`. */
export function inserted(bytes: Uint8Array, at: number, more: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)]));
}

/** The chunks of all manifests in a store, by id, and the ids of manifests. */
export async function partsOf(store: Store): Promise<{ chunks: string[]; manifests: string[] }> {
  const chunks = new Set<string>();
  const manifests: string[] = [];
  for (const { id, kind } of await collect(store.list())) {
    if (kind !== 'node' || !isManifest((await store.getNode(id))!.payload)) continue;
    const { level, parts } = decodeManifest((await store.get(id))!);
    manifests.push(id);
    if (level === 0) for (const part of parts) chunks.add(part.id);
  }
  return { chunks: [...chunks], manifests };
}

/** How many blobs of a store are in chunks. */
export async function chunkedIn(store: Store): Promise<number> {
  return (await collect(store.list())).filter(({ volume }) => volume === 'chunks').length;
}
