/** How ids and names stand on disk: as they are, or, in an encrypted store, as locators, keyed hashes and sealed values. */
import type { Link } from '../api.ts';
import { copyBytes, fromHex, readU64, toHex, writeU64 } from '../codec/bytes.ts';
import { locatorOf } from '../codec/locator.ts';
import type { Padding, SealOptions } from '../codec/seal.ts';
import type { Provider } from '../codec/provider.ts';
import { type ObjectRole, nonceBytes } from '../codec/seal-header.ts';
import { type Cell, lookupOf, openValue, sealValue, sealedEpoch } from '../codec/sealed-value.ts';
import { StoreError } from '../errors.ts';
import type { Keyring } from './keyring.ts';

/** What a label tells of a blob. */
export interface BlobFacts {
  /** sha256 of the content, hex. */
  readonly id: string;
  /** Bytes of the content. */
  readonly size: number;
  /** What its object was sealed under; absent where it is the newest. */
  readonly epoch?: number;
}

/** A link of a node, and what it points to is called on disk. */
export interface StoredLink extends Link {
  readonly name: string;
}

/** A name of a root, an owner, a table or a key: what it is found by, and what is written down so that it can be told again. */
export interface Named {
  readonly key: string;
  /** In an encrypted store `key.sealed`. */
  readonly shown: string;
}

/** What names stand for. Part of every keyed hash and every seal, so that none passes for another. */
export type NameKind = 'root' | 'owner';

/** Keys for sealing and opening objects. */
export interface Sealing {
  readonly keyring: Keyring;
  readonly padding: Padding;
  /** The clear head of a new object, under the newest epoch, with a nonce of its own. */
  readonly header: (role: ObjectRole, chunkLog2: number, clear: Uint8Array) => SealOptions;
}

/** Ids and names of one store, between what callers say and what is on disk. */
export interface Realm {
  /** `locked`: encrypted, and opened without keys. It can be scrubbed, collected and told about, not read. */
  readonly state: 'plain' | 'open' | 'locked';
  /** Absent unless the state is `open`. */
  readonly sealing?: Sealing;
  /** The name on disk of a blob's id, both hex. `wrong-key` where it is locked. */
  nameOf(id: string): string;
  /** What a row tells of its blob. Undefined where it is locked, or the label is missing. `tampered` when it is of another row. */
  reveal(name: Uint8Array, label: Uint8Array | null): BlobFacts | undefined;
  /** The label of a blob. `of`: its name on disk, where it is known already, and the epoch of its object, by default the newest. */
  label(facts: BlobFacts, of?: { readonly name?: string; readonly epoch?: number }): Uint8Array | null;
  /** The epoch a label was sealed under; undefined without one. */
  epochOf(label: Uint8Array | null): number | undefined;
  /** The key that a name is found by. */
  find(kind: NameKind | 'side', name: string): string;
  /** `at` binds the name to what it stands at: for a root the blob it points to. */
  named(kind: NameKind, name: string, at?: string): Named;
  /** The key within what is shown. */
  keyOf(shown: string): string;
  /** The name within what is shown. Where it is locked, its key. */
  tell(kind: NameKind, shown: string, at?: string): string;
  /** A value of a side table; its key is the table's and the entry's. */
  sealSide(key: string, value: Uint8Array): Uint8Array;
  openSide(key: string, value: Uint8Array): Uint8Array;
}

/** Of a store without encryption: everything is called what it is called. */
export const plainRealm: Realm = {
  state: 'plain',
  nameOf: (id) => id,
  reveal: () => undefined,
  label: () => null,
  epochOf: () => undefined,
  find: (_kind, name) => name,
  named: (_kind, name) => ({ key: name, shown: name }),
  keyOf: (shown) => shown,
  tell: (_kind, shown) => shown,
  sealSide: (_key, value) => value,
  openSide: (_key, value) => value,
};

const keyDigits = 64;

/** Of an encrypted store without its keys. */
export const lockedRealm: Realm = {
  ...plainRealm,
  state: 'locked',
  nameOf: locked,
  label: locked,
  find: locked,
  named: locked,
  keyOf: (shown) => shown.slice(0, keyDigits),
  tell: (_kind, shown) => shown.slice(0, keyDigits),
  sealSide: locked,
  openSide: locked,
};

function locked(): never {
  throw new StoreError('wrong-key', 'this store is encrypted, and was opened without a key');
}

const factsBytes = 40;
/** Owners seen lately: an owner holds many blobs, and is sealed once. Ids asked for lately: a large blob is read range by range. */
const ownersMax = 1_000;
const namesMax = 1_000;

/** Of an encrypted store whose keys are here. */
export class SealedRealm implements Realm {
  readonly state = 'open';
  readonly sealing: Sealing & { keyring: Keyring };
  readonly #provider: Provider;
  readonly #random: (bytes: number) => Uint8Array;
  readonly #owners = new Map<string, Named>();
  readonly #names = new Map<string, string>();
  /** The epoch before a change that not every thread has learnt of. */
  #held: number | undefined;
  #noise: Uint8Array = new Uint8Array(0);
  #noiseAt = 0;

