/** A realm's keys: made, unlocked by a secret, given more slots or fewer, rotated. */
import type { Secret } from '../api.ts';
import { concatBytes, equalSecrets, fromHex, toHex } from '../codec/bytes.ts';
import { type Provider, tagBytes } from '../codec/provider.ts';
import { deriveSealKey, keyBytes, nonceBytes } from '../codec/seal-header.ts';
import { StoreError, invariant } from '../errors.ts';
import { Keyring, slotIdBytes, slotsMax } from './keyring.ts';
import { printRecoveryKey } from './recovery-key.ts';
import { deriveSlotKey, newDerivation, secretBytes } from './secret.ts';
import {
  type FileHead,
  type SlotFile,
  type SlotHead,
  type SlotView,
  decodeSlotFile,
  encodeFileHead,
  encodeSlotHead,
  finishFile,
  saltBytes,
} from './slot-file.ts';
import { SlotKeys } from './slot-keys.ts';

/** What making keys takes from outside. */
export interface KeyTools {
  readonly provider: Provider;
  /** The Host's. */
  readonly random: (bytes: number) => Uint8Array;
  readonly nowMs: number;
}

/**
 * An open keyring, and the bytes of the file `keys` that it goes with. Each change gives a new pair: write the file
 * durably in the old one's place, then wipe the old keyring.
 */
export interface Keys {
  readonly keyring: Keyring;
  readonly file: Uint8Array;
}

/** What the file tells without a secret. */
export interface KeysDescription {
  readonly realmId: string;
  readonly sequence: number;
  readonly epoch: number;
  readonly slots: readonly Pick<SlotHead, 'id' | 'kind' | 'derivation' | 'createdMs'>[];
}

const label = new TextEncoder().encode('slot');
const gcmNonce = new Uint8Array(12);

/** Keys of a new realm, with one slot. */
export async function createKeys(tools: KeyTools, secret: Secret): Promise<Keys> {
  const bare = Keyring.create(tools.provider, tools);
  try {
    const slot = await newSlot(tools, secret);
    const keyring = bare.withSlots(new Map([[slot.head.id, slot.key]]));
    slot.key.fill(0);
    return { keyring, file: writeFile(tools, keyring, { sequence: 1, slots: [slot.head] }) };
  } finally {
    bare.wipe();
  }
}

export function describeKeys(provider: Provider, file: Uint8Array): KeysDescription {
  const { head, slots } = decodeSlotFile(provider, file);
  const described = slots.map(({ head: { id, kind, derivation, createdMs } }) => ({
    id,
    kind,
    derivation,
    createdMs,
  }));
  return { realmId: toHex(head.realmId), sequence: head.sequence, epoch: head.epoch, slots: described };
}

/** An open keyring, and the slot, hex, that the secret fits. */
export interface Unlocked {
  readonly keyring: Keyring;
  readonly slot: string;
}

/**
 * Opens the keyring by whichever slot the secret fits. `wrong-key` when it fits none; `tampered` when it fits one but
 * the file is not what a holder of the keyring wrote. Costs one key derivation for each slot of the secret's kind.
 */
export async function unlockKeys(provider: Provider, file: Uint8Array, secret: Secret): Promise<Unlocked> {
  const slotKeys = new SlotKeys(provider, secret);
  try {
    return await unlockWith(provider, file, slotKeys);
  } finally {
    slotKeys.wipe();
  }
}

/** The same, for several files one after the other. */
export async function unlockWith(
  provider: Provider,
  file: Uint8Array,
  slotKeys: SlotKeys,
): Promise<Unlocked> {
  const { kind } = slotKeys;
  const decoded = decodeSlotFile(provider, file);
  for (const slot of decoded.slots.filter(({ head }) => head.kind === kind)) {
    const keyring = openSlot(provider, decoded, { slot, key: await slotKeys.of(slot.head) });
    if (keyring !== undefined) return { keyring, slot: slot.head.id };
  }
  throw new StoreError('wrong-key', `no key slot opens with this ${kind}`, { kind });
}

function openSlot(
  provider: Provider,
  file: SlotFile,
  { slot, key }: { readonly slot: SlotView; readonly key: Uint8Array },
): Keyring | undefined {
  const derived = deriveSealKey(provider, key, label, slot.nonce);
  if (!equalSecrets(derived.commitment, slot.commitment)) return undefined;
  const aad = concatBytes(file.headBytes, slot.headBytes);
  const opened = provider.aead(derived.key).open({ nonce: gcmNonce, aad, bytes: slot.wrapped });
  derived.key.fill(0);
  if (opened === undefined) throw tampered('the slot that this secret opens was changed');
  let keyring: Keyring | undefined;
  try {
    keyring = Keyring.decode(provider, opened);
    checkFile(provider, keyring, file);
    return keyring;
  } catch (error) {
    keyring?.wipe();
    throw error;
  } finally {
    opened.fill(0);
  }
}

