/** Thread entries run on the calling thread, over ports that copy messages as real ones do. */
import type { Host, Port, Thread, ThreadEntry, Threads } from '../host.ts';

/** A timer keeps the process alive while a thread is held; it does nothing. */
const holdMs = 60_000;

export interface InlineThreads extends Threads {
  /** Ends every thread without a word, as the death of a process does: `ended` never resolves. */
  abandon(): void;
}

/** `host` is what the entries are given. */
export function inlineThreads(host: () => Host): InlineThreads {
  const open = new Set<End>();
  return {
    parallelism: 1,
    channel: () => undefined,
    join() {
      throw new Error('holdfast bug: inline threads have no channels to join');
    },
    async start(entry) {
      const loaded = (await import(entry.href)) as ThreadEntry;
      return startInline(loaded, host(), open);
    },
    abandon() {
      for (const end of open) end.close();
      open.clear();
    },
  };
}

function startInline(entry: ThreadEntry, host: Host, open: Set<End>): Thread {
  const [outside, inside] = channel();
  let end: (error: Error | undefined) => void = () => {};
  const ended = new Promise<Error | undefined>((resolve) => {
    end = resolve;
  });
  open.add(outside);
  let held = 0;
  let alive: ReturnType<typeof setInterval> | undefined;
  const finish = (error: Error | undefined): void => {
    outside.close();
    open.delete(outside);
    clearInterval(alive);
    end(error);
  };
  // What would kill a real thread: an error of the entry, or of a handler it called.
  inside.onError = (error) => finish(error instanceof Error ? error : new Error(String(error)));
  inside.guard(() => entry.run(inside, host));
  return {
    port: outside,
    ended,
    hold(on) {
      held += on ? 1 : -1;
      clearInterval(alive);
      alive = held > 0 ? setInterval(() => {}, holdMs) : undefined;
    },
    stop: async () => finish(undefined),
  };
}

/** One end of a channel in this thread. Messages wait until somebody listens. */
class End implements Port {
  other: End = this;
  onError: ((error: unknown) => void) | undefined;
  #handler: ((message: unknown) => void) | undefined;
  #waiting: unknown[] = [];
  #closed = false;

  post(message: unknown, transfer: readonly object[] = []): void {
    const copy: unknown = structuredClone(message, { transfer: transfer as ArrayBuffer[] });
    if (!this.#closed) setImmediate(() => this.other.#deliver(copy));
  }

  listen(handler: (message: unknown) => void): void {
    this.#handler = handler;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const message of waiting) setImmediate(() => this.#deliver(message));
  }

  /** Closes both ends. */
  close(): void {
    this.#closed = true;
    this.other.#closed = true;
  }

  guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (this.onError === undefined) throw error;
      this.onError(error);
    }
  }

  #deliver(message: unknown): void {
    if (this.#closed) return;
    if (this.#handler === undefined) this.#waiting.push(message);
    else this.guard(() => this.#handler?.(message));
  }
}

function channel(): [End, End] {
  const [a, b] = [new End(), new End()];
  a.other = b;
  b.other = a;
  return [a, b];
}
