/** Worker threads of Node.js behind the Threads contract. */
import { availableParallelism } from 'node:os';
import { MessageChannel, type MessagePort, Worker, parentPort } from 'node:worker_threads';
import type { Port, Thread, Threads } from '../host.ts';

/** Workers started by this library find this in their workerData; entries run only then. */
export const threadMark = 'holdfast/thread';

/**
 * What a thread works on lies in buffers, outside of its heap; what it allocates beside them dies at once. The room that V8 would
 * take for that by itself costs each thread some 5 MB more, and saves no processor time in a transfer of 10,000 small files.
 */
const maxYoungGenerationSizeMb = 3;

export function nodeThreads(): Threads {
  return {
    parallelism: availableParallelism(),
    channel() {
      const { port1, port2 } = new MessageChannel();
      return [port1, port2];
    },
    join(end) {
      const port = end as MessagePort;
      const joined = portOf(port);
      // Listening would keep the thread alive for ever.
      return { ...joined, listen: (handler) => (joined.listen(handler), port.unref()) };
    },
    start: startWorker,
  };
}

/** A MessagePort, or a Worker, which has the same methods. */
interface PortEnd {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  close?(): void;
}

export function portOf(end: PortEnd): Port {
  return {
    post: (message, transfer = []) => end.postMessage(message, transfer as ArrayBuffer[]),
    listen: (handler) => void end.on('message', handler),
    close: () => end.close?.(),
  };
}

async function startWorker(entry: URL): Promise<Thread> {
  // A worker takes over the options of the main program; with --input-type (node -e) none starts from a file.
  const fromText = process.execArgv.some((option) => option.startsWith('--input-type'));
  const resourceLimits = { maxYoungGenerationSizeMb };
  const options = { workerData: { mark: threadMark }, stdout: false, stderr: false, resourceLimits };
  const worker = new Worker(entry, fromText ? { ...options, execArgv: [] } : options);
  let stopping = false;
  let failure: Error | undefined;
  worker.on('error', (error) => {
    failure = error instanceof Error ? error : new Error(String(error));
  });
  const ended = new Promise<Error | undefined>((resolve) => {
    worker.on('exit', (code) => {
      if (stopping) resolve(undefined);
      else resolve(failure ?? new Error(`a holdfast worker thread exited with code ${code}`));
    });
  });
  // A thread without work must not keep the process alive; calls under way hold it (see `hold`).
  let held = 0;
  worker.unref();
  const port = portOf(worker);
  return {
    port: {
      ...port,
      listen(handler) {
        port.listen(handler);
        // Node takes a listener for work.
        if (held === 0) worker.unref();
      },
    },
    ended,
    hold(on) {
      held += on ? 1 : -1;
      if (held === 1 && on) worker.ref();
      if (held === 0) worker.unref();
    },
    async stop() {
      stopping = true;
      await worker.terminate();
    },
  };
}

/** Inside a worker: the port to the thread that started it. */
export function parentPortOf(): Port {
  if (parentPort === null) throw new Error('holdfast bug: a thread entry ran outside a worker');
  return portOf(parentPort);
}
