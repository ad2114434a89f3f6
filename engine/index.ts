/** The door of the engine: opens a store, and exports what applications and the layers above may use. */
import PQueue from 'p-queue';
import type { OpenOptions, RebuildOptions, RebuildResult, Store } from './api.ts';
import { absolutePath } from './arguments.ts';
import { checkParameters, chunkingOf, compressionOf, defaultParameters } from './codec/superblock.ts';
import { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import { nodeHost } from './hosts/node.ts';
import { seedParameters } from './parameters.ts';
import { nodeProvider } from './providers/node.ts';
import { rebuildOnThread } from './rebuild.ts';
import { checkRuntime } from './runtime.ts';
import { checkedCap } from './eviction.ts';
import { EngineStore } from './store.ts';
import type { OpenedStore } from './threads/opened.ts';

export type * from './api.ts';
export { type ErrorCode, type ErrorData, type ErrorFacts, StoreError, errorCodes } from './errors.ts';
export type { DatabaseClass, DriverChoice } from './driver.ts';
export type { Host } from './host.ts';
export { type NodeContent, decodeNode, encodeNode, sortLinks } from './codec/node.ts';
export { listingFacts, listingNames, listingRecordBytes } from './codec/listing.ts';
export { nodeHost } from './hosts/node.ts';
export { readParameters } from './parameters.ts';
export { nodeProvider };

/** Compiled or not, a worker entry has the extension this file has. */
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/**
 * Opens the store in a folder; makes one where the folder is absent or empty, unless `mode` says otherwise.
 * Runs recovery when a process died with the store open. Several processes may have one store open.
 */
export async function openStore(directory: string, options: OpenOptions = {}): Promise<Store> {
  checkRuntime();
  options.signal?.throwIfAborted();
  if (typeof directory !== 'string' || directory === '')
    throw new StoreError('invalid-argument', 'the folder of a store must be a path');
  const given = seedParameters(options.replicaOf) ?? options.parameters;
  const parameters = checkParameters({
    ...defaultParameters,
    ...given,
    layout: options.layout ?? given?.layout ?? defaultParameters.layout,
    chunking: chunkingOf(options.chunking ?? given?.chunking),
    compression: compressionOf(options.compression ?? given?.compression, nodeProvider.zstd !== undefined),
  });
  const count = options.threads?.count;
  if (count !== undefined && !(Number.isInteger(count) && count >= 0 && count <= 64))
    throw new StoreError('invalid-argument', 'threads.count must be a whole number from 0 to 64');
  const host = options.host ?? nodeHost({ inline: count === 0 });
  const mode = options.mode ?? 'create';
  const durability = options.durability ?? 'full';
  const driver = options.driver ?? { module: import.meta.resolve('better-sqlite3') };
  const alternates = (options.alternates ?? []).map((one) =>
    typeof one === 'string'
      ? { path: absolutePath(host, one), immutable: false }
      : { path: absolutePath(host, one.path), immutable: one.immutable ?? false },
  );
  if (options.cap !== undefined) checkedCap(options.cap);
  let store: EngineStore | undefined;
  const entries = {
    commit: new URL(`./threads/commit.${extension}`, import.meta.url),
    work: new URL(`./threads/work.${extension}`, import.meta.url),
  };
  const workers =
    count === undefined ? Math.min(4, Math.max(2, host.threads.parallelism)) : Math.max(1, count);
  const crew = await Crew.start(host, entries, {
    count: workers,
    // Workers that come later need the keys again, and this thread does not keep them.
    now: options.encryption === undefined ? 1 : workers,
    onDeath: (error) => store?.fail(error as StoreError),
  });
  try {
    const opened = await crew.commit<OpenedStore>('open', {
      root: absolutePath(host, directory),
      mode,
      durability,
      driver,
      parameters,
      ...(options.encryption === undefined ? {} : { encryption: options.encryption }),
      ...(options.replicaOf === undefined ? {} : { replicaOf: options.replicaOf }),
    });
    const { layout, storeId, lease, keyring } = opened;
    await crew.open({
      layout,
      storeId,
      driver,
      durability,
      smallMax: opened.parameters.smallMax,
      chunkBytes: opened.parameters.chunkBytes,
      compression: opened.parameters.compression,
      chunking: opened.parameters.chunking,
      encryption: opened.parameters.encryption,
      ...(keyring === undefined ? {} : { keyring }),
      ...(lease === undefined ? {} : { lease }),
      ...(mode === 'read-only' ? { alternates } : {}),
    });
    const locked = opened.parameters.encryption !== null && keyring === undefined;
    keyring?.fill(0);
    const queue = new PQueue({ concurrency: workers });
    const openOther = (other: string): Promise<Store> => {
      const { threads, driver: given } = options;
      const how = {
        mode: 'read-only',
        host,
        ...(threads && { threads }),
        ...(given && { driver: given }),
      } as const;
      return openStore(other, how);
    };
    const onClosed = (): void => queue.clear();
    const { schedule = 'run', cap } = options;
    store = new EngineStore({ host, crew, opened, queue, locked, schedule, cap, onClosed, openOther });
    for (const { path, immutable } of mode === 'read-only' ? [] : alternates)
      await store.alternates.add(path, { immutable });
    return store;
  } catch (error) {
    await closeQuietly(crew);
    throw error;
  }
}

/**
 * Makes a new catalog (index.db) for the store in a folder, from its volumes and its root log alone. `busy` while anybody has the store
 * open, and whoever opens it meanwhile is told the same. Every byte is read and verified. The old catalog and what is damaged are set
 * aside in `quarantine/`, never deleted. Killed at any moment it leaves the store as it was, or saying `needs-rebuild`.
 */
export async function rebuildStore(directory: string, options: RebuildOptions = {}): Promise<RebuildResult> {
  checkRuntime();
  options.signal?.throwIfAborted();
  if (typeof directory !== 'string' || directory === '')
    throw new StoreError('invalid-argument', 'the folder of a store must be a path');
  const host = options.host ?? nodeHost({ inline: options.threads?.count === 0 });
  const parts = {
    host,
    entry: new URL(`./threads/rebuild.${extension}`, import.meta.url),
    driver: options.driver ?? { module: import.meta.resolve('better-sqlite3') },
    root: absolutePath(host, directory),
  };
  return await rebuildOnThread(parts, options);
}

/** The error that stopped the opening is the one to tell; a lease that could not be given back is found dead by the next opener. */
async function closeQuietly(crew: Crew): Promise<void> {
  await crew.commit('close', undefined).catch(() => undefined);
  await crew.stop();
}