  /** `random` is the Host's. Takes the keyring over. */
  constructor(
    provider: Provider,
    keyring: Keyring,
    how: { readonly random: (bytes: number) => Uint8Array; readonly padding: Padding },
  ) {
    this.#provider = provider;
    this.#random = how.random;
    this.sealing = {
      keyring,
      padding: how.padding,
      header: (role, chunkLog2, clear) => {
        const { epoch } = this;
        const blobKey = this.sealing.keyring.blobKey(epoch);
        return { role, chunkLog2, epoch, nonce: this.#nonce(), clear, blobKey };
      },
    };
  }

  /** What is sealed now is sealed under. */
  get epoch(): number {
    return this.#held ?? this.sealing.keyring.epoch;
  }

  /**
   * Opens with the keys after a change of theirs, and goes on sealing under the epoch before it until `use`: what one thread seals, all have
   * to open. Takes the keyring over, and wipes the old one.
   */
  learn(keyring: Keyring): void {
    const { epoch } = this;
    this.sealing.keyring.wipe();
    this.sealing.keyring = keyring;
    this.#held = keyring.epochs.includes(epoch) ? epoch : undefined;
    this.#owners.clear();
  }

  /** Seals under the newest epoch: every thread has learnt of it. */
  use(): void {
    this.#held = undefined;
    this.#owners.clear();
  }

  /** Wipes the keys. Nothing can be asked any more. */
  close(): void {
    this.sealing.keyring.wipe();
    this.#owners.clear();
    this.#names.clear();
  }

  nameOf(id: string): string {
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const name = toHex(locatorOf(this.#provider, this.sealing.keyring.idKey, fromHex(id)!));
    if (this.#names.size >= namesMax) this.#names.clear();
    this.#names.set(id, name);
    return name;
  }

  reveal(name: Uint8Array, label: Uint8Array | null): BlobFacts | undefined {
    if (label === null) return undefined;
    const facts = this.#open('blobs.label', name, label);
    const view = new DataView(facts.buffer, facts.byteOffset, facts.length);
    const id = toHex(facts.subarray(0, 32));
    const size = facts.length === factsBytes ? readU64(view, 32) : Number.NaN;
    if (Number.isNaN(size) || this.nameOf(id) !== toHex(name))
      throw new StoreError('tampered', 'the label of a blob is not its own');
    return { id, size };
  }

  label(
    { id, size }: BlobFacts,
    { name = this.nameOf(id), epoch }: { readonly name?: string; readonly epoch?: number } = {},
  ): Uint8Array {
    const facts = new Uint8Array(factsBytes);
    facts.set(fromHex(id)!);
    writeU64(new DataView(facts.buffer), 32, size);
    return this.#seal({ column: 'blobs.label', row: fromHex(name)! }, facts, epoch);
  }

  epochOf(label: Uint8Array | null): number | undefined {
    return label === null ? undefined : sealedEpoch(label);
  }

  find(kind: NameKind | 'side', name: string): string {
    const { lookupKey } = this.sealing.keyring;
    return toHex(lookupOf(this.#provider, lookupKey, { column: kind, value: encoder.encode(name) }));
  }

  named(kind: NameKind, name: string, at = ''): Named {
    const known = kind === 'owner' ? this.#owners.get(name) : undefined;
    if (known !== undefined) return known;
    const key = this.find(kind, name);
    const sealed = this.#seal({ column: kind, row: encoder.encode(key + at) }, encoder.encode(name));
    const named = { key, shown: `${key}.${toHex(sealed)}` };
    if (kind !== 'owner') return named;
    if (this.#owners.size >= ownersMax) this.#owners.clear();
    this.#owners.set(name, named);
    return named;
  }

  keyOf(shown: string): string {
    return shown.slice(0, keyDigits);
  }

  tell(kind: NameKind, shown: string, at = ''): string {
    const sealed = fromHex(shown.slice(keyDigits + 1));
    if (sealed === undefined) throw new StoreError('corrupt', `the name of a ${kind} is damaged`);
    return decoder.decode(this.#open(kind, encoder.encode(this.keyOf(shown) + at), sealed));
  }

  sealSide(key: string, value: Uint8Array): Uint8Array {
    return this.#seal({ column: 'side.value', row: encoder.encode(key) }, value);
  }

  openSide(key: string, value: Uint8Array): Uint8Array {
    return this.#open('side.value', encoder.encode(key), value);
  }

  #seal(cell: Cell, value: Uint8Array, epoch: number = this.epoch): Uint8Array {
    const key = { epoch, nameKey: this.sealing.keyring.nameKey(epoch) };
    return sealValue(this.#provider, value, { key, nonce: this.#nonce(), cell });
  }

  #open(column: string, row: Uint8Array, sealed: Uint8Array): Uint8Array {
    const nameKey = (epoch: number): Uint8Array => this.sealing.keyring.nameKey(epoch);
    return openValue(this.#provider, sealed, { nameKey, cell: { column, row } });
  }

  /** Randomness by the page: a call for 24 bytes costs as much as one for thousands. Each byte is given out once. */
  #nonce(): Uint8Array {
    if (this.#noiseAt + nonceBytes > this.#noise.length) {
      this.#noise = copyBytes(this.#random(noiseBytes));
      this.#noiseAt = 0;
    }
    this.#noiseAt += nonceBytes;
    return this.#noise.slice(this.#noiseAt - nonceBytes, this.#noiseAt);
  }
}

const noiseBytes = 170 * nonceBytes;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });
