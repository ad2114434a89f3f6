/** Which missing blobs are asked for next: deepest first, nodes first while there is room, so that memory stays bounded. */
import type { TreeLink } from './difference.ts';
import { heldBytesSoft, nodeWantsMax, wantIdsMax, wantsMax } from './limits.ts';

/** Raw blobs asked for at once; under what a sender must bear. */
const rawWantsMax: number = wantsMax / 2;
/** Asked for again when half of them have come: a question for each blob would cost as much as the blob. */
const rawWantsLow: number = rawWantsMax / 2;

export class Wants {
  /** Taken from the end: children of the node that came last. */
  readonly #nodes: TreeLink[] = [];
  readonly #raws: TreeLink[] = [];
  readonly #asked = { node: 0, raw: 0 };

  add(link: TreeLink): void {
    (link.kind === 'node' ? this.#nodes : this.#raws).push(link);
  }

  arrived(link: TreeLink): void {
    this.#asked[link.kind]--;
  }

  /** Batches to ask for now. With much memory held, a node at a time: each brings new children, raw blobs bring their parents to an end. */
  next(heldBytes: number): TreeLink[][] {
    const wanted: TreeLink[] = [];
    const take = (from: TreeLink[], kind: 'node' | 'raw', max: number): void => {
      for (; from.length > 0 && this.#asked[kind] < max; this.#asked[kind]++) wanted.push(from.pop()!);
    };
    take(this.#nodes, 'node', heldBytes < heldBytesSoft ? nodeWantsMax : 1);
    if (this.#asked.raw <= rawWantsLow) take(this.#raws, 'raw', rawWantsMax);
    const batches: TreeLink[][] = [];
    for (let at = 0; at < wanted.length; at += wantIdsMax) batches.push(wanted.slice(at, at + wantIdsMax));
    return batches;
  }
}
