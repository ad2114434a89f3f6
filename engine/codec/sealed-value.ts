/** Sealed values: names, owners and ids in columns of the catalog, and the keyed hashes by which they are found. */
import { StoreError, invariant } from '../errors.ts';
import { concatBytes } from './bytes.ts';
import { type Aead, type Provider, tagBytes } from './provider.ts';
import { deriveSealKey, nonceBytes, roles, suite } from './seal-header.ts';

/** suite u8 · role u8 · epoch u32 · nonce 24. */
const prefixBytes = 6 + nonceBytes;
/** Bytes that sealing adds to a value. */
export const valueOverheadBytes: number = prefixBytes + tagBytes;

/** Where a value stands. It opens nowhere else. */
export interface Cell {
  /** Table and column, such as `roots.name`. */
  readonly column: string;
  /** What names the row; empty where the column alone is to be bound. */
  readonly row: Uint8Array;
}

export interface ValueKey {
  readonly epoch: number;
  /** The name key of this epoch. */
  readonly nameKey: Uint8Array;
}

const label = new TextEncoder().encode('value');
const gcmNonce = new Uint8Array(12);

/**
 * prefix ‖ AES-256-GCM under the first half of HMAC-SHA512(nameKey, "value" ‖ nonce ‖ hash), nonce 0 as the key serves once.
 * AAD = hash = sha256(prefix ‖ u16 column length ‖ column ‖ row). `nonce` is 24 random bytes of the Host's.
 */
export function sealValue(
  provider: Provider,
  value: Uint8Array,
  sealing: { readonly key: ValueKey; readonly nonce: Uint8Array; readonly cell: Cell },
): Uint8Array {
  const { key, nonce, cell } = sealing;
  invariant(nonce.length === nonceBytes, 'a nonce is 24 bytes');
  const sealed = new Uint8Array(valueOverheadBytes + value.length);
  sealed.set([suite, roles.column]);
  new DataView(sealed.buffer).setUint32(2, key.epoch, true);
  sealed.set(nonce, 6);
  const cipher = cellCipher(provider, key.nameKey, { prefix: sealed.subarray(0, prefixBytes), cell });
  cipher.aead.seal({ nonce: gcmNonce, aad: cipher.aad, bytes: value }, sealed.subarray(prefixBytes));
  cipher.key.fill(0);
  return sealed;
}

/** The value, verified: `tampered` when it is not what was sealed for this cell, `wrong-key` from `nameKey`. */
export function openValue(
  provider: Provider,
  sealed: Uint8Array,
  opening: { readonly nameKey: (epoch: number) => Uint8Array; readonly cell: Cell },
): Uint8Array {
  if (sealed.length < valueOverheadBytes) throw new StoreError('corrupt', 'a sealed value is too short');
  if (sealed[0] !== suite)
    throw new StoreError('incompatible-format', `a sealed value has suite ${sealed[0]}, unknown here`);
  const { cell } = opening;
  if (sealed[1] !== roles.column) throw tampered(cell);
  const epoch = new DataView(sealed.buffer, sealed.byteOffset).getUint32(2, true);
  const prefix = sealed.subarray(0, prefixBytes);
  const cipher = cellCipher(provider, opening.nameKey(epoch), { prefix, cell });
  const value = cipher.aead.open({ nonce: gcmNonce, aad: cipher.aad, bytes: sealed.subarray(prefixBytes) });
  cipher.key.fill(0);
  if (value === undefined) throw tampered(cell);
  return value;
}

/** The epoch that a sealed value says it is of. Nothing proves it before the value is opened. */
export function sealedEpoch(sealed: Uint8Array): number | undefined {
  if (sealed.length < valueOverheadBytes) return undefined;
  return new DataView(sealed.buffer, sealed.byteOffset).getUint32(2, true);
}

function cellCipher(
  provider: Provider,
  nameKey: Uint8Array,
  place: { readonly prefix: Uint8Array; readonly cell: Cell },
): { readonly aead: Aead; readonly aad: Uint8Array; readonly key: Uint8Array } {
  const aad = provider.sha256(concatBytes(place.prefix, cellBytes(place.cell.column, place.cell.row)));
  const nonce = place.prefix.subarray(6);
  // No commitment: it matters where somebody else may choose the key, and these all come from the keyring.
  const { key } = deriveSealKey(provider, nameKey, label, nonce, aad);
  return { aead: provider.aead(key), aad, key };
}

/** HMAC-SHA256(lookupKey, u16 column length ‖ column ‖ value): equal values of one column, and only those, are found equal. */
export function lookupOf(
  provider: Provider,
  lookupKey: Uint8Array,
  cell: { readonly column: string; readonly value: Uint8Array },
): Uint8Array {
  return provider.hmacSha256(lookupKey, cellBytes(cell.column, cell.value));
}

function cellBytes(column: string, rest: Uint8Array): Uint8Array {
  const name = new TextEncoder().encode(column);
  return concatBytes(Uint8Array.of(name.length & 0xff, name.length >> 8), name, rest);
}

function tampered({ column }: Cell): StoreError {
  return new StoreError(
    'tampered',
    `a sealed value of ${column} was changed, or moved from where it belongs`,
  );
}
