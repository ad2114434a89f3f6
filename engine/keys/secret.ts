/** What a person or a program gives to open a store, and how a key comes of it. */
import type { Secret } from '../api.ts';
import { copyBytes } from '../codec/bytes.ts';
import type { Argon2Cost, Provider, ScryptCost } from '../codec/provider.ts';
import { keyBytes } from '../codec/seal-header.ts';
import { StoreError } from '../errors.ts';
import { decodeRecoveryKey } from './recovery-key.ts';

/** The kinds of slots, by their code in the file. */
export const secretKinds = ['passphrase', 'raw-key', 'key-file', 'recovery-key'] as const;
export type SecretKind = Secret['kind'];

/** How a slot's key is derived: the cost of guessing a passphrase, or HKDF where there is nothing to guess. */
export type Derivation =
  | { readonly kdf: 'hkdf' }
  | { readonly kdf: 'argon2id'; readonly cost: Argon2Cost }
  | { readonly kdf: 'scrypt'; readonly cost: ScryptCost };

/** RFC 9106, section 4, second recommended option: for 64 MiB of memory. */
export const argon2Default: Argon2Cost = { memoryKiB: 64 * 1024, passes: 3, lanes: 4 };
/** 128 MiB; the strength that OWASP's Password Storage Cheat Sheet asks of scrypt. */
export const scryptDefault: ScryptCost = { log2N: 17, r: 8, p: 1 };

/** New slots have our own defaults, never what a file says: a host could have lowered it there. */
export function newDerivation(provider: Provider, kind: SecretKind): Derivation {
  if (kind !== 'passphrase') return { kdf: 'hkdf' };
  return provider.nativeKdf === 'argon2id'
    ? { kdf: 'argon2id', cost: argon2Default }
    : { kdf: 'scrypt', cost: scryptDefault };
}

/** Least and most of each cost that is read from a file. Nobody may make us weak, nor make us work for minutes. */
const limits = {
  /** OWASP's least for Argon2id is 19 MiB and 2 passes. 256 MiB is all the memory that any input may cost us. */
  argon2id: { memoryKiB: [19 * 1024, 256 * 1024], passes: [2, 16], lanes: [1, 16] },
  scrypt: { log2N: [15, 18], r: [8, 16], p: [1, 16] },
} as const;
const memoryMax = 256 * 1024 * 1024;
/** Bytes that a derivation passes over: about a second of work. */
const workMax = 1024 * 1024 * 1024;

/** Refuses costs out of bounds with `limit-exceeded`, before any work is done. */
export function checkDerivation(derivation: Derivation): void {
  if (derivation.kdf === 'hkdf') return;
  const { kdf, cost } = derivation;
  for (const [name, [least, most]] of Object.entries(limits[kdf])) {
    const value = (cost as unknown as Record<string, number>)[name]!;
    if (value < least || value > most) throw excessive(kdf, { name, value, least, most });
  }
  const memory = memoryOf(derivation);
  if (memory > memoryMax) throw excessive(kdf, { name: 'memory', value: memory, least: 0, most: memoryMax });
  const work = derivationWork(derivation);
  if (work > workMax) throw excessive(kdf, { name: 'work', value: work, least: 0, most: workMax });
}

/** Bytes of memory that a derivation passes over, all passes together; 0 where there is nothing to guess. */
export function derivationWork(derivation: Derivation): number {
  if (derivation.kdf === 'hkdf') return 0;
  return memoryOf(derivation) * (derivation.kdf === 'argon2id' ? derivation.cost.passes : derivation.cost.p);
}

function memoryOf(derivation: Exclude<Derivation, { readonly kdf: 'hkdf' }>): number {
  if (derivation.kdf === 'argon2id') return 1024 * derivation.cost.memoryKiB;
  return 128 * derivation.cost.r * 2 ** derivation.cost.log2N;
}

function excessive(
  kdf: string,
  cost: { readonly name: string; readonly value: number; readonly least: number; readonly most: number },
): StoreError {
  const { name, value, least, most } = cost;
  const text = `a key slot wants ${kdf} with ${name} ${value}; this version takes ${least} to ${most}`;
  return new StoreError('limit-exceeded', text, { kdf, parameter: name, value, least, most });
}

const keyFileBytesMax = 1024 * 1024;

/** The secret as bytes of our own, checked: `invalid-argument` for what can be no such secret. */
export function secretBytes(provider: Provider, secret: Secret): Uint8Array {
  if (!isSecret(secret))
    throw refused('a secret is { kind }, a passphrase, raw-key, key-file or recovery-key, with what it is');
  switch (secret.kind) {
    case 'passphrase':
      return passphraseBytes(secret.passphrase);
    case 'raw-key':
      if (secret.key.length !== keyBytes) throw refused(`a raw key is ${keyBytes} bytes`);
      return copyBytes(secret.key);
    case 'key-file':
      if (secret.content.length < keyBytes || secret.content.length > keyFileBytesMax)
        throw refused('a key file holds 32 bytes to 1 MiB');
      return copyBytes(secret.content);
    case 'recovery-key':
      return decodeRecoveryKey(provider, secret.text);
  }
}

/** Of callers without types, too: what is none must not end in an error without a code. */
function isSecret(given: unknown): given is Secret {
  if (typeof given !== 'object' || given === null) return false;
  const { kind, passphrase, key, content, text } = given as Readonly<Record<string, unknown>>;
  switch (kind) {
    case 'passphrase':
      return typeof passphrase === 'string' || passphrase instanceof Uint8Array;
    case 'raw-key':
      return key instanceof Uint8Array;
    case 'key-file':
      return content instanceof Uint8Array;
    default:
      return kind === 'recovery-key' && typeof text === 'string';
  }
}

/** Text is taken as NFC in UTF-8 (as RFC 8265, OpaqueString): keyboards differ in how they compose an é. */
function passphraseBytes(passphrase: string | Uint8Array): Uint8Array {
  if (passphrase.length === 0) throw refused('a passphrase is not empty');
  if (typeof passphrase !== 'string') return copyBytes(passphrase);
  if (!passphrase.isWellFormed()) throw refused('a passphrase is well-formed Unicode text');
  return new TextEncoder().encode(passphrase.normalize('NFC'));
}

/** The key-encryption key of a slot. `bytes` come of `secretBytes`, and are the caller's to wipe. */
export async function deriveSlotKey(
  provider: Provider,
  bytes: Uint8Array,
  slot: { readonly kind: SecretKind; readonly salt: Uint8Array; readonly derivation: Derivation },
): Promise<Uint8Array> {
  const { derivation, salt, kind } = slot;
  checkDerivation(derivation);
  switch (derivation.kdf) {
    case 'argon2id':
      return provider.argon2id(bytes, salt, derivation.cost);
    case 'scrypt':
      return provider.scrypt(bytes, salt, derivation.cost);
    case 'hkdf':
      return provider.hkdfSha256(bytes, salt, new TextEncoder().encode(`holdfast/v1/slot/${kind}`));
  }
}

function refused(why: string): StoreError {
  return new StoreError('invalid-argument', why);
}
