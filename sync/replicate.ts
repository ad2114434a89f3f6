/** Replication of roots between a store and a peer: pull, push, and serve, over any transport. */
import { type BlobId, type Store, StoreError, nodeHost, nodeProvider } from '../engine/index.ts';
import { Connection, type Incoming } from './connection.ts';
import type { Ending, PeerRoot, Sink, SinkState, Source, ToldRoot } from './peer.ts';
import type { SharedReads } from './peers/shared-reads.ts';
import { rootsMax } from './protocol/limits.ts';
import type { Message, OfferedRoot } from './protocol/message.ts';
import { receiveRoots } from './receiving.ts';
import { sendRoots, spokenName } from './sending.ts';
import { encodeParameters } from './seed.ts';
import { type Allowed, checkAllowed, sidesOf } from './sides.ts';
import type { Transport } from './transport.ts';
import type { PeerOptions, PullOptions, PushOptions, Replicated, Rollback, ServeOptions } from './options.ts';
import { defaultStallMs } from './options.ts';
import { wordsOf } from './words.ts';

/**
 * Follows the peer's roots: all that they reach is here and durable, then each root moves, by compare-and-swap against what it was
 * when the transfer began (`conflict` otherwise). Fails without a root having moved, unless one of several conflicts; what came is
 * kept, and the next pull goes on from there. Closes the transport.
 */
export async function pull(
  store: Store,
  transport: Transport,
  options: PullOptions = {},
): Promise<Replicated> {
  return await withPeer(transport, options, (link) => new Side(store, link, options).pull(options));
}

/** Makes the peer follow our roots. The same promises, seen from the other side: it resolves when they hold at the peer. */
export async function push(
  store: Store,
  transport: Transport,
  options: PushOptions = {},
): Promise<Replicated> {
  return await withPeer(transport, options, (link) => new Side(store, link, options).push(options));
}

/** A push that shares what it reads with others of the same store. */
export async function pushShared(
  store: Store,
  transport: Transport,
  { options, shared }: { readonly options: PushOptions; readonly shared: SharedReads },
): Promise<Replicated> {
  const source = shared.share(sidesOf(store, options.by).source);
  return await withPeer(transport, options, (link) => new Side(store, link, options).push(options, source));
}

/** Answers a peer until it closes: gives what it pulls, takes what it pushes. Resolves with one result a transfer. */
export async function serve(
  store: Store,
  transport: Transport,
  options: ServeOptions = {},
): Promise<Replicated[]> {
  return await withPeer(transport, options, (link) => new Side(store, link, options).serve(options));
}

/** Runs work on a connection, and closes it whatever happens: with the error told to the peer, if there is one. */
async function withPeer<Result>(
  transport: Transport,
  options: PeerOptions,
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const host = options.host ?? nodeHost();
  const connection = new Connection(transport, { host, stallMs: options.stallMs ?? defaultStallMs });
  try {
    const result = await work(connection);
    await connection.close();
    return result;
  } catch (error) {
    await connection.close(error).catch(() => undefined); // the error that ended it is the one to tell
    throw error;
  }
}

/** Our side of a connection. */
class Side {
  readonly #store: Store;
  readonly #connection: Connection;
  readonly #options: PeerOptions;

  constructor(store: Store, connection: Connection, options: PeerOptions) {
    this.#store = store;
    this.#connection = connection;
    this.#options = options;
  }

  async pull({ roots, rollback, by }: PullOptions): Promise<Replicated> {
    checkNames(roots);
    const words = wordsOf(this.#store, by);
    const names = await words.names(roots);
    const { sink, forms } = sidesOf(this.#store, by);
    this.#connection.hello(await sink.identity(), forms);
    const { counts, rounds } = await this.#receive(sink, { names, marks: new Map(), rollback });
    this.#connection.send({ type: 'bye' });
    return this.#result({ ...counts, roots: await words.told(counts.roots) }, rounds);
  }

  async push(options: PushOptions, given?: Source): Promise<Replicated> {
    const { rollback, by } = options;
    checkNames(options.roots);
    const words = wordsOf(this.#store, by);
    const names = await words.names(options.roots);
    const expect = (await words.expect(options.expect)) ?? {};
    const parts = sidesOf(this.#store, by);
    const { forms } = parts;
    const source = given ?? parts.source;
    const force = rollback === 'allow' ? ({ force: true } as const) : {};
    if (rollback === 'allow' && Object.keys(expect).length > 0)
      throw new StoreError('invalid-argument', 'a push that may go back expects nothing');
    this.#connection.hello(await source.identity(), forms);
    const result = await this.#during(source, source.begin(), async () => {
      const roots = await source.roots(names);
      checkOffered(roots, names);
      if (roots.length === 0) return this.#result({ roots: [], blobs: 0, bytes: 0 }, 0);
      const marks = await source.marks(roots.map(({ name }) => name));
      await this.#sendKeys(source);
      this.#connection.send({
        type: 'offer',
        roots: roots.map(({ name, id }): OfferedRoot => {
          const wanted = Object.hasOwn(expect, name) ? expect[name] : undefined;
          const known = marks.get(name) ?? [];
          return {
            name: spokenName(source, name),
            id,
            marks: known,
            ...force,
            ...(wanted === undefined ? {} : { expect: wanted }),
          };
        }),
      });
      const answer = await this.#next();
      if (answer.message.type === 'done') return this.#result(unchanged(roots, answer.message), 1);
      return this.#result(await this.#give(source, { first: answer, offered: roots }), 2);
    });
    this.#connection.send({ type: 'bye' });
    return { ...result, roots: await words.told(result.roots) };
  }

