/** Plays steps on a real store and on the model, and compares what they say. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CompressionMode, type Session, type Store, StoreError, openStore } from '../../engine/index.ts';
import { Finding, promise, refused, same, unexpected } from '../target.ts';
import { damageFile, damageSealed } from './damage.ts';
import { compareAll } from './look.ts';
import { Model } from './model.ts';
import { Puts, kindOf } from './puts.ts';
import { encryption, lookLocked, resealAll } from './sealed.ts';
import { rebuilt } from './rebuilt.ts';
import type { Placed, Put, Step } from './steps.ts';
import { type Blob, makeUniverse, parameters } from './universe.ts';

/** What stands between the player and the store: a canary breaks it here. */
export type Sabotage = (store: Store) => Store;

/** A step that one handle does by itself. */
type StoreStep = Exclude<Step, { step: 'reopen' | 'second' | 'session' | 'rotate' | 'locked' }>;

export interface Stage {
  /** Worker threads; 0 is fastest and does everything in the same order each time. */
  readonly threads: number;
  readonly encrypted?: true;
  readonly sabotage?: Sabotage;
  /** The catalog is lost and made again after every so many steps, and at the end. */
  readonly rebuildEvery?: number;
  readonly compression?: CompressionMode;
}

/** Plays all steps in a fresh folder, then checks that everything is as the model says, and that it all can be given back. */
export async function play(seed: number, steps: readonly Placed[], stage: Stage): Promise<void> {
  // In memory where there is such a place: durability is for other tests.
  const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-fuzz-store-'));
  const player = new Player(base, makeUniverse(seed), stage);
  let at = 0;
  try {
    for (; at < steps.length; at++) {
      await player.do(steps[at]!);
      if ((at + 1) % (stage.rebuildEvery ?? Number.POSITIVE_INFINITY) === 0) await player.rebuild();
    }
    if (stage.rebuildEvery !== undefined) await player.rebuild();
    await player.finish();
  } catch (error) {
    const step = steps[at];
    const where = step === undefined ? 'at the end' : `step ${at} (${step.step})`;
    throw new Finding(`${where}: ${unexpected(error).message}`);
  } finally {
    await player.close().catch(() => undefined);
    rmSync(base, { recursive: true, force: true });
  }
}

class Player {
  readonly #directory: string;
  readonly #puts: Puts;
  readonly #blobs: readonly Blob[];
  readonly #model: Model;
  readonly #stage: Stage;
  readonly #stores: (Store | undefined)[] = [undefined, undefined];
  #session: { readonly session: Session; readonly handle: 0 | 1 } | undefined;

  constructor(base: string, blobs: readonly Blob[], stage: Stage) {
    this.#directory = join(base, 'store');
    const side = join(base, 'side');
    mkdirSync(side);
    this.#puts = new Puts(side, blobs);
    this.#blobs = blobs;
    this.#model = new Model(blobs);
    this.#stage = stage;
  }

  get #known(): { readonly model: Model; readonly blobs: readonly Blob[] } {
    return { model: this.#model, blobs: this.#blobs };
  }

