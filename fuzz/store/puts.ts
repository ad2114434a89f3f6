/** Puts of the universe's blobs in every way that a store takes them. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PutOptions, PutResult, PutSource, Store } from '../../engine/index.ts';
import { Finding, promise } from '../target.ts';
import type { Put } from './steps.ts';
import type { Blob as KnownBlob } from './universe.ts';

/** As what a put stores a blob: a node's bytes may be put as if they were nothing but bytes. */
export function kindOf(put: Put, blob: KnownBlob): 'raw' | 'node' {
  return put.way === 'raw' ? 'raw' : blob.kind;
}

export class Puts {
  readonly #side: string;
  readonly #blobs: readonly KnownBlob[];

  /** `side` is a folder for source files. */
  constructor(side: string, blobs: readonly KnownBlob[]) {
    this.#side = side;
    this.#blobs = blobs;
  }

  start(store: Store, put: Put, more: PutOptions = {}): Promise<PutResult> {
    const blob = this.#blobs[put.blob]!;
    const options: PutOptions = { ...more, ...(put.owner === undefined ? {} : { owner: put.owner }) };
    if (kindOf(put, blob) === 'node' && blob.kind === 'node') {
      if (put.way === 'bytes') return store.put(blob.payload, { ...options, links: blob.links });
      const source = put.way === 'path' ? blob.bytes : this.#sourceOf(put, blob.bytes);
      return store.put(source, { ...options, kind: 'node' });
    }
    return store.put(this.#sourceOf(put, blob.bytes), options);
  }

  check({ blob }: Put, result: PutResult): PutResult {
    const { id, bytes } = this.#blobs[blob]!;
    promise(result.id === id, 'a put gives another id');
    promise(result.size === bytes.length, 'a put gives another size');
    return result;
  }

  /** A put whose source breaks off leaves nothing, and throws what the source threw. */
  async broken(store: Store, blob: number): Promise<void> {
    const broken = new Error('the source broke');
    const source = async function* (bytes: Uint8Array): AsyncGenerator<Uint8Array> {
      yield bytes.slice(0, bytes.length / 2);
      throw broken;
    };
    try {
      await store.put(source(this.#blobs[blob]!.bytes), { owner: 'nobody' });
    } catch (error) {
      if (error === broken) return;
      throw error;
    }
    throw new Finding('a put whose source broke succeeded');
  }

  #sourceOf({ blob, way }: Put, bytes: Uint8Array): PutSource {
    if (way === 'stream') return new Blob([bytes]).stream() as ReadableStream<Uint8Array>;
    if (way === 'pieces') return inPieces(bytes);
    if (way !== 'path') return bytes;
    const path = join(this.#side, String(blob));
    if (!existsSync(path)) writeFileSync(path, bytes);
    return { path };
  }
}

/** The same buffer again and again, as real sources do. */
async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(3000);
  for (let at = 0; at < bytes.length; at += piece.length) {
    const part = bytes.subarray(at, at + piece.length);
    piece.set(part);
    yield piece.subarray(0, part.length);
  }
}
