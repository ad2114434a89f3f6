/** The receiving machine: what it holds of nodes takes the memory that is counted, however the bytes came. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeNode, nodeProvider } from '../../../engine/index.ts';
import { ReceiveWindow } from '../../../sync/protocol/credit.ts';
import { windowBytes } from '../../../sync/protocol/limits.ts';
import { Receiver } from '../../../sync/protocol/receiver.ts';

const sha256Hex = (bytes: Uint8Array): string => nodeProvider.sha256Hex(bytes);

/** A receiver that walks, and wants the root it asked for. */
function wanting(id: string): Receiver {
  const receiver = new Receiver({
    sha256Hex,
    window: new ReceiveWindow(windowBytes),
    ask: { all: false, roots: [{ name: 'main', haves: [] }] },
    current: new Map(),
    partials: new Map(),
    quota: { blobs: 100, bytes: 1_000_000 },
  });
  receiver.message(
    { type: 'roots', roots: [{ name: 'main', id, kind: 'node', base: null }] },
    new Uint8Array(0),
  );
  const [check] = receiver.drain().filter((effect) => effect.do === 'check');
  receiver.checked(check!.links, [false]);
  receiver.drain();
  return receiver;
}

for (const pieceBytes of [1, 7, Number.POSITIVE_INFINITY])
  test(`a node that came in pieces of ${pieceBytes} keeps nothing of what it came in`, () => {
    const node = encodeNode({ links: [], payload: new Uint8Array(100).fill(5) });
    const id = sha256Hex(node);
    const receiver = wanting(id);
    for (let offset = 0; offset < node.length; offset += pieceBytes) {
      const piece = node.subarray(offset, offset + pieceBytes);
      // As it comes from a socket: a view of a larger whole.
      const came = new Uint8Array(64 * 1024).subarray(1000, 1000 + piece.length);
      came.set(piece);
      receiver.message({ type: 'blob', kind: 'node', id, form: 'content', size: node.length, offset }, came);
      came.fill(0); // its memory is another's from now on
    }
    const [store] = receiver.drain().filter((effect) => effect.do === 'store-node');
    assert.deepEqual(store!.bytes, node);
    assert.equal(store!.bytes.buffer.byteLength, node.length);
  });
