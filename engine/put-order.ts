/** Puts on their way to a commit, by id, so that a node may be put while what it links to still is: it follows them into the commit. */
import type { BlobId, Link } from './api.ts';
import { decodeNode } from './codec/node.ts';
import { StoreError } from './errors.ts';

export class PutOrder {
  readonly #coming = new Map<BlobId, Promise<void>>();

  /** A put of this id begins. Call what it returns once its operation is in the queue of commits, or never will be; twice does no harm. */
  begin(id: BlobId): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#coming.set(id, promise);
    return () => {
      if (this.#coming.get(id) === promise) this.#coming.delete(id);
      resolve();
    };
  }

  /**
   * Resolves when the puts, begun before, of what a node links to are in the queue of commits; undefined where there are none. Only
   * those begun before: so nothing waits in a circle, whatever ids callers expect. A put that failed resolves too: the commit finds
   * what is missing. `bytes` are of a node, whose links are decoded only where something is under way.
   */
  before(
    node: { readonly links: readonly Link[] } | { readonly bytes: Uint8Array },
  ): Promise<unknown> | undefined {
    if (this.#coming.size === 0) return undefined;
    const found: Promise<void>[] = [];
    for (const { id } of 'links' in node ? node.links : linksOf(node.bytes)) {
      const coming = this.#coming.get(id);
      if (coming !== undefined) found.push(coming);
    }
    return found.length === 0 ? undefined : Promise.all(found);
  }
}

/** Of bytes that are no node, none: whoever encodes them refuses them. */
function linksOf(bytes: Uint8Array): readonly Link[] {
  try {
    return decodeNode(bytes).links;
  } catch (error) {
    if (StoreError.is(error)) return [];
    throw error;
  }
}
