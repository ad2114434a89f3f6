/** Linked blobs: a node is the deterministic CBOR of [version, links, payload], and its id is the sha256 of those bytes. */
import type { BlobKind, Link } from '../api.ts';
import { StoreError } from '../errors.ts';
import { compareBytes, fromHex, isBlobId, toHex } from './bytes.ts';

/** The only node version so far. */
export const nodeVersion = 1;
/** Limits a decoder enforces before it allocates (security.md). */
export const nodeBytesMax: number = 4 * 1024 * 1024;
export const nodeLinksMax = 65_536;

const linkBytes = 33;
const kindBytes: readonly BlobKind[] = ['raw', 'node'];

export interface NodeContent {
  readonly links: readonly Link[];
  readonly payload: Uint8Array;
}

/** Sorted by kind byte, then id; duplicates dropped: the order in which a node stores links, and payloads index them. */
export function sortLinks(links: Iterable<Link>): Link[] {
  const given = [...links];
  if (areSorted(given)) return given;
  const unique = new Map<string, Link>();
  for (const link of given) unique.set(`${kindBytes.indexOf(link.kind)}${link.id}`, link);
  return [...unique.keys()].sort().map((key) => unique.get(key)!);
}

/** Whether links stand as `sortLinks` puts them: whoever needs their order beforehand has sorted them already. */
function areSorted(links: readonly Link[]): boolean {
  for (let i = 1; i < links.length; i++) {
    const [a, b] = [links[i - 1]!, links[i]!];
    if (a.kind === b.kind ? a.id >= b.id : a.kind === 'node') return false;
  }
  return true;
}

/**
 * Encodes a node. Links are sorted and made unique here; a payload that refers to links by index must use the order of `sortLinks`.
 * O(links · log links + payload).
 */
export function encodeNode(node: NodeContent): Uint8Array {
  const links = sortLinks(node.links);
  if (links.length > nodeLinksMax) {
    throw new StoreError('limit-exceeded', `a node holds at most ${nodeLinksMax} links, not ${links.length}`);
  }
  const linksHead = head(4, links.length);
  const payloadHead = head(2, node.payload.length);
  const size =
    2 + linksHead.length + links.length * (2 + linkBytes) + payloadHead.length + node.payload.length;
  if (size > nodeBytesMax)
    throw new StoreError('limit-exceeded', `a node holds at most ${nodeBytesMax} bytes, not ${size}`);
  const bytes = new Uint8Array(size);
  bytes[0] = 0x83;
  bytes[1] = nodeVersion;
  bytes.set(linksHead, 2);
  let at = 2 + linksHead.length;
  for (const link of links) {
    const id = isBlobId(link.id) ? fromHex(link.id) : undefined;
    if (id === undefined)
      throw new StoreError('invalid-argument', `not a blob id: ${String(link.id).slice(0, 80)}`);
    bytes[at] = 0x58;
    bytes[at + 1] = linkBytes;
    const kind = kindBytes.indexOf(link.kind);
    if (kind < 0)
      throw new StoreError('invalid-argument', `not a kind of blob: ${String(link.kind).slice(0, 80)}`);
    bytes[at + 2] = kind;
    bytes.set(id, at + 3);
    at += 2 + linkBytes;
  }
  bytes.set(payloadHead, at);
  bytes.set(node.payload, at + payloadHead.length);
  return bytes;
}

/**
 * Decodes a node, refusing every encoding but the one `encodeNode` makes: `corrupt` for anything else.
 * The payload is a view of `bytes`, not a copy.
 */
export function decodeNode(bytes: Uint8Array): NodeContent {
  if (bytes.length > nodeBytesMax) throw bad(`is ${bytes.length} bytes`);
  if (bytes[0] !== 0x83) throw bad('is not an array of three');
  if (bytes[1] !== nodeVersion)
    throw new StoreError('incompatible-format', `node version ${bytes[1] ?? 'none'} is not known here`);
  const count = readHead(bytes, 2, 4);
  if (count.value > nodeLinksMax) throw bad(`has ${count.value} links`);
  let at = count.next;
  if (at + count.value * (2 + linkBytes) > bytes.length) throw bad('ends inside its links');
  const links: Link[] = [];
  let previous: Uint8Array | undefined;
  for (let i = 0; i < count.value; i++) {
    if (bytes[at] !== 0x58 || bytes[at + 1] !== linkBytes) throw bad('has a malformed link');
    const link = bytes.subarray(at + 2, at + 2 + linkBytes);
    const kind = kindBytes[link[0]!];
    if (kind === undefined) throw bad('has a link of unknown kind');
    if (previous !== undefined && compareBytes(previous, link) >= 0) throw bad('has links out of order');
    previous = link;
    links.push({ kind, id: toHex(link.subarray(1)) });
    at += 2 + linkBytes;
  }
  const length = readHead(bytes, at, 2);
  if (length.next + length.value !== bytes.length) throw bad('has a payload of another length');
  return { links, payload: bytes.subarray(length.next) };
}

/** A CBOR head (RFC 8949, 3) in its shortest form. */
function head(major: number, value: number): Uint8Array {
  const type = major << 5;
  if (value < 24) return Uint8Array.of(type | value);
  if (value < 0x100) return Uint8Array.of(type | 24, value);
  if (value < 0x1_0000) return Uint8Array.of(type | 25, value >> 8, value & 0xff);
  return Uint8Array.of(
    type | 26,
    (value >>> 24) & 0xff,
    (value >>> 16) & 0xff,
    (value >>> 8) & 0xff,
    value & 0xff,
  );
}

/** Reads a head of this major type, refusing forms longer than needed. */
function readHead(bytes: Uint8Array, at: number, major: number): { value: number; next: number } {
  const first = bytes[at];
  if (first === undefined || first >> 5 !== major) throw bad('has a part of another type');
  const info = first & 31;
  if (info < 24) return { value: info, next: at + 1 };
  const width = info === 24 ? 1 : info === 25 ? 2 : info === 26 ? 4 : 0;
  if (width === 0 || at + 1 + width > bytes.length) throw bad('has a malformed length');
  let value = 0;
  for (let i = 0; i < width; i++) value = value * 256 + bytes[at + 1 + i]!;
  const shortest = value < 24 ? 0 : value < 0x100 ? 1 : value < 0x1_0000 ? 2 : 4;
  if (shortest !== width) throw bad('has a length in a longer form than needed');
  return { value, next: at + 1 + width };
}

function bad(what: string): StoreError {
  return new StoreError('corrupt', `not a node: it ${what}`);
}
