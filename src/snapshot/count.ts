/** Counts files and bytes below paths without reading them, so that progress can tell how much is left. */
import { type Store, listingFacts, listingNames } from '../../engine/index.ts';
import { Turns } from './pacing.ts';

export interface PathTotals {
  readonly files: number;
  readonly bytes: number;
}

/** A rough number: links are not followed, what cannot be listed counts nothing, and the tree may change. */
export async function countPaths(
  store: Store,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<PathTotals> {
  const totals = { files: 0, bytes: 0 };
  const turns = new Turns();
  const folders: string[] = [];
  for (const path of paths) {
    const real = await store.files.realPath(path);
    const facts = await store.files.facts(real);
    if (facts?.kind === 'folder') folders.push(real);
    else if (facts?.kind === 'file') {
      totals.files++;
      totals.bytes += facts.size;
    }
  }
  for (let path = folders.pop(); path !== undefined; path = folders.pop()) {
    signal?.throwIfAborted();
    const listing = await store.files.list(path).catch(() => undefined);
    if (listing === undefined) continue;
    const names = listingNames(listing);
    for (const [i, name] of names.entries()) {
      if (turns.due) await turns.rest();
      const facts = listingFacts(listing, i);
      if (facts.kind === 'folder') folders.push(`${path}/${name}`);
      if (facts.kind !== 'file') continue;
      totals.files++;
      totals.bytes += facts.size;
    }
  }
  return totals;
}
