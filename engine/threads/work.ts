/** Entry of a worker thread: reads, hashes, encodes, verifies; writes nothing but temps and blob files. */
import { isMainThread, workerData } from 'node:worker_threads';
import type { Host, Port } from '../host.ts';
import { Workshop } from './workshop.ts';
import { nodeHost } from '../hosts/node.ts';
import { parentPortOf, threadMark } from '../hosts/node-threads.ts';
import { nodeProvider } from '../providers/node.ts';
import { serve } from '../rpc.ts';

export function run(port: Port, host: Host): void {
  const workshop = new Workshop(host, nodeProvider);
  workshop.onNote = serve(port, workshop.handlers());
}

if (!isMainThread && (workerData as { mark?: unknown } | null)?.mark === threadMark)
  run(parentPortOf(), nodeHost());
