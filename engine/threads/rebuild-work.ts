/** The commit thread's work on a store that has no catalog: making one. */
import type { Provider } from '../codec/provider.ts';
import { findLostStore } from '../commit/create.ts';
import { type DriverChoice, loadDriver } from '../driver.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import { rebuildCatalog } from '../maintenance/rebuild.ts';
import type { CallContext, Handler } from '../rpc.ts';

interface RebuildRequest {
  readonly root: string;
  readonly driver: DriverChoice;
  readonly acceptGap: boolean;
}

/** Progress is told at most this often. */
const tellMs = 100;

export function rebuildHandlers(host: Host, provider: Provider): Readonly<Record<string, Handler>> {
  return {
    async rebuild({ root, driver, acceptGap }: RebuildRequest, context: CallContext) {
      const { layout, superblock } = findLostStore(root, host, provider);
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
      const tools = {
        host,
        provider,
        layout,
        superblock,
        signal,
        progress,
        driver: await loadDriver(driver),
      };
      try {
        return await rebuildCatalog(tools, { acceptGap, library: driver.module });
      } catch (error) {
        throw signal.aborted
          ? error
          : toStoreError(error, `rebuilding the catalog in ${root}`, { path: root });
      }
    },
  };
}