  async do(placed: Placed): Promise<void> {
    const { handle } = placed;
    switch (placed.step) {
      case 'reopen':
        await this.#close(handle);
        await this.#store(handle);
        return;
      case 'second':
        if (this.#stores[1] === undefined) await this.#store(1);
        else await this.#close(1);
        return;
      case 'session':
        return this.#changeSession(placed.change, handle);
      case 'rotate':
        return this.#rotate(await this.#store(handle), handle);
      case 'locked':
        await this.close();
        return lookLocked(this.#directory, this.#model, this.#blobs);
      default:
        return this.#onStore(await this.#store(handle), placed);
    }
  }

  /** Everything is compared, then given back until nothing is left. */
  async finish(): Promise<void> {
    await this.#changeSession('end', 0);
    await this.#close(1);
    const store = await this.#store(0);
    await this.#onStore(store, { step: 'scrub' });
    await this.#onStore(store, { step: 'gc', way: 'now' });
    await this.#onStore(store, { step: 'look' });
    for (const blob of this.#model.all())
      await this.#onStore(store, { step: 'read', blob, offset: 0, length: 2 ** 40 });
    for (const name of [...this.#model.roots.keys()])
      await this.#onStore(store, { step: 'delete-root', name, expect: 'any' });
    for (const blob of this.#model.all())
      for (const owner of this.#model.get(blob)!.owners)
        await this.#onStore(store, { step: 'release', blob, owner });
    await this.#onStore(store, { step: 'gc', way: 'now' });
    await this.#onStore(store, { step: 'scrub' });
    promise((await store.stats()).blobs === 0, 'something is left after everything was given back');
    for (const folder of ['blobs', 'tmp']) {
      const left = readdirSync(join(this.#directory, folder), { recursive: true, withFileTypes: true });
      promise(
        !left.some((entry) => entry.isFile() && !entry.name.startsWith('label.')),
        `a file is left in ${folder}`,
      );
    }
  }

  /** Loses the catalog, makes it again, and compares all that the store says. */
  async rebuild(): Promise<void> {
    await this.#store(0);
    await this.close();
    // What is damaged would be lost: that is for other tests.
    if (this.#model.damagedBlobs().length > 0) return;
    const open = (): Promise<Store> => this.#store(0);
    await this.#look(await rebuilt(this.#directory, { ...this.#stage, ...this.#known, open }));
  }

  async close(): Promise<void> {
    await this.#close(1);
    await this.#close(0);
  }

  async #store(handle: 0 | 1): Promise<Store> {
    // The first handle makes the store.
    if (handle === 1 && this.#stores[0] === undefined) await this.#store(0);
    const { threads, sabotage, compression } = this.#stage;
    const open = this.#stores[handle];
    if (open !== undefined) return open;
    const store = await openStore(this.#directory, {
      threads: { count: threads },
      parameters,
      durability: 'relaxed',
      ...(compression === undefined ? {} : { compression }),
      ...(this.#stage.encrypted === true ? { encryption } : {}),
    });
    return (this.#stores[handle] = sabotage === undefined ? store : sabotage(store));
  }

  /** Whoever else has the store open goes on under the old keys until he opens it again. */
  async #rotate(store: Store, handle: 0 | 1): Promise<void> {
    await this.#close(handle === 0 ? 1 : 0);
    await store.keys.rotate();
  }

  async #close(handle: 0 | 1): Promise<void> {
    const store = this.#stores[handle];
    this.#stores[handle] = undefined;
    await store?.close();
    // A session goes with its store.
    if (this.#session?.handle !== handle) return;
    this.#session = undefined;
    this.#model.endSession();
  }

  async #changeSession(change: 'begin' | 'end', handle: 0 | 1): Promise<void> {
    if (change === 'begin' && this.#session === undefined) {
      this.#session = { session: await (await this.#store(handle)).session(), handle };
      this.#model.session = true;
    } else if (change === 'end' && this.#session !== undefined) {
      await this.#session.session.end();
      this.#session = undefined;
      this.#model.endSession();
    }
  }

  async #onStore(store: Store, step: StoreStep): Promise<void> {
    switch (step.step) {
      case 'put':
        return this.#put(store, step);
      case 'tree':
        return this.#tree(store, step);
      case 'burst':
        return this.#burst(store, step.puts);
      case 'storm':
        return this.#storm(store, step);
      case 'broken-put':
        return this.#puts.broken(store, step.blob);
      case 'retain':
      case 'release':
        return this.#hold(store, step);
      case 'set-root':
        return this.#setRoot(store, step);
      case 'delete-root':
        return this.#deleteRoot(store, step);
      case 'read':
        return this.#read(store, step);
      case 'gc':
        return this.#collect(store, step.way);
      case 'damage':
        return this.#damage(store, step);
      case 'look':
        return this.#look(store);
      case 'scrub':
        return this.#scrub(store);
      case 'reseal':
        await this.#close(store === this.#stores[0] ? 1 : 0);
        return resealAll(store, this.#model);
    }
  }

  async #put(store: Store, put: Extract<Step, { step: 'put' }>): Promise<void> {
    const blob = this.#blobs[put.blob]!;
    const other = this.#blobs[(put.blob + 1) % this.#blobs.length]!;
    const expectId = put.expectId === 'right' ? blob.id : put.expectId === 'wrong' ? other.id : undefined;
    const putting = this.#puts.start(store, put, expectId === undefined ? {} : { expectId });
    const missing = kindOf(put, blob) === 'node' && this.#model.missing(put.blob).length > 0;
    if (put.expectId === 'wrong')
      return await refused(putting, missing ? ['conflict', 'not-found'] : ['conflict']);
    if (missing) return await refused(putting, ['not-found']);
    const { deduplicated } = this.#puts.check(put, await putting);
    const kept = this.#model.put(put.blob, kindOf(put, blob), put.owner);
    promise(deduplicated === kept, `a put says deduplicated ${deduplicated}, and should say ${kept}`);
  }

  async #tree(store: Store, { blob, owner }: Extract<Step, { step: 'tree' }>): Promise<void> {
    const found = this.#blobs[blob]!;
    if (found.kind === 'node')
      for (const child of found.children) await this.#tree(store, { step: 'tree', blob: child });
    await this.#put(store, { step: 'put', blob, way: 'bytes', ...(owner === undefined ? {} : { owner }) });
  }

  /** At once, so that they meet in commits; nodes only where their order does not matter. */
  async #burst(store: Store, puts: readonly Put[]): Promise<void> {
    const fit = puts.filter(
      (put) => kindOf(put, this.#blobs[put.blob]!) === 'raw' || this.#model.missing(put.blob).length === 0,
    );
    const results = await Promise.all(fit.map((put) => this.#puts.start(store, put)));
    results.forEach((result, i) => this.#puts.check(fit[i]!, result));
    for (const put of fit) this.#model.put(put.blob, kindOf(put, this.#blobs[put.blob]!), put.owner);
  }

  async #storm(store: Store, { puts, reads }: Extract<Step, { step: 'storm' }>): Promise<void> {
    const raw = puts.filter((put) => this.#blobs[put.blob]!.kind === 'raw');
    // What is held now is held throughout; the rest may be there or not.
    const held = reads.filter(
      (blob) => this.#model.has(blob) && this.#model.references(blob) > 0 && !this.#model.get(blob)!.damaged,
    );
    const healthy = this.#model.damagedBlobs().length === 0;
    const other = await this.#store(1);
    const [results, , { recounted, badRows, adopted }] = await Promise.all([
      Promise.all(raw.map((put, i) => this.#puts.start(i % 2 === 0 ? store : other, put))),
      store.gc({ graceMs: 0 }),
      other.scrub(),
      ...held.map(async (blob) => {
        const bytes = await store.get(this.#blobs[blob]!.id);
        promise(
          bytes !== undefined && same(bytes, this.#blobs[blob]!.bytes),
          'in a storm get gives other bytes',
        );
      }),
    ]);
    results.forEach((result, i) => this.#puts.check(raw[i]!, result));
    for (const put of raw) this.#model.put(put.blob, 'raw', put.owner);
    promise(
      !healthy || (recounted === 0 && badRows === 0 && adopted === 0),
      'in a storm a scrub finds something to mend',
    );
    await store.gc({ graceMs: 0 });
    this.#model.drop(this.#model.collectable());
    await this.#look(store);
  }

  #look(store: Store): Promise<void> {
    return compareAll(store, { ...this.#known, encrypted: this.#stage.encrypted === true });
  }

  async #hold(
    store: Store,
    { step, blob, owner }: Extract<Step, { step: 'retain' | 'release' }>,
  ): Promise<void> {
    const { id } = this.#blobs[blob]!;
    if (step === 'release') {
      const [said, should] = [await store.release(id, owner), this.#model.release(blob, owner)];
      return promise(said === should, `release says ${said}, and should say ${should}`);
    }
    if (!this.#model.has(blob)) return await refused(store.retain(id, owner), ['not-found']);
    const [said, should] = [await store.retain(id, owner), this.#model.retain(blob, owner)];
    promise(said === should, `retain says ${said}, and should say ${should}`);
  }

  async #setRoot(store: Store, { name, blob, expect }: Extract<Step, { step: 'set-root' }>): Promise<void> {
    const now = this.#model.roots.get(name);
    const wanted = expect === 'current' ? now : expect === 'any' || expect === 'absent' ? undefined : expect;
    const given = expect === 'any' ? {} : { expect: wanted === undefined ? null : this.#blobs[wanted]!.id };
    const setting = store.roots.set(name, this.#blobs[blob]!.id, given);
    if (expect !== 'any' && wanted !== now) return await refused(setting, ['conflict']);
    if (!this.#model.has(blob)) return await refused(setting, ['not-found']);
    await setting;
    this.#model.setRoot(name, blob);
    promise((await store.roots.get(name)) === this.#blobs[blob]!.id, 'a root is not what it was set to');
  }

  async #deleteRoot(store: Store, { name, expect }: Extract<Step, { step: 'delete-root' }>): Promise<void> {
    const now = this.#model.roots.get(name);
    const wanted = expect === 'any' || expect === 'current' ? now : expect;
    const given = expect === 'any' || wanted === undefined ? {} : { expect: this.#blobs[wanted]!.id };
    const deleting = store.roots.delete(name, given);
    if (expect !== 'any' && wanted !== now) return await refused(deleting, ['conflict']);
    const [said, should] = [await deleting, this.#model.deleteRoot(name)];
    promise(said === should, `deleting a root says ${said}, and should say ${should}`);
  }

  async #read(store: Store, { blob, offset, length }: Extract<Step, { step: 'read' }>): Promise<void> {
    const { id, bytes } = this.#blobs[blob]!;
    const standing = this.#model.get(blob);
    promise((await store.has(id)) === (standing !== undefined), 'has says otherwise');
    if (standing?.damaged === true) {
      await refused(store.get(id), ['corrupt']);
      const range = await store.readRange(id, offset, length).catch((error: unknown) => {
        if (StoreError.is(error, 'corrupt')) return undefined;
        throw error;
      });
      promise(
        range === undefined || same(range, bytes.subarray(offset, offset + length)),
        'wrong bytes out of a damaged blob',
      );
      return;
    }
    const [whole, range] = [await store.get(id), await store.readRange(id, offset, length)];
    if (standing === undefined)
      return promise(whole === undefined && range === undefined, 'read what is not there');
    promise(whole !== undefined && same(whole, bytes), 'get gives other bytes');
    promise(
      range !== undefined && same(range, bytes.subarray(offset, offset + length)),
      'readRange gives other bytes',
    );
    const pieces: Uint8Array[] = [];
    for await (const piece of (await store.stream(id, { offset: Math.min(offset, bytes.length) }))!)
      pieces.push(piece);
    promise(same(Buffer.concat(pieces), bytes.subarray(offset)), 'stream gives other bytes');
    const path = await store.pathOf(id);
    promise(path === undefined || same(readFileSync(path), bytes), 'the file of a blob has other bytes');
  }

  async #collect(store: Store, way: 'now' | 'dry' | 'later'): Promise<void> {
    const gone = way === 'later' ? [] : this.#model.collectable();
    const result = await store.gc(way === 'later' ? {} : { graceMs: 0, dryRun: way === 'dry' });
    promise(result.blocked === undefined, `collection is blocked: ${result.blocked}`);
    promise(
      result.deleted === gone.length,
      `collection (${way}) deletes ${result.deleted}, and should delete ${gone.length}`,
    );
    if (way !== 'now') return;
    this.#model.drop(gone);
    const here = await store.hasMany(gone.map((blob) => this.#blobs[blob]!.id));
    promise(here.size === 0, 'something is there after it was collected');
  }

  /** Turns a bit of a file, and lets a scrub find it. */
  async #damage(store: Store, place: Extract<Step, { step: 'damage' }>): Promise<void> {
    const harmed = this.#stage.encrypted
      ? await damageSealed(this.#directory, store, place)
      : await damageFile(store, { ...place, model: this.#model, blobs: this.#blobs });
    if (harmed === undefined) return;
    this.#model.damage(this.#blobs.findIndex(({ id }) => id === harmed));
    await this.#scrub(store);
  }

  async #scrub(store: Store): Promise<void> {
    const { damaged, recounted, badRows, adopted, blobs } = await store.scrub();
    const expected = this.#model
      .damagedBlobs()
      .map((blob) => this.#blobs[blob]!.id)
      .sort();
    promise(
      same(
        Buffer.from(
          damaged
            .map(({ id }) => id)
            .sort()
            .join(),
        ),
        Buffer.from(expected.join()),
      ),
      `a scrub finds ${damaged.length} damaged, and should find ${expected.length}`,
    );
    promise(recounted === 0, `a scrub recounts ${recounted}`);
    promise(badRows === 0, `a scrub finds ${badRows} bad rows`);
    promise(adopted === 0, `a scrub adopts ${adopted}`);
    promise(blobs === this.#model.all().length, `a scrub sees ${blobs} blobs of ${this.#model.all().length}`);
  }
}
