/** The slot keys that one secret gives, each derived once however many files have its slot, and what deriving them costs. */
import type { Secret } from '../api.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { type SecretKind, derivationWork, deriveSlotKey, secretBytes } from './secret.ts';
import type { SlotFile, SlotHead } from './slot-file.ts';

/** Wipe it when done. `invalid-argument` for what can be no secret. */
export class SlotKeys {
  readonly kind: SecretKind;
  readonly #provider: Provider;
  readonly #bytes: Uint8Array;
  readonly #known = new Map<string, Uint8Array>();

  constructor(provider: Provider, secret: Secret) {
    this.#provider = provider;
    this.#bytes = secretBytes(provider, secret);
    this.kind = secret.kind;
  }

  /** The key-encryption key of a slot of the secret's kind. It stays ours. */
  async of(head: SlotHead): Promise<Uint8Array> {
    const name = nameOf(head);
    const known = this.#known.get(name) ?? (await deriveSlotKey(this.#provider, this.#bytes, head));
    this.#known.set(name, known);
    return known;
  }

  /** Bytes of memory that deriving all keys of a file would pass over: of slots of the secret's kind that were not derived yet. */
  workOf({ slots }: SlotFile): number {
    const fresh = slots.filter(({ head }) => head.kind === this.kind && !this.#known.has(nameOf(head)));
    const distinct = new Map(fresh.map(({ head }) => [nameOf(head), derivationWork(head.derivation)]));
    return [...distinct.values()].reduce((sum, work) => sum + work, 0);
  }

  wipe(): void {
    for (const bytes of [this.#bytes, ...this.#known.values()]) bytes.fill(0);
    this.#known.clear();
  }
}

/** All that a key is derived from but the secret. */
function nameOf({ salt, derivation }: SlotHead): string {
  return `${toHex(salt)} ${JSON.stringify(derivation)}`;
}
