/** A second implementation of docs/security.md, to read with: it shares no line with engine/, and costly derivations are of OpenSSL, not of @noble. */
import crypto from 'node:crypto';
import { gcm } from '@noble/ciphers/aes.js';
import { argon2id } from '@noble/hashes/argon2.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import {
  bytesToHex as hex,
  concatBytes as join,
  hexToBytes,
  utf8ToBytes as utf8,
} from '@noble/hashes/utils.js';

export interface Realm {
  readonly realmId: string;
  readonly idKey: string;
  readonly masterKeys: Readonly<Record<string, string>>;
}

/** A reader of little-endian numbers and of byte strings. */
class Cursor {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = Uint8Array.from(bytes);
  }

  take(count: number): Uint8Array {
    if (this.at + count > this.bytes.length) throw new Error('too short');
    return this.bytes.slice(this.at, (this.at += count));
  }

  number(count: number): number {
    return this.take(count).reduceRight((sum, byte) => sum * 256 + byte, 0);
  }

  expect(wanted: string, what: string): void {
    const found = hex(this.take(wanted.length / 2));
    if (found !== wanted) throw new Error(`${what} is ${found}, not ${wanted}`);
  }

  end(): void {
    if (this.at !== this.bytes.length) throw new Error('bytes left over');
  }
}

function number(value: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => Math.floor(value / 256 ** i) & 0xff);
}

function same(a: Uint8Array, b: Uint8Array, what: string): void {
  if (hex(a) !== hex(b)) throw new Error(`${what} does not match`);
}

function split(key: Uint8Array, ...message: Uint8Array[]): { key: Uint8Array; commitment: Uint8Array } {
  const both = hmac(sha512, key, join(...message));
  return { key: both.slice(0, 32), commitment: both.slice(32) };
}

function derived(realm: Realm, purpose: string, from: string): Uint8Array {
  return hkdf(sha256, hexToBytes(from), hexToBytes(realm.realmId), utf8(`holdfast/v1/${purpose}`), 32);
}

/** Opens the file `keys` by a secret; undefined when no slot opens. */
export function openKeys(file: Uint8Array, kind: string, secret: string | Uint8Array): Realm | undefined {
  same(sha256(file.slice(0, -32)), file.slice(-32), 'the checksum');
  const input = new Cursor(file);
  input.expect('48466b65797301', 'magic and version');
  const count = input.number(1);
  const realmId = hex(input.take(16));
  input.take(8);
  const epoch = input.number(4);
  const head = file.slice(0, 36);
  let found: Realm | undefined;
  for (let i = 0; i < count; i++) {
    const start = input.at;
    input.take(16);
    input.expect('0104', 'suite and role');
    const [slotKind, kdf, a, b, c] = [
      input.number(1),
      input.number(1),
      input.number(4),
      input.number(4),
      input.number(4),
    ];
    input.take(8);
    const [salt, nonce, length] = [input.take(32), input.take(24), input.number(4)];
    const slotHead = file.slice(start, start + 100);
    const [commitment, wrapped] = [input.take(32), input.take(length)];
    if (kind !== ['passphrase', 'raw-key', 'key-file', 'recovery-key'][slotKind - 1] || found !== undefined)
      continue;
    const bytes =
      typeof secret === 'string' && kind === 'passphrase' ? utf8(secret.normalize('NFC')) : secretOf(secret);
    const slotKey = [
      () => hkdf(sha256, bytes, salt, utf8(`holdfast/v1/slot/${kind}`), 32),
      () => argon2Of(bytes, salt, [a, b, c]),
      () => crypto.scryptSync(bytes, salt, 32, { N: 2 ** a, r: b, p: c, maxmem: 2 ** 30 }),
    ][kdf]!();
    const key = split(slotKey, utf8('slot'), nonce);
    if (hex(key.commitment) !== hex(commitment)) continue;
    found = ringOf(gcm(key.key, new Uint8Array(12), join(head, slotHead)).decrypt(wrapped));
    if (found.realmId !== realmId) throw new Error('another realm');
  }
  if (found === undefined) return undefined;
  const macKey = derived(found, 'slots', found.masterKeys[epoch]!);
  same(hmac(sha256, macKey, file.slice(0, input.at)), input.take(32), 'the MAC of the slots');
  input.take(32);
  input.end();
  return found;
}

/** Node 22 has none. */
function argon2Of(
  message: Uint8Array,
  nonce: Uint8Array,
  [memory, passes, parallelism]: readonly [number, number, number],
): Uint8Array {
  const native = (crypto as Partial<typeof crypto>).argon2Sync;
  if (native === undefined)
    return argon2id(message, nonce, { m: memory, t: passes, p: parallelism, dkLen: 32 });
  return native('argon2id', { message, nonce, memory, passes, parallelism, tagLength: 32 });
}

function ringOf(bytes: Uint8Array): Realm {
  const ring = new Cursor(bytes);
  ring.expect('01', 'version of the keyring');
  const realmId = hex(ring.take(16));
  ring.take(8);
  const idKey = hex(ring.take(32));
  const [epochs, slots] = [ring.number(2), ring.number(1)];
  const masterKeys: Record<string, string> = {};
  for (let i = 0; i < epochs; i++) masterKeys[ring.number(4)] = hex(ring.take(32));
  ring.take(slots * 48);
  ring.end();
  return { realmId, idKey, masterKeys };
}

