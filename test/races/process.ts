/** One of the processes of a schedule: does its steps on a store of its own, remembers what it was told, and minds what it sees. */
import { type Session, type Store, StoreError } from '../../engine/index.ts';
import type { Step } from './steps.ts';
import type { Holding } from './turns.ts';
import { type Blob, closure } from './universe.ts';

/** A promise was broken. */
export class Broken extends Error {}

export interface Standing {
  readonly me: number;
  readonly blobs: readonly Blob[];
  readonly holding: Holding;
  readonly open: () => Promise<Store>;
  /** Lets others go on, likely. False when nobody else is at work any more. */
  readonly giveWay: () => boolean;
  /** Takes what another store has; done by replication. */
  readonly receive: (store: Store, root: string) => Promise<void>;
  /** Number of the blob that is received. */
  readonly received: number;
  /** It borrows: while what it borrows is going in its base, a put of it, and what refers to it, may be refused for now. */
  readonly borrows: boolean;
}

export class Process {
  store: Store;
  readonly #standing: Standing;
  readonly #owner: string;
  readonly #root: string;
  /** Told as an event; none of the damage is real. */
  readonly #damage: string[] = [];
  /** Whether the root was once what is received: then it may not become so again unless it is absent. */
  #wasReceived = false;

  constructor(store: Store, standing: Standing) {
    this.#standing = standing;
    this.#owner = `p${standing.me}`;
    this.#root = `root ${standing.me}`;
    this.store = this.#watched(store);
  }

