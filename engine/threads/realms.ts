/** Finding a store and unlocking it: keys of a new one are made, those of an old one opened by the secret that was given. */
import type { EncryptionOptions, EncryptionParameters, ReplicaSeed, StoreParameters } from '../api.ts';
import { type StoreLayout, layoutOf } from '../catalog/layout.ts';
import type { Provider } from '../codec/provider.ts';
import { type FoundStore, findStore } from '../commit/create.ts';
import { readKeyFiles, readOffered } from '../commit/key-files.ts';
import type { DatabaseClass } from '../driver.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import type { Keyring } from '../keys/keyring.ts';
import { paddings } from '../codec/superblock.ts';
import { type Keys, type KeyTools, createKeys, describeKeys } from '../keys/keys.ts';
import { type NewestKeys, openNewest } from '../keys/newest.ts';
import { type Realm, SealedRealm, lockedRealm, plainRealm } from '../keys/realm.ts';

export type { Realm } from '../keys/realm.ts';

export interface UnlockedStore extends FoundStore {
  /** Of an encrypted store that was given a key that fits. */
  readonly keyring: Keyring | undefined;
  /** The file that it came out of; absent where it was made just now. */
  readonly keysFile?: Uint8Array;
}

/** What is to be opened, or made. */
export interface Wanted {
  readonly root: string;
  readonly mode: 'create' | 'open' | 'read-only';
  readonly parameters: StoreParameters;
  readonly encryption?: EncryptionOptions;
  /** What another store of the realm gave to make this one. */
  readonly replicaOf?: ReplicaSeed<StoreParameters>;
}

/** `wrong-key` where the secret fits no slot, and where one is given to a store that is not encrypted. */
export async function findUnlocked(
  options: Wanted,
  parts: { readonly host: Host; readonly provider: Provider; readonly driver: DatabaseClass },
): Promise<UnlockedStore> {
  const { replicaOf } = options;
  const planted = replicaOf && checkSeed(replicaOf, parts.provider);
  const fresh = replicaOf === undefined ? await newKeys(options, parts) : undefined;
  try {
    const parameters =
      planted === undefined
        ? withKeys(options.parameters, fresh, options.encryption?.padding)
        : { ...options.parameters, encryption: planted };
    // Without keys no store is made where an encrypted one is wanted.
    const mode =
      options.mode === 'create' && options.encryption !== undefined && !fresh && !planted
        ? 'open'
        : options.mode;
    const keys = fresh?.file ?? replicaOf?.keys;
    const offered = replicaOf?.offered ?? [];
    const found = findStore(options.root, mode, { ...parts, parameters, keys, offered });
    const { encryption } = found.superblock.parameters;
    if (planted !== undefined && encryption?.realm !== planted.realm)
      throw new StoreError(
        'conflict',
        `the store in ${options.root} is there already, and of another realm`,
        {
          path: options.root,
        },
      );
    if (encryption === null) {
      if (options.encryption === undefined) return { ...found, keyring: undefined };
      throw notEncrypted(found);
    }
    if (fresh?.keyring.realmId === encryption.realm) return { ...found, keyring: fresh.keyring };
    fresh?.keyring.wipe();
    if (options.encryption === undefined) return { ...found, keyring: undefined };
    return { ...found, ...(await unlock(found, options.encryption, parts)) };
  } catch (error) {
    fresh?.keyring.wipe();
    throw error;
  }
}

/**
 * The same for a store whose catalog is to be made again, which takes its keys: without them nobody can tell what lies in it. Undefined
 * where it is not encrypted.
 */
export async function unlockLost(
  found: FoundStore,
  encryption: Pick<EncryptionOptions, 'secret'> | undefined,
  parts: { readonly host: Host; readonly provider: Provider },
): Promise<Keyring | undefined> {
  if (found.superblock.parameters.encryption === null) {
    if (encryption === undefined) return undefined;
    throw notEncrypted(found);
  }
  if (encryption !== undefined) return (await unlock(found, encryption, parts)).keyring;
  throw new StoreError('wrong-key', 'this store is encrypted: its catalog is only made again with a key', {
    path: found.layout.root,
  });
}

