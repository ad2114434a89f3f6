/** Repair from a peer: what is damaged or lost here comes by its id over any transport, and goes the way of every repair. */
import { type RepairResult, type Store, nodeHost } from '../engine/index.ts';
import { RemoteBlobs } from './remote-blobs.ts';
import { RemoteObjects } from './remote-objects.ts';
import { namespaceOf } from './sides.ts';
import { type PeerOptions, defaultStallMs } from './options.ts';
import type { Transport } from './transport.ts';

export interface RepairFromOptions extends Pick<PeerOptions, 'host' | 'stallMs' | 'signal'> {
  /** False: only what is known to be damaged already, without a scrub first. Default true. */
  readonly verify?: boolean;
  readonly onProgress?: (healed: number) => void;
  /** As in `pull`. By locators neither side needs keys; without them the form and the length of what comes are all that is verified. */
  readonly by?: 'ids' | 'locators';
}

export interface RepairedFrom extends RepairResult {
  /** Bytes on the wire. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** What ended all dealings with the peer before the end: it could not be reached, refuses us, or is refused. */
  readonly failure?: Error;
}

/**
 * Scrubs, then has what is damaged or lost from mirrors, from alternates, and last from the peer, verified by its sha256 as everything
 * that is put. `connect` is called when the peer is first asked for something, and again after a cut. The peer has to let us pull;
 * it learns the ids of what is damaged here. What it could not or would not give is told in `remaining`, and the next call goes on there.
 */
export async function repairFrom(
  store: Store,
  connect: () => Promise<Transport>,
  options: RepairFromOptions = {},
): Promise<RepairedFrom> {
  const { host = nodeHost(), stallMs = defaultStallMs, signal, by, ...how } = options;
  const Peer = namespaceOf(store, by) === 'ids' ? RemoteBlobs : RemoteObjects;
  const peer = new Peer(store, connect, { host, stallMs, signal });
  let result: RepairResult;
  try {
    result = await store.repair({ ...how, ...(signal === undefined ? {} : { signal }), from: peer });
  } catch (error) {
    await peer.end(error);
    throw error;
  }
  await peer.end();
  const { sentBytes, receivedBytes, failure } = peer;
  return { ...result, sentBytes, receivedBytes, ...(failure === undefined ? {} : { failure }) };
}
