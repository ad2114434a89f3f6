/** The contract of encryption: what opens a store, and how its keys are looked after. */

/** What opens a store: its kind, and itself. */
export type Secret =
  | { readonly kind: 'passphrase'; readonly passphrase: string | Uint8Array }
  /** 32 random bytes, from a keychain or another program. */
  | { readonly kind: 'raw-key'; readonly key: Uint8Array }
  /** The content of a file that nobody can guess, 32 bytes to 1 MiB. */
  | { readonly kind: 'key-file'; readonly content: Uint8Array }
  /** As `keys.add('recovery-key')` gave it. */
  | { readonly kind: 'recovery-key'; readonly text: string };

export interface EncryptionOptions {
  readonly secret: Secret;
  /** Fixed when the store is created. `padme` rounds sizes up, by 12 % at most, so that they tell little. Default `none`. */
  readonly padding?: 'none' | 'padme';
}

/** Part of a store's format. */
export interface EncryptionParameters {
  /** Names the set of keys: 32 hex digits, the same in every store that shares them. */
  readonly realm: string;
  readonly padding: 'none' | 'padme';
}

/** A way into an encrypted store, as it can be told without a key. */
export interface KeySlot {
  /** 32 hex digits. */
  readonly id: string;
  readonly kind: Secret['kind'];
  /** How a key is made of the secret: `hkdf` for what cannot be guessed, `argon2id` or `scrypt` for passphrases. */
  readonly derivation: 'hkdf' | 'argon2id' | 'scrypt';
  readonly createdMs: number;
}

export interface KeysInfo {
  readonly realm: string;
  /** The newest, under which everything new is sealed. */
  readonly epoch: number;
  readonly slots: readonly KeySlot[];
  /** Blobs that are sealed under an older one, or of which this is not known; absent where the store was opened without keys. */
  readonly behind?: number;
}

export interface ResealResult {
  readonly blobs: number;
  /** Stored bytes. */
  readonly bytes: number;
}

/**
 * The keys of an encrypted store: several secrets, any of which opens it. Changes are durable when they resolve, and are refused with
 * `wrong-key` where the store was opened without keys. Other processes that have the store open reopen it after `rotate` or `renew`.
 */
export interface Keys {
  /** Also without keys. */
  list(): Promise<KeysInfo>;
  /** Another way in. Returns its id, and for `recovery-key` the text to print and keep: it is told this once. */
  add(secret: Secret | 'recovery-key'): Promise<{ readonly id: string; readonly recoveryKey?: string }>;
  /**
   * Takes a way in away; the last one stays (`invalid-argument`). Who kept a copy of the old keys, or had the store open, is not shut
   * out by this: `renew` does that for what is sealed afterwards.
   */
  remove(slot: string): Promise<void>;
  /** A new epoch for everything that is put from now on; all slots stay. `reseal` brings what is there under it. */
  rotate(): Promise<void>;
  /** A new epoch, and only these secrets open it: whoever knew another, or kept the old keys, reads nothing that is sealed from now on. */
  renew(secrets: readonly Secret[]): Promise<void>;
  /**
   * Seals everything anew that is sealed under an older epoch. What was done stays done; the rest goes on with the next call. What is
   * damaged, or away, is left as it is: `list` counts it as `behind`.
   */
  reseal(options?: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: ResealResult) => void;
  }): Promise<ResealResult>;
}
