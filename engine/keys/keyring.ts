/** The keyring: the secrets of a realm, what is derived from them, and their encoding. */
import { concatBytes, copyBytes, fromHex, plainBytes, readU64, toHex, writeU64 } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { keyBytes } from '../codec/seal-header.ts';
import { StoreError, invariant } from '../errors.ts';

export const realmIdBytes = 16;
export const slotIdBytes = 16;
export const slotsMax = 16;
export const epochsMax = 1024;
/** An epoch is a u32. */
const epochMax = 0xffff_ffff;
const version = 1;
/** version u8 · realm 16 · created u64 · idKey 32 · count of epochs u16 · count of slots u8. */
const fixedBytes = 1 + realmIdBytes + 8 + keyBytes + 2 + 1;
const epochBytes = 4 + keyBytes;
const slotBytes = slotIdBytes + keyBytes;

/** What keys are derived for. Each gives keys that tell nothing of the others. */
export type Purpose = 'blob' | 'row-mac' | 'root-mac' | 'name' | 'lookup' | 'slots';

interface Secrets {
  readonly realmId: Uint8Array;
  readonly createdMs: number;
  readonly idKey: Uint8Array;
  /** Master keys by epoch, rising. */
  readonly masters: ReadonlyMap<number, Uint8Array>;
  /** Key-encryption keys by slot id (hex), so that the keyring can be wrapped again for slots whose secret is elsewhere. */
  readonly slotKeys: ReadonlyMap<string, Uint8Array>;
}

/**
 * Holds keys for as long as a store is open. Immutable but for `wipe`, after which every key is refused with `closed`.
 * Keys are private fields: they are in no text, JSON, clone or inspection of it. What getters give stays the keyring's:
 * it is not to be changed, and is zero after `wipe`.
 */
export class Keyring {
  readonly realmId: string;
  readonly createdMs: number;
  /** Epochs of which there is a key, rising; the last one seals. */
  readonly epochs: readonly number[];
  readonly #provider: Provider;
  readonly #secrets: Secrets;
  readonly #derived = new Map<string, Uint8Array>();
  #wiped = false;

  private constructor(provider: Provider, secrets: Secrets) {
    this.#provider = provider;
    this.#secrets = secrets;
    this.realmId = toHex(secrets.realmId);
    this.createdMs = secrets.createdMs;
    this.epochs = [...secrets.masters.keys()];
    invariant(this.epochs.length > 0, 'a keyring has an epoch');
    invariant(keysOf(secrets).every(isKey), 'no key is short, or was wiped before it was used');
  }

  /** A new realm, of epoch 1. `random` is the Host's; what it gives is taken over. */
  static create(
    provider: Provider,
    source: { readonly random: (bytes: number) => Uint8Array; readonly nowMs: number },
  ): Keyring {
    return new Keyring(provider, {
      realmId: plainBytes(source.random(realmIdBytes)),
      createdMs: source.nowMs,
      idKey: plainBytes(source.random(keyBytes)),
      masters: new Map([[1, plainBytes(source.random(keyBytes))]]),
      slotKeys: new Map(),
    });
  }

  /** The epoch that new data is sealed under. */
  get epoch(): number {
    return this.epochs.at(-1)!;
  }

  /** The key of locators. Never rotated: locators are names, and names must last. */
  get idKey(): Uint8Array {
    this.#standing();
    return this.#secrets.idKey;
  }

  blobKey(epoch: number): Uint8Array {
    return this.derive('blob', epoch);
  }

  nameKey(epoch: number): Uint8Array {
    return this.derive('name', epoch);
  }

  /** The key by which names are found. From the idKey, as what was found once must be found after a rotation. */
  get lookupKey(): Uint8Array {
    return this.#deriveFrom(this.idKey, 'lookup', 'lookup');
  }

  /** HKDF-SHA256(master key, salt = realm id, info = "holdfast/v1/<purpose>"); `wrong-key` for an epoch that is not here. */
  derive(purpose: Exclude<Purpose, 'lookup'>, epoch: number): Uint8Array {
    this.#standing();
    const master = this.#secrets.masters.get(epoch);
    if (master === undefined)
      throw new StoreError('wrong-key', `the keyring has no key of epoch ${epoch}`, { epoch });
    return this.#deriveFrom(master, purpose, `${purpose} ${epoch}`);
  }

