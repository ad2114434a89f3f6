/** Entry of the commit thread: the one writer of this process; owns the lease, the catalog connection and the open volume. */
import { isMainThread, workerData } from 'node:worker_threads';
import type { Host, Port } from '../host.ts';
import { Writer } from './writer.ts';
import { nodeHost } from '../hosts/node.ts';
import { parentPortOf, threadMark } from '../hosts/node-threads.ts';
import { nodeProvider } from '../providers/node.ts';
import { serve } from '../rpc.ts';

export function run(port: Port, host: Host): void {
  serve(port, new Writer(host, nodeProvider).handlers());
}

if (!isMainThread && (workerData as { mark?: unknown } | null)?.mark === threadMark)
  run(parentPortOf(), nodeHost());
