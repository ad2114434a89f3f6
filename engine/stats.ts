/** The statistics of a store: what the catalog counts, and what the threads have open. */
import type { StoreStats } from './api.ts';
import type { Crew } from './crew.ts';
import type { Calls } from './facets.ts';
import type { OpenedStore } from './threads/opened.ts';

export async function storeStats(
  { query }: Calls,
  crew: Crew,
  { storeId, format }: OpenedStore,
): Promise<StoreStats> {
  const stats = await query<Omit<StoreStats, 'openHandles'>>('stats', storeId, format);
  const handles = (await crew.everyone('handles', undefined)) as number[];
  return { ...stats, openHandles: handles.reduce((sum, count) => sum + count, 0) };
}