/** What a replica is to be encrypted with. It may have come from anywhere. */
function checkSeed(
  { keys, offered = [], parameters }: ReplicaSeed<StoreParameters>,
  provider: Provider,
): EncryptionParameters {
  const { encryption } = parameters;
  if (encryption === null || !paddings.includes(encryption.padding))
    throw new StoreError('invalid-argument', 'a replica without keys is one of an encrypted store');
  const { realm, padding } = encryption;
  if ([keys, ...offered].some((file) => describeKeys(provider, file).realmId !== realm))
    throw new StoreError('invalid-argument', 'the keys for a replica are of another realm');
  return { realm, padding };
}

async function unlock(
  found: FoundStore,
  encryption: Pick<EncryptionOptions, 'secret'>,
  parts: { readonly host: Host; readonly provider: Provider },
): Promise<{ readonly keyring: Keyring; readonly keysFile: Uint8Array }> {
  const { layout, superblock } = found;
  const unlocked = await newestOpened(layout, encryption, parts).catch((error: unknown) => {
    throw toStoreError(error, `reading the keys in ${layout.root}`, { path: layout.root });
  });
  if (unlocked.keyring.realmId === superblock.parameters.encryption?.realm) return unlocked;
  unlocked.keyring.wipe();
  throw new StoreError('tampered', 'the file of keys is of another store', { path: layout.keys });
}

async function newestOpened(
  layout: StoreLayout,
  { secret }: Pick<EncryptionOptions, 'secret'>,
  { host, provider }: { readonly host: Host; readonly provider: Provider },
): Promise<NewestKeys> {
  const inUse = readKeyFiles(host.files, layout, provider);
  const waiting = readOffered(host.files, layout, provider);
  return await openNewest(provider, { inUse, waiting }, secret);
}

function notEncrypted({ layout }: FoundStore): StoreError {
  return new StoreError('wrong-key', 'a key was given, and this store is not encrypted', {
    path: layout.root,
  });
}

/** Keys for the store that is about to be made. Another process may be faster: then they are for nothing. */
async function newKeys(
  { root, mode, encryption }: Wanted,
  { host, provider }: { readonly host: Host; readonly provider: Provider },
): Promise<Keys | undefined> {
  const { superblock } = layoutOf(host.files, root);
  if (encryption === undefined || mode !== 'create' || isThere(host, root, superblock)) return undefined;
  return await createKeys(toolsOf(host, provider), encryption.secret);
}

function isThere({ files }: Host, root: string, path: string): boolean {
  try {
    return files.facts(path) !== undefined;
  } catch (error) {
    throw toStoreError(error, `opening the store in ${root}`, { path });
  }
}

function withKeys(
  parameters: StoreParameters,
  keys: Keys | undefined,
  padding: EncryptionParameters['padding'] = 'none',
): StoreParameters {
  if (keys === undefined) return parameters;
  return { ...parameters, encryption: { realm: keys.keyring.realmId, padding } };
}

export function toolsOf(host: Host, provider: Provider): KeyTools {
  return { provider, random: (bytes) => host.random(bytes), nowMs: Math.floor(host.clock.now()) };
}

/** How ids and names stand in a store. */
export function realmOf(
  host: Host,
  provider: Provider,
  store: { readonly encryption: EncryptionParameters | null; readonly keyring: Keyring | undefined },
): Realm {
  const { encryption, keyring } = store;
  if (encryption === null) return plainRealm;
  if (keyring === undefined) return lockedRealm;
  const { padding } = encryption;
  return new SealedRealm(provider, keyring, { random: (bytes) => host.random(bytes), padding });
}

/** When the store is closed. */
export function wipeKeys(realm: Realm): void {
  if (realm instanceof SealedRealm) realm.close();
}
