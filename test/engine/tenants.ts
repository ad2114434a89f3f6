/** Stores over a base for the tests of alternates: the test's store borrows from one beside it. */
import { join } from 'node:path';
import { type BlobId, type OpenOptions, type Store, openStore } from '../../engine/index.ts';
import { type StoreFolder, noise, putAll, smallParameters, text } from './store-folder.ts';

/** What a base holds: records, files, a node over some of them, and a node over that. */
export interface Base {
  readonly path: string;
  readonly store: Store;
  readonly small: readonly BlobId[];
  readonly large: readonly BlobId[];
  readonly inner: BlobId;
  readonly outer: BlobId;
}

export const smallContents: readonly Uint8Array[] = Array.from({ length: 6 }, (_, i) =>
  noise(500 + 100 * i, 10 + i),
);
export const largeContents: readonly Uint8Array[] = Array.from({ length: 2 }, (_, i) =>
  noise(30_000 + i, 20 + i),
);

const opened = new WeakMap<StoreFolder, Store[]>();

/** Opens a store beside the test's own; `closeOthers` closes it. */
export async function openBeside(
  folder: StoreFolder,
  name: string,
  options: OpenOptions = {},
): Promise<Store> {
  const store = await openStore(join(folder.side, name), {
    threads: { count: 0 },
    parameters: smallParameters,
    ...options,
  });
  opened.set(folder, [...(opened.get(folder) ?? []), store]);
  return store;
}

export async function closeOthers(folder: StoreFolder): Promise<void> {
  for (const store of opened.get(folder) ?? []) await store.close();
  opened.delete(folder);
}

export async function makeBase(folder: StoreFolder, name = 'base', options: OpenOptions = {}): Promise<Base> {
  const store = await openBeside(folder, name, options);
  const small = await putAll(store, smallContents, 'x');
  const large = await putAll(store, largeContents, 'x');
  const inner = await store.put(text('inner'), {
    links: [small[0]!, large[0]!].toSorted().map((id) => ({ kind: 'raw', id }) as const),
    owner: 'x',
  });
  const outer = await store.put(text('outer'), { links: [{ kind: 'node', id: inner.id }], owner: 'x' });
  return { path: join(folder.side, name), store, small, large, inner: inner.id, outer: outer.id };
}

/** Lets go of everything in the base, so that only what is borrowed holds it. */
export async function releaseAll({ store, small, large, inner, outer }: Base): Promise<void> {
  for (const id of [...small, ...large, inner, outer]) await store.release(id, 'x');
}

/** Every test leaves its other stores closed. */
export function overBase(
  body: (folder: StoreFolder, base: Base) => Promise<void>,
): (folder: StoreFolder) => Promise<void> {
  return async (folder) => {
    try {
      await body(folder, await makeBase(folder));
    } finally {
      await closeOthers(folder);
    }
  };
}