/** Bytes as they are; a recovery key from Crockford's base 32, checksum verified. */
function secretOf(secret: string | Uint8Array): Uint8Array {
  if (typeof secret !== 'string') return secret;
  const bits = Array.from(secret.replaceAll('-', ''))
    .map((letter) => '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.indexOf(letter).toString(2).padStart(5, '0'))
    .join('');
  const bytes = Uint8Array.from(bits.match(/.{8}/g)!, (byte) => Number.parseInt(byte, 2));
  const key = bytes.slice(0, 32);
  same(
    sha256(join(utf8('holdfast/v1/recovery-key'), key)).slice(0, 3),
    bytes.slice(32),
    'the recovery checksum',
  );
  return key;
}

export function locatorOf(realm: Realm, id: string): string {
  return hex(hmac(sha256, hexToBytes(realm.idKey), hexToBytes(id)));
}

export interface OpenedObject {
  readonly role: number;
  readonly epoch: number;
  readonly id: string;
  readonly size: number;
  readonly clear: string;
  readonly chunks: readonly { readonly codec: number; readonly bytes: string }[];
}

/** Opens a sealed object, all of it. */
export function openSealed(realm: Realm, whole: Uint8Array): OpenedObject {
  const head = new Cursor(whole);
  head.expect('48467301', 'magic and version');
  head.expect('01', 'suite');
  const [role, log2] = [head.number(1), head.number(1)];
  head.expect('00', 'flags');
  const [epoch, nonce] = [head.number(4), head.take(24)];
  const clear = head.take(head.number(4));
  const hash = sha256(whole.slice(0, head.at));
  const blobKey = derived(realm, 'blob', realm.masterKeys[epoch]!);
  const { key, commitment } = split(blobKey, utf8('blob'), nonce, hash);
  same(commitment, head.take(32), 'the commitment');
  const part = (
    flag: number,
    index: number,
    codec: number,
    length: number,
    sealed: Uint8Array,
  ): Uint8Array => {
    const gcmNonce = join(new Uint8Array(7), number(index, 4), number(flag, 1));
    const aad = join(hash, number(index, 4), number(codec, 1), number(length, 4), number(flag, 1));
    return gcm(key, gcmNonce, aad).decrypt(sealed);
  };
  const trailer = new Cursor(part(4, 0xffff_ffff, 0, 64, whole.slice(-80)));
  const id = hex(trailer.take(32));
  const [size, stored, padding] = [trailer.number(8), trailer.number(8), trailer.number(8)];
  const [tabled, codec] = [trailer.number(1), trailer.number(1)];
  trailer.expect('000000000000', 'the rest of the trailer');
  const count = Math.max(1, Math.ceil(size / 2 ** log2));
  const body = new Cursor(whole.slice(0, -80));
  body.at = head.at;
  const sealedChunks = new Cursor(body.take(stored));
  const pieces = (flag: number, text: number, number_: number): Uint8Array => {
    const opened: Uint8Array[] = [];
    for (let i = 0; i < number_; i++) {
      const length = Math.max(0, Math.min(2 ** log2, text - i * 2 ** log2));
      opened.push(part(flag, i, 0, length, body.take(length + 16)));
    }
    return join(...opened);
  };
  const table =
    tabled === 1 ? new Cursor(pieces(2, 4 * count, Math.ceil((4 * count) / 2 ** log2))) : undefined;
  const paddingPieces = Math.ceil(padding / (2 ** log2 + 16));
  if (pieces(3, padding - 16 * paddingPieces, paddingPieces).some((byte) => byte !== 0))
    throw new Error('padding');
  body.end();
  const chunks = Array.from({ length: count }, (_, i) => {
    const length = Math.min(2 ** log2, size - i * 2 ** log2);
    const entry = table?.number(4);
    const stands = entry === undefined ? (count === 1 ? stored - 16 : length) : entry % 2 ** 28;
    const by = entry === undefined ? codec : Math.floor(entry / 2 ** 28);
    return {
      codec: by,
      bytes: hex(part(i === count - 1 ? 1 : 0, i, by, length, sealedChunks.take(stands + 16))),
    };
  });
  sealedChunks.end();
  return { role, epoch, id, size, clear: hex(clear), chunks };
}

/** Opens a sealed value of a cell. */
export function openCell(
  realm: Realm,
  sealed: Uint8Array,
  cell: { column: string; row: Uint8Array },
): Uint8Array {
  const input = new Cursor(sealed);
  input.expect('0103', 'suite and role');
  const [epoch, nonce] = [input.number(4), input.take(24)];
  const name = utf8(cell.column);
  const hash = sha256(join(sealed.slice(0, 30), number(name.length, 2), name, cell.row));
  const { key } = split(derived(realm, 'name', realm.masterKeys[epoch]!), utf8('value'), nonce, hash);
  return gcm(key, new Uint8Array(12), hash).decrypt(sealed.slice(30));
}

export function lookupOf(realm: Realm, column: string, value: Uint8Array): string {
  const name = utf8(column);
  return hex(hmac(sha256, derived(realm, 'lookup', realm.idKey), join(number(name.length, 2), name, value)));
}
