/** The memory of nodes that wait for their children, and how it slows down a sender that is faster than the disk. */
import { StoreError } from '../../engine/errors.ts';
import type { ReceiveWindow } from './credit.ts';
import type { TreeLink } from './difference.ts';
import { heldBytesMax, heldBytesSoft, heldLinkBytes } from './limits.ts';

export interface HeldNode {
  readonly bytes: Uint8Array;
  readonly links: readonly TreeLink[];
}

/**
 * A node's room in the window is given back when it arrives, since it may have to wait for what comes after it. But while much is
 * held and the store is at work, that room is kept back, or the memory would fill.
 */
export class NodeRoom {
  readonly #window: ReceiveWindow;
  #held = 0;
  /** Nodes that the store is at work on, and links that it looks up: each ends by itself, and then room is given back. */
  #working = 0;
  #keptBack = 0;

  constructor(window: ReceiveWindow) {
    this.#window = window;
  }

  /** Bytes of nodes and of their links in memory. */
  get held(): number {
    return this.#held;
  }

  hold(node: HeldNode): void {
    this.#held += weightOf(node);
    if (this.#held > heldBytesMax)
      throw new StoreError('limit-exceeded', 'the peer is refused: its nodes are too large and too deep');
  }

  release(node: HeldNode): void {
    this.#held -= weightOf(node);
  }

  workBegins(count: number): void {
    this.#working += count;
  }

  /** The credit to send, 0 for none. */
  workEnds(count: number): number {
    this.#working -= count;
    if (this.#keptBack === 0 || this.#crowded) return 0;
    const cost = this.#keptBack;
    this.#keptBack = 0;
    return this.#window.taken(cost);
  }

  /** A piece of a node came. The credit to send, 0 for none yet. */
  arrived(cost: number): number {
    if (!this.#crowded) return this.#window.taken(cost);
    this.#keptBack += cost;
    return 0;
  }

  get #crowded(): boolean {
    return this.#held > heldBytesSoft && this.#working > 0;
  }
}

function weightOf({ bytes, links }: HeldNode): number {
  return bytes.length + heldLinkBytes * links.length;
}
