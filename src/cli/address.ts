/** Finds what ROOT, ROOT:PATH or an id on the command line means. */
import { type BlobId, type SnapshotEntry, type Store, StoreError, findEntry } from '../index.ts';
import { UsageError } from './exit.ts';

/** What lies at an address: the whole snapshot, or an entry of it. */
export type Addressed = SnapshotEntry | { readonly type: 'root'; readonly id: BlobId };

const idShape = /^[0-9a-f]{64}$/;

export function isId(text: string): boolean {
  return idShape.test(text);
}

/** An id in lower-case hex; a usage error for anything else. */
export function parseId(text: string): BlobId {
  if (!isId(text))
    throw new UsageError(`not a blob id (64 lower-case hex digits): ${JSON.stringify(text.slice(0, 80))}`);
  return text;
}

/** `ROOT` or `ROOT:PATH`; a root is named, or given by the id of its snapshot. The first colon divides. */
export async function resolveAddress(store: Store, address: string): Promise<Addressed> {
  const colon = address.indexOf(':');
  const name = colon < 0 ? address : address.slice(0, colon);
  const path = colon < 0 ? '' : address.slice(colon + 1);
  if (name === '') throw new UsageError(`no root is named in ${JSON.stringify(address)}`);
  const root = (await store.roots.get(name)) ?? (isId(name) ? name : undefined);
  if (root === undefined)
    throw new StoreError('not-found', `there is no root ${JSON.stringify(name)}`, { root: name });
  const stat = await store.stat(root);
  // Of a blob that a rebuild lost, what it was is not known: reading says that it is damaged.
  if (stat?.kind === 'raw' && !stat.suspect)
    throw new UsageError(`${JSON.stringify(name)} is a blob of bytes, not a snapshot`);
  const found = await findEntry(store, root, path);
  if (found === undefined)
    throw new StoreError('not-found', `there is no ${JSON.stringify(path)} in ${name}`, { root: name, path });
  return found;
}
