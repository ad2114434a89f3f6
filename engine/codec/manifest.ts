/** Manifests: the tree of nodes that says of which chunk blobs a large blob consists, and at its root which blob that is. */
import type { BlobId, Link } from '../api.ts';
import { StoreError } from '../errors.ts';
import { fromHex, readU64, toHex, writeU64 } from './bytes.ts';
import { type CutSizes, areCutSizes } from './fastcdc.ts';
import { decodeNode, encodeNode, sortLinks } from './node.ts';

/** Children of a manifest node at most. */
export const manifestLinksMax = 1024;
/**
 * A node ends behind a child whose id ends in a zero byte, one in 256: nodes are cut by content as chunks are, so that a chunk more at
 * the head makes a few nodes new, and not all of them.
 */
const endingByte = '00';
/** The highest level there may be: eight levels of 256 children hold more chunks than bytes can be counted. */
const levelMax = 7;
/** 'H' 'F' 'm' and the manifest version. */
const magic = 0x01_6d_46_48;
const headBytes = 8;
const flagRoot = 1;
/** id · size u64 · least, average, greatest u32. */
const rootBytes = 32 + 8 + 12;
/** Link index u32 · content bytes below it u64. */
const entryBytes = 12;

/** A part of the content, in its order: a chunk blob, or a manifest node of the level below. */
export interface ManifestPart {
  readonly id: BlobId;
  /** Content bytes it stands for. */
  readonly size: number;
}

/** What the root says of the blob as a whole. */
export interface ManifestRoot extends ManifestPart {
  readonly cuts: CutSizes;
}

export interface ManifestNode {
  /** 0: the parts are chunks. */
  readonly level: number;
  readonly parts: readonly ManifestPart[];
  readonly root?: ManifestRoot;
}

/** The node's encoding (codec/node.ts): magic u32 · level u8 · flags u8 · zero u16 · root facts where it is one · parts. */
export function encodeManifest(manifest: ManifestNode): Uint8Array {
  const { level, parts, root } = manifest;
  const kind = level === 0 ? 'raw' : 'node';
  const links = sortLinks(parts.map(({ id }): Link => ({ kind, id })));
  const index = new Map(links.map(({ id }, i) => [id, i]));
  const bodyAt = headBytes + (root === undefined ? 0 : rootBytes);
  const payload = new Uint8Array(bodyAt + parts.length * entryBytes);
  const view = new DataView(payload.buffer);
  view.setUint32(0, magic, true);
  view.setUint8(4, level);
  view.setUint8(5, root === undefined ? 0 : flagRoot);
  if (root !== undefined) {
    payload.set(fromHex(root.id)!, headBytes);
    writeU64(view, headBytes + 32, root.size);
    const { least, average, greatest } = root.cuts;
    [least, average, greatest].forEach((size, i) => view.setUint32(headBytes + 40 + 4 * i, size, true));
  }
  parts.forEach(({ id, size }, i) => {
    view.setUint32(bodyAt + i * entryBytes, index.get(id)!, true);
    writeU64(view, bodyAt + i * entryBytes + 4, size);
  });
  return encodeNode({ links, payload });
}

/** Whether a node's payload says that it is a manifest; what else is in it shows when it is decoded. */
export function isManifest(payload: Uint8Array): boolean {
  return (
    payload.length >= headBytes &&
    new DataView(payload.buffer, payload.byteOffset, payload.length).getUint32(0, true) === magic
  );
}

/** Decodes a node's bytes. Refuses, as `corrupt`, all that `encodeManifest` does not write. */
export function decodeManifest(bytes: Uint8Array): ManifestNode {
  const { links, payload } = decodeNode(bytes);
  if (!isManifest(payload)) throw damaged('is none');
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const level = view.getUint8(4);
  const flags = view.getUint8(5);
  if (level > levelMax || (flags & ~flagRoot) !== 0 || view.getUint16(6) !== 0)
    throw damaged('has a level or flags unknown here');
  const isRoot = flags === flagRoot;
  const bodyAt = headBytes + (isRoot ? rootBytes : 0);
  const count = (payload.length - bodyAt) / entryBytes;
  if (!Number.isInteger(count) || count < 1 || count > manifestLinksMax)
    throw damaged('has no parts, or too many');
  const kind = level === 0 ? 'raw' : 'node';
  if (links.some((link) => link.kind !== kind)) throw damaged('has links of the wrong kind');
  const used = new Set<number>();
  const parts = Array.from({ length: count }, (_, i): ManifestPart => {
    const index = view.getUint32(bodyAt + i * entryBytes, true);
    const size = readU64(view, bodyAt + i * entryBytes + 4);
    const link = links[index];
    if (link === undefined || !(size > 0)) throw damaged('has a part without a link or a size');
    used.add(index);
    return { id: link.id, size };
  });
  if (used.size !== links.length) throw damaged('has links that no part uses');
  const total = parts.reduce((sum, { size }) => sum + size, 0);
  if (!Number.isSafeInteger(total)) throw damaged('stands for more bytes than can be');
  return isRoot ? { level, parts, root: readRoot(payload, view, total) } : { level, parts };
}

function readRoot(payload: Uint8Array, view: DataView, total: number): ManifestRoot {
  const size = readU64(view, headBytes + 32);
  if (size !== total) throw damaged('has parts of another size than its whole');
  const [least, average, greatest] = [0, 4, 8].map((at) => view.getUint32(headBytes + 40 + at, true));
  const cuts = { least: least!, average: average!, greatest: greatest! };
  if (!areCutSizes(cuts)) throw damaged('was cut to sizes that cannot be');
  return { id: toHex(payload.subarray(headBytes, headBytes + 32)), size, cuts };
}

/** Builds a manifest from parts in order; gives each node when it has ended, lower ones first, and keeps one node a level. */
export class ManifestBuilder {
  readonly #levels: ManifestPart[][] = [[]];
  readonly #idOf: (bytes: Uint8Array) => BlobId;

  constructor(idOf: (bytes: Uint8Array) => BlobId) {
    this.#idOf = idOf;
  }

  /** The nodes, encoded, that ended before this part. */
  add(part: ManifestPart): Uint8Array[] {
    return this.#push(0, part);
  }

  /** The nodes that are left; the root is the last. At least one part must have been added. */
  finish(whole: ManifestRoot): Uint8Array[] {
    const nodes: Uint8Array[] = [];
    for (let level = 0; level < this.#levels.length - 1; level++) nodes.push(...this.#end(level));
    const level = this.#levels.length - 1;
    nodes.push(encodeManifest({ level, parts: this.#levels[level]!, root: whole }));
    return nodes;
  }

  /** A node ends when the next part comes, so that the last one may be the root. */
  #push(level: number, part: ManifestPart): Uint8Array[] {
    const parts = (this.#levels[level] ??= []);
    const ends = parts.length === manifestLinksMax || parts.at(-1)?.id.endsWith(endingByte) === true;
    const nodes = ends ? this.#end(level) : [];
    this.#levels[level].push(part);
    return nodes;
  }

  #end(level: number): Uint8Array[] {
    const parts = this.#levels[level]!;
    this.#levels[level] = [];
    const bytes = encodeManifest({ level, parts });
    const size = parts.reduce((sum, one) => sum + one.size, 0);
    return [bytes, ...this.#push(level + 1, { id: this.#idOf(bytes), size })];
  }
}

function damaged(why: string): StoreError {
  return new StoreError('corrupt', `a manifest ${why}`);
}
