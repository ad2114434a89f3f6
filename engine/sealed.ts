/** The contract of sealed objects: an encrypted store copied as it lies, by locators, also by those who have none of its keys. */

type Kind = 'raw' | 'node';

/** What a store tells of an object without opening it. */
export interface SealedFacts {
  readonly kind: Kind;
  /** Bytes of the object. Of a chunked blob 0: it has no object of its own. */
  readonly size: number;
  /** Of a chunked blob: the locator of its manifest, a node that leads to its chunks. */
  readonly manifest?: string;
  /** It was found damaged: a put of it heals. */
  readonly suspect: boolean;
}

export interface SealedPut {
  /** What the object is called: a locator, 64 lower-case hex digits. */
  readonly locator: string;
  readonly kind: Kind;
  readonly signal?: AbortSignal;
}

export interface SealedPutResult {
  /** sha256 of the object, hex. */
  readonly digest: string;
  /** Bytes that it takes in the store. */
  readonly storedSize: number;
  /** It was here already. */
  readonly deduplicated: boolean;
}

/**
 * What a replica of an encrypted store is made of, `openStore(…, { replicaOf })`: the wrapped keys, which nobody opens without a secret, and
 * the parameters. A replica that is not given the secret has no keys; who has it opens the replica by it.
 */
export interface ReplicaSeed<Parameters = unknown> {
  /** The file of keys, as it is. */
  readonly keys: Uint8Array;
  /** Newer ones that came to a store without keys, which cannot tell whether they are genuine. */
  readonly offered?: readonly Uint8Array[];
  readonly parameters: Parameters;
}

/** An object of another store: its bytes, or in the place of a chunked blob, which has none, the locator of its manifest. */
export type SourceObject =
  { readonly size: number; readonly bytes: AsyncIterable<Uint8Array> } | { readonly manifest: string };

/** Somewhere else that sealed objects are had from, one after the other, by their locators. Whoever asks judges what comes. */
export interface ObjectSource {
  /** Undefined when it is not there. */
  object(locator: string, signal?: AbortSignal): Promise<SourceObject | undefined>;
}

/**
 * What became of a file of keys that came. `old`: it is no newer than the one in use. `taken`: it is in use now. `kept`: it lies beside the
 * one in use until a secret that it has opens the store. `ahead`: likewise, and it has keys of an epoch that is not known here.
 */
export type KeysTaken = 'old' | 'taken' | 'kept' | 'ahead';

/** A root as it stands on disk. Its name is sealed together with the locator that it points to. */
export interface SealedRoot {
  /** What it is found by, 64 hex digits: the same for one name in all stores of a realm. */
  readonly key: string;
  /** The sealed name, as text. */
  readonly shown: string;
  readonly locator: string;
  /**
   * With keys, where its name does not open: `tampered` for one that nobody with keys made, or that is of another root; `wrong-key` for one
   * of an epoch that is not here. `roots.list` leaves it out; `deleteRoot` deletes it.
   */
  readonly unopened?: 'tampered' | 'wrong-key';
}

/**
 * Sealed objects and roots by what they are called on disk. Every call is refused (`invalid-argument`) by a store that is not encrypted.
 *
 * Without keys nothing tells whether an object belongs to its locator. So what is here and sound is never replaced by what comes later,
 * and whoever puts something else is told. With keys all is opened before it is taken in.
 */
export interface SealedObjects<Parameters = unknown> {
  /** The store is encrypted, and was opened without its keys. */
  readonly locked: boolean;
  /** What a replica is made of. Later changes of the keys are not in it: `takeKeys` brings them. */
  seed(): Promise<ReplicaSeed<Parameters>>;
  /** Takes in a file of keys of another store of the realm. `wrong-key` where it is of another realm, `limit-exceeded` where too many wait. */
  takeKeys(file: Uint8Array): Promise<KeysTaken>;
  /** Undefined for what is not here. */
  stat(locators: readonly string[]): Promise<(SealedFacts | undefined)[]>;
  /** Bytes of an object from `offset`, clamped at its end, their checksums verified. Undefined: unknown. Damaged: `corrupt`. */
  read(
    locator: string,
    range: { readonly offset: number; readonly length: number },
  ): Promise<Uint8Array | undefined>;
  /** What a node links to, as its clear head says: in the order of their bytes, each once. Of a raw object nothing. */
  links(locator: string): Promise<readonly { readonly kind: Kind; readonly locator: string }[] | undefined>;
  /** sha256 of an object, hex: equal digests are equal objects. Reads all of it. */
  digest(locator: string): Promise<string | undefined>;
  /**
   * Puts an object; durable when it resolves. What a node links to has to be here (`not-found`). `corrupt` for what no sealer wrote,
   * `limit-exceeded` for what is too large. With keys: `tampered` unless it is the object of this locator; what is here and does not open
   * is replaced by it. Without: `conflict` where another object is here under this locator, which stays.
   */
  put(source: Uint8Array | AsyncIterable<Uint8Array>, what: SealedPut): Promise<SealedPutResult>;
  /**
   * Makes chunks and manifest, put before, the one blob that is called so. Without keys nobody can tell of which blob
   * a manifest is: `conflict` where another, or an object, is here under this locator, which stays.
   */
  putChunked(locator: string, manifest: string): Promise<void>;
  roots(): Promise<SealedRoot[]>;
  /** What roots of these names are found by, and what blobs of these ids are called. `wrong-key` without keys. */
  keysOf(names: readonly string[]): Promise<string[]>;
  locatorsOf(ids: readonly string[]): Promise<string[]>;
  /** Sequences of the records of the root log that set each root to each locator, rising. O(length of the log). */
  changes(asked: readonly Omit<SealedRoot, 'shown'>[]): Promise<number[][]>;
  /**
   * Sets a root by compare-and-swap of locators; null: it must not exist. With keys: `tampered` unless the name opens, at this locator
   * and under this key. The root log takes it in as any other change.
   */
  setRoot(root: SealedRoot, options?: { readonly expect?: string | null }): Promise<void>;
  /** Deletes a root by its key, whether or not its name opens; `conflict` where it points elsewhere. False when there was none. */
  deleteRoot(key: string, options?: { readonly expect?: string }): Promise<boolean>;
}
