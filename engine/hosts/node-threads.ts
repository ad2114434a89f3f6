/** Worker threads of Node.js behind the Threads contract, and the inline stand-in that runs them on the calling thread. */
import { availableParallelism } from 'node:os';
import { MessageChannel, type MessagePort, Worker, parentPort } from 'node:worker_threads';
import type { Host, Port, Thread, ThreadEntry, Threads } from '../host.ts';

/** Workers started by this library find this in their workerData; entries run only then. */
export const threadMark = 'holdfast/thread';

export function nodeThreads(host: () => Host, inline: boolean): Threads {
  return {
    parallelism: availableParallelism(),
    channel() {
      if (inline) return undefined;
      const { port1, port2 } = new MessageChannel();
      return [port1, port2];
    },
    join(end) {
      const port = end as MessagePort;
      const joined = portOf(port);
      // Listening would keep the thread alive for ever.
      return { ...joined, listen: (handler) => (joined.listen(handler), port.unref()) };
    },
    start: inline ? (entry) => startInline(entry, host()) : startWorker,
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
  const worker = new Worker(entry, { workerData: { mark: threadMark }, stdout: false, stderr: false });
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
  return {
    port: portOf(worker),
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

async function startInline(entry: URL, host: Host): Promise<Thread> {
  const loaded = (await import(entry.href)) as ThreadEntry;
  const channel = new MessageChannel();
  const inside = portOf(channel.port2);
  loaded.run(inside, host);
  // Listening keeps a port, and so the process, alive: only while calls are under way.
  channel.port1.unref();
  channel.port2.unref();
  const ends = [channel.port1, channel.port2];
  let held = 0;
  const outside = portOf(channel.port1);
  return {
    port: {
      ...outside,
      listen(handler) {
        outside.listen(handler);
        if (held === 0) channel.port1.unref();
      },
    },
    ended: new Promise(() => {}),
    hold(on) {
      held += on ? 1 : -1;
      if (held === 1 && on) for (const end of ends) end.ref();
      if (held === 0) for (const end of ends) end.unref();
    },
    async stop() {
      channel.port1.close();
    },
  };
}

/** Inside a worker: the port to the thread that started it. */
export function parentPortOf(): Port {
  if (parentPort === null) throw new Error('holdfast bug: a thread entry ran outside a worker');
  return portOf(parentPort);
}
