/** Whether a root of a peer goes on from what is here, or back: by the peer's root log where it tells, else by the log here. */
import { type Store, StoreError } from '../../engine/index.ts';
import type { BlobId, PeerMark, ToldRoot } from '../peer.ts';
import type { Bookmark } from './notes.ts';

/**
 * `tampered` when the peer's log is not the one that was seen, or does not know what the peer had: put back as it was before, or gone on
 * from an older copy.
 */
export function refuseOlder({ name, id, sequence, seen }: ToldRoot, mark: Bookmark | undefined): void {
  if (mark === undefined) return;
  const what = `root ${JSON.stringify(name)} of the peer`;
  const { id: had, seen: last } = mark;
  const known = last === undefined ? undefined : seen.get(last.id);
  // Where it is what it was, and was nothing else, it need not tell more.
  if (last !== undefined && known !== undefined && (id !== last.id || sequence > 0)) {
    const was = `${last.id} after change ${last.sequence} of its root log`;
    if (sequence < last.sequence)
      throw new StoreError(
        'tampered',
        `${what} was set back: it was ${was}, and is now ${id} after change ${sequence}; allow rollback if that is meant`,
        { root: name, id, seen: last.id, lineage: 'rollback' },
      );
    if (known < last.sequence) throw forked(what, was, { root: name, id, seen: last.id });
  }
  // What was pushed there, or was the same on both sides without being told of.
  if (sequence > 0 && seen.get(had) === 0) throw forked(what, had, { root: name, id, seen: had });
}

/** Whether the peer had what is here, and went on from there. */
export function goesOn({ sequence, seen }: ToldRoot, current: BlobId): boolean {
  const had = seen.get(current) ?? 0;
  return had > 0 && sequence > had;
}

function forked(
  what: string,
  was: string,
  facts: { readonly root: string; readonly id: BlobId; readonly seen: BlobId },
): StoreError {
  return new StoreError(
    'tampered',
    `${what} went on from an older copy: it was ${was}, which the peer does not know any more; allow rollback if that is meant`,
    { ...facts, lineage: 'fork' },
  );
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