  async serve({ allow = 'both', rollback }: ServeOptions): Promise<Replicated[]> {
    // A store that could speak either way waits to hear which it is to be.
    const by = this.#store.parameters.encryption === null ? 'ids' : await this.#connection.namespace();
    if (by === undefined) return [];
    if (by === 'ids' && this.#store.sealed.locked)
      throw new StoreError(
        'wrong-key',
        "this store is open without its keys, and is spoken to by locators: push or pull with by: 'locators' (--by-locators)",
      );
    const { source, sink, forms } = sidesOf(this.#store, by);
    this.#connection.hello(await source.identity(), forms, { seed: true });
    const results: Replicated[] = [];
    for (;;) {
      const next = await this.#connection.receive();
      if (next === undefined || next.message.type === 'bye') return results;
      const message = sink.heard?.(next.message) ?? next.message;
      if (by === 'locators' && (await this.#tend(message, { source, sink, allow }))) continue;
      if (message.type === 'credit') this.#connection.sendWindow.give(message.bytes);
      else if (message.type === 'ask') {
        checkAllowed(allow, 'pull');
        if (message.all || message.roots.length > 0) await this.#sendKeys(source);
        results.push(
          await this.#during(source, source.begin(), async () =>
            this.#result(await this.#give(source, { first: next }), 0),
          ),
        );
      } else if (message.type === 'offer') {
        checkAllowed(allow, 'push');
        const offered = message.roots;
        const names = offered.map(({ name }) => name);
        const marks = new Map(offered.map((root) => [root.name, root.marks]));
        const onlyNew = allow === 'append';
        const { counts } = await this.#receive(sink, { names, marks, offered, onlyNew, rollback });
        results.push(this.#result(counts, 0));
      } else throw new StoreError('corrupt', `the peer sends "${message.type}" where it has no place`);
    }
  }

  /** What is neither asked for nor offered by roots: keys. True where it was that. */
  async #tend(message: Message, { source, sink, allow }: Tending): Promise<boolean> {
    const { realm } = this.#connection.agreement.peer;
    if (realm.length === 0 && message.type !== 'seed' && message.type !== 'credit')
      throw new StoreError(
        'forbidden',
        'who is of no realm may ask for what a replica is made of, and for nothing else',
      );
    if (message.type === 'keys') {
      checkAllowed(allow, 'push');
      await sink.takeKeys!(message.file);
      return true;
    }
    if (message.type === 'seed') {
      checkAllowed(allow, 'pull');
      await this.#sendKeys(source, encodeParameters(this.#store.parameters));
      return true;
    }
    return false;
  }

  async #sendKeys(source: Source, parameters: Uint8Array = new Uint8Array()): Promise<void> {
    const files = (await source.keys?.()) ?? [];
    for (const [i, file] of files.entries()) {
      const isLast = i === files.length - 1;
      this.#connection.send({ type: 'keys', file, parameters: isLast ? parameters : new Uint8Array() });
    }
  }

  /** Takes roots in, from a peer that answers for its own or that has offered some. */
  async #receive(sink: Sink, what: Intake): Promise<{ readonly counts: Counts; readonly rounds: number }> {
    const { names, marks, offered, onlyNew = false, rollback = 'refuse' } = what;
    let rounds = 1;
    const begun = sink.begin(names, marks);
    const counts = await this.#during(sink, begun, async (state): Promise<Counts> => {
      // First: what is expected wrongly is told with what it is, and who may only bring what is new may not read that.
      if (onlyNew) for (const root of offered ?? []) expectNew(state, root);
      for (const { name, expect } of offered ?? []) expectRoot(state, name, expect);
      if (offered?.every(({ name, id }) => state.current.get(name) === id) === true) {
        this.#connection.send({ type: 'done', changed: offered.map(() => false), blobs: 0, bytes: 0 });
        return { roots: offered.map(({ name, id }) => ({ name, id, changed: false })), blobs: 0, bytes: 0 };
      }
      const { onProgress, signal, quota } = this.#options;
      const asked = (names ?? [...state.current.keys()]).slice(0, rootsMax);
      const received = await receiveRoots(this.#connection, sink, {
        ask: {
          all: names === undefined,
          roots: asked.map((name) => ({
            name,
            // Who may only bring what is new is told nothing of what was: only which of his own marks are here.
            haves: (state.haves.get(name) ?? []).filter(
              (id) => !onlyNew || marks.get(name)?.includes(id) === true,
            ),
            seen: onlyNew ? [] : (state.seen.get(name) ?? []),
          })),
        },
        offered: offered && new Map(offered.map(({ name, id }) => [name, id])),
        state,
        ...(onlyNew ? {} : { judge: this.#judge(sink, offered, rollback) }),
        quota: { blobs: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY, ...quota },
        sha256Hex: (bytes) => nodeProvider.sha256Hex(bytes),
        onProgress,
        signal,
      });
      rounds = received.rounds;
      return received;
    });
    return { counts, rounds };
  }

