/** The commit thread's work on the keys of an encrypted store, by name: slots, epochs, and what is still sealed under old ones. */
import type { KeysInfo, KeysTaken, ReplicaSeed, Secret } from '../api.ts';
import { type BlobRow, isChunked } from '../catalog/blob-rows.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { dropOffered, keepOffered, readKeyFiles, readOffered, writeKeyFiles } from '../commit/key-files.ts';
import { StoreError, writeError } from '../errors.ts';
import type { Host } from '../host.ts';
import {
  type KeyTools,
  type Keys,
  addSlot,
  comesAfter,
  describeKeys,
  followKeys,
  newRecoveryKey,
  removeSlot,
  renewSlots,
  rotate,
} from '../keys/keys.ts';
import type { Keyring } from '../keys/keyring.ts';
import { type Realm, SealedRealm } from '../keys/realm.ts';
import type { Handler } from '../rpc.ts';
import { toolsOf } from './realms.ts';

/** What telling about keys takes. */
export interface KeyView {
  readonly host: Host;
  readonly provider: Provider;
  readonly layout: StoreLayout;
  readonly realm: Realm;
  /** Absent where the store is open for reading only: this thread has no catalog then. */
  readonly catalog: Catalog | undefined;
}

export interface KeyContext extends KeyView {
  readonly catalog: Catalog;
}

/** The keyring after a change, encoded, for the workers: this thread has learnt it. Whoever takes it wipes it. */
export interface Changed {
  readonly keyring: Uint8Array;
  readonly slot?: string;
  readonly recoveryKey?: string;
}

/** A blob whose stored copy is to be sealed anew. */
export interface Stale {
  readonly n: number;
  readonly name: string;
  readonly incarnation: number;
  /** A file of its own; else a record. */
  readonly large: boolean;
  readonly stored: number;
}

export interface StalePage {
  readonly stale: readonly Stale[];
  /** Chunked blobs, which have no bytes: only their labels were to be made new, and are. */
  readonly relabelled: number;
  /** Where to go on; undefined at the end. */
  readonly next?: number;
}

/** Rows looked at in one transaction. */
const pageRows = 2_000;

export function keyHandlers(open: () => KeyContext, view: () => KeyView): Readonly<Record<string, Handler>> {
  return {
    'keys-list': () => listKeys(view()),
    'keys-files': () => keysFiles(view()),
    'keys-take': (file: Uint8Array) => takeKeys(open(), file),
    'keys-add': (secret: Secret | 'recovery-key') => addKey(open(), secret),
    'keys-remove': (slot: string) =>
      change(open(), (tools, keys) => Promise.resolve(removeSlot(tools, keys, slot))),
    'keys-rotate': () => change(open(), (tools, keys) => Promise.resolve(rotate(tools, keys))),
    'keys-renew': (secrets: readonly Secret[]) =>
      change(open(), (tools, keys) => renewSlots(tools, keys, secrets)),
    'keys-use': () => (open().realm as SealedRealm).use(),
    'keys-stale': (after: number) => stalePage(open(), after),
  };
}

/** As they are, for a replica. */
function keysFiles(view: KeyView): Pick<ReplicaSeed, 'keys' | 'offered'> {
  const keys = readFile(view);
  const offered = readOffered(view.host.files, view.layout, view.provider);
  return { keys, ...(offered.length === 0 ? {} : { offered }) };
}

/** What became of a file of keys that came from a peer; with the keyring where it is the one in use now. */
export interface TakenKeys {
  readonly state: KeysTaken;
  readonly keyring?: Uint8Array;
}

/**
 * Takes in a newer file: in use at once where the keys here open it, it comes after the one in use and takes no way in away. Else it is
 * kept beside it until a secret opens it.
 */
