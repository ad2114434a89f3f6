/** The STREAM construction: parts of one object sealed under one key, each bound to its place. */
import type { Aead, Provider } from './provider.ts';
import type { Part } from './seal-layout.ts';

/** The place of a part, all of which is authenticated. */
export interface Place {
  readonly part: Part;
  readonly index: number;
  readonly codec: number;
  /** Bytes of content: of a chunk before it was encoded, of anything else as sealed. */
  readonly length: number;
}

/**
 * Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO
 * 2015: nonce = prefix ‖ counter ‖ last flag. Reordering, dropping, repeating and cutting all put a part where its nonce
 * is another. The prefix is zero, as the key is of one object only.
 *
 * nonce: 7 zeros ‖ index u32 ‖ part u8. AAD: header hash ‖ index u32 ‖ codec u8 ‖ length u32 ‖ part u8.
 */
export class StreamCipher {
  readonly #aead: Aead;
  readonly #key: Uint8Array;
  readonly #nonce = new Uint8Array(12);
  readonly #aad = new Uint8Array(42);
  readonly #nonceView = new DataView(this.#nonce.buffer);
  readonly #aadView = new DataView(this.#aad.buffer);

  /** Takes the key over. */
  constructor(provider: Provider, key: Uint8Array, headerHash: Uint8Array) {
    this.#aead = provider.aead(key);
    this.#key = key;
    this.#aad.set(headerHash);
  }

  /** Seals into the start of `target`. */
  seal(place: Place, bytes: Uint8Array, target: Uint8Array): void {
    this.#stand(place);
    this.#aead.seal({ nonce: this.#nonce, aad: this.#aad, bytes }, target);
  }

  /** The same in memory of its own, in pieces. */
  sealed(place: Place, bytes: Uint8Array): Uint8Array[] {
    this.#stand(place);
    return this.#aead.sealed({ nonce: this.#nonce, aad: this.#aad, bytes });
  }

  /** The verified plaintext, or undefined. */
  open(place: Place, bytes: Uint8Array): Uint8Array | undefined {
    this.#stand(place);
    return this.#aead.open({ nonce: this.#nonce, aad: this.#aad, bytes });
  }

  /** After the last use. */
  wipe(): void {
    this.#key.fill(0);
  }

  #stand({ part, index, codec, length }: Place): void {
    this.#nonceView.setUint32(7, index, true);
    this.#nonce[11] = part;
    this.#aadView.setUint32(32, index, true);
    this.#aad[36] = codec;
    this.#aadView.setUint32(37, length, true);
    this.#aad[41] = part;
  }
}