  /** Roots that the peer wants moved even backwards are only noted. */
  #judge(
    sink: Sink,
    offered: readonly OfferedRoot[] | undefined,
    rollback: Rollback,
  ): (roots: readonly ToldRoot[]) => Promise<void> {
    const forced = new Set(offered?.filter(({ force }) => force === true).map(({ name }) => name));
    return async (roots) => {
      const { storeId } = this.#connection.agreement.peer;
      await sink.judge(
        storeId,
        roots.filter(({ name }) => !forced.has(name)),
        rollback,
      );
      await sink.judge(
        storeId,
        roots.filter(({ name }) => forced.has(name)),
        'allow',
      );
    };
  }

  async #give(
    source: Source,
    what: { readonly first: Incoming; readonly offered?: readonly PeerRoot[] },
  ): Promise<Counts> {
    const sent = await sendRoots(this.#connection, source, { ...what, signal: this.#options.signal });
    const roots = sent.roots.map((root, i) => ({ ...root, changed: sent.changed[i] === true }));
    return { roots, blobs: sent.blobs, bytes: sent.bytes };
  }

  /** Works on a peer's behalf until it is done, and ends it whatever happens. */
  async #during<State, Result extends Counts>(
    side: { end(ending: Ending): Promise<void> },
    begun: Promise<State>,
    work: (state: State) => Promise<Result>,
  ): Promise<Result> {
    let result: Result;
    try {
      result = await work(await begun);
    } catch (error) {
      // An abort is ours: nothing speaks against the peer.
      const cut = !StoreError.is(error) || error.code === 'unavailable';
      await side.end({ how: cut ? 'cut' : 'refused' }).catch(() => undefined); // the error that came first is the one to tell
      throw error;
    }
    const { roots } = result;
    const peer = roots.length === 0 ? '' : this.#connection.agreement.peer.storeId;
    await side.end({ how: 'done', peer, roots });
    return result;
  }

  async #next(): Promise<Incoming> {
    const next = await this.#connection.receive();
    if (next === undefined) throw new StoreError('unavailable', 'the peer closed without an answer');
    return next;
  }

  #result({ roots, blobs, bytes }: Counts, roundTrips: number): Replicated {
    const { sentBytes, receivedBytes } = this.#connection;
    return { roots, blobs, bytes, sentBytes, receivedBytes, roundTrips };
  }
}

interface Tending {
  readonly source: Source;
  readonly sink: Sink;
  readonly allow: Allowed;
}

type Counts = Pick<Replicated, 'roots' | 'blobs' | 'bytes'>;

interface Intake {
  readonly names: readonly string[] | undefined;
  readonly marks: ReadonlyMap<string, readonly BlobId[]>;
  readonly offered?: readonly OfferedRoot[];
  /** No root that is here may move. */
  readonly onlyNew?: boolean;
  readonly rollback?: Rollback | undefined;
}

function unchanged(
  roots: readonly PeerRoot[],
  { changed }: Extract<Message, { readonly type: 'done' }>,
): Counts {
  if (changed.length !== roots.length || changed.includes(true))
    throw new StoreError('corrupt', 'the peer ends a transfer that has not begun');
  return { roots: roots.map(({ name, id }) => ({ name, id, changed: false })), blobs: 0, bytes: 0 };
}

function expectRoot(state: SinkState, name: string, expect: BlobId | null | undefined): void {
  const found = state.current.get(name) ?? null;
  if (expect === undefined || expect === found) return;
  const is = expect === null ? `there already, as ${found!}` : `${found ?? 'not set'}, not ${expect}`;
  throw new StoreError('conflict', `root ${name} is ${is}`, {
    root: name,
    ...(found === null ? {} : { found }),
  });
}

/** A root that appears meanwhile is a conflict: it is set only where there is none. */
function expectNew({ current }: SinkState, { name, id }: OfferedRoot): void {
  if ((current.get(name) ?? id) === id) return;
  throw new StoreError('forbidden', `root ${name} is here already, and may not be moved`, { root: name });
}

function checkNames(names: readonly string[] | undefined): void {
  if (names === undefined) return;
  if (names.length === 0 || names.length > rootsMax || new Set(names).size !== names.length)
    throw new StoreError('invalid-argument', `name 1 to ${rootsMax} roots, each once`);
}

function checkOffered(roots: readonly PeerRoot[], names: readonly string[] | undefined): void {
  const missing = names?.find((name) => !roots.some((root) => root.name === name));
  if (missing !== undefined)
    throw new StoreError('not-found', `there is no root ${JSON.stringify(missing)}`, { root: missing });
  if (roots.length > rootsMax)
    throw new StoreError('limit-exceeded', `one transfer takes ${rootsMax} roots, not ${roots.length}`);
}
