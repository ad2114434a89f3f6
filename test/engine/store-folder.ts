/** A temp folder with a store for one test: closed and scrubbed clean at the end, kept for a look when the test fails. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import { type BlobId, type OpenOptions, type PutSource, type Store, openStore } from '../../engine/index.ts';

/** Sizes at which tests see every boundary with few bytes. */
export const smallParameters = { smallMax: 16_384, extentBytes: 16_384, chunkBytes: 4096 } as const;

export class StoreFolder {
  /** The store. */
  readonly path: string;
  /** Room for other files. */
  readonly side: string;
  readonly #opened: Store[] = [];
  #damaged: readonly BlobId[] = [];
  #checked = true;

  constructor(base: string) {
    this.path = join(base, 'store');
    this.side = join(base, 'side');
    mkdirSync(this.side);
  }

  /** Opens the store, on the calling thread unless the test wants threads; it is closed at the end. */
  async open(options: OpenOptions = {}): Promise<Store> {
    const store = await openStore(this.path, {
      threads: { count: 0 },
      parameters: smallParameters,
      ...options,
    });
    this.#opened.push(store);
    return store;
  }

  /** What the last scrub is to find: damage that the test made and did not heal. */
  leaves(damaged: readonly BlobId[]): void {
    this.#damaged = damaged;
  }

  /** The test leaves something that is no store. */
  leavesNoStore(): void {
    this.#checked = false;
  }

  /** A path in the store. */
  at(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  /** Makes a file beside the store. */
  file(name: string, bytes: Uint8Array | string): string {
    const path = join(this.side, name);
    writeFileSync(path, bytes);
    return path;
  }

  async closeAll(): Promise<void> {
    for (const store of this.#opened.splice(0)) await store.close();
  }

  /** Changes the catalog behind the engine's back. Nothing may have the store open. */
  edit(work: (db: Database.Database) => void): void {
    const db = new Database(this.at('index.db'));
    try {
      work(db);
    } finally {
      db.close();
    }
  }

  /** Files under a folder of the store, by their paths in it; without the labels of volumes. */
  files(folder: string): string[] {
    const entries = readdirSync(this.at(folder), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile() && !/^label\.\d+$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name));
  }

  /** Scrubs, and finds exactly the damage that was foretold, counts that are right, and nothing left lying about. */
  async check(): Promise<void> {
    await this.closeAll();
    if (!this.#checked) return;
    const store = await this.open({ mode: 'open' });
    const { damaged, recounted, badRows } = await store.scrub();
    assert.deepEqual(
      { damaged: damaged.map(({ id }) => id).sort(), recounted, badRows },
      { damaged: [...this.#damaged].sort(), recounted: 0, badRows: 0 },
    );
    await this.closeAll();
    assert.deepEqual(
      [readdirSync(this.at('tmp')), readdirSync(this.at('leases'))],
      [[], []],
      'temps and leases are gone',
    );
  }
}

export interface StoreTestOptions {
  /** Why it cannot run here. */
  readonly skip?: string | false;
  /** Where the folder is made, if not among the system's temps. */
  readonly under?: string;
}

/** A test with a folder for a store. */
export function storeTest(
  name: string,
  body: (folder: StoreFolder, t: TestContext) => Promise<void>,
  options: StoreTestOptions = {},
): void {
  test(name, { skip: options.skip ?? false, timeout: 180_000 }, async (t) => {
    if (typeof options.skip === 'string') return;
    const base = mkdtempSync(join(options.under ?? tmpdir(), 'holdfast-engine-'));
    const folder = new StoreFolder(base);
    try {
      await body(folder, t);
      await folder.check();
    } catch (error) {
      t.diagnostic(`kept ${base}`);
      await folder.closeAll().catch(() => undefined);
      throw error;
    }
    rmSync(base, { recursive: true, force: true });
  });
}

/** Reproducible bytes that do not compress. */
export function noise(size: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = (seed * 2654435761) | 1;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state & 0xff;
  }
  return bytes;
}

/** The same bytes, told apart quickly: a deep comparison of megabytes takes seconds. */
export function same(got: Uint8Array | undefined, want: Uint8Array): void {
  assert.equal(got?.length, want.length);
  assert.equal(Buffer.compare(got, want), 0);
}

export async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

export function sha256(bytes: Uint8Array | string): BlobId {
  return createHash('sha256').update(bytes).digest('hex');
}

export function text(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}

/** An id nobody has put. */
export const unknownId: BlobId = sha256('a blob that nobody has put');

/** What a call must reject with: a StoreError of this code, never a plain error. */
export function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    const found = error as { name?: string; code?: string; message?: string };
    assert.deepEqual([found.name, found.code], ['StoreError', code], String((error as Error).stack ?? error));
    return true;
  };
}

/** Waits until it is so: as long as a busy machine may take, and no longer than it takes. */
export async function until(so: () => Promise<boolean> | boolean, what: string): Promise<void> {
  for (const end = performance.now() + 60_000; !(await so());) {
    assert.ok(performance.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function putAll(store: Store, sources: readonly PutSource[], owner?: string): Promise<BlobId[]> {
  const results = await Promise.all(
    sources.map((source) => store.put(source, owner === undefined ? {} : { owner })),
  );
  return results.map(({ id }) => id);
}

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}