function takeKeys(context: KeyContext, file: Uint8Array): TakenKeys {
  const { realm, host, provider, layout, catalog } = context;
  const incoming = describeKeys(provider, file);
  if (incoming.realmId !== describe(context).realm)
    throw new StoreError('wrong-key', 'the file of keys that came is of another realm');
  checkNewest(context);
  let followed: Keyring | undefined;
  let state: KeysTaken;
  try {
    state = catalog.transaction((): KeysTaken => {
      const before = readFile(context);
      const now = describeKeys(provider, before);
      if (incoming.sequence <= now.sequence) return 'old';
      const ids = new Set(incoming.slots.map(({ id }) => id));
      if (realm.sealing !== undefined && now.slots.every(({ id }) => ids.has(id)))
        followed = following(provider, realm.sealing.keyring, { file, before });
      if (followed === undefined) {
        keepOffered(host.files, layout, { bytes: file, provider });
        return incoming.epoch > now.epoch ? 'ahead' : 'kept';
      }
      writeKeyFiles(host.files, layout, file);
      dropOffered(host.files, layout, provider);
      return 'taken';
    });
  } catch (error) {
    followed?.wipe();
    throw writeError(error, 'taking keys in');
  }
  if (followed === undefined) return { state };
  (realm as SealedRealm).learn(followed);
  return { state, keyring: followed.encode() };
}

function following(
  provider: Provider,
  keyring: Keyring,
  { file, before }: { readonly file: Uint8Array; readonly before: Uint8Array },
): Keyring | undefined {
  let next: Keyring | undefined;
  try {
    next = followKeys(provider, keyring, { file });
  } catch (error) {
    if (StoreError.is(error)) return undefined;
    throw error;
  }
  if (next === undefined || comesAfter(provider, next, before)) return next;
  next.wipe();
  return undefined;
}

function listKeys(context: KeyView): KeysInfo {
  const { realm, slots, epoch } = describe(context);
  const info: KeysInfo = {
    realm,
    epoch,
    slots: slots.map(({ id, kind, derivation, createdMs }) => ({
      id,
      kind,
      derivation: derivation.kdf,
      createdMs,
    })),
  };
  const { catalog } = context;
  if (context.realm.state !== 'open' || catalog === undefined) return info;
  return { ...info, behind: behind({ ...context, catalog }) };
}

function describe(context: KeyView): {
  realm: string;
  epoch: number;
  slots: ReturnType<typeof describeKeys>['slots'];
} {
  const { realmId, epoch, slots } = describeKeys(context.provider, readFile(context));
  return { realm: realmId, epoch, slots };
}

function readFile({ host, layout, provider, realm }: KeyView): Uint8Array {
  if (realm.state === 'plain') throw new StoreError('invalid-argument', 'this store is not encrypted');
  return readKeyFiles(host.files, layout, provider);
}

async function addKey(context: KeyContext, wanted: Secret | 'recovery-key'): Promise<Changed> {
  const before = new Set(describe(context).slots.map(({ id }) => id));
  const text =
    wanted === 'recovery-key' ? newRecoveryKey(toolsOf(context.host, context.provider)) : undefined;
  const secret: Secret = wanted === 'recovery-key' ? { kind: wanted, text: text! } : wanted;
  const changed = await change(context, (tools, keys) => addSlot(tools, keys, secret));
  const slot = describe(context).slots.find(({ id }) => !before.has(id))!.id;
  return { ...changed, slot, ...(text === undefined ? {} : { recoveryKey: text }) };
}

