/** What stored bytes are to a store: content itself, or sealed objects; whether they belong to their name, what they link to, how they are read. */
import type { BlobKind } from '../api.ts';
import type { BlobRow } from '../catalog/blob-rows.ts';
import { equalBytes, isHexOf, toHex } from '../codec/bytes.ts';
import { decodeLinkLocators } from '../codec/locator.ts';
import { decodeNode } from '../codec/node.ts';
import type { Provider } from '../codec/provider.ts';
import { decodeHead } from '../codec/seal-header.ts';
import { StoreError } from '../errors.ts';
import type { BlobFacts, Realm } from '../keys/realm.ts';
import { type BlobFile, bytesFile } from './blob-file.ts';
import type { SealedReader } from '../codec/unseal.ts';
import { SealedFile, looksSealed, openSealed } from './sealed-file.ts';

/** A copy of a blob, as it was stored: what must be true of it. */
export interface StoredCopy {
  readonly kind: BlobKind;
  /** The name on disk, 32 bytes. */
  readonly name: Uint8Array;
  /** Bytes of the stored content. */
  readonly size: number;
  /** What the catalog tells of it, to be compared with what it is. */
  readonly label?: Uint8Array | null;
}

/** A link, by what it points to is called on disk. */
export interface NamedLink {
  readonly kind: BlobKind;
  /** Hex. */
  readonly name: string;
}

/** Objects kept open, and chunks of the largest that is kept: its table takes 4 bytes each. */
const openMax = 32;
const openChunksMax = 1_000_000;

/** Bytes verified between two turns: what was read is still near the processor when it is hashed. */
export const sliceBytes: number = 256 * 1024;

export class Contents {
  readonly realm: Realm;
  readonly #provider: Provider;
  /** Objects opened lately, by blob number and incarnation: a stored copy never changes, so what was read of it holds. */
  readonly #opened = new Map<string, SealedReader>();

  constructor(provider: Provider, realm: Realm) {
    this.#provider = provider;
    this.realm = realm;
  }

  get sealed(): boolean {
    return this.realm.state !== 'plain';
  }

