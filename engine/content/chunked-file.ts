/** A blob that consists of chunk blobs, read like a file: down the manifest to the chunks that a range touches. */
import { type EncodedChunk, contentOf, runChunksMax } from '../codec/chunk-run.ts';
import type { ManifestNode, ManifestPart } from '../codec/manifest.ts';
import { StoreError } from '../errors.ts';
import type { BlobFile } from './blob-file.ts';

/** Where manifests and chunks come from. Both are `corrupt` when they are missing or damaged. */
export interface ChunkSource {
  manifest(id: string): ManifestNode;
  chunk(id: string, from: number, to: number): Uint8Array;
  /**
   * A chunk of the blob as it is stored, itself in chunks, see `cutRun`; as its content where it is not compressed. Absent where nobody
   * reads it so.
   */
  encoded?(id: string, from: number, to: number): readonly EncodedChunk[];
}

interface Range {
  /** Where the node begins in the blob. */
  readonly base: number;
  readonly offset: number;
  readonly end: number;
}

export class ChunkedFile implements BlobFile {
  readonly size: number;
  readonly #root: ManifestNode;
  readonly #source: ChunkSource;
  /** The chunk read last, where its rest was left: the next read begins in it. */
  #last: { readonly id: string; readonly bytes: Uint8Array } | undefined;

  /** `corrupt` when the manifest is of another blob. */
  constructor(size: number, root: ManifestNode, source: ChunkSource) {
    if (root.root?.size !== size) throw new StoreError('corrupt', 'its manifest is of another blob');
    this.size = size;
    this.#root = root;
    this.#source = source;
  }

  read(offset: number, end: number, scratch?: Uint8Array): Uint8Array {
    if (offset >= end) return new Uint8Array(0);
    const size = end - offset;
    const bytes =
      scratch !== undefined && scratch.length >= size ? scratch.subarray(0, size) : new Uint8Array(size);
    this.#fill(this.#root, { base: 0, offset, end }, bytes);
    return bytes;
  }

  encoded(offset: number, end: number): readonly EncodedChunk[] | undefined {
    if (this.#source.encoded === undefined) return undefined;
    return this.#encoded(this.#root, { base: 0, offset, end });
  }

  close(): void {
    this.#last = undefined;
  }

  #encoded(node: ManifestNode, range: Range): EncodedChunk[] {
    const run: EncodedChunk[] = [];
    const { end } = range;
    let { base, offset } = range;
    for (const { id, size } of node.parts) {
      if (base >= end || run.length >= runChunksMax) break;
      if (base + size > offset) {
        const more =
          node.level > 0
            ? this.#encoded(this.#below(id, node.level, size), { base, offset, end })
            : this.#source.encoded!(id, Math.max(0, offset - base), Math.min(size, end - base));
        if (run.length + more.length > runChunksMax) break;
        run.push(...more);
        offset += contentOf(more);
        if (offset < base + size) break;
      }
      base += size;
    }
    return run;
  }

  #fill(node: ManifestNode, range: Range, target: Uint8Array): void {
    const { offset, end } = range;
    let { base } = range;
    for (const { id, size } of node.parts) {
      if (base >= end) return;
      if (base + size > offset) {
        if (node.level > 0) this.#fill(this.#below(id, node.level, size), { base, offset, end }, target);
        else {
          const from = Math.max(0, offset - base);
          const piece = this.#chunk({ id, size }, from, Math.min(size, end - base));
          target.set(piece, base + from - offset);
        }
      }
      base += size;
    }
  }

  /** A reader from one end to the other wants the rest of a chunk next; of a single range it is not even read. */
  #chunk({ id, size }: ManifestPart, from: number, to: number): Uint8Array {
    const last = this.#last;
    if (last?.id === id) {
      if (to === size) this.#last = undefined;
      return last.bytes.subarray(from, to);
    }
    if (from > 0 || to === size) return this.#source.chunk(id, from, to);
    const bytes = this.#source.chunk(id, 0, size);
    this.#last = { id, bytes };
    return bytes.subarray(0, to);
  }

  #below(id: string, level: number, size: number): ManifestNode {
    const node = this.#source.manifest(id);
    const total = node.parts.reduce((sum, part) => sum + part.size, 0);
    if (node.level !== level - 1 || total !== size)
      throw new StoreError('corrupt', 'its manifest has a node that does not fit');
    return node;
  }
}