/** Reads, changes and writes the file under the catalog's write lock, so that no two processes change it at once. */
async function change(
  context: KeyContext,
  make: (tools: KeyTools, keys: Keys) => Promise<Keys>,
): Promise<Changed> {
  const { realm, host, provider, layout, catalog } = context;
  const before = readFile(context);
  if (!(realm instanceof SealedRealm)) realm.nameOf('');
  const { keyring } = (realm as SealedRealm).sealing;
  checkNewest(context);
  // Deriving a key takes a second, which no lock is held for: what was read must stand still when it is written.
  const made = await make(toolsOf(host, provider), { keyring, file: before });
  try {
    catalog.transaction(() => {
      const now = readFile(context);
      if (describeKeys(provider, now).sequence !== describeKeys(provider, before).sequence)
        throw new StoreError('busy', 'another process has just changed the keys');
      writeKeyFiles(host.files, layout, made.file);
    });
  } catch (error) {
    made.keyring.wipe();
    throw writeError(error, 'changing the keys');
  }
  (realm as SealedRealm).learn(made.keyring);
  return { keyring: made.keyring.encode() };
}

/** `needs-reopen` where another process has changed the keys, so that what is on disk may be sealed under an epoch unknown here. */
export function checkNewest(context: KeyView): void {
  const { sealing } = context.realm;
  if (sealing === undefined) return;
  const { keyring } = sealing;
  const { epoch, slots } = describe(context);
  const same = slots.map(({ id }) => id).join() === keyring.slotIds.join();
  if (epoch === keyring.epoch && same) return;
  throw new StoreError('needs-reopen', 'another process has changed the keys since this store was opened');
}

function behind({ catalog, realm }: KeyContext): number {
  return catalog.sql
    .values(`SELECT count(*) FROM blobs WHERE ${staleLabel}`)
    .get(epochBytes(realm)) as number;
}

/** The epoch stands at byte 2 of a label (codec/sealed-value.ts). */
const staleLabel = '(label IS NULL OR substr(label, 3, 4) != ?)';

function epochBytes(realm: Realm): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, (realm as SealedRealm).epoch, true);
  return bytes;
}

/** The next blobs behind row `after` that are sealed under an old epoch. Chunked ones, which only have labels, are brought up to date. */
function stalePage(context: KeyContext, after: number): StalePage {
  const { catalog, realm } = context;
  if (realm.state !== 'open') realm.nameOf('');
  // Else what is of a newer epoch would be taken for something to be brought back under ours.
  checkNewest(context);
  return catalog.transaction((transaction) => {
    const found = catalog.sql
      .rows(`SELECT * FROM blobs WHERE n > ? AND ${staleLabel} ORDER BY n LIMIT ?`)
      .all(after, epochBytes(realm), pageRows) as BlobRow[];
    let relabelled = 0;
    const stale: Stale[] = [];
    for (const row of found) {
      if (!catalog.blobs.holds(row) || row.suspect !== 0) continue; // a scrub's work
      if (!isChunked(row)) {
        const { n, incarnation, stored } = row;
        const large = catalog.sql
          .values(`SELECT kind = 'directory' FROM volumes WHERE n = ?`)
          .get(row.volume);
        stale.push({ n, name: toHex(row.id), incarnation, large: large === 1, stored });
        continue;
      }
      const facts = realm.reveal(row.id, row.label);
      if (facts === undefined) continue;
      row.label = realm.label(facts);
      transaction.changed = true;
      catalog.blobs.update(row);
      relabelled++;
    }
    if (found.length < pageRows) reshowRoots(context);
    const last = found.length < pageRows ? undefined : found.at(-1)!.n;
    transaction.changed = last === undefined;
    return { stale, relabelled, ...(last === undefined ? {} : { next: last }) };
  });
}

/** Names of roots are sealed anew as well; there are few. Of the root log, which is only ever added to, old names stay as they are. */
function reshowRoots({ catalog, realm }: KeyContext): void {
  for (const root of catalog.roots.all()) {
    const row = catalog.blobs.byNumber(root.blob);
    if (row === undefined) continue;
    const at = toHex(row.id);
    let name: string;
    try {
      name = realm.tell('root', root.shown, at);
    } catch (error) {
      if (StoreError.is(error)) continue; // nobody's, or of keys that are not here: it stays as it came
      throw error;
    }
    catalog.roots.put({ ...root, shown: realm.named('root', name, at).shown });
  }
}