  #deriveFrom(key: Uint8Array, purpose: Purpose, name: string): Uint8Array {
    let derived = this.#derived.get(name);
    if (derived === undefined) {
      const info = new TextEncoder().encode(`holdfast/v1/${purpose}`);
      derived = this.#provider.hkdfSha256(key, this.#secrets.realmId, info);
      this.#derived.set(name, derived);
    }
    return derived;
  }

  /** A copy with a new master key, under which everything is sealed from now on. */
  withEpoch(masterKey: Uint8Array): Keyring {
    if (this.epochs.length >= epochsMax)
      throw new StoreError('limit-exceeded', `a keyring has at most ${epochsMax} epochs`);
    if (this.epoch >= epochMax) throw new StoreError('limit-exceeded', `there is no epoch after ${epochMax}`);
    return this.#copy({ masters: new Map([...this.#secrets.masters, [this.epoch + 1, masterKey]]) });
  }

  /** A copy that knows these slots and no others. */
  withSlots(slotKeys: ReadonlyMap<string, Uint8Array>): Keyring {
    return this.#copy({ slotKeys });
  }

  /** A copy that knows one slot more. */
  withSlot(id: string, slotKey: Uint8Array): Keyring {
    return this.withSlots(new Map([...this.#secrets.slotKeys, [id, slotKey]]));
  }

  withoutSlot(id: string): Keyring {
    return this.withSlots(new Map([...this.#secrets.slotKeys].filter(([slot]) => slot !== id)));
  }

  /** The key-encryption key of a slot; undefined when the keyring does not know the slot. */
  slotKey(id: string): Uint8Array | undefined {
    this.#standing();
    return this.#secrets.slotKeys.get(id);
  }

  get slotIds(): string[] {
    return [...this.#secrets.slotKeys.keys()];
  }

  #copy(changes: Partial<Secrets>): Keyring {
    this.#standing();
    const all = { ...this.#secrets, ...changes };
    return new Keyring(this.#provider, {
      ...all,
      realmId: copyBytes(all.realmId),
      idKey: copyBytes(all.idKey),
      masters: new Map([...all.masters].map(([epoch, key]) => [epoch, copyBytes(key)])),
      slotKeys: new Map([...all.slotKeys].map(([id, key]) => [id, copyBytes(key)])),
    });
  }

  /** All secrets as bytes: to be wrapped, or handed to another thread. Whoever takes them wipes them. */
  encode(): Uint8Array {
    this.#standing();
    const { realmId, createdMs, idKey, masters, slotKeys } = this.#secrets;
    const bytes = new Uint8Array(fixedBytes + masters.size * epochBytes + slotKeys.size * slotBytes);
    const view = new DataView(bytes.buffer);
    bytes[0] = version;
    bytes.set(realmId, 1);
    writeU64(view, 17, createdMs);
    bytes.set(idKey, 25);
    view.setUint16(57, masters.size, true);
    bytes[59] = slotKeys.size;
    let at = fixedBytes;
    for (const [epoch, key] of masters) {
      view.setUint32(at, epoch, true);
      bytes.set(key, at + 4);
      at += epochBytes;
    }
    for (const [id, key] of slotKeys) {
      bytes.set(concatBytes(fromHex(id)!, key), at);
      at += slotBytes;
    }
    return bytes;
  }

  /** `corrupt` or `incompatible-format` for what `encode` did not write. The bytes stay the caller's, to wipe. */
  static decode(provider: Provider, encoded: Uint8Array): Keyring {
    const bytes = plainBytes(encoded);
    if (bytes.length < fixedBytes) throw damaged('is too short');
    if (bytes[0] !== version)
      throw new StoreError('incompatible-format', `a keyring has version ${bytes[0]}, unknown here`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const createdMs = readU64(view, 17);
    const epochs = view.getUint16(57, true);
    const slots = bytes[59]!;
    if (epochs < 1 || epochs > epochsMax || slots > slotsMax || Number.isNaN(createdMs))
      throw damaged('has impossible counts');
    if (bytes.length !== fixedBytes + epochs * epochBytes + slots * slotBytes)
      throw damaged('has a length that does not fit its counts');
    const masters = new Map<number, Uint8Array>();
    const slotKeys = new Map<string, Uint8Array>();
    let at = fixedBytes;
    for (let last = 0; masters.size < epochs; at += epochBytes) {
      const epoch = view.getUint32(at, true);
      if (epoch <= last) throw damaged('has epochs out of order');
      masters.set(epoch, bytes.slice(at + 4, at + epochBytes));
      last = epoch;
    }
    for (; at < bytes.length; at += slotBytes) {
      slotKeys.set(
        toHex(bytes.subarray(at, at + slotIdBytes)),
        bytes.slice(at + slotIdBytes, at + slotBytes),
      );
    }
    if (slotKeys.size !== slots) throw damaged('names a slot twice');
    const secrets = { realmId: bytes.slice(1, 17), createdMs, idKey: bytes.slice(25, 57), masters, slotKeys };
    if (!keysOf(secrets).every(isKey)) throw damaged('has a key of zeros');
    return new Keyring(provider, secrets);
  }

  /** Overwrites every key. Copies that the runtime made cannot be reached. */
  wipe(): void {
    this.#wiped = true;
    for (const key of [...keysOf(this.#secrets), ...this.#derived.values()]) key.fill(0);
    this.#derived.clear();
  }

  #standing(): void {
    if (this.#wiped) throw new StoreError('closed', 'the keyring was wiped');
  }
}

function keysOf({ idKey, masters, slotKeys }: Secrets): Uint8Array[] {
  return [idKey, ...masters.values(), ...slotKeys.values()];
}

function isKey(key: Uint8Array): boolean {
  return key.length === keyBytes && key.some((byte) => byte !== 0);
}

function damaged(why: string): StoreError {
  return new StoreError('corrupt', `a keyring ${why}`);
}
