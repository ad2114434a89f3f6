/** The threads of an open store: one that commits, several that work; calls are spread, a death fails everything with a clear error. */
import { StoreError } from './errors.ts';
import type { Host, Thread } from './host.ts';
import { type CallOptions, Remote } from './rpc.ts';

export interface ThreadEntries {
  readonly commit: URL;
  readonly work: URL;
}

interface Member {
  readonly thread: Thread;
  readonly remote: Remote;
}

export class Crew {
  readonly #writer: Member;
  readonly #workers: readonly Member[];
  #linked = false;
  #stopping = false;

  static async start(
    host: Host,
    entries: ThreadEntries,
    count: number,
    onDeath: (error: Error) => void,
  ): Promise<Crew> {
    const started = await Promise.all([
      host.threads.start(entries.commit),
      ...Array.from({ length: count }, () => host.threads.start(entries.work)),
    ]);
    const members = started.map((thread): Member => ({
      thread,
      remote: new Remote(thread.port, (busy) => thread.hold(busy)),
    }));
    const crew = new Crew(members[0]!, members.slice(1));
    for (const { thread } of members)
      void thread.ended.then((error) => (error === undefined ? undefined : crew.#died(error, onDeath)));
    return crew;
  }

  private constructor(writer: Member, workers: readonly Member[]) {
    this.#writer = writer;
    this.#workers = workers;
  }

  /** What workers tell beside their answers. */
  set onNote(onNote: (note: unknown) => void) {
    for (const { remote } of this.#workers) remote.onNote = onNote;
  }

  /** Calls the commit thread. */
  commit<Result>(method: string, args: unknown, options?: CallOptions): Promise<Result> {
    return this.#writer.remote.call<Result>(method, args, options);
  }

  /** Calls the worker with the least to do. */
  work<Result>(method: string, args: unknown, options?: CallOptions): Promise<Result> {
    return this.worker().call<Result>(method, args, options);
  }

  /** A worker to stay with, for calls that belong together. */
  worker(): Remote {
    return this.#least().remote;
  }

  /** Calls every worker. */
  async everyone(method: string, args: unknown): Promise<unknown[]> {
    return await Promise.all(this.#workers.map(({ remote }) => remote.call(method, args)));
  }

  /** Connects the first two workers, so that one can hash what the other reads. */
  async link(host: Host): Promise<void> {
    const [first, second] = this.#workers;
    const ends = first === undefined || second === undefined ? undefined : host.threads.channel();
    if (ends === undefined) return;
    await Promise.all([
      first!.remote.call('link', ends[0], { transfer: [ends[0]] }),
      second!.remote.call('link', ends[1], { transfer: [ends[1]] }),
    ]);
    this.#linked = true;
  }

  /** A worker for a long copy, and whether a linked neighbour is idle and may hash for it. */
  copier(): { readonly remote: Remote; readonly linked: boolean } {
    const chosen = this.#least();
    const [first, second] = this.#workers;
    const neighbour = chosen === first ? second : chosen === second ? first : undefined;
    return { remote: chosen.remote, linked: this.#linked && neighbour?.remote.pending === 0 };
  }

  get workers(): number {
    return this.#workers.length;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const members = [this.#writer, ...this.#workers];
    await Promise.all(members.map(({ thread }) => thread.stop()));
    // A stream that outlives its store must end with an error, not wait for ever.
    for (const { remote } of members) remote.fail(new StoreError('closed', 'the store is closed'));
  }

  #least(): Member {
    let best = this.#workers[0]!;
    for (const member of this.#workers) if (member.remote.pending < best.remote.pending) best = member;
    return best;
  }

  #died(cause: Error, onDeath: (error: Error) => void): void {
    if (this.#stopping) return;
    const error = new StoreError('needs-reopen', `a thread of the store died: ${cause.message}`, {}, cause);
    for (const { remote } of [this.#writer, ...this.#workers]) remote.fail(error);
    onDeath(error);
  }
}
