/** Puts on their way to a commit, by id, so that a node may be put while what it links to still is: it follows them into the commit. */
import type { BlobId, Link, PutSource } from './api.ts';
import { decodeNode } from './codec/node.ts';
import { StoreError } from './errors.ts';

/** What a put has to follow. */
export class Before {
  #open = 0;
  #resolve: (() => void) | undefined;

  /** Whether all of it is in the queue of commits, or never will be. */
  get over(): boolean {
    return this.#open === 0;
  }

  begin(): void {
    this.#open++;
  }

  end(): void {
    this.#open--;
    if (this.#open === 0) this.#resolve?.();
  }

  async all(): Promise<void> {
    if (this.#open > 0) await new Promise<void>((resolve) => (this.#resolve = resolve));
  }
}

export class PutOrder {
  /** Who follows each put that is on its way. */
  readonly #coming = new Map<BlobId, Before[]>();

  /** A put of this id begins. Call what it returns when its operation is in the queue of commits, or never will be; twice does no harm. */
  begin(id: BlobId): () => void {
    const followers: Before[] = [];
    this.#coming.set(id, followers);
    return () => {
      if (this.#coming.get(id) === followers) this.#coming.delete(id);
      for (const before of followers.splice(0)) before.end();
    };
  }

  /**
   * The puts, begun before, of what a node links to; undefined where there are none. Only those begun before: so nothing waits in a
   * circle, whatever ids callers expect. A put that failed is over too: the commit finds what is missing. Where the source is an encoded
   * node, its links are decoded only when something is on its way.
   */
  before(source: PutSource, links: readonly Link[] | undefined): Before | undefined {
    if (this.#coming.size === 0) return undefined;
    let found: Before | undefined;
    for (const { id } of links ?? linksOf(source)) {
      const followers = this.#coming.get(id);
      if (followers === undefined) continue;
      found ??= new Before();
      found.begin();
      followers.push(found);
    }
    return found;
  }
}

/** Of what is no node, or not here as a whole, none: whoever encodes it refuses it or finds what is missing. */
function linksOf(source: PutSource): readonly Link[] {
  if (!(source instanceof Uint8Array)) return [];
  try {
    return decodeNode(source).links;
  } catch (error) {
    if (StoreError.is(error)) return [];
    throw error;
  }
}