/** The file is of this keyring, whole, and lists the slots that the keyring knows. */
function checkFile(provider: Provider, keyring: Keyring, file: SlotFile): void {
  const { realmId, epoch } = file.head;
  if (keyring.realmId !== toHex(realmId) || keyring.epoch !== epoch)
    throw tampered('it is not of the realm or the epoch that its keyring is of');
  if (!equalSecrets(macOf(provider, keyring, { ...file, epoch }), file.mac))
    throw tampered('its list of slots was changed');
  if (file.slots.map(({ head }) => head.id).join() !== keyring.slotIds.join())
    throw tampered('its slots are not those of its keyring');
}

/**
 * Opens a newer file by a slot that this keyring knows; `only` by that one. Undefined where the file has none. `tampered` as `unlockKeys`.
 */
export function followKeys(
  provider: Provider,
  keyring: Keyring,
  { file, only }: { readonly file: Uint8Array; readonly only?: string },
): Keyring | undefined {
  const decoded = decodeSlotFile(provider, file);
  for (const slot of decoded.slots) {
    const key = only === undefined || only === slot.head.id ? keyring.slotKey(slot.head.id) : undefined;
    const opened = key && openSlot(provider, decoded, { slot, key });
    if (opened !== undefined) return opened;
  }
  return undefined;
}

/** Whether this keyring has the key that authenticates a file: then it comes after it, and nobody made it who was shut out by that file. */
export function comesAfter(provider: Provider, keyring: Keyring, file: Uint8Array): boolean {
  const { head, authenticated, mac } = decodeSlotFile(provider, file);
  if (toHex(head.realmId) !== keyring.realmId || !keyring.epochs.includes(head.epoch)) return false;
  return equalSecrets(macOf(provider, keyring, { authenticated, epoch: head.epoch }), mac);
}

/** A second way in, beside those there are. Needs the open keyring, not the other secrets. */
export async function addSlot(tools: KeyTools, keys: Keys, secret: Secret): Promise<Keys> {
  const file = checkedFile(tools.provider, keys);
  if (file.slots.length >= slotsMax)
    throw new StoreError('limit-exceeded', `there are at most ${slotsMax} key slots`);
  const slot = await newSlot(tools, secret);
  const keyring = keys.keyring.withSlot(slot.head.id, slot.key);
  slot.key.fill(0);
  return rewritten(tools, keyring, { file, slots: [...headsOf(file), slot.head] });
}

/**
 * Takes a way in away. It shuts out who has the secret and the present file, not who had the keyring open or kept an
 * old file: `renewSlots` does. The last slot is not removed (`invalid-argument`).
 */
export function removeSlot(tools: KeyTools, keys: Keys, id: string): Keys {
  const file = checkedFile(tools.provider, keys);
  const slots = headsOf(file).filter((head) => head.id !== id);
  if (slots.length === file.slots.length)
    throw new StoreError('invalid-argument', 'there is no such key slot');
  if (slots.length === 0) throw new StoreError('invalid-argument', 'the last key slot is not removed');
  return rewritten(tools, keys.keyring.withoutSlot(id), { file, slots });
}

/**
 * A new epoch for everything sealed from now on; what is sealed keeps its epoch and opens. All slots stay, without
 * their secrets, as the keyring knows their keys. So whoever had the old keyring can follow: see `renewSlots`.
 */
export function rotate(tools: KeyTools, keys: Keys): Keys {
  const file = checkedFile(tools.provider, keys);
  return rewritten(tools, nextEpoch(tools, keys.keyring), { file, slots: headsOf(file) });
}

/**
 * A new epoch, and slots made anew from these secrets with new salts; all others are gone. Nothing that anybody had
 * before opens the new file, so who is left out reads nothing that is sealed from now on.
 */
