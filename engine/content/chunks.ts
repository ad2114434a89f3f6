/** Opens chunked blobs: finds their manifests and chunks by id, keeps the manifests read last. */
import type { BlobReader, BlobRow } from '../catalog/blob-rows.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { toHex } from '../codec/bytes.ts';
import type { EncodedChunk } from '../codec/chunk-run.ts';
import { chunkCodecs } from '../codec/chunks.ts';
import { type ManifestNode, decodeManifest } from '../codec/manifest.ts';
import type { Hasher } from '../codec/provider.ts';
import type { Statements } from '../catalog/statements.ts';
import { StoreError } from '../errors.ts';
import type { BlobFacts } from '../keys/realm.ts';
import type { BlobFile } from './blob-file.ts';
import { type ChunkSource, ChunkedFile } from './chunked-file.ts';
import { type Contents, copyOf, revealed } from './contents.ts';
import { damaged, isDamage } from './damage.ts';

/** Nodes kept, of up to 1,024 parts each: some 100 KB. */
const nodesMax = 64;
/** Bytes hashed between two turns. */
const proveBytes = 1024 * 1024;

/** What is asked of the reader whose chunked blobs these are. */
export interface PartReader {
  readonly sql: Statements;
  readonly rows: BlobReader;
  row(id: string): BlobRow | undefined;
  readonly contents: Contents;
  sizeOf(row: BlobRow): number;
  /** Once more where it may have moved meanwhile. */
  readAgain(row: BlobRow, offset: number, length: number): Uint8Array;
  /** The same of its chunks as they are stored. */
  encodedAgain(row: BlobRow, offset: number, end: number): readonly EncodedChunk[] | undefined;
}

export class Chunks {
  readonly #reader: PartReader;
  /** By their names on disk: what has an id never changes. */
  readonly #nodes = new Map<string, ManifestNode>();

  constructor(reader: PartReader) {
    this.#reader = reader;
  }

  open(row: BlobRow): BlobFile {
    const opened = telling(row, () => {
      const root = this.#manifest(this.rootOf(row));
      const { id, size } = this.#factsOf(row, root);
      // Which manifest it is stands in the catalog alone: without this another blob's would be read in its place.
      if (root.root?.id !== id) throw new StoreError('corrupt', 'its manifest is of another blob');
      return new ChunkedFile(size, root, this.#source);
    });
    return {
      size: opened.size,
      read: (offset, end, scratch) => telling(row, () => opened.read(offset, end, scratch)),
      encoded: (offset, end) => telling(row, () => opened.encoded(offset, end)),
      close: () => undefined,
    };
  }

  /** The id of a blob whose label does not tell it: its manifest does. */
  idOf(row: BlobRow): string {
    return telling(row, () => this.#factsOf(row, this.#manifest(this.rootOf(row))).id);
  }

  /** The row of a chunked blob's manifest. */
  rootOf(row: BlobRow): BlobRow {
    const n = this.#reader.sql
      .values('SELECT child FROM refs JOIN blobs ON blobs.n = child WHERE refs.kind = ? AND owner = ?')
      .get(ownerKinds.chunked, row.n) as number | undefined;
    const manifest = n === undefined ? undefined : this.#reader.rows.byNumber(n);
    if (manifest === undefined) throw new StoreError('corrupt', 'its manifest is missing');
    return manifest;
  }

  /**
   * Checks that a chunked blob is whole as far as the catalog tells: every node of its manifest is read, every chunk has a row of the
   * right size in which no damage was found. The chunks themselves are verified where they lie. Yields with each node, so that others
   * get their turn.
   */
  *verify(row: BlobRow): Generator<void> {
    const nodes = this.#verifyWhole(row);
    while (telling(row, () => nodes.next()).done !== true) yield;
  }

  *#verifyWhole(row: BlobRow): Generator<void> {
    const { state } = this.#reader.contents.realm;
    if (state === 'locked') return yield* this.#verifyRows(this.rootOf(row));
    const root = this.#manifest(this.rootOf(row));
    const { id, size } = this.#factsOf(row, root);
    if (root.root?.id !== id || root.root.size !== size)
      throw new StoreError('corrupt', 'its manifest is of another blob');
    this.#reader.contents.checkLabel(copyOf(row), root.root);
    yield* this.#verifyBelow(root);
  }

  /** What the root of a manifest says of its blob, once all chunks were read and hash to it: `corrupt` otherwise. Yields bytes read. */
  *prove(manifest: BlobRow, hasher: Hasher): Generator<number, BlobFacts> {
    const node = this.#manifest(manifest);
    const { root } = node;
    if (root === undefined) throw new StoreError('corrupt', 'this is not the root of a manifest');
    const file = new ChunkedFile(root.size, node, this.#source);
    for (let at = 0; at < root.size; at += proveBytes) {
      const bytes = file.read(at, Math.min(root.size, at + proveBytes));
      hasher.update(bytes);
      yield bytes.length;
    }
    if (toHex(hasher.digest()) !== root.id)
      throw new StoreError('corrupt', 'the chunks of a manifest do not hash to its id');
    return { id: root.id, size: root.size };
  }

  /** What is known of a blob apart from its manifest. Of one whose label is missing only what it is called on disk is. */
  #factsOf(row: BlobRow, { root }: ManifestNode): { readonly id: string; readonly size: number } {
    const { realm, sealed } = this.#reader.contents;
    if (!sealed) return { id: toHex(row.id), size: row.size };
    const facts = revealed(realm, row);
    if (facts !== undefined) return facts;
    if (root === undefined || realm.nameOf(root.id) !== toHex(row.id))
      throw new StoreError('corrupt', 'its manifest is of another blob');
    return root;
  }

  /** Without keys a manifest cannot be read; what its nodes refer to is in the catalog. */
  *#verifyRows(node: BlobRow): Generator<void> {
    yield;
    if (node.suspect !== 0) throw damaged(node, 'it was found damaged');
    if (node.kind === 0) return;
    const children = this.#reader.sql
      .values('SELECT child FROM refs WHERE kind = ? AND owner = ?')
      .all(ownerKinds.node, node.n) as number[];
    for (const n of children) {
      const child = this.#reader.rows.byNumber(n);
      if (child === undefined) throw new StoreError('corrupt', 'a chunk is missing');
      yield* this.#verifyRows(child);
    }
  }