  /** A file of stored bytes as a file of content. Takes it over. `wrong-key` where the store is locked. */
  open(row: BlobRow, stored: BlobFile): BlobFile {
    if (!this.sealed) return stored;
    const key = `${row.n}.${row.incarnation}`;
    const reader = this.#opened.get(key) ?? this.#unseal(stored, copyOf(row));
    this.#opened.delete(key);
    if (reader.chunks <= openChunksMax) this.#opened.set(key, reader);
    if (this.#opened.size > openMax) this.#opened.delete(this.#opened.keys().next().value!);
    return new SealedFile(this.#provider, stored, reader);
  }

  /** The content of a small blob, of its stored bytes. */
  content(copy: StoredCopy, stored: Uint8Array): Uint8Array {
    if (!this.sealed) return stored;
    const file = this.#sealedFile(bytesFile(stored), copy);
    return file.read(0, file.size);
  }

  /** Bytes of a blob's content. Opens it where its label does not tell, with what `open` gives. */
  sizeOf(row: BlobRow, open: () => BlobFile): number {
    if (!this.sealed) return row.size;
    const facts = revealed(this.realm, row);
    if (facts !== undefined) return facts.size;
    const file = open();
    try {
      return file.size;
    } finally {
      file.close();
    }
  }

  /**
   * Whether a copy is what its name says: hashed and, with keys, opened; `corrupt` or `tampered` with the reason otherwise. Without keys
   * its checksums are all that can be verified, and the form of its head. Yields bytes read, so that others get their turn. Returns what
   * it tells of the blob, where it tells it.
   */
  *verify(
    copy: StoredCopy,
    stored: BlobFile,
    scratch?: Uint8Array,
  ): Generator<number, BlobFacts | undefined> {
    if (this.realm.state === 'locked') {
      this.#checkHead(stored);
      yield* slices(stored, copy.size, () => undefined, scratch);
      return undefined;
    }
    const hasher = this.#provider.hasher();
    const file = this.sealed ? this.#sealedFile(stored, copy) : stored;
    const size = this.sealed ? file.size : copy.size;
    yield* slices(file, size, (bytes) => hasher.update(bytes), scratch);
    const id = hasher.digest();
    if (file instanceof SealedFile) {
      yield* file.verifyPadding();
      if (!equalBytes(id, file.id)) throw new StoreError('tampered', 'its content does not hash to its id');
      const facts = { id: toHex(id), size, epoch: file.epoch };
      this.checkLabel(copy, facts);
      return facts;
    }
    if (!equalBytes(id, copy.name)) throw unlike();
    return { id: toHex(id), size };
  }

  /** Whether stored bytes are, as they are, the content of this name; where they are sealed it takes `check` to tell. */
  isItself(name: Uint8Array, stored: Uint8Array): boolean {
    // In one call, and as text: a running hash costs a small blob as much again as the hashing, an array for each a quarter of it.
    return !this.sealed && isHexOf(this.#provider.sha256Hex(stored), name);
  }

  /** The same of a small blob, at once. */
  check(copy: StoredCopy, stored: Uint8Array): BlobFacts | undefined {
    if (!this.sealed) {
      if (!this.isItself(copy.name, stored)) throw unlike();
      return { id: toHex(copy.name), size: stored.length };
    }
    const steps = this.verify(copy, bytesFile(stored));
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }

  /**
   * What a node links to: of a sealed one its clear head tells that. Raw bytes in the place of a node have to be opened for it, which
   * without keys fails with `wrong-key`. `corrupt` when the content is no node.
   */
  linksOf(copy: StoredCopy, stored: Uint8Array): NamedLink[] {
    if (this.sealed) {
      const { role, clear } = decodeHead(stored).header;
      if (role === 'node')
        return decodeLinkLocators(clear).map(({ kind, locator }) => ({ kind, name: locator }));
    }
    const { links } = decodeNode(this.content(copy, stored));
    return links.map(({ kind, id }) => ({ kind, name: this.realm.nameOf(id) }));
  }

  /** The label of a blob that was found without a row, if it can be made. */
  labelOf(facts: BlobFacts | undefined): Uint8Array | null {
    if (facts === undefined || this.realm.state !== 'open') return null;
    const { epoch } = facts;
    return this.realm.label(facts, epoch === undefined ? {} : { epoch });
  }

  /** Forgets what is known of objects, keys of theirs too. */
  close(): void {
    for (const reader of this.#opened.values()) reader.wipe();
    this.#opened.clear();
  }

  #sealedFile(stored: BlobFile, copy: StoredCopy): SealedFile {
    return new SealedFile(this.#provider, stored, this.#unseal(stored, copy));
  }

  #unseal(stored: BlobFile, copy: StoredCopy): SealedReader {
    const { sealing } = this.realm;
    // Says why.
    if (sealing === undefined) throw unreadable(this.realm);
    return openSealed(this.#provider, stored, {
      keys: sealing.keyring,
      expected: { role: copy.kind, locator: copy.name },
    });
  }

  /** A blob is sound; what the catalog tells of it may still be a lie: `tampered`, or why the label does not open. */
  checkLabel({ name, label }: Pick<StoredCopy, 'name' | 'label'>, { id, size }: BlobFacts): void {
    const told = this.realm.reveal(name, label ?? null);
    if (told !== undefined && (told.id !== id || told.size !== size))
      throw new StoreError('tampered', 'the label of a blob is not its own');
  }

  #checkHead(stored: BlobFile): void {
    if (!looksSealed(stored)) throw unsealed();
  }
}

/** The copy that a row points to. */
export function copyOf(row: BlobRow): StoredCopy {
  return { kind: row.kind === 1 ? 'node' : 'raw', name: row.id, size: row.size, label: row.label };
}

/**
 * What the label of a row tells, undefined where it does not: a label is derived from its blob, so one that is missing, damaged or forged
 * costs a look at the blob, and no more. That it is bad, a scrub says.
 */
export function revealed(realm: Realm, { id, label }: Pick<BlobRow, 'id' | 'label'>): BlobFacts | undefined {
  try {
    return realm.reveal(id, label);
  } catch (error) {
    if (StoreError.is(error)) return undefined;
    throw error;
  }
}

function unreadable(realm: Realm): StoreError {
  try {
    realm.nameOf('');
  } catch (error) {
    if (StoreError.is(error)) return error;
  }
  return unsealed();
}

function unlike(): StoreError {
  return new StoreError('corrupt', 'its content does not hash to its id');
}

function unsealed(): StoreError {
  return new StoreError('tampered', 'it is not sealed, and this store is encrypted');
}

function* slices(
  file: BlobFile,
  size: number,
  take: (bytes: Uint8Array) => void,
  scratch: Uint8Array | undefined,
): Generator<number, void> {
  for (let at = 0; at < size;) {
    const bytes = file.read(at, Math.min(size, at + sliceBytes), scratch);
    take(bytes);
    at += bytes.length;
    yield bytes.length;
  }
}
