/** One store pushed to several others at once: what goes to more than one of them is read once, as far as they keep together. */
import type { Store } from '../engine/index.ts';
import { SharedReads } from './peers/shared-reads.ts';
import type { PushOptions, Replicated } from './options.ts';
import { pushShared } from './replicate.ts';
import type { Transport } from './transport.ts';

export interface FanOut {
  /**
   * As `push`, and each for itself: one that is slow, fails or is stopped holds up no other. Begin all of them before any has ended, so
   * that they share.
   */
  push(this: void, transport: Transport, options?: PushOptions): Promise<Replicated>;
  /** Pieces of blobs that were read from the store, and that one push had from the read of another. */
  readonly reads: { readonly read: number; readonly shared: number };
}

/**
 * Pieces that were read are kept for the others, 32 MiB of them: nobody waits for the slowest, and whoever is further behind than that
 * reads for himself.
 */
export function fanOut(store: Store): FanOut {
  const shared = new SharedReads();
  return {
    push: (transport, options = {}) => pushShared(store, transport, { options, shared }),
    reads: shared.counts,
  };
}
