/** What tests of rebuilding share: stores of every layout with all that can be in one, and what is to be the same afterwards. */
import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  type BlobId,
  type BlobStat,
  type OpenOptions,
  type RebuildOptions,
  type RebuildResult,
  type Secret,
  type Store,
  rebuildStore,
} from '../../engine/index.ts';
import { chunking } from './chunked-store.ts';
import { extendBy, membersOf } from './mirror-store.ts';
import { type StoreFolder, noise, putAll, sha256, smallParameters, text } from './store-folder.ts';

export const encryption = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(7) } } as const;

const parameters = { ...smallParameters, volumeBytesMax: 1024 * 1024 };

export const layouts: Readonly<
  Record<
    string,
    { readonly options: OpenOptions; readonly extend?: 'linear' | 'striped'; readonly mirror?: true }
  >
> = {
  hybrid: { options: { parameters } },
  'sqlite-only': {
    options: { parameters: { ...parameters, chunking: { ...chunking, mode: 'off' } }, layout: 'sqlite-only' },
  },
  compressed: { options: { parameters, compression: 'always' } },
  chunked: { options: { parameters: { ...parameters, chunking } } },
  'extended, linear': { options: { parameters }, extend: 'linear' },
  'extended, striped': {
    options: { parameters: { ...parameters, chunking }, compression: 'auto' },
    extend: 'striped',
  },
  encrypted: { options: { parameters, encryption } },
  'encrypted, chunked': {
    options: { parameters: { ...parameters, chunking }, encryption: { ...encryption, padding: 'padme' } },
  },
  'encrypted, sqlite-only': {
    options: {
      parameters: { ...parameters, chunking: { ...chunking, mode: 'off' } },
      layout: 'sqlite-only',
      encryption,
    },
  },
  mirrored: { options: { parameters, compression: 'auto' }, mirror: true },
  'mirrored, encrypted, chunked': {
    options: { parameters: { ...parameters, chunking }, encryption },
    mirror: true,
  },
};

/** What it takes to open a store of this layout again, or to rebuild it. */
export function keysOf(layout: string): { readonly encryption?: { readonly secret: Secret } } {
  return layout.includes('encrypted') ? { encryption } : {};
}

/** All that a store says of itself and that has to come back. */
export interface Told {
  readonly blobs: readonly Pick<BlobStat, 'id' | 'kind' | 'size' | 'references' | 'suspect' | 'copies'>[];
  readonly roots: readonly unknown[];
  readonly log: readonly unknown[];
}

export async function tell(store: Store): Promise<Told> {
  const blobs = [];
  for await (const { id, kind, size, references, suspect, copies } of store.list())
    blobs.push({ id, kind, size, references, suspect, copies });
  // An encrypted store lists by locators.
  blobs.sort((a, b) => (a.id < b.id ? -1 : 1));
  return { blobs, roots: await store.roots.list(), log: await store.roots.log() };
}

/** Reads everything, each blob from end to end. */
export async function readAll(store: Store): Promise<void> {
  for await (const { id } of store.list()) assert.equal(sha256((await store.get(id))!), id);
}

/** A store with records, files, trees, roots that came and went, owners that let go, dead copies and what nobody refers to. */
export async function fill(
  folder: StoreFolder,
  layout: keyof typeof layouts,
  seed = 1,
): Promise<{ node: BlobId; leaf: BlobId; file: BlobId }> {
  const { options, extend, mirror } = layouts[layout]!;
  let store = await folder.open(options);
  if (extend !== undefined) {
    await store.volumes.extend(join(folder.side, 'disk'), { allocation: extend });
    await store.volumes.extend(join(folder.side, 'packs'), { kind: 'sqlite' });
  }
  if (mirror === true) {
    await extendBy(store, membersOf(folder));
    await store.volumes.mirror(2);
  }
  const smalls = Array.from({ length: 60 }, (_, i) => noise(i * 173, seed * 1000 + i));
  const larges = Array.from({ length: 6 }, (_, i) => noise(20_000 + i * 30_000, seed * 1000 + 500 + i));
  const even = new Uint8Array(90_000).map((_, i) => (i >> 8) & 0x0f);
  await putAll(store, [...smalls, ...larges, even], 'app');
  const leaf = sha256(smalls[7]!);
  const file = sha256(larges[3]!);
  const inner = await store.put(text('inner'), {
    links: [
      { kind: 'raw', id: leaf },
      { kind: 'raw', id: file },
    ],
  });
  const other = await store.put(text('other'), { links: [{ kind: 'raw', id: sha256(even) }] });
  const node = await store.put(text('top'), {
    links: [
      { kind: 'node', id: inner.id },
      { kind: 'node', id: other.id },
      { kind: 'raw', id: leaf },
    ],
  });
  await store.roots.set('main', other.id);
  await store.roots.set('main', node.id);
  await store.roots.set('gone', inner.id);
  await store.roots.delete('gone');
  await store.roots.set('file', file);
  await store.retain(leaf, 'another owner, ä');
  for (const bytes of smalls.slice(20, 40)) await store.release(sha256(bytes), 'app');
  // A tree that is collected with what lies below it, and a blob that is put anew: dead records and files.
  const dead = [noise(700, seed * 1000 + 900), noise(30_000, seed * 1000 + 901)];
  const deadIds = await putAll(store, dead);
  await store.put(text('dead'), { links: deadIds.map((id) => ({ kind: 'raw' as const, id })) });
  assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
  await store.put(dead[0]!, { owner: 'late' });
  await store.close();
  store = await folder.open({ mode: 'open', ...keysOf(layout) });
  // Nobody refers to these.
  await putAll(store, [noise(333, seed * 1000 + 950), noise(12_000, seed * 1000 + 951)]);
  await store.close();
  return { node: node.id, leaf, file };
}

export function loseCatalog(folder: StoreFolder): void {
  for (const end of ['', '-wal', '-shm']) rmSync(folder.at(`index.db${end}`), { force: true });
}

export function rebuild(folder: StoreFolder, options: RebuildOptions = {}): Promise<RebuildResult> {
  return rebuildStore(folder.path, { threads: { count: 0 }, ...options });
}

/**
 * The store rebuilt has all that was there, and says of it what it said before. Dead copies of what was collected come back as blobs
 * that nothing but each other refers to: a collection takes them again, and leaves what was referred to before.
 */
export async function sameAsBefore(folder: StoreFolder, before: Told, layout = ''): Promise<void> {
  const store = await folder.open({ mode: 'open', ...keysOf(layout) });
  assert.equal((await store.stats()).missingCopies, 0);
  const { adopted, damaged, recounted, badRows, healed } = await store.scrub();
  assert.deepEqual(
    { adopted, damaged, recounted, badRows, healed },
    { adopted: 0, damaged: [], recounted: 0, badRows: 0, healed: 0 },
  );
  await readAll(store);
  const here = await store.hasMany(before.blobs.map(({ id }) => id));
  assert.equal(here.size, before.blobs.length);
  assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
  const after = await tell(store);
  assert.deepEqual(after, { ...before, blobs: before.blobs.filter(({ references }) => references > 0) });
  await store.close();
}

export function leftovers(folder: StoreFolder): string[] {
  return readdirSync(folder.path).filter((name) => name.startsWith('rebuilt'));
}
