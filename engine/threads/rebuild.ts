/** Entry of the thread that makes the catalog of a store that has lost its own. A file of its own: no other opening loads what it needs. */
import { isMainThread, workerData } from 'node:worker_threads';
import type { EncryptionOptions } from '../api.ts';
import type { Provider } from '../codec/provider.ts';
import { findLostStore } from '../commit/create.ts';
import { Contents } from '../content/contents.ts';
import { type DriverChoice, loadDriver } from '../driver.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Host, Port } from '../host.ts';
import { nodeHost } from '../hosts/node.ts';
import { parentPortOf, threadMark } from '../hosts/node-threads.ts';
import { rebuildCatalog } from '../maintenance/rebuild.ts';
import { nodeProvider } from '../providers/node.ts';
import { type CallContext, type Handler, serve } from '../rpc.ts';
import { realmOf, unlockLost, wipeKeys } from './realms.ts';

interface RebuildRequest {
  readonly root: string;
  readonly driver: DriverChoice;
  readonly acceptGap: boolean;
  readonly encryption?: Pick<EncryptionOptions, 'secret'>;
}

/** Progress is told at most this often. */
const tellMs = 100;

function rebuildHandlers(host: Host, provider: Provider): Readonly<Record<string, Handler>> {
  return {
    async rebuild({ root, driver, acceptGap, encryption }: RebuildRequest, context: CallContext) {
      const found = findLostStore(root, host, provider);
      const { layout, superblock } = found;
      if (superblock.roCompat.length > 0)
        throw new StoreError(
          'incompatible-format',
          `this store can only be read here: it uses ${superblock.roCompat.join(', ')}`,
        );
      const done = { blobs: 0, bytes: 0 };
      let toldAt = host.clock.monotonic();
      const progress = (more: { readonly blobs: number; readonly bytes: number }): void => {
        done.blobs += more.blobs;
        done.bytes += more.bytes;
        const now = host.clock.monotonic();
        if (now - toldAt < tellMs) return;
        toldAt = now;
        context.progress({ ...done });
      };
      const { signal } = context;
      const loaded = await loadDriver(driver);
      const keyring = await unlockLost(found, encryption, { host, provider });
      const realm = realmOf(host, provider, { encryption: superblock.parameters.encryption, keyring });
      const contents = new Contents(provider, realm);
      const tools = {
        host,
        provider,
        layout,
        superblock,
        signal,
        progress,
        driver: loaded,
        contents,
      };
      try {
        return await rebuildCatalog(tools, { acceptGap, library: driver.module });
      } catch (error) {
        throw signal.aborted
          ? error
          : toStoreError(error, `rebuilding the catalog in ${root}`, { path: root });
      } finally {
        contents.close();
        wipeKeys(realm);
      }
    },
  };
}

export function run(port: Port, host: Host): void {
  serve(port, rebuildHandlers(host, nodeProvider));
}

if (!isMainThread && (workerData as { mark?: unknown } | null)?.mark === threadMark)
  run(parentPortOf(), nodeHost());
