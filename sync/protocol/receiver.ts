/** The receiving side as a state machine: what arrives, what is checked, wanted, stored, and when a root may be set. No I/O. */
import { toHex } from '../../engine/codec/bytes.ts';
import { StoreError, invariant } from '../../engine/errors.ts';
import { checkAnswer } from './answer.ts';
import { type Arrival, Assembly, type BlobMessage, Descent, linksOfNode, refused } from './arrivals.ts';
import { costOf } from './credit.ts';
import { type TreeLink, keyOf } from './difference.ts';
import { depthMax } from './limits.ts';
import type { BlobId, FoundRoot, Message, RootHistory } from './message.ts';
import { toldRoots } from './history.ts';
import type { ReceiverEffect } from './receiver-effects.ts';
import type { ReceiverOptions } from './receiver-options.ts';
import type { Entry } from './entry.ts';
import { NodeRoom } from './node-room.ts';
import { Wants } from './wants.ts';

/** A node that the store refuses this often has children that somebody keeps collecting. */
const triesMax = 4;
const streamRound = 1;
/** Links in one question, and questions under way. */
const checkLinksMax = 4096;
const checksMax = 2;

export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #effects: ReceiverEffect[] = [];
  readonly #entries = new Map<string, Entry>();
  readonly #assembly: Assembly;
  readonly #wants = new Wants();
  /** Looked up from the end, in batches: the memory that a question takes is many times that of its links. */
  readonly #toCheck: TreeLink[] = [];
  #checks = 0;
  #state: 'asked' | 'streaming' | 'walking' | 'setting' | 'finished' = 'asked';
  #history: readonly RootHistory[] | undefined;
  #judging = false;
  #roots: (FoundRoot & { readonly id: BlobId; set: boolean; readonly unchanged: boolean })[] = [];
  /** Roots whose difference is still to be streamed, by number. */
  #streams: number[] = [];
  #descent: Descent | undefined;
  readonly #room: NodeRoom;
  #rootTries = 0;
  /** Blobs whose beginnings turned out wrong. */
  readonly #unfit = new Set<BlobId>();
  #opened = 0;
  /** Entries that are held. */
  #waiting = 0;
  #blobs = 0;
  #bytes = 0;
  #redundant = 0;
  #rounds = 1;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#assembly = new Assembly(options);
    this.#room = new NodeRoom(options.window);
    this.#send({ type: 'ask', ...options.ask });
  }

  /** What is to be done now. Call after every event; also plans what to check and to want next. */
  drain(): ReceiverEffect[] {
    while (this.#toCheck.length > 0 && this.#checks < checksMax) {
      this.#checks++;
      this.#effects.push({ do: 'check', links: this.#toCheck.splice(-checkLinksMax) });
    }
    if (this.#state === 'walking') {
      // No sha256 leads back to itself; what is known by another name may.
      if (this.#waiting > 0 && this.#waiting === this.#entries.size)
        throw new StoreError('corrupt', 'the peer is refused: its nodes lead back to themselves');
      for (const wants of this.#wants.next(this.#room.held))
        this.#send({
          type: 'want',
          wants: wants.map((link) => {
            const entry = this.#entries.get(keyOf(link))!;
            entry.state = 'wanted';
            this.#rounds = Math.max(this.#rounds, entry.round);
            return { ...link, from: this.#fromOf(link) };
          }),
        });
    }
    return this.#effects.splice(0);
  }

  /** A message came. Anything that may not come now is a StoreError, after which the machine is of no use. */
  message(message: Message, payload: Uint8Array): void {
    if (message.type === 'history' && this.#state === 'asked' && this.#history === undefined)
      this.#history = message.roots;
    else if (message.type === 'roots' && this.#state === 'asked') this.#found(message.roots);
    else if (message.type === 'blob' && (this.#state === 'streaming' || this.#state === 'walking'))
      this.#arrive(message, payload);
    else if (message.type === 'streamed' && this.#state === 'streaming') this.#streamed(message.root);
    else if (message.type === 'absent' && this.#state === 'walking') this.#absent(message);
    else
      throw new StoreError('corrupt', `the peer sends "${message.type}" where it has no place`, {
        state: this.#state,
      });
  }

  /** The roots may become what the peer says that they are. */
  judged(): void {
    this.#judging = false;
    this.#settle();
  }

  checked(links: readonly TreeLink[], here: readonly boolean[]): void {
    for (const [i, link] of links.entries()) {
      const entry = this.#entries.get(keyOf(link));
      if (entry?.state !== 'checking') continue; // it arrived meanwhile
      if (here[i] === true) this.#resolve(entry);
      else this.#missing(entry);
    }
    this.#checks--;
    this.#credit(this.#room.workEnds(links.length));
  }

  /** A piece of a raw blob needs no memory any more. */
  taken(bytes: Uint8Array): void {
    this.#credit(this.#options.window.taken(costOf({ kind: 'raw', bytes, length: bytes.length })));
  }

  stored(link: TreeLink): void {
    const entry = this.#entries.get(keyOf(link));
    invariant(entry?.state === 'storing', 'only what is being stored is stored');
    if (entry.node !== undefined) {
      this.#room.release(entry.node);
      this.#credit(this.#room.workEnds(1));
    }
    this.#resolve(entry);
  }

  /** A blob did not become right with the beginning that was here: it is wanted from its first byte. */
  unfit(id: BlobId): void {
    const entry = this.#entries.get(keyOf({ kind: 'raw', id }));
    invariant(entry?.state === 'storing', 'only what is being stored is unfit');
    this.#unfit.add(id);
    this.#missing(entry);
  }

  /** The store has not all that the node links to: somebody collected it since it was checked. All links are looked up again. */
  refused(link: TreeLink): void {
    const entry = this.#entries.get(keyOf(link));
    invariant(entry?.node !== undefined, 'only a node is refused');
    if (++entry.tries >= triesMax)
      throw new StoreError('busy', `what node ${link.id} links to is collected again and again`, {
        id: link.id,
      });
    entry.state = 'held';
    this.#waiting++;
    entry.leads = false;
    this.#credit(this.#room.workEnds(1));
    this.#openChildren(entry, entry.node.links);
  }

  rootSet(root: number): void {
    this.#roots[root]!.set = true;
    this.#settle();
  }

  /** The root's blob was collected after it was seen here: it is looked for once more. */
  rootRefused(root: number): void {
    if (++this.#rootTries >= triesMax)
      throw new StoreError('busy', 'what a root names is collected again and again');
    this.#state = 'walking';
    this.#openRoot(root, streamRound + 1);
  }

  #found(roots: readonly FoundRoot[]): void {
    const { current } = this.#options;
    checkAnswer(roots, this.#options);
    this.#roots = roots.map((root) => {
      const unchanged = current.get(root.name) === root.id;
      return { ...root, id: root.id!, unchanged, set: unchanged };
    });
    const { unasked } = this.#options;
    this.#streams = this.#roots.flatMap(({ base }, i) => (base === null && unasked !== true ? [] : [i]));
    this.#state = 'streaming';
    this.#judge();
    this.#roots.forEach(({ unchanged }, i) => {
      if (!unchanged) this.#openRoot(i, streamRound + 1);
    });
    this.#nextStream();
  }

  #judge(): void {
    const { ask, judged } = this.#options;
    const roots = toldRoots(this.#roots, this.#history, ask.roots);
    if (judged !== true) return;
    this.#judging = true;
    this.#effects.push({ do: 'judge', roots });
  }

  /** Roots move when all of them are complete, one after the other: a transfer that was cut has moved none. */
  #settle(): void {
    if (this.#opened > 0 || this.#judging || this.#state === 'streaming') return;
    const next = this.#roots.findIndex(({ set }) => !set);
    if (next >= 0) {
      this.#state = 'setting';
      const { name, id } = this.#roots[next]!;
      this.#effects.push({ do: 'set-root', root: next, target: { name, id } });
      return;
    }
    this.#state = 'finished';
    const roots = this.#roots.map(({ name, id, unchanged }) => ({ name, id, changed: !unchanged }));
    const counts = { blobs: this.#blobs, bytes: this.#bytes };
    this.#send({ type: 'done', changed: roots.map(({ changed }) => changed), ...counts });
    const rest = { redundant: this.#redundant, rounds: this.#rounds };
    this.#effects.push({ do: 'finish', counts: { roots, ...counts, ...rest } });
  }

  #openRoot(root: number, round: number): void {
    this.#opened++;
    const { kind, id } = this.#roots[root]!;
    const entry = this.#entry({ kind, id }, { depth: 1, round });
    entry.roots++;
  }

  #nextStream(): void {
    const root = this.#streams[0];
    if (root !== undefined) {
      const { kind, id } = this.#roots[root]!;
      this.#descent = new Descent({ kind, id });
      return;
    }
    this.#descent = undefined;
    this.#state = 'walking';
    // What the peer did not know to be missing.
    for (const entry of this.#entries.values()) if (entry.state === 'expected') this.#wants.add(entry.link);
    this.#settle();
  }

  #streamed(root: number): void {
    if (root !== this.#streams[0] || this.#assembly.open !== undefined)
      throw new StoreError('corrupt', 'the peer ends a root that it has not begun');
    this.#streams.shift();
    this.#nextStream();
  }

  #absent(link: TreeLink): void {
    if (this.#entries.get(keyOf(link))?.state !== 'wanted' || this.#assembly.open !== undefined)
      throw new StoreError('corrupt', 'the peer has not what nobody asked it for', { id: link.id });
    throw new StoreError('not-found', `the peer lost blob ${link.id}`, { id: link.id });
  }

  /** The entry of a blob that somebody needs; a new one is checked first. */
  #entry(link: TreeLink, at: { readonly depth: number; readonly round: number }): Entry {
    const key = keyOf(link);
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const entry: Entry = {
      key,
      link,
      ...at,
      state: 'checking',
      parents: [],
      roots: 0,
      open: 0,
      tries: 0,
      leads: false,
    };
    this.#entries.set(key, entry);
    this.#toCheck.push(link);
    this.#room.workBegins(1);
    return entry;
  }

  #missing(entry: Entry): void {
    entry.state = 'expected';
    if (this.#state !== 'streaming') this.#wants.add(entry.link);
  }

  #fromOf(link: TreeLink): number {
    if (link.kind === 'node' || this.#unfit.has(link.id)) return 0;
    return this.#options.partials.get(link.id) ?? 0;
  }

  #arrive(blob: BlobMessage, payload: Uint8Array): void {
    const { arrival, codec, length, last } = this.#assembly.take(blob, payload, () => this.#beginning(blob));
    const cost = costOf({ kind: blob.kind, bytes: payload, length });
    this.#options.window.arrived(cost);
    const entry = this.#entries.get(arrival.key);
    const needed = entry?.state === 'arriving';
    if (blob.form === 'manifest') return this.#manifest(blob, payload, needed ? entry : undefined);
    if (blob.kind === 'raw') {
      if (!needed) this.taken(payload);
      else {
        const { id, size, offset } = blob;
        const piece = { id, size, offset, from: arrival.from, bytes: payload, codec, length };
        this.#effects.push({ do: 'write', piece });
      }
    } else this.#credit(this.#room.arrived(cost));
    if (!last) return;
    if (needed) this.#count(arrival);
    else this.#redundant++;
    if (blob.kind === 'node') this.#node(arrival, needed ? entry : undefined);
    else if (needed) entry.state = 'storing';
    if (needed && blob.kind === 'raw' && length === blob.size) this.#lead(entry);
  }

  /** A blob begins: is it one that may come, and where does it begin? */
  #beginning(blob: BlobMessage): number {
    const { quota } = this.#options;
    if (this.#blobs + this.#redundant >= quota.blobs)
      throw refused('limit-exceeded', `more than ${quota.blobs} blobs come`, blob.id);
    if (this.#bytes + blob.size > quota.bytes)
      throw refused('limit-exceeded', `more than ${quota.bytes} bytes come`, blob.id);
    const entry = this.#entries.get(keyOf(blob));
    if (this.#descent !== undefined) this.#descent.accept(blob);
    else if (entry?.state !== 'wanted')
      throw refused('forbidden', 'a blob comes that nothing asked for', blob.id);
    // A sender whose blob is smaller than the beginning that is here gives it from its first byte.
    const from = this.#descent === undefined && blob.offset > 0 ? this.#fromOf(blob) : 0;
    if (entry === undefined || entry.state === 'held' || entry.state === 'storing') return from;
    if (entry.state === 'wanted') this.#wants.arrived(blob);
    entry.state = 'arriving';
    return from;
  }

  /** A chunked blob is stored as a node would be: behind its manifest. Never unasked. */
  #manifest({ id }: BlobMessage, payload: Uint8Array, entry: Entry | undefined): void {
    if (this.#descent !== undefined || entry === undefined)
      throw refused('forbidden', 'a manifest comes that nothing asked for', id);
    this.#credit(this.#room.arrived(costOf({ kind: 'raw', bytes: payload, length: payload.length })));
    this.#blobs++;
    this.#hold(entry, payload.slice(), [{ kind: 'node', id: toHex(payload) }]);
  }

  #count(arrival: Arrival): void {
    this.#blobs++;
    this.#bytes += arrival.blob.size - arrival.from;
  }

  #node(arrival: Arrival, entry: Entry | undefined): void {
    const bytes = arrival.node;
    invariant(bytes !== undefined, 'a node has bytes');
    const { id } = arrival.blob;
    // Before its links are believed: they decide what else may come.
    const links = linksOfNode(id, bytes, this.#options);
    this.#descent?.enter(id, links);
    if (entry === undefined) return;
    this.#hold(entry, bytes, links);
  }

  #hold(entry: Entry, bytes: Uint8Array, links: readonly TreeLink[]): void {
    const { id } = entry.link;
    if (entry.depth > depthMax)
      throw refused('limit-exceeded', `a tree is deeper than ${depthMax} nodes`, id);
    entry.state = 'held';
    this.#waiting++;
    entry.node = { bytes, links };
    this.#room.hold(entry.node);
    this.#openChildren(entry, links);
  }

  #openChildren(entry: Entry, links: readonly TreeLink[]): void {
    const round = this.#state === 'streaming' ? streamRound + 1 : entry.round + 1;
    for (const link of links) {
      const child = this.#entry(link, { depth: entry.depth + 1, round });
      if (child.leads && entry.tries === 0) continue;
      child.parents.push(entry);
      entry.open++;
    }
    if (entry.open === 0) this.#storeNode(entry);
  }

  #storeNode(entry: Entry): void {
    invariant(entry.node !== undefined, 'a node without bytes');
    entry.state = 'storing';
    this.#waiting--;
    this.#room.workBegins(1);
    this.#effects.push({ do: 'store-node', link: entry.link, bytes: entry.node.bytes });
    this.#lead(entry);
  }

  /** So that many levels share a commit. What was refused once waits until all below it is acknowledged. */
  #lead(entry: Entry): void {
    entry.leads = true;
    for (const parent of entry.parents.splice(0))
      if (parent.tries > 0) entry.parents.push(parent);
      else if (--parent.open === 0) this.#storeNode(parent);
  }

  /** The blob is here, with all below it. */
  #resolve(entry: Entry): void {
    this.#entries.delete(entry.key);
    for (const parent of entry.parents) if (--parent.open === 0) this.#storeNode(parent);
    this.#opened -= entry.roots;
    if (entry.roots > 0) this.#settle();
  }

  #send(message: Message): void {
    this.#effects.push({ do: 'send', message });
  }

  #credit(bytes: number): void {
    if (bytes > 0 && this.#state !== 'finished') this.#send({ type: 'credit', bytes });
  }
}
