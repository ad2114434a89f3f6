/** What a node links to that came as a sealed object: its clear head says that, in the order of the stream. */
import { decodeLinkLocators } from '../../engine/codec/locator.ts';
import { decodeHead } from '../../engine/codec/seal-header.ts';
import { StoreError } from '../../engine/index.ts';
import type { TreeLink } from '../peer.ts';

/** `corrupt` for what is no sealed node. Without keys nothing says that the links are genuine. */
export function objectLinks(object: Uint8Array): readonly TreeLink[] {
  const { role, clear } = decodeHead(object).header;
  if (role !== 'node') throw new StoreError('corrupt', 'the peer is refused: a raw object comes as a node');
  return decodeLinkLocators(clear).map(({ kind, locator: id }) => ({ kind, id }));
}