  async doAll(groups: readonly (readonly Step[])[]): Promise<void> {
    for (const group of groups) {
      this.#standing.giveWay();
      // Of two at once on one blob nobody could say which came last; a store cannot be closed under another step either.
      const apart = group.length === 2 && !clash(group[0]!, group[1]!);
      if (apart) await all(group.map((step) => this.#do(step)));
      else for (const step of group) await this.#do(step);
    }
  }

  /** Gives everything back. */
  async giveUp(): Promise<void> {
    for (const [n] of this.#standing.blobs.entries()) if (this.#has(n)) await this.#release(n);
    if (this.#standing.holding.root !== 0) await this.#unroot();
  }

  #watched(store: Store): Store {
    store.on('damage', ({ id, reason }) => void this.#damage.push(`${id.slice(0, 8)}: ${reason}`));
    return store;
  }

  async #do(step: Step): Promise<void> {
    try {
      await this.#dispatch(step);
      must(this.#damage.length === 0, `damage is told of: ${this.#damage.join(', ')}`);
    } catch (error) {
      if (error instanceof Broken) throw error;
      const told = error instanceof Error ? error : new Error(String(error));
      throw new Broken(`${JSON.stringify(step)} fails: ${told.stack ?? told.message}`, { cause: error });
    }
  }

  #dispatch(step: Step): Promise<void> {
    switch (step.step) {
      case 'put':
      case 'put-held':
      case 'stream':
        return this.#put(step);
      case 'turn':
        return this.#has(step.blob)
          ? this.#release(step.blob)
          : this.#put({ step: 'put-held', blob: step.blob });
      case 'retain':
        return this.#retain(step.blob);
      case 'release':
        return this.#release(step.blob);
      case 'read':
        return this.#read(step.blob);
      case 'watch':
        return this.#watch(step.blob);
      case 'tree':
        return this.#tree(step.blob);
      case 'root':
        return this.#setRoot();
      case 'unroot':
        return this.#unroot();
      case 'give-back':
        return this.giveUp();
      case 'gc':
        return this.#gc();
      case 'scrub':
        return this.#scrub();
      case 'compact':
        return this.#compact();
      case 'move':
        return this.#move(step.turn);
      case 'reopen':
        return this.#reopen();
      case 'receive':
        return this.#receive();
    }
  }

  #has(n: number): boolean {
    return (this.#standing.holding.blobs & (1 << n)) !== 0;
  }

  #note(n: number, held: boolean): void {
    const { holding } = this.#standing;
    if (held) holding.blobs |= 1 << n;
    else holding.blobs &= ~(1 << n);
  }

  /** With which codes a reference may be refused to what is sure to be here, or is not. */
  #refusals(sure: boolean): readonly string[] {
    return [...(sure ? [] : ['not-found']), ...(this.#standing.borrows ? ['unavailable'] : [])];
  }

  /** Everything this process holds, and what it leads to. */
  #held(): Set<number> {
    const { blobs, holding } = this.#standing;
    return closure(blobs, holding.blobs | (holding.root === 0 ? 0 : 1 << (holding.root - 1)));
  }

  async #put({
    step,
    blob,
  }: {
    readonly step: 'put' | 'put-held' | 'stream';
    readonly blob: number;
  }): Promise<void> {
    const { bytes, node } = this.#standing.blobs[blob]!;
    const owned = step === 'put' ? {} : { owner: this.#owner };
    const source = step === 'stream' ? pieces(bytes) : bytes;
    const held = this.#held();
    // Links may be gone by then, unless they are held from here.
    const sure = node === undefined || node.children.every((child) => held.has(child));
    const done = await allowing(this.#refusals(sure), async () => {
      const { id } = await this.store.put(source, {
        ...owned,
        ...(node === undefined ? {} : { kind: 'node' }),
      });
      must(id === this.#standing.blobs[blob]!.id, `a put has another id: ${id}`);
    });
    if (done && step !== 'put') this.#note(blob, true);
  }

  async #retain(n: number): Promise<void> {
    const sure = this.#held().has(n);
    const done = await allowing(this.#refusals(sure), () =>
      this.store.retain(this.#standing.blobs[n]!.id, this.#owner),
    );
    if (done) this.#note(n, true);
  }

  async #release(n: number): Promise<void> {
    const held = this.#has(n);
    this.#note(n, false);
    const said = await this.store.release(this.#standing.blobs[n]!.id, this.#owner);
    must(said === held, `release says ${said}, and it was ${held ? '' : 'not '}held`);
  }

  async #read(n: number): Promise<void> {
    const { id, bytes } = this.#standing.blobs[n]!;
    const sure = this.#held().has(n);
    const got = await this.store.get(id);
    must(got !== undefined || !(sure && this.#held().has(n)), `held, and gone: ${n}`);
    must(got === undefined || Buffer.compare(got, bytes) === 0, `wrong bytes of ${n}`);
    if (n % 2 === 0) return;
    const range = await this.store.readRange(id, 10, 50);
    must(range === undefined || Buffer.compare(range, bytes.subarray(10, 60)) === 0, `wrong range of ${n}`);
  }

  /** Reads it again and again while others are at work. */
  async #watch(n: number): Promise<void> {
    for (let times = 0; times < 24 && this.#standing.giveWay(); times++) await this.#read(n);
  }

  /** Begin, put what it leads to and nobody holds, link, name, end: nobody's collection may come between. */
  async #tree(n: number): Promise<void> {
    const { blobs } = this.#standing;
    const session: Session = await this.store.session();
    for (const child of [...closure(blobs, 1 << n)].reverse()) {
      const { bytes, node } = blobs[child]!;
      await this.store.put(bytes, node === undefined ? {} : { kind: 'node' });
    }
    await this.#pointRoot(n);
    await session.end();
  }

  async #pointRoot(n: number): Promise<void> {
    const { blobs, holding, received } = this.#standing;
    holding.root = 0;
    await this.store.roots.set(this.#root, blobs[n]!.id);
    holding.root = n + 1;
    this.#wasReceived ||= n === received;
  }

  async #setRoot(): Promise<void> {
    const n = this.#standing.blobs.findIndex((_, i) => this.#has(i));
    if (n >= 0) await this.#pointRoot(n);
  }

