/** Two stores for one test, trees to replicate between them, and transports that count, cut and stall. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type BlobId,
  type OpenOptions,
  type Store,
  StoreError,
  decodeNode,
  nodeProvider,
} from '../../engine/index.ts';
import { type Replicated, type Transport, buildMap, pair, pull, push, serve } from '../../sync/index.ts';
import { StoreFolder } from '../engine/store-folder.ts';

/** Folders for a source and a replica. */
export interface Two {
  readonly a: StoreFolder;
  readonly b: StoreFolder;
}

/** A test with room for two stores; both are closed and scrubbed clean at the end, and kept for a look when the test fails. */
export function twoStores(name: string, body: (two: Two, t: TestContext) => Promise<void>): void {
  test(name, { timeout: 120_000 }, async (t) => {
    const base = mkdtempSync(join(tmpdir(), 'holdfast-sync-'));
    const two = { a: makeFolder(base, 'a'), b: makeFolder(base, 'b') };
    try {
      await body(two, t);
      await two.a.check();
      await two.b.check();
    } catch (error) {
      t.diagnostic(`kept ${base}`);
      await two.a.closeAll().catch(() => undefined);
      await two.b.closeAll().catch(() => undefined);
      throw error;
    }
    rmSync(base, { recursive: true, force: true });
  });
}

function makeFolder(base: string, name: string): StoreFolder {
  const path = mkdtempSync(join(base, `${name}-`));
  return new StoreFolder(path);
}

export async function openBoth(
  { a, b }: Two,
  options: OpenOptions = {},
): Promise<{ readonly source: Store; readonly replica: Store }> {
  return {
    source: await a.open({ durability: 'relaxed', ...options }),
    replica: await b.open({ durability: 'relaxed', ...options }),
  };
}

/** Content by name. */
export type Tree = ReadonlyMap<string, Uint8Array>;

/** Ids of content that a store was given before. */
const known = new WeakMap<Store, Map<Uint8Array, BlobId>>();

async function putContent(store: Store, bytes: Uint8Array): Promise<BlobId> {
  const ids = known.get(store) ?? new Map<Uint8Array, BlobId>();
  known.set(store, ids);
  const before = ids.get(bytes);
  if (before !== undefined && (await store.has(before))) return before;
  const { id } = await store.put(bytes);
  ids.set(bytes, id);
  return id;
}

/** Puts a tree as a map whose entries link to their content; returns its root's id. */
export async function putTree(store: Store, tree: Tree): Promise<BlobId> {
  const session = await store.session();
  try {
    const names = [...tree.keys()].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
    const puts = await Promise.all(names.map((name) => putContent(store, tree.get(name)!)));
    const entries = names.map((name, i) => ({
      key: Buffer.from(name),
      value: new Uint8Array(0),
      links: [{ kind: 'raw' as const, id: puts[i]! }],
    }));
    const nodes = [...buildMap(entries, nodeProvider)];
    for (let level = 0; level <= nodes.at(-1)!.level; level++)
      await Promise.all(
        nodes
          .filter((node) => node.level === level)
          .map(({ id, bytes }) => store.put(bytes, { kind: 'node', expectId: id })),
      );
    return nodes.at(-1)!.id;
  } finally {
    await session.end();
  }
}

export async function setTree(store: Store, name: string, tree: Tree): Promise<BlobId> {
  const session = await store.session();
  const root = await putTree(store, tree);
  await store.roots.set(name, root);
  await session.end();
  return root;
}

/** Everything below a root, read and verified: kind and bytes by id. */
export async function closureOf(store: Store, root: BlobId): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  const waiting: { readonly kind: 'raw' | 'node'; readonly id: BlobId }[] = [{ kind: 'node', id: root }];
  for (let link = waiting.pop(); link !== undefined; link = waiting.pop()) {
    const key = `${link.kind} ${link.id}`;
    if (found.has(key)) continue;
    const bytes = await store.get(link.id);
    assert.ok(bytes !== undefined, `${key} is missing`);
    assert.equal(nodeProvider.sha256Hex(bytes), link.id);
    found.set(key, bytes);
    if (link.kind === 'node') {
      assert.equal((await store.stat(link.id))?.kind, 'node');
      waiting.push(...decodeNode(bytes).links);
    }
  }
  return found;
}

/** The same roots, and under them the same blobs. */
export async function assertSame(source: Store, replica: Store, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const id = await source.roots.get(name);
    assert.equal(await replica.roots.get(name), id, `root ${name}`);
    assert.deepEqual(
      [...(await closureOf(replica, id!)).keys()].sort(),
      [...(await closureOf(source, id!)).keys()].sort(),
    );
  }
}

type Options = Parameters<typeof pull>[2];

/** Pulls over a pair; the serving side must end well too. */
export async function pullOver(source: Store, replica: Store, options: Options = {}): Promise<Replicated> {
  const [here, there] = pair();
  const [pulled] = await Promise.all([pull(replica, here, options), serve(source, there)]);
  return pulled;
}

export async function pushOver(
  source: Store,
  replica: Store,
  options: Parameters<typeof push>[2] = {},
): Promise<Replicated> {
  const [here, there] = pair();
  const [pushed] = await Promise.all([push(source, here, options), serve(replica, there)]);
  return pushed;
}

export type { Transport };

/** A transport that is cut when so many bytes have come. */
export function cutWhenCome(inner: Transport, bytes: number): Transport {
  let left = bytes;
  return {
    send: (piece) => inner.send(piece),
    close: (reason) => inner.close(reason),
    receive: async () => {
      const piece = await inner.receive();
      left -= piece?.length ?? 0;
      if (left >= 0) return piece;
      await inner.close(new StoreError('unavailable', 'cut'));
      return await inner.receive();
    },
  };
}
