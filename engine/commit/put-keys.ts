/** What the records of one batch are told apart by: the same bytes may come as raw, as a node, and in another's place. */
import type { SmallPut as SmallPutOf } from './operations.ts';
import type { Named } from '../keys/realm.ts';

type SmallPut = SmallPutOf<Named>;

/** The same bytes as the other kind: both in one batch must see each other. */
export function otherKey(put: SmallPut): string {
  return put.kind === 'node' ? `r${put.id}` : `n${put.id}`;
}

/** The least kind that makes a put needless: 1 a node, 0 anything. */
export function leastKind(put: SmallPut): 0 | 1 {
  return put.kind === 'node' && put.keep !== true ? 1 : 0;
}

/** What replaces a copy is no other put's to use: its place is by its own incarnation. */
export function keyOf(put: SmallPut): string {
  if (put.instead !== undefined) return `i${put.incarnation}`;
  return put.kind === 'node' ? `n${put.id}` : `r${put.id}`;
}
