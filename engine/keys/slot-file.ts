/** The file `keys` of a store: the slots that each wrap the keyring, a MAC over them all, and a checksum. */
import { concatBytes, equalBytes, plainBytes, readU64, toHex, writeU64 } from '../codec/bytes.ts';
import { type Provider, tagBytes } from '../codec/provider.ts';
import { commitmentBytes, nonceBytes, roles, suite } from '../codec/seal-header.ts';
import { StoreError } from '../errors.ts';
import { realmIdBytes, slotIdBytes, slotsMax } from './keyring.ts';
import { type Derivation, type SecretKind, checkDerivation, secretKinds } from './secret.ts';

const magic = new TextEncoder().encode('HFkeys');
const version = 1;
/** magic 6 · version u8 · slots u8 · realm 16 · sequence u64 · epoch u32. */
export const fileHeadBytes = 36;
/** id 16 · suite u8 · role u8 · kind u8 · kdf u8 · three costs u32 · created u64 · salt 32 · nonce 24 · wrapped bytes u32. */
export const slotHeadBytes = 100;
export const saltBytes = 32;
export const macBytes = 32;
const sumBytes = 32;
/** A keyring of 1,024 epochs and 16 slots, and its tag. */
const wrappedBytesMax = 40_000;
const kdfs = ['hkdf', 'argon2id', 'scrypt'] as const;

export interface SlotHead {
  /** Hex. */
  readonly id: string;
  readonly kind: SecretKind;
  readonly derivation: Derivation;
  readonly createdMs: number;
  readonly salt: Uint8Array;
}

export interface FileHead {
  readonly realmId: Uint8Array;
  /** Counts the changes of the file: a client that remembers it sees an older file put back. */
  readonly sequence: number;
  /** The newest epoch; its key authenticates the file. */
  readonly epoch: number;
}

export interface SlotView {
  readonly head: SlotHead;
  readonly nonce: Uint8Array;
  /** The encoded head: authenticated when the slot is opened. */
  readonly headBytes: Uint8Array;
  readonly commitment: Uint8Array;
  readonly wrapped: Uint8Array;
}

export interface SlotFile {
  readonly head: FileHead;
  readonly headBytes: Uint8Array;
  readonly slots: readonly SlotView[];
  /** Everything that the MAC covers. */
  readonly authenticated: Uint8Array;
  readonly mac: Uint8Array;
}

