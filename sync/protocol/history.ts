/** What a peer tells of its roots, put together from its answers: the roots, and where they stand in its root log. */
import { StoreError } from '../../engine/errors.ts';
import type { AskedRoot, RootHistory } from './message.ts';
import type { RootTarget, ToldRoot } from './receiver-effects.ts';

/** Refuses a history of anything else than was asked for. Without one everything is unknown. */
export function toldRoots(
  roots: readonly RootTarget[],
  history: readonly RootHistory[] | undefined,
  asked: readonly AskedRoot[],
): ToldRoot[] {
  if (history !== undefined && history.length !== roots.length)
    throw new StoreError('corrupt', 'the peer tells the history of other roots than those it gives');
  const byName = new Map(asked.map((root) => [root.name, root.seen ?? []]));
  return roots.map(({ name, id }, i) => {
    const ids = byName.get(name) ?? [];
    const { sequence = 0, seen = [] } = history?.[i] ?? {};
    if (history !== undefined && seen.length !== ids.length)
      throw new StoreError('corrupt', 'the peer tells another history than was asked for', { root: name });
    return { name, id, sequence, seen: new Map(ids.map((one, at) => [one, seen[at] ?? 0])) };
  });
}
