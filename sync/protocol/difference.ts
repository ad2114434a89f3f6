/** What a tree has that another has not, found by links alone: both are walked together, and what they share is not walked. */
import { differenceMax } from './limits.ts';
import type { BlobId, LinkKind } from './message.ts';

export interface TreeLink {
  readonly kind: LinkKind;
  readonly id: BlobId;
}

/** The links of nodes, in the order of their ids; undefined for a node that is not there. */
export type LinksOf = (ids: readonly BlobId[]) => Promise<readonly (readonly TreeLink[] | undefined)[]>;

/** Levels that the base is walked ahead where nothing fits: its tree may have grown or shrunk by a level. */
const aheadMax = 2;
/** A level of fewer nodes says nothing about that. */
const aheadFrom = 8;

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

  /** False when there is no telling. */
  async run(target: BlobId, base: BlobId): Promise<boolean> {
    this.#known.add(nodeKey(base));
    this.#met.add(nodeKey(target));
    this.#baseFront = [base];
    for (let front = [target]; front.length > 0;) {
      for (let ahead = 0; ahead < aheadMax && this.#fitsNothing(front); ahead++)
        if (!(await this.#stepBase())) return false;
      const unknown = front.filter((id) => !this.#known.has(nodeKey(id)));
      const found = await this.#linksOf(unknown);
      const next: BlobId[] = [];
      for (const [i, id] of unknown.entries()) {
        const links = found[i];
        if (links === undefined) return false;
        this.#links.set(id, links);
        for (const link of links) {
          if (this.#met.has(keyOf(link))) continue;
          this.#met.add(keyOf(link));
          if (link.kind === 'node') next.push(link.id);
        }
      }
      if (!(await this.#stepBase())) return false;
      if (this.#met.size + this.#known.size > 4 * this.#max) return false;
      front = next;
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

  #fitsNothing(front: readonly BlobId[]): boolean {
    return (
      front.length >= aheadFrom &&
      this.#baseFront.length > 0 &&
      this.#baseFront.length <= 4 * front.length + 64 &&
      !front.some((id) => this.#known.has(nodeKey(id)))
    );
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
        this.#known.add(keyOf(link));
        if (link.kind === 'node') this.#baseFront.push(link.id);
      }
    }
    return true;
  }
}

function nodeKey(id: BlobId): string {
  return `n${id}`;
}

export function keyOf(link: TreeLink): string {
  return link.kind === 'node' ? `n${link.id}` : `r${link.id}`;
}