  *#verifyBelow(node: ManifestNode): Generator<void> {
    yield;
    for (const { id, size } of node.parts) {
      const part = this.#row(id);
      if (part.suspect !== 0) throw damaged(part, 'it was found damaged');
      if (node.level > 0) yield* this.#verifyBelow(this.#manifest(part));
      else if (this.#reader.sizeOf(part) !== size)
        throw new StoreError('corrupt', 'its manifest tells another size of a chunk');
    }
  }

  readonly #source: ChunkSource = {
    manifest: (id) => this.#manifest(this.#row(id)),
    chunk: (id, from, to) => this.#reader.readAgain(this.#row(id), from, to - from),
    encoded: (id, from, to) => {
      const row = this.#row(id);
      const encoded = this.#reader.encodedAgain(row, from, to);
      if (encoded !== undefined) return encoded;
      const bytes = this.#reader.readAgain(row, from, to - from);
      return [{ codec: chunkCodecs.identity, bytes, length: bytes.length }];
    },
  };

  #row(id: string): BlobRow {
    const row = this.#reader.row(id);
    if (row === undefined) throw new StoreError('corrupt', `chunk ${id} is missing`);
    return row;
  }

  #manifest(row: BlobRow): ManifestNode {
    const name = toHex(row.id);
    const node =
      this.#nodes.get(name) ?? decodeManifest(this.#reader.readAgain(row, 0, this.#reader.sizeOf(row)));
    this.#nodes.delete(name);
    this.#nodes.set(name, node);
    if (this.#nodes.size > nodesMax) this.#nodes.delete(this.#nodes.keys().next().value!);
    return node;
  }
}

/** Damage of a chunk is damage of the blob that it is a part of; which chunk it was is told as well, so that both are remembered. */
function telling<Result>(row: BlobRow, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (!isDamage(error)) throw error;
    const { id, incarnation, volumeNumber } = error.facts;
    const told = damaged(row, error.message);
    if (typeof id !== 'string' && error.code === 'corrupt') throw told;
    throw new StoreError(
      error.code,
      told.message,
      typeof id === 'string'
        ? { ...told.facts, chunk: id, chunkIncarnation: incarnation, chunkVolume: volumeNumber }
        : told.facts,
      error,
    );
  }
}
