/** The receiving machine: what it holds of nodes takes the memory that is counted, however the bytes came; and in which order it stores. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EncodedChunk, decodeRun, encodeRun } from '../../../engine/codec/chunk-run.ts';
import { encodeNode, nodeProvider } from '../../../engine/index.ts';
import { ReceiveWindow, SendWindow, costOf } from '../../../sync/protocol/credit.ts';
import { windowBytes } from '../../../sync/protocol/limits.ts';
import { Receiver } from '../../../sync/protocol/receiver.ts';

const sha256Hex = (bytes: Uint8Array): string => nodeProvider.sha256Hex(bytes);

const decode = (chunks: readonly EncodedChunk[]): Uint8Array => decodeRun(nodeProvider, chunks);

/** A receiver that walks, and wants the root it asked for. */
function wanting(id: string): Receiver {
  const receiver = new Receiver({
    sha256Hex,
    takes: () => true,
    decode,
    window: new ReceiveWindow(windowBytes),
    ask: { all: false, roots: [{ name: 'main', haves: [] }] },
    current: new Map(),
    partials: new Map(),
    quota: { blobs: 100, bytes: 100_000_000 },
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

test('a slow store holds back nodes that come compressed, as it holds back others: none is refused', () => {
  const contents = Array.from({ length: 75 }, (_, i) =>
    encodeNode({ links: [], payload: new Uint8Array(1_000_000).fill(i) }),
  );
  const nodes = contents.map((bytes) => ({ kind: 'node', id: sha256Hex(bytes) }) as const);
  const root = encodeNode({ links: nodes, payload: new Uint8Array(0) });
  const receiver = wanting(sha256Hex(root));
  const window = new SendWindow(windowBytes);
  const wanted: string[] = [];
  const storing: string[] = [];
  /** The store answers what it is asked, and is slow to store. */
  const drain = (): void => {
    for (const effect of receiver.drain()) {
      if (effect.do === 'store-node') storing.push(effect.link.id);
      else if (effect.do === 'check')
        receiver.checked(
          effect.links,
          effect.links.map(() => false),
        );
      else if (effect.do === 'send' && effect.message.type === 'credit') window.give(effect.message.bytes);
      else if (effect.do === 'send' && effect.message.type === 'want')
        wanted.push(...effect.message.wants.map(({ id }) => id));
      else continue;
      drain();
    }
  };
  const arrive = (id: string, content: Uint8Array, form: 'content' | 'deflate'): boolean => {
    const { length } = content;
    if (!window.take(costOf({ kind: 'node', bytes: content, length }))) return false;
    const stored = (): Uint8Array => nodeProvider.deflate.compress(content, 1);
    const bytes = form === 'content' ? content : encodeRun([{ codec: 1, bytes: stored(), length }]);
    receiver.message({ type: 'blob', kind: 'node', id, form, size: length, offset: 0 }, bytes);
    drain();
    return true;
  };
  arrive(sha256Hex(root), root, 'content');
  const byId = new Map(nodes.map(({ id }, i) => [id, contents[i]!]));
  let rests = 0;
  for (let came = 0; came < contents.length;) {
    assert.ok(wanted.length > 0 || storing.length > 0, 'it goes on');
    const id = wanted[0];
    if (id !== undefined && arrive(id, byId.get(id)!, 'deflate')) {
      wanted.shift();
      came++;
      continue;
    }
    rests++;
    receiver.stored({ kind: 'node', id: storing.shift()! });
    drain();
  }
  assert.ok(rests > 0, 'the store was waited for');
});
