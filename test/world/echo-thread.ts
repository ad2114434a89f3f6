/** The thread entry that the host suite starts: echoes, talks over channels, dies when asked to. */
import { isMainThread, workerData } from 'node:worker_threads';
import type { Host, Port } from '../../engine/host.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import { parentPortOf, threadMark } from '../../engine/hosts/node-threads.ts';

/** See `threadEntry` in test/conformance/host-under-test.ts. */
export function run(port: Port, host: Host): void {
  port.listen((message) => {
    if (message === 'die') throw new Error('asked to die');
    const { end, say } = (message ?? {}) as { readonly end?: unknown; readonly say?: unknown };
    if (end === undefined) return port.post({ echo: message, platform: host.platform });
    const other = host.threads.join(end);
    other.listen((heard) => port.post({ heard }));
    if (say !== undefined) other.post(say);
  });
}

if (!isMainThread && (workerData as { mark?: unknown } | null)?.mark === threadMark)
  run(parentPortOf(), nodeHost());
