/** The window of blob payload between a sender and a receiver: what may be under way, and when room is given back. */
import { StoreError } from '../../engine/errors.ts';
import { blobOverhead, windowBytesMax } from './limits.ts';
import type { LinkKind } from './message.ts';

/** A piece of a blob, as it travels. */
export interface WindowPiece {
  readonly kind: LinkKind;
  readonly bytes: Uint8Array;
  /** Bytes of content that it stands for. */
  readonly length: number;
}

/**
 * What a blob frame counts: its payload, and a little more, so that endless empty ones are bounded too. Of a node its content, however it
 * travels: that is in memory from when it comes until it is stored.
 */
export function costOf({ kind, bytes, length }: WindowPiece): number {
  return (kind === 'node' ? length : bytes.length) + blobOverhead;
}

/** The sender's side: how much may still be sent. */
export class SendWindow {
  #room: number;

  constructor(bytes: number) {
    this.#room = bytes;
  }

  /** False when the receiver has not taken in enough yet. A window takes at least one frame, however small it is. */
  take(cost: number): boolean {
    if (this.#room <= 0) return false;
    this.#room -= cost;
    return true;
  }

  give(bytes: number): void {
    this.#room += bytes;
    if (this.#room > windowBytesMax) throw new StoreError('limit-exceeded', 'the peer gives endless credit');
  }
}

/** The receiver's side: refuses what comes beyond the window, and gives room back a quarter at a time. */
export class ReceiveWindow {
  readonly #bytes: number;
  #room: number;
  #taken = 0;

  constructor(bytes: number) {
    this.#bytes = bytes;
    this.#room = bytes;
  }

  /** Counts a frame that came in. */
  arrived(cost: number): void {
    if (this.#room <= 0) throw new StoreError('limit-exceeded', 'the peer sends more than was asked for');
    this.#room -= cost;
  }

  /** Counts what needs no memory any more; the credit to send, 0 for none yet. */
  taken(cost: number): number {
    this.#taken += cost;
    if (this.#taken * 4 < this.#bytes) return 0;
    const credit = this.#taken;
    this.#taken = 0;
    this.#room += credit;
    return credit;
  }
}
