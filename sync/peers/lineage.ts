/** Whether a root of a peer goes on from what was seen of it, or back: by the peer's root log where it tells, else by the log here. */
import { type Store, StoreError } from '../../engine/index.ts';
import type { PeerMark, ToldRoot } from '../peer.ts';
import type { Sighting } from './notes.ts';

/**
 * True when the peer's log has grown since this root was seen, and still has in it what was seen. False when that cannot be said: the
 * peer is new, or stands where it stood. `tampered` when its log is not the one that was seen: put back as it was before, or gone on
 * from an older copy.
 */
export function goesOn({ name, id, sequence, seen }: ToldRoot, last: Sighting | undefined): boolean {
  // Where it is what it was, it need not tell more.
  if (last === undefined || id === last.id) return false;
  const known = seen.get(last.id);
  if (known === undefined) return false; // it was not asked
  const what = `root ${JSON.stringify(name)} of the peer`;
  const facts = { root: name, id, seen: last.id };
  const was = `${last.id} after change ${last.sequence} of its root log`;
  if (sequence < last.sequence)
    throw new StoreError(
      'tampered',
      `${what} was set back: it was ${was}, and is now ${id} after change ${sequence}; allow rollback if that is meant`,
      { ...facts, lineage: 'rollback' },
    );
  if (known < last.sequence)
    throw new StoreError(
      'tampered',
      `${what} went on from an older copy: it was ${was}, which the peer does not know any more; allow rollback if that is meant`,
      { ...facts, lineage: 'fork' },
    );
  return true;
}

/** `conflict` where a root would become what it was here before: nothing tells that this is news. */
export async function refuseReturn(store: Store, moves: readonly PeerMark[]): Promise<void> {
  if (moves.length === 0) return;
  const changes = await store.roots.changes(moves.map(({ name, id }) => ({ name, id })));
  for (const [i, { name, id }] of moves.entries())
    if (changes[i]!.length > 0)
      throw new StoreError(
        'conflict',
        `root ${JSON.stringify(name)} would go back to ${id}, which it was here before; allow rollback if that is meant`,
        { root: name, id, lineage: 'return' },
      );
}
