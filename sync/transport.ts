/** The contract with whatever carries bytes between two peers: in order, with backpressure, and with an end that tells why. */

/**
 * Two directions of bytes. What one side sends the other receives, in order, each byte once; where pieces begin and end means nothing
 * and may change on the way. One call of `receive` and one of `send` may be under way at a time.
 *
 * An end is told apart from a cut: after the peer's `close()` what was sent before is still received, then `undefined`. Whatever else
 * ends it (a broken pipe, the death of the peer, `close(reason)`) rejects with `unavailable`, now and for every later call.
 * Pipes cannot tell the two apart: there the death of the peer may look like its close, and it is for the protocol to know that it
 * was not done. A transport that only stalls does neither: whoever waits decides how long.
 */
export interface Transport {
  /**
   * Resolves when there is room for more, which says nothing about the peer having it. The bytes belong to the transport from then on:
   * they must not change, and nobody may look at them again, because a transport that copies them gives their memory back at once. Rejects with `closed` after `close`, with `unavailable` when the way is cut.
   */
  send(bytes: Uint8Array): Promise<void>;
  /** The next bytes, at least one; they belong to the caller alone. Undefined after the peer's clean end. */
  receive(): Promise<Uint8Array | undefined>;
  /**
   * Without a reason: a clean end, after all that was sent. With one: now, what is under way is dropped and the peer's calls reject.
   * Pending and later `receive` calls of this side resolve with undefined, or reject with the reason. A second close is harmless; with
   * a reason it ends a clean one that is still waiting for the peer to receive the rest.
   */
  close(reason?: Error): Promise<void>;
}
