/** The clear head of a sealed object: what it says, what is derived from it, and the commitment to its key. */
import { StoreError, invariant } from '../errors.ts';
import { concatBytes, equalSecrets } from './bytes.ts';
import { chunkLog2Max, chunkLog2Min } from './chunks.ts';
import type { Provider } from './provider.ts';

/** 'H' 'F' 's' and the version of the sealed format. */
const magic = 0x01_73_46_48;
/** AES-256-GCM chunks under a key from HMAC-SHA512. The only suite so far. */
export const suite = 1;
/** What sealed bytes are for. It is part of every key and tag: nothing opens in another role. */
export const roles: { readonly raw: 1; readonly node: 2; readonly column: 3; readonly keyslot: 4 } = {
  raw: 1,
  node: 2,
  column: 3,
  keyslot: 4,
};
/** The roles that sealed objects can have. */
export type ObjectRole = 'raw' | 'node';

/** Random bytes in each object: 192 bits, so that no two machines ever have to agree on a counter. */
export const nonceBytes = 24;
export const keyBytes = 32;
export const commitmentBytes = 32;
/** Bytes before the clear section. */
export const fixedHeadBytes = 40;
/** Of a node of 65,536 links, as kind and locator. */
export const clearBytesMax: number = 65_536 * 33;

export interface SealHeader {
  readonly role: ObjectRole;
  readonly chunkLog2: number;
  /** Which of the realm's master keys the object is sealed under. */
  readonly epoch: number;
  readonly nonce: Uint8Array;
  /** Authenticated but readable without keys: the locators that a node links to. Empty for raw blobs. */
  readonly clear: Uint8Array;
}

/** Bytes of the whole head, commitment included. */
export function headBytes(clearBytes: number): number {
  return fixedHeadBytes + clearBytes + commitmentBytes;
}

/** Header and clear section, without the commitment: the bytes that are hashed. */
export function encodeHeader(header: SealHeader): Uint8Array {
  const { role, chunkLog2, epoch, nonce, clear } = header;
  invariant(nonce.length === nonceBytes, 'a nonce is 24 bytes');
  invariant(chunkLog2 >= chunkLog2Min && chunkLog2 <= chunkLog2Max, `chunks of 2^${chunkLog2} bytes`);
  invariant(clear.length <= clearBytesMax, `a clear section of ${clear.length} bytes`);
  invariant(role === 'node' || clear.length === 0, 'only nodes have a clear section');
  const bytes = new Uint8Array(fixedHeadBytes + clear.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, true);
  bytes.set([suite, roles[role], chunkLog2, 0], 4);
  view.setUint32(8, epoch, true);
  bytes.set(nonce, 12);
  view.setUint32(36, clear.length, true);
  bytes.set(clear, fixedHeadBytes);
  return bytes;
}

/** How long the head is whose first `fixedHeadBytes` these are. */
export function headBytesOf(fixed: Uint8Array): number {
  if (fixed.length < fixedHeadBytes) throw damaged('ends inside its header');
  const view = new DataView(fixed.buffer, fixed.byteOffset, fixedHeadBytes);
  if (view.getUint32(0, true) % 0x100_0000 !== magic % 0x100_0000) throw damaged('has no magic');
  const version = view.getUint8(3);
  if (version !== magic >>> 24) throw unknown('version', version);
  if (view.getUint8(4) !== suite) throw unknown('suite', view.getUint8(4));
  if (view.getUint8(7) !== 0) throw unknown('flags', view.getUint8(7));
  const clearBytes = view.getUint32(36, true);
  if (clearBytes > clearBytesMax) throw damaged('has an impossible clear section');
  return headBytes(clearBytes);
}

export interface HeadView {
  readonly header: SealHeader;
  /** The bytes that are hashed. */
  readonly hashed: Uint8Array;
  readonly commitment: Uint8Array;
}

/** Reads a head at the start of `bytes`. Nothing in it is proved before `objectKey` has compared the commitment. */
export function decodeHead(bytes: Uint8Array): HeadView {
  const length = headBytesOf(bytes);
  if (bytes.length < length) throw damaged('ends inside its header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, fixedHeadBytes);
  const code = view.getUint8(5);
  const role = code === roles.raw ? 'raw' : code === roles.node ? 'node' : undefined;
  if (role === undefined) throw unknown('role', code);
  const chunkLog2 = view.getUint8(6);
  if (chunkLog2 < chunkLog2Min || chunkLog2 > chunkLog2Max) throw damaged('has an impossible chunk size');
  const clearEnd = length - commitmentBytes;
  const clear = bytes.subarray(fixedHeadBytes, clearEnd);
  if (role === 'raw' && clear.length > 0) throw damaged('is raw and has a clear section');
  const nonce = bytes.subarray(12, 12 + nonceBytes);
  const header = { role, chunkLog2, epoch: view.getUint32(8, true), nonce, clear } as const;
  return { header, hashed: bytes.subarray(0, clearEnd), commitment: bytes.subarray(clearEnd, length) };
}

export interface DerivedKey {
  readonly key: Uint8Array;
  readonly commitment: Uint8Array;
}

/**
 * K ‖ C = HMAC-SHA512(key, label ‖ nonce ‖ rest). K is used for one object only, so its nonces may count from 0;
 * C commits to it, because GCM alone lets one ciphertext open under two keys (Dodis, Grubbs, Ristenpart, Woodage 2018).
 */
export function deriveSealKey(provider: Provider, key: Uint8Array, ...info: Uint8Array[]): DerivedKey {
  const message = concatBytes(...info);
  const derived = provider.hmacSha512(key, message);
  return { key: derived.subarray(0, keyBytes), commitment: derived.subarray(keyBytes) };
}

const label = new TextEncoder().encode('blob');

export function deriveObjectKey(
  provider: Provider,
  blobKey: Uint8Array,
  head: { readonly nonce: Uint8Array; readonly hash: Uint8Array },
): DerivedKey {
  return deriveSealKey(provider, blobKey, label, head.nonce, head.hash);
}

/** The object's key and header hash, once the stored commitment proved equal; `tampered` otherwise. */
export function objectKey(
  provider: Provider,
  head: HeadView,
  blobKey: Uint8Array,
): { readonly key: Uint8Array; readonly hash: Uint8Array } {
  const hash = provider.sha256(head.hashed);
  const { key, commitment } = deriveObjectKey(provider, blobKey, { nonce: head.header.nonce, hash });
  if (!equalSecrets(commitment, head.commitment))
    throw new StoreError(
      'tampered',
      'a sealed object does not belong to this key, or its header was changed',
    );
  return { key, hash };
}

export function damaged(why: string): StoreError {
  return new StoreError('corrupt', `a sealed object ${why}`);
}

function unknown(what: string, value: number): StoreError {
  return new StoreError('incompatible-format', `a sealed object has ${what} ${value}, unknown here`);
}
