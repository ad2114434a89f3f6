/** Rebuilding the catalog of a store from the calling thread: the work is done on a thread of its own. */
import type { RebuildOptions, RebuildResult } from './api.ts';
import type { DriverChoice } from './driver.ts';
import type { Host } from './host.ts';
import { Remote } from './rpc.ts';

export async function rebuildOnThread(
  parts: { readonly host: Host; readonly entry: URL; readonly driver: DriverChoice; readonly root: string },
  { acceptGap = false, encryption, signal, onProgress }: RebuildOptions,
): Promise<RebuildResult> {
  const { host, entry, driver, root } = parts;
  const thread = await host.threads.start(entry);
  const remote = new Remote(thread.port, (busy) => thread.hold(busy));
  void thread.ended.then((error) => {
    if (error !== undefined) remote.fail(error);
  });
  try {
    return await remote.call<RebuildResult>(
      'rebuild',
      { root, driver, acceptGap, ...(encryption === undefined ? {} : { encryption }) },
      { signal, onProgress: onProgress as ((value: unknown) => void) | undefined },
    );
  } finally {
    await thread.stop();
  }
}