export function encodeFileHead(head: FileHead, slots: number): Uint8Array {
  const bytes = new Uint8Array(fileHeadBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(magic);
  bytes.set([version, slots], 6);
  bytes.set(head.realmId, 8);
  writeU64(view, 24, head.sequence);
  view.setUint32(32, head.epoch, true);
  return bytes;
}

export function encodeSlotHead(
  head: SlotHead & { readonly idBytes: Uint8Array },
  wrapping: { readonly nonce: Uint8Array; readonly keyringBytes: number },
): Uint8Array {
  const bytes = new Uint8Array(slotHeadBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(head.idBytes);
  const { derivation } = head;
  bytes.set([suite, roles.keyslot, secretKinds.indexOf(head.kind) + 1, kdfs.indexOf(derivation.kdf)], 16);
  costsOf(derivation).forEach((cost, index) => view.setUint32(20 + 4 * index, cost, true));
  writeU64(view, 32, head.createdMs);
  bytes.set(head.salt, 40);
  bytes.set(wrapping.nonce, 72);
  view.setUint32(96, wrapping.keyringBytes + tagBytes, true);
  return bytes;
}

/** Checksum behind everything: it tells damage from tampering, as whoever tampers makes it new. */
export function finishFile(provider: Provider, authenticated: Uint8Array, mac: Uint8Array): Uint8Array {
  const summed = concatBytes(authenticated, mac);
  return concatBytes(summed, provider.sha256(summed));
}

/**
 * Reads the file strictly, without keys. `corrupt` when the checksum does not hold or the form is not ours,
 * `incompatible-format` for what a later version may have written, `limit-exceeded` for costs out of bounds.
 */
export function decodeSlotFile(provider: Provider, encoded: Uint8Array): SlotFile {
  const bytes = plainBytes(encoded);
  if (bytes.length < fileHeadBytes + macBytes + sumBytes) throw damaged('is too short');
  if (!equalBytes(bytes.subarray(0, magic.length), magic)) throw damaged('has no magic');
  const summed = bytes.subarray(0, bytes.length - sumBytes);
  // Before the version: the checksum stays in its place through all versions, so damage is not taken for a newer one.
  if (!equalBytes(provider.sha256(summed), bytes.subarray(summed.length)))
    throw damaged('is damaged: its checksum does not hold');
  if (bytes[6] !== version) throw unknown('version', bytes[6]!);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const sequence = readU64(view, 24);
  const count = bytes[7]!;
  if (Number.isNaN(sequence) || count < 1 || count > slotsMax) throw damaged('has impossible counts');
  const head = { realmId: bytes.slice(8, 8 + realmIdBytes), sequence, epoch: view.getUint32(32, true) };
  const authenticated = summed.subarray(0, summed.length - macBytes);
  const slots: SlotView[] = [];
  let at = fileHeadBytes;
  while (slots.length < count) {
    const slot = decodeSlot(authenticated.subarray(at));
    slots.push(slot);
    at += slotHeadBytes + commitmentBytes + slot.wrapped.length;
  }
  if (at !== authenticated.length) throw damaged('has bytes behind its slots');
  if (new Set(slots.map((slot) => slot.head.id)).size !== count) throw damaged('has a slot twice');
  const mac = summed.subarray(authenticated.length);
  return { head, headBytes: bytes.subarray(0, fileHeadBytes), slots, authenticated, mac };
}

function decodeSlot(bytes: Uint8Array): SlotView {
  const start = slotHeadBytes + commitmentBytes;
  if (bytes.length < start) throw damaged('ends inside a slot');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes[16] !== suite) throw unknown('suite', bytes[16]!);
  if (bytes[17] !== roles.keyslot) throw unknown('role', bytes[17]!);
  const kind = secretKinds[bytes[18]! - 1];
  if (kind === undefined) throw unknown('kind of slot', bytes[18]!);
  const kdf = kdfs[bytes[19]!];
  if (kdf === undefined) throw unknown('key derivation', bytes[19]!);
  const derivation = derivationOf(
    kdf,
    [20, 24, 28].map((at) => view.getUint32(at, true)),
  );
  // A fast derivation of something guessable, or a slow one of random bytes, is nothing that we write.
  if ((kdf === 'hkdf') !== (kind !== 'passphrase'))
    throw damaged('derives a key in a way that does not fit it');
  checkDerivation(derivation);
  const createdMs = readU64(view, 32);
  const wrappedBytes = view.getUint32(96, true);
  if (Number.isNaN(createdMs) || wrappedBytes > wrappedBytesMax || start + wrappedBytes > bytes.length)
    throw damaged('ends inside a slot');
  const head = { id: toHex(bytes.subarray(0, slotIdBytes)), kind, derivation, createdMs };
  return {
    head: { ...head, salt: bytes.slice(40, 40 + saltBytes) },
    nonce: bytes.slice(72, 72 + nonceBytes),
    headBytes: bytes.subarray(0, slotHeadBytes),
    commitment: bytes.subarray(slotHeadBytes, start),
    wrapped: bytes.subarray(start, start + wrappedBytes),
  };
}

function costsOf(derivation: Derivation): readonly number[] {
  switch (derivation.kdf) {
    case 'hkdf':
      return [0, 0, 0];
    case 'argon2id':
      return [derivation.cost.memoryKiB, derivation.cost.passes, derivation.cost.lanes];
    case 'scrypt':
      return [derivation.cost.log2N, derivation.cost.r, derivation.cost.p];
  }
}

function derivationOf(kdf: (typeof kdfs)[number], costs: readonly number[]): Derivation {
  const [first, second, third] = costs as [number, number, number];
  switch (kdf) {
    case 'hkdf':
      if (costs.some((cost) => cost !== 0)) throw damaged('has a cost where none is');
      return { kdf };
    case 'argon2id':
      return { kdf, cost: { memoryKiB: first, passes: second, lanes: third } };
    case 'scrypt':
      return { kdf, cost: { log2N: first, r: second, p: third } };
  }
}

function damaged(why: string): StoreError {
  return new StoreError('corrupt', `the file of keys ${why}`);
}

function unknown(what: string, value: number): StoreError {
  return new StoreError('incompatible-format', `the file of keys has ${what} ${value}, unknown here`);
}
