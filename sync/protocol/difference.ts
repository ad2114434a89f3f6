/** What a tree has that another has not, found by links alone: both are walked together, and what they share is not walked. */
import { differenceMax } from './limits.ts';
import type { BlobId, LinkKind } from './message.ts';

export interface TreeLink {
  readonly kind: LinkKind;
  readonly id: BlobId;
}

/** The links of nodes, in the order of their ids; undefined for a node that is not there. */
export type LinksOf = (ids: readonly BlobId[]) => Promise<readonly (readonly TreeLink[] | undefined)[]>;

const none: readonly TreeLink[] = [];

/**
 * The blobs below `target` that are not below `base`, parents before children, each once: the order in which a receiver takes them.
 * Undefined when the base is not whole here, or there is more than one plans ahead. May name a few blobs that the base does have
 * (those that moved to another depth), never leaves one out. Reads O(nodes that differ).
 */
export async function difference(
  target: BlobId,
  base: BlobId,
  linksOf: LinksOf,
  max: number = differenceMax,
): Promise<TreeLink[] | undefined> {
  const walk = new Walk(linksOf, max);
  return (await walk.run(target, base)) ? walk.order(target) : undefined;
}

class Walk {
  readonly #linksOf: LinksOf;
  readonly #max: number;
  /** Blobs known to be below the base. */
  readonly #known = new Set<string>();
  /** Everything met below the target. */
  readonly #met = new Set<string>();
  readonly #links = new Map<BlobId, readonly TreeLink[]>();
  #baseFront: BlobId[] = [];

  constructor(linksOf: LinksOf, max: number) {
    this.#linksOf = linksOf;
    this.#max = max;
  }

  /**
   * False when there is no telling. Of the base no more is read than of the target, level by level: one that is walked ahead, to see
   * whether it has grown or shrunk, is read whole where a tree has changed a little everywhere. Where it did shrink by a level, that level
   * of the target is read, and all below it is known then.
   */
  async run(target: BlobId, base: BlobId): Promise<boolean> {
    this.#known.add(nodeKey(base));
    this.#met.add(nodeKey(target));
    this.#baseFront = [base];
    for (let front = [target]; front.length > 0;) {
      const found = await this.#linksOf(front);
      for (const [i, id] of front.entries()) {
        const links = found[i];
        if (links === undefined) return false;
        this.#links.set(id, links);
        for (const link of links) this.#met.add(keyOf(link));
      }
      if (!(await this.#stepBase())) return false;
      if (this.#met.size + this.#known.size > 4 * this.#max) return false;
      front = this.#below(front);
    }
    return true;
  }

  order(target: BlobId): TreeLink[] | undefined {
    const items: TreeLink[] = [];
    const told = new Set<string>();
    const stack: TreeLink[] = [{ kind: 'node', id: target }];
    for (let link = stack.pop(); link !== undefined; link = stack.pop()) {
      const key = keyOf(link);
      if (told.has(key) || this.#known.has(key)) continue;
      told.add(key);
      if (items.push(link) > this.#max) return undefined;
      const links = link.kind === 'node' ? this.#links.get(link.id) : undefined;
      if (links !== undefined) for (let i = links.length - 1; i >= 0; i--) stack.push(links[i]!);
    }
    return items;
  }

  /** The nodes below these that are still to be read. */
  #below(front: readonly BlobId[]): BlobId[] {
    const next = new Set<BlobId>();
    for (const id of front) {
      if (this.#known.has(nodeKey(id))) continue;
      for (const link of this.#links.get(id)!)
        if (link.kind === 'node' && !this.#links.has(link.id) && !this.#known.has(nodeKey(link.id)))
          next.add(link.id);
    }
    return [...next];
  }

  /** Goes one level down below the base, where the target does not share it. */
  async #stepBase(): Promise<boolean> {
    const open = this.#baseFront.filter((id) => !this.#met.has(nodeKey(id)));
    this.#baseFront = [];
    if (open.length === 0) return true;
    const found = await this.#linksOf(open);
    for (const links of found) {
      if (links === undefined) return false;
      for (const link of links) {
        if (this.#known.has(keyOf(link))) continue;
        this.#learn(link);
        if (link.kind === 'node') this.#baseFront.push(link.id);
      }
    }
    return true;
  }

  /** What is below the base, with all that the target was read to have below it. */
  #learn(found: TreeLink): void {
    const stack = [found];
    for (let link = stack.pop(); link !== undefined; link = stack.pop()) {
      if (this.#known.has(keyOf(link))) continue;
      this.#known.add(keyOf(link));
      if (link.kind === 'node') for (const below of this.#links.get(link.id) ?? none) stack.push(below);
    }
  }
}

function nodeKey(id: BlobId): string {
  return `n${id}`;
}

export function keyOf(link: TreeLink): string {
  return link.kind === 'node' ? `n${link.id}` : `r${link.id}`;
}
