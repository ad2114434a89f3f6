/** The receiving machine: what it holds of nodes takes the memory that is counted, however the bytes came; and in which order it stores. */
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
    takes: (form) => form === 'content',
    decode: () => assert.fail('nothing comes encoded'),
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

test('nodes are stored right behind what they link to; what was refused waits until all below it is stored', () => {
  const bytes = new TextEncoder().encode('content');
  const raw = { kind: 'raw', id: sha256Hex(bytes) } as const;
  const below = encodeNode({ links: [raw], payload: new Uint8Array(0) });
  const node = { kind: 'node', id: sha256Hex(below) } as const;
  const above = encodeNode({ links: [node], payload: new Uint8Array(0) });
  const root = { kind: 'node', id: sha256Hex(above) } as const;
  const receiver = wanting(root.id);
  const arrive = ({ kind, id }: typeof raw | typeof node, content: Uint8Array): void =>
    receiver.message({ type: 'blob', kind, id, form: 'content', size: content.length, offset: 0 }, content);
  /** What is to be stored, and what is asked. */
  const next = (): string[] =>
    receiver.drain().flatMap((effect) => {
      if (effect.do === 'store-node') return [`store ${effect.link.id}`];
      if (effect.do === 'write') return [`write ${effect.piece.id}`];
      return effect.do === 'check' ? effect.links.map(({ id }) => `check ${id}`) : [];
    });
  arrive(root, above);
  assert.deepEqual(next(), [`check ${node.id}`]);
  receiver.checked([node], [false]);
  next();
  arrive(node, below);
  assert.deepEqual(next(), [`check ${raw.id}`]);
  receiver.checked([raw], [false]);
  next();
  arrive(raw, bytes);
  assert.deepEqual(next(), [`write ${raw.id}`, `store ${node.id}`, `store ${root.id}`]);
  receiver.taken(bytes);
  receiver.stored(raw);
  receiver.refused(node);
  receiver.refused(root);
  assert.deepEqual(next(), [`check ${raw.id}`]);
  receiver.checked([raw], [true]);
  assert.deepEqual(next(), [`store ${node.id}`]);
  receiver.stored(node);
  assert.deepEqual(next(), [`store ${root.id}`]);
  receiver.stored(root);
  assert.deepEqual(
    receiver.drain().filter((effect) => effect.do === 'set-root'),
    [{ do: 'set-root', root: 0, target: { name: 'main', id: root.id } }],
  );
});