export async function renewSlots(tools: KeyTools, keys: Keys, secrets: readonly Secret[]): Promise<Keys> {
  const file = checkedFile(tools.provider, keys);
  if (secrets.length === 0) throw new StoreError('invalid-argument', 'keys have at least one slot');
  if (secrets.length > slotsMax)
    throw new StoreError('limit-exceeded', `there are at most ${slotsMax} key slots`);
  const slots: { readonly head: SlotHead; readonly key: Uint8Array }[] = [];
  for (const secret of secrets) slots.push(await newSlot(tools, secret));
  const bare = nextEpoch(tools, keys.keyring);
  const keyring = bare.withSlots(new Map(slots.map(({ head, key }) => [head.id, key])));
  bare.wipe();
  for (const { key } of slots) key.fill(0);
  return rewritten(tools, keyring, { file, slots: slots.map(({ head }) => head) });
}

function nextEpoch({ random }: KeyTools, keyring: Keyring): Keyring {
  const master = random(keyBytes);
  const next = keyring.withEpoch(master);
  master.fill(0);
  return next;
}

/** A recovery key to print, and to add a slot with. */
export function newRecoveryKey({ provider, random }: KeyTools): string {
  const key = random(keyBytes);
  const text = printRecoveryKey(provider, key);
  key.fill(0);
  return text;
}

async function newSlot(
  tools: KeyTools,
  secret: Secret,
): Promise<{ readonly head: SlotHead; readonly key: Uint8Array }> {
  const { provider, random } = tools;
  const bytes = secretBytes(provider, secret);
  const derivation = newDerivation(provider, secret.kind);
  const [id, salt] = [toHex(random(slotIdBytes)), random(saltBytes)];
  const head = { id, kind: secret.kind, derivation, createdMs: tools.nowMs, salt };
  try {
    return { head, key: await deriveSlotKey(provider, bytes, head) };
  } finally {
    bytes.fill(0);
  }
}

function headsOf(file: SlotFile): readonly SlotHead[] {
  return file.slots.map(({ head }) => head);
}

/** The old file is checked before a new one is made of it: else a change of somebody's would be signed by us. */
function checkedFile(provider: Provider, keys: Keys): SlotFile {
  const file = decodeSlotFile(provider, keys.file);
  checkFile(provider, keys.keyring, file);
  return file;
}

function rewritten(
  tools: KeyTools,
  keyring: Keyring,
  next: { readonly file: SlotFile; readonly slots: readonly SlotHead[] },
): Keys {
  const { file, slots } = next;
  const sequence = file.head.sequence + 1;
  // Nobody counts that far; somebody who has had the keys may say so, and the next file could be read by nobody.
  if (!Number.isSafeInteger(sequence))
    throw new StoreError('limit-exceeded', 'the file of keys counts no further change');
  return { keyring, file: writeFile(tools, keyring, { sequence, slots }) };
}

/** Wraps the keyring for every slot anew, each with a fresh nonce, and authenticates the list. */
function writeFile(
  tools: KeyTools,
  keyring: Keyring,
  list: { readonly sequence: number; readonly slots: readonly SlotHead[] },
): Uint8Array {
  const { provider, random } = tools;
  const head: FileHead = {
    realmId: fromHex(keyring.realmId)!,
    sequence: list.sequence,
    epoch: keyring.epoch,
  };
  const fileHead = encodeFileHead(head, list.slots.length);
  const secret = keyring.encode();
  const slots = list.slots.map((slot) => {
    const key = keyring.slotKey(slot.id);
    invariant(key !== undefined, 'the keyring knows the key of each slot');
    const nonce = random(nonceBytes);
    const slotHead = encodeSlotHead(
      { ...slot, idBytes: fromHex(slot.id)! },
      { nonce, keyringBytes: secret.length },
    );
    const derived = deriveSealKey(provider, key, label, nonce);
    const wrapped = new Uint8Array(secret.length + tagBytes);
    const aad = concatBytes(fileHead, slotHead);
    provider.aead(derived.key).seal({ nonce: gcmNonce, aad, bytes: secret }, wrapped);
    derived.key.fill(0);
    return concatBytes(slotHead, derived.commitment, wrapped);
  });
  secret.fill(0);
  const authenticated = concatBytes(fileHead, ...slots);
  return finishFile(
    provider,
    authenticated,
    macOf(provider, keyring, { authenticated, epoch: keyring.epoch }),
  );
}

/** By the newest epoch, so that a keyring from before a rotation cannot make a list that we take. */
function macOf(
  provider: Provider,
  keyring: Keyring,
  { authenticated, epoch }: { readonly authenticated: Uint8Array; readonly epoch: number },
): Uint8Array {
  return provider.hmacSha256(keyring.derive('slots', epoch), authenticated);
}

function tampered(why: string): StoreError {
  return new StoreError('tampered', `the file of keys was tampered with: ${why}`);
}
