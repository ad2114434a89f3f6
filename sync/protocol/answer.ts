/** Whether a peer answers for the roots that it was asked for, and with what it offered. */
import { StoreError } from '../../engine/errors.ts';
import type { FoundRoot } from './message.ts';
import type { ReceiverOptions } from './receiver-options.ts';

/** `not-found` for a root that the peer has not, `corrupt` for what is no answer to the question. */
export function checkAnswer(
  roots: readonly FoundRoot[],
  { ask, offered }: Pick<ReceiverOptions, 'ask' | 'offered'>,
): void {
  const asked = new Map(ask.roots.map((root) => [root.name, root.haves]));
  if (!ask.all && roots.length !== asked.size)
    throw new StoreError('corrupt', 'the peer answers for other roots than those asked for');
  for (const { name, id, base } of roots) {
    if (id === null)
      throw new StoreError('not-found', `the peer has no root ${JSON.stringify(name)}`, { root: name });
    if (!ask.all && !asked.has(name))
      throw new StoreError('corrupt', `the peer answers for a root that was not asked for`, { root: name });
    if ((offered?.get(name) ?? id) !== id)
      throw new StoreError('corrupt', 'the peer gives another root than it offered', { root: name });
    if (base !== null && asked.get(name)?.includes(base) !== true)
      throw new StoreError('corrupt', `the peer builds on a root that was not named`, { root: name });
  }
}
