/** The threads of an open store: one that commits, several that work; calls are spread, a death fails everything with a clear error. */
import { Foreground } from './content/giving-way.ts';
import { StoreError } from './errors.ts';
import type { Host, Thread } from './host.ts';
import { type CallOptions, Remote } from './rpc.ts';

export interface ThreadEntries {
  readonly commit: URL;
  readonly work: URL;
}

interface CrewParts {
  /** How many workers there may be. */
  readonly count: number;
  readonly onDeath: (error: Error) => void;
}

interface Member {
  readonly thread: Thread;
  readonly remote: Remote;
}

/**
 * A thread costs a third of this of a core, and its memory; work that is over sooner is done sooner without one more. Work of few calls
 * is over soon, or waits for something else (a commit, a peer): for it one more comes later.
 */
const patienceMs = { manyCalls: 300, fewCalls: 1_000 } as const;
const manyCalls = 32;

export class Crew {
  /** Short puts and reads of the store, to which long work of the threads gives way. */
  readonly foreground: Foreground = new Foreground();
  readonly #host: Host;
  readonly #entry: URL;
  readonly #onDeath: (error: Error) => void;
  readonly #writer: Member;
  readonly #workers: Member[] = [];
  /** How many there may be. */
  readonly #count: number;
  /** What the workers were told to open: those that come later are told the same. */
  #opening: unknown;
  /** The start of the next worker. */
  #growing: Promise<void> | undefined;
  #mayGrow = false;
  /** Since when each call has found all workers busy, and how many have. */
  #busySince: number | undefined;
  #busyCalls = 0;
  #onNote: (note: unknown) => void = () => {};
  #linked = false;
  #stopping = false;

  /**
   * Starts the commit thread and `now` workers; the others, up to `count`, start when calls have found all workers busy for a while.
   * A thread costs a tenth of a second of a core and 20 MB, and most stores that are opened have work for one. `unavailable` where these cannot
   * start; then none is left.
   */
  static async start(
    host: Host,
    entries: ThreadEntries,
    { count, now, onDeath }: CrewParts & { readonly now: number },
  ): Promise<Crew> {
    const wanted = [entries.commit, ...Array.from({ length: now }, () => entries.work)];
    const started = await Promise.allSettled(wanted.map((entry) => host.threads.start(entry)));
    const [writer, ...workers] = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = started.find((one) => one.status === 'rejected');
    if (writer === undefined || failed !== undefined) {
      for (const thread of [writer, ...workers]) await thread?.stop();
      throw new StoreError('unavailable', 'a thread of the store cannot be started', {}, failed?.reason);
    }
    const crew = new Crew(host, entries, { count, onDeath }, memberOf(writer));
    for (const thread of workers) crew.#admit(crew.#watch(memberOf(thread)));
    return crew;
  }

  private constructor(host: Host, { work }: ThreadEntries, { count, onDeath }: CrewParts, writer: Member) {
    this.#host = host;
    this.#entry = work;
    this.#count = count;
    this.#onDeath = onDeath;
    this.#writer = this.#watch(writer);
  }

  /** Tells the workers what they work on. It is kept for those that come later; where none will, it is not. */
  async open(options: unknown): Promise<void> {
    await this.everyone('open', options);
    await this.#link();
    this.#mayGrow = this.#workers.length < this.#count;
    if (this.#mayGrow) this.#opening = options;
  }

  /** What workers tell beside their answers. */
  set onNote(onNote: (note: unknown) => void) {
    this.#onNote = onNote;
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

  /** Calls every worker there is. */
  async everyone(method: string, args: unknown): Promise<unknown[]> {
    await this.#growing;
    return await Promise.all(this.#workers.map(({ remote }) => remote.call(method, args)));
  }

  /** Closes every worker; none comes any more. */
  async close(): Promise<void> {
    this.#mayGrow = false;
    await this.everyone('close', undefined);
  }

  /** Waits until there are two workers, where there may be: one hashes what the other reads. For copies of files. */
  async pair(): Promise<void> {
    if (this.#workers.length < 2) await this.#grow();
  }

  /** A worker for a long copy, and whether a linked neighbour is idle and may hash for it. */
  copier(): { readonly remote: Remote; readonly linked: boolean } {
    const chosen = this.#least();
    const [first, second] = this.#workers;
    const neighbour = chosen === first ? second : chosen === second ? first : undefined;
    return { remote: chosen.remote, linked: this.#linked && neighbour?.remote.pending === 0 };
  }

  /** How many there may be at once: for whoever spreads work. */
  get workers(): number {
    return this.#count;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#growing;
    const members = [this.#writer, ...this.#workers];
    await Promise.all(members.map(({ thread }) => thread.stop()));
    // A stream that outlives its store must end with an error, not wait for ever.
    for (const { remote } of members) remote.fail(new StoreError('closed', 'the store is closed'));
  }

  #least(): Member {
    let best = this.#workers[0]!;
    for (const member of this.#workers) if (member.remote.pending < best.remote.pending) best = member;
    if (best.remote.pending === 0) {
      this.#busySince = undefined;
      this.#busyCalls = 0;
    } else if (this.#mayGrow) {
      const now = this.#host.clock.monotonic();
      this.#busySince ??= now;
      const patience = ++this.#busyCalls < manyCalls ? patienceMs.fewCalls : patienceMs.manyCalls;
      if (now - this.#busySince >= patience) void this.#grow();
    }
    return best;
  }

  /** One at a time. Resolves when the next worker works, or when there is to be none. */
  #grow(): Promise<void> {
    if (!this.#mayGrow || this.#stopping || this.#workers.length >= this.#count) return Promise.resolve();
    this.#growing ??= this.#addWorker()
      // The system has no thread or no file to spare: the work is done by those that are here.
      .catch(() => void (this.#mayGrow = false))
      .finally(() => (this.#growing = undefined));
    return this.#growing;
  }

  async #addWorker(): Promise<void> {
    const member = this.#watch(memberOf(await this.#host.threads.start(this.#entry)));
    try {
      await member.remote.call('open', this.#opening);
    } catch (error) {
      await member.thread.stop();
      throw error;
    }
    this.#admit(member);
    if (this.#workers.length === 2) await this.#link();
  }

  #admit(member: Member): void {
    member.remote.onNote = (note) => this.#onNote(note);
    this.#workers.push(member);
  }

  /** Connects the first two workers, so that one can hash what the other reads. */
  async #link(): Promise<void> {
    const [first, second] = this.#workers;
    const ends = first === undefined || second === undefined ? undefined : this.#host.threads.channel();
    if (ends === undefined) return;
    await Promise.all([
      first!.remote.call('link', ends[0], { transfer: [ends[0]] }),
      second!.remote.call('link', ends[1], { transfer: [ends[1]] }),
    ]);
    this.#linked = true;
  }

  #watch(member: Member): Member {
    void member.thread.ended.then((cause) => {
      if (cause === undefined) return;
      // One that had no work yet is missed by nobody.
      if ([this.#writer, ...this.#workers].includes(member)) this.#died(cause);
      else member.remote.fail(cause);
    });
    return member;
  }

  #died(cause: Error): void {
    if (this.#stopping) return;
    this.#mayGrow = false;
    const error = new StoreError('needs-reopen', `a thread of the store died: ${cause.message}`, {}, cause);
    for (const { remote } of [this.#writer, ...this.#workers]) remote.fail(error);
    this.#onDeath(error);
  }
}

function memberOf(thread: Thread): Member {
  return { thread, remote: new Remote(thread.port, (busy) => thread.hold(busy)) };
}