  async #unroot(): Promise<void> {
    const { holding } = this.#standing;
    const had = holding.root !== 0;
    holding.root = 0;
    const said = await this.store.roots.delete(this.#root);
    must(said === had, `deleting a root says ${said}`);
  }

  async #gc(): Promise<void> {
    const { blocked } = await this.store.gc({ graceMs: 0 });
    must(blocked === undefined, `collection is blocked: ${blocked}`);
  }

  async #scrub(): Promise<void> {
    const { damaged, recounted, badRows, adopted } = await this.store.scrub();
    must(damaged.length === 0, `a scrub finds damage: ${JSON.stringify(damaged)}`);
    must(recounted === 0 && badRows === 0, `a scrub recounts ${recounted} and finds ${badRows} bad rows`);
    must(adopted === 0, `a scrub takes ${adopted} in that were under way`);
  }

  /** Files to and fro between directories, SQLite volumes between folders; often at once back to where they were. */
  async #move(turn: number): Promise<void> {
    for (let again = 0; again <= turn % 3; again++) {
      const volumes = await this.store.volumes.list();
      const directories = volumes.filter(({ kind }) => kind === 'directory');
      const packs = volumes.find(({ kind }) => kind === 'folder');
      const small = volumes.filter(({ kind }) => kind === 'sqlite');
      const one = small[(turn + again) % Math.max(1, small.length)];
      // `unavailable`: in a mirrored group the other copies may lie just where it is to go.
      await allowing(['busy', 'not-found', 'invalid-argument', 'unavailable'], async () => {
        if (turn < 6 && directories.length > 1)
          await this.store.volumes.move(directories[(turn + again) % directories.length]!.id);
        else if (one !== undefined && packs !== undefined)
          await this.store.volumes.move(one.id, one.folder === undefined ? packs.id : 'volumes');
      });
    }
  }

  /** Goes on with moves that were given up, which in a mirrored group may still find nowhere to go. */
  async #compact(): Promise<void> {
    await allowing(['busy', 'unavailable'], () => this.store.compact());
  }

  async #reopen(): Promise<void> {
    await this.store.close();
    this.store = this.#watched(await this.#standing.open());
  }

  async #receive(): Promise<void> {
    const { holding, received } = this.#standing;
    const before = holding.root;
    // The source stands still, so it never shows that it went on from what is here.
    const back = this.#wasReceived && before !== 0 && before !== received + 1;
    holding.root = 0;
    const refused = await this.#standing.receive(this.store, this.#root).then(
      () => false,
      (error: unknown) => {
        if (!StoreError.is(error, 'conflict') || error.facts['lineage'] !== 'return') throw error;
        return true;
      },
    );
    holding.root = refused ? before : received + 1;
    must(refused === back, `a receive is ${refused ? '' : 'not '}refused as a return`);
    this.#wasReceived = true;
  }
}

/** Steps that change what this process holds, or hold the whole store. */
const changing = new Set<Step['step']>(['turn', 'release', 'root', 'unroot', 'tree', 'receive', 'give-back']);
const lasting = new Set<Step['step']>(['gc', 'scrub', 'compact', 'move']);

function clash(a: Step, b: Step): boolean {
  if (a.step === 'reopen' || b.step === 'reopen') return true;
  if (lasting.has(a.step) || lasting.has(b.step)) return lasting.has(a.step) && lasting.has(b.step);
  if (changing.has(a.step) || changing.has(b.step)) return a.step !== 'read' && b.step !== 'read';
  return 'blob' in a && 'blob' in b && a.blob === b.blob;
}

/** Waits for both, also where one fails. */
async function all(works: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(works)).find(({ status }) => status === 'rejected');
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
}

/** False where it is refused with one of these codes. */
async function allowing(codes: readonly string[], work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (StoreError.is(error) && codes.includes(error.code)) return false;
    throw error;
  }
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes.slice(0, 200);
  yield bytes.slice(200);
}

export function must(kept: boolean, otherwise: string): void {
  if (!kept) throw new Broken(otherwise);
}
