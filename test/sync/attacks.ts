/** What a hostile peer may do, as data: each attack is a script, and the codes with which it must end. Run on every transport. */
import { encodeNode, nodeProvider } from '../../engine/index.ts';
import { buildMap } from '../../sync/index.ts';
import * as limits from '../../sync/protocol/limits.ts';
import { encodeMessage } from '../../sync/protocol/message.ts';
import { noise, sha256, text } from '../engine/store-folder.ts';
import { type ScriptedPeer, goodHello, header } from './scripted-peer.ts';

/** What the victim has: one root. */
export const mainTree: ReadonlyMap<string, Uint8Array> = new Map([['mine', text('my own file')]]);
const mainRoot = [
  ...buildMap(
    [...mainTree].map(([name, bytes]) => ({
      key: text(name),
      value: new Uint8Array(0),
      links: [{ kind: 'raw' as const, id: nodeProvider.sha256Hex(bytes) }],
    })),
    nodeProvider,
  ),
].at(-1)!.id;

export interface Attack {
  readonly name: string;
  /** Codes that tell of it. */
  readonly codes: readonly string[];
  /**
   * `pull`: the victim pulls root `x` from the attacker. `serve`: the attacker is served. `append`: likewise, and may only bring what is
   * new. `repair`: the victim has lost `wound`, and asks the attacker for it.
   */
  readonly while: 'pull' | 'serve' | 'append' | 'repair';
  readonly act: (peer: ScriptedPeer) => Promise<void>;
  /** Right blobs that were asked for may stay, unreferenced, until they are collected. */
  readonly leavesBlobs?: true;
  /** Short where silence is the attack. */
  readonly stallMs?: number;
  /** Much memory, or waiting: on one transport only. */
  readonly dear?: true;
}

export const attacks: Attack[] = [];
const whilePulling = (
  name: string,
  codes: string | readonly string[],
  act: Attack['act'],
  more: Partial<Attack> = {},
): void => {
  attacks.push({ name, codes: [codes].flat(), while: 'pull', act, ...more });
};
const whileServing = (name: string, codes: string | readonly string[], act: Attack['act']): void => {
  attacks.push({ name, codes: [codes].flat(), while: 'serve', act });
};

/** Lets the victim, which lives in the same thread, come to its own after each of endless messages. */
const turn = async (said: Promise<void>): Promise<void> => {
  await said;
  await new Promise((resolve) => setImmediate(resolve));
};

export const nodeOf = (links: Parameters<typeof encodeNode>[0]['links'], payload = 'p'): Uint8Array =>
  encodeNode({ links, payload: text(payload) });
export const idOf = (bytes: Uint8Array): string => nodeProvider.sha256Hex(bytes);
export const ghost = sha256('nobody has this');

/** Answers the question for `x` with this root. */
async function answer(
  peer: ScriptedPeer,
  id: string,
  how: { readonly kind?: 'raw' | 'node'; readonly base?: string } = {},
): Promise<void> {
  await peer.hello();
  await peer.hear('ask');
  await peer.say({
    type: 'roots',
    roots: [{ name: 'x', id, kind: how.kind ?? 'node', base: how.base ?? null }],
  });
}

/** Answers, and waits until the root's blob is wanted. */
export async function untilWanted(
  peer: ScriptedPeer,
  id: string,
  kind: 'raw' | 'node' = 'node',
): Promise<void> {
  await answer(peer, id, { kind });
  await peer.hear('want');
}

// The beginning

whilePulling('another protocol', ['corrupt', 'limit-exceeded'], (peer) =>
  peer.bytes(text('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')),
);
whilePulling('bytes at random', ['corrupt', 'limit-exceeded'], (peer) => peer.bytes(noise(5000)));
whilePulling('no hello first', 'corrupt', (peer) => peer.say({ type: 'roots', roots: [] }));
whilePulling('two hellos', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.hello();
});
whilePulling('a version that is not spoken here', 'incompatible-format', (peer) =>
  peer.say({ ...goodHello, versions: { min: 2, max: 9 } }),
);
whilePulling('a version that goes backwards', 'corrupt', (peer) =>
  peer.say({ ...goodHello, versions: { min: 2, max: 1 } }),
);
whilePulling('version nought', 'corrupt', (peer) => peer.say({ ...goodHello, versions: { min: 0, max: 1 } }));
whilePulling('locators where ids are spoken', 'incompatible-format', (peer) =>
  peer.say({ ...goodHello, namespace: 'locators' }),
);
whilePulling('another realm', 'wrong-key', (peer) => peer.say({ ...goodHello, realm: noise(16) }));
whilePulling('no form of blobs in common', 'incompatible-format', (peer) =>
  peer.say({ ...goodHello, forms: [7] }),
);
whilePulling('forms out of order', 'corrupt', (peer) => peer.say({ ...goodHello, forms: [1, 0] }));
whilePulling('too many forms', 'corrupt', (peer) =>
  peer.say({ ...goodHello, forms: Array.from({ length: limits.formsMax + 1 }, (_, i) => i) }),
);
whilePulling('pieces of one byte asked for', 'corrupt', (peer) =>
  peer.say({ ...goodHello, payloadBytes: 1 }),
);
whilePulling('pieces of a gigabyte asked for', 'corrupt', (peer) =>
  peer.say({ ...goodHello, payloadBytes: 2 ** 30 }),
);
whilePulling('a window smaller than a piece', 'corrupt', (peer) =>
  peer.say({ ...goodHello, windowBytes: 1000 }),
);
whilePulling('an endless window', 'corrupt', (peer) =>
  peer.say({ ...goodHello, windowBytes: limits.windowBytesMax + 1 }),
);
whilePulling('a store id that goes on and on', 'corrupt', (peer) =>
  peer.say({ ...goodHello, storeId: 'x'.repeat(limits.storeIdBytesMax + 1) }),
);
whilePulling('an endless realm', 'corrupt', (peer) =>
  peer.say({ ...goodHello, realm: noise(limits.realmBytesMax + 1) }),
);
whilePulling('a close without a word', 'unavailable', (peer) => peer.transport.close());
whilePulling('a cut without a word', 'unavailable', (peer) => peer.transport.close(new Error('cut')));
whilePulling('silence', 'unavailable', () => new Promise(() => undefined), { stallMs: 150, dear: true });
whilePulling(
  'silence after hello',
  'unavailable',
  async (peer) => {
    await peer.hello();
    await new Promise(() => undefined);
  },
  { stallMs: 300, dear: true },
);
whilePulling('alive, alive, and nothing else', 'unavailable', async (peer) => {
  await peer.hello();
  for (;;) await turn(peer.say({ type: 'alive' }));
});

// Frames

whilePulling('a frame without a header', 'limit-exceeded', (peer) =>
  peer.crooked((head) => head.writeUInt32LE(0, 0), 'made anew'),
);
whilePulling('a header of four gigabytes', 'limit-exceeded', (peer) =>
  peer.crooked((head) => head.writeUInt32LE(0xffff_ffff, 0), 'made anew'),
);
whilePulling('a payload of four gigabytes', 'limit-exceeded', (peer) =>
  peer.crooked((head) => head.writeUInt32LE(0xffff_ffff, 4), 'made anew'),
);
whilePulling('a payload larger than was asked for', 'limit-exceeded', (peer) =>
  peer.crooked((head) => head.writeUInt32LE(limits.payloadBytes + 1, 4), 'made anew'),
);
whilePulling('a header that was changed on the way', 'corrupt', (peer) =>
  peer.crooked((head) => head.writeUInt8(head.readUInt8(16) ^ 1, 16), 'kept'),
);
whilePulling('a frame that comes again', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.crooked((head) => head.writeUInt32LE(0, 8), 'made anew');
});
whilePulling('a frame that was left out', 'corrupt', (peer) =>
  peer.crooked((head) => head.writeUInt32LE(1, 8), 'made anew'),
);
whilePulling('a number in a longer form than needed', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(Uint8Array.of(0x82, 0x18, 0x08, 0x01)); // [8 in two bytes, 1]
});
whilePulling('an array without an end', 'corrupt', (peer) => peer.frame(Uint8Array.of(0x9f, 0x00, 0xff)));
whilePulling('text, floats, tags, maps', 'corrupt', (peer) =>
  peer.frame(Uint8Array.of(0x83, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0x60, 0xa0)),
);
whilePulling('a message with something behind its end', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(Buffer.concat([encodeMessage({ type: 'credit', bytes: 5 }), Uint8Array.of(0)]));
});
whilePulling('a type of message that there is not', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(header((writer) => writer.array(1).integer(99)));
});
whilePulling('a list that is said to have a billion items', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(header((writer) => writer.array(2).integer(3).array(1_000_000_000)));
});
whilePulling('a control message with a payload', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(encodeMessage({ type: 'alive' }), noise(10));
});

// Roots

whilePulling('a root that was not asked for', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'roots', roots: [{ name: 'main', id: ghost, kind: 'node', base: null }] });
});
whilePulling('more roots than were asked for', 'corrupt', async (peer) => {
  await peer.hello();
  const root = { id: ghost, kind: 'node', base: null } as const;
  await peer.say({ type: 'roots', roots: ['x', 'main'].map((name) => ({ name, ...root })) });
});
whilePulling('no root at all', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'roots', roots: [] });
});
whilePulling('a root that is not there', 'not-found', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'roots', roots: [{ name: 'x', id: null, kind: 'raw', base: null }] });
});
whilePulling('the same root twice', 'corrupt', async (peer) => {
  await peer.hello();
  const root = { name: 'x', id: ghost, kind: 'node', base: null } as const;
  await peer.say({ type: 'roots', roots: [root, root] });
});
whilePulling('a base that was not named', 'corrupt', (peer) => answer(peer, ghost, { base: ghost }));
whilePulling('a base that was named for another root', 'corrupt', (peer) =>
  answer(peer, ghost, { base: mainRoot }),
);
whilePulling('a name with NUL', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'roots', roots: [{ name: 'x\0', id: ghost, kind: 'node', base: null }] });
});
/** One root, written by hand. */
async function rawRoot(peer: ScriptedPeer, name: Uint8Array, idBytes: number): Promise<void> {
  await peer.hello();
  await peer.frame(
    header((writer) => {
      writer.array(2).integer(3).array(1).array(4);
      return writer.bytes(name).bytes(new Uint8Array(idBytes)).integer(1).bytes(new Uint8Array(0));
    }),
  );
}
whilePulling('a name that is no UTF-8', 'corrupt', (peer) => rawRoot(peer, Uint8Array.of(0xff), 32));
whilePulling('a name of 1,025 bytes', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'roots', roots: [{ name: 'x'.repeat(1025), id: ghost, kind: 'node', base: null }] });
});
whilePulling('an id of 31 bytes', 'corrupt', (peer) => rawRoot(peer, text('x'), 31));
whilePulling('roots told twice', 'corrupt', async (peer) => {
  await answer(peer, ghost);
  await answer(peer, ghost).catch(() => undefined);
  await peer.say({ type: 'roots', roots: [{ name: 'x', id: ghost, kind: 'node', base: null }] });
});
for (const message of [
  { type: 'want', wants: [{ kind: 'raw', id: ghost, from: 0 }] },
  { type: 'ask', all: true, roots: [] },
  { type: 'offer', roots: [{ name: 'x', id: ghost, marks: [] }] },
  { type: 'done', changed: [true], blobs: 1, bytes: 1 },
  { type: 'streamed', root: 0 },
  { type: 'bye' },
] as const)
  whilePulling(`"${message.type}" said to one that receives`, 'corrupt', async (peer) => {
    await answer(peer, ghost);
    await peer.say(message);
  });

// Blobs

whilePulling('a blob that nobody asked for', 'forbidden', async (peer) => {
  const bytes = text('take this');
  await untilWanted(peer, ghost);
  await peer.blob('raw', idOf(bytes), bytes);
});
whilePulling('a blob before it is wanted', ['forbidden', 'corrupt'], async (peer) => {
  await peer.hello();
  await peer.blob('raw', ghost, text('early'));
});
whilePulling('the right node twice', 'forbidden', async (peer) => {
  const bytes = nodeOf([{ kind: 'raw', id: ghost }]);
  await untilWanted(peer, idOf(bytes));
  await peer.blob('node', idOf(bytes), bytes);
  await peer.blob('node', idOf(bytes), bytes);
});
whilePulling('a node as raw bytes', 'forbidden', async (peer) => {
  const bytes = nodeOf([{ kind: 'raw', id: ghost }]);
  await untilWanted(peer, idOf(bytes));
  await peer.blob('raw', idOf(bytes), bytes);
});
whilePulling('a node whose bytes are others', 'corrupt', async (peer) => {
  await untilWanted(peer, idOf(nodeOf([])));
  await peer.blob('node', idOf(nodeOf([])), nodeOf([], 'other'));
});
whilePulling('a small blob whose bytes are others', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, text('somebody has this'));
});
whilePulling('a large blob whose bytes are others', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  for (let i = 0; i < 3; i++)
    await peer.blob('raw', ghost, noise(500_000, i + 1), { size: 1_500_000, offset: i * 500_000 });
});
whilePulling('a large blob that is right but for its last byte', 'corrupt', async (peer) => {
  const bytes = noise(900_000, 77);
  await untilWanted(peer, idOf(bytes), 'raw');
  const wrong = bytes.slice();
  wrong[899_999]! ^= 1;
  await peer.blob('raw', idOf(bytes), wrong.subarray(0, 450_000), { size: 900_000 });
  await peer.blob('raw', idOf(bytes), wrong.subarray(450_000), { size: 900_000, offset: 450_000 });
});
whilePulling('bytes that are no node, under their own id', 'corrupt', async (peer) => {
  await untilWanted(peer, sha256('not a node'));
  await peer.blob('node', sha256('not a node'), text('not a node'));
});
whilePulling('a node with links out of order, under its own id', 'corrupt', async (peer) => {
  const bytes = Buffer.from(
    nodeOf([
      { kind: 'raw', id: 'a'.repeat(64) },
      { kind: 'raw', id: 'b'.repeat(64) },
    ]),
  );
  bytes.fill(0xbb, 6, 38).fill(0xaa, 41, 73);
  await untilWanted(peer, idOf(bytes));
  await peer.blob('node', idOf(bytes), bytes);
});
whilePulling('a node of a version to come', 'incompatible-format', async (peer) => {
  const bytes = Buffer.from(nodeOf([]));
  bytes[1] = 2;
  await untilWanted(peer, idOf(bytes));
  await peer.blob('node', idOf(bytes), bytes);
});
whilePulling('65,537 links', 'corrupt', async (peer) => {
  const count = limits.nodeLinksMax + 1;
  const bytes = Buffer.alloc(2 + 5 + 35 * count + 1);
  bytes.writeUInt8(0x83, 0);
  bytes.writeUInt8(1, 1);
  bytes.writeUInt8(0x9a, 2);
  bytes.writeUInt32BE(count, 3);
  for (let i = 0; i < count; i++) {
    bytes.writeUInt16BE(0x5821, 7 + 35 * i);
    bytes.writeUInt32BE(i, 7 + 35 * i + 3);
  }
  bytes.writeUInt8(0x40, bytes.length - 1);
  await untilWanted(peer, idOf(bytes));
  const mib = 1024 * 1024;
  for (let at = 0; at < bytes.length; at += mib)
    await peer.blob('node', idOf(bytes), bytes.subarray(at, at + mib), { size: bytes.length, offset: at });
});
whilePulling('a node of five megabytes', 'limit-exceeded', async (peer) => {
  await untilWanted(peer, ghost);
  await peer.blob('node', ghost, noise(1000), { size: 5 * 1024 * 1024 });
});
whilePulling('a size that is too small', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, noise(1000), { size: 999 });
});
whilePulling('a size that changes on the way', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, noise(1000), { size: 3000 });
  await peer.blob('raw', ghost, noise(1000), { size: 4000, offset: 1000 });
});
whilePulling('a size of 2^53, and a close', 'unavailable', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, noise(1000), { size: Number.MAX_SAFE_INTEGER });
  await peer.transport.close();
});
whilePulling('a hole in a blob', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, noise(1000), { size: 3000 });
  await peer.blob('raw', ghost, noise(1000), { size: 3000, offset: 1001 });
});
whilePulling('a piece that comes again', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, noise(1000), { size: 3000 });
  await peer.blob('raw', ghost, noise(1000), { size: 3000 });
});
whilePulling('a blob that begins in the middle', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, noise(1000), { size: 3000, offset: 500 });
});
whilePulling('empty pieces without end', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, new Uint8Array(0), { size: 3000 });
});
whilePulling('a blob between the pieces of another', 'corrupt', async (peer) => {
  const [a, b] = [noise(3000, 1), noise(10, 2)];
  const bytes = nodeOf([a, b].map((content) => ({ kind: 'raw' as const, id: idOf(content) })));
  await untilWanted(peer, idOf(bytes));
  await peer.blob('node', idOf(bytes), bytes);
  await peer.hear('want');
  await peer.blob('raw', idOf(a), a.subarray(0, 1000), { size: 3000 });
  await peer.blob('raw', idOf(b), b);
});
whilePulling('more than the window holds', 'limit-exceeded', async (peer) => {
  // A node of many links, whose blobs come though no room is given: they belong to a blob that never ends.
  await untilWanted(peer, ghost, 'raw');
  const piece = noise(65_536);
  const size = 2 ** 40;
  for (let at = 0; ; at += piece.length) {
    await peer.blob('raw', ghost, piece, { size, offset: at });
    if (at > 3 * limits.windowBytes) await peer.say({ type: 'streamed', root: 0 });
  }
});
whilePulling('a wanted blob that is lost there', 'not-found', async (peer) => {
  await untilWanted(peer, ghost);
  await peer.say({ type: 'absent', kind: 'node', id: ghost });
});
whilePulling('a blob lost that was not wanted', 'corrupt', async (peer) => {
  await untilWanted(peer, ghost);
  await peer.say({ type: 'absent', kind: 'raw', id: ghost });
});
whilePulling('a close within a blob', 'unavailable', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, noise(1000), { size: 3000 });
  await peer.transport.close();
});
whilePulling(
  'silence within a blob',
  'unavailable',
  async (peer) => {
    await untilWanted(peer, ghost, 'raw');
    await peer.blob('raw', ghost, noise(1000), { size: 3000 });
    await new Promise(() => undefined);
  },
  { stallMs: 300 },
);

/** A chain of nodes, the deepest first. */
function chain(length: number): Uint8Array[] {
  const nodes = [nodeOf([{ kind: 'raw', id: ghost }])];
  while (nodes.length < length) nodes.push(nodeOf([{ kind: 'node', id: idOf(nodes.at(-1)!) }]));
  return nodes;
}

whilePulling('a tree of 129 nodes on end', 'limit-exceeded', async (peer) => {
  const nodes = chain(limits.depthMax + 1).reverse();
  await answer(peer, idOf(nodes[0]!));
  for (const bytes of nodes) {
    await peer.hear('want');
    await peer.blob('node', idOf(bytes), bytes);
  }
});
let made: readonly Uint8Array[] | undefined;

/** Nodes that each hold the next and 60,000 blobs that never come; the root first. */
export function bomb(): readonly Uint8Array[] {
  return (made ??= makeBomb());
}

function makeBomb(): Uint8Array[] {
  const links = Array.from({ length: 60_000 }, (_, i) => ({
    kind: 'raw' as const,
    id: i.toString(16).padStart(64, '0'),
  }));
  const nodes = [encodeNode({ links, payload: text('last') })];
  while (nodes.length < 6)
    nodes.push(
      encodeNode({ links: [...links, { kind: 'node', id: idOf(nodes.at(-1)!) }], payload: text('n') }),
    );
  return nodes.reverse();
}

export async function throwBomb(peer: ScriptedPeer, nodes: readonly Uint8Array[]): Promise<void> {
  const mib = 1024 * 1024;
  for (const bytes of nodes) {
    const id = idOf(bytes);
    for (let wanted = false; !wanted;)
      wanted = (await peer.hear('want')).wants.some((want) => want.id === id);
    for (let at = 0; at < bytes.length; at += mib)
      await peer.blob('node', id, bytes.subarray(at, at + mib), { size: bytes.length, offset: at });
  }
  await peer.hear('done');
}

whilePulling(
  'nodes too large and too many to hold',
  'limit-exceeded',
  async (peer) => {
    const nodes = bomb();
    await answer(peer, idOf(nodes[0]!));
    await throwBomb(peer, nodes);
  },
  { dear: true },
);
whilePulling(
  'a root that is never completed',
  'unavailable',
  async (peer) => {
    const here = text('a blob that is asked for and right');
    const bytes = nodeOf([
      { kind: 'raw', id: idOf(here) },
      { kind: 'raw', id: ghost },
    ]);
    await untilWanted(peer, idOf(bytes));
    await peer.blob('node', idOf(bytes), bytes);
    await peer.hear('want');
    await peer.blob('raw', idOf(here), here);
    await peer.transport.close();
  },
  { leavesBlobs: true },
);

// Errors that are told

whilePulling('an error in red letters', 'busy', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'error', code: 'busy', message: '\u001b[31mpay me\u0007' });
});
whilePulling('an error of a code to come', 'unavailable', async (peer) => {
  await peer.hello();
  await peer.frame(
    header((writer) => writer.array(3).integer(10).bytes(text('out-of-cheese')).bytes(text('?'))),
  );
});
whilePulling('an error with endless words', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(header((writer) => writer.array(3).integer(10).bytes(text('busy')).bytes(noise(1025))));
});

// One that is served

/** Asks for all roots, and hears which there are. */
export async function askAll(peer: ScriptedPeer): Promise<void> {
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.hear('roots');
}

/** Offers another root for `main`, and gives it as built on what `main` is. */
async function offerBased(peer: ScriptedPeer, id: string): Promise<void> {
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id, marks: [] }] });
  await peer.hear('ask');
  await peer.say({ type: 'roots', roots: [{ name: 'main', id, kind: 'node', base: mainRoot }] });
}

whileServing('wanting before asking', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'want', wants: [{ kind: 'node', id: mainRoot, from: 0 }] });
});
whileServing('wanting more than one may', 'limit-exceeded', async (peer) => {
  await askAll(peer);
  const wants = Array.from({ length: 1024 }, (_, i) => ({
    kind: 'raw' as const,
    id: i.toString(16).padStart(64, 'f'),
    from: 0,
  }));
  for (let i = 0; i < 5; i++) await peer.frame(encodeMessage({ type: 'want', wants }));
});
whileServing('wanting too many at once', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  const want = { kind: 'raw' as const, id: ghost, from: 0 };
  await peer.say({ type: 'want', wants: Array.from({ length: 1025 }, () => want) });
});
whileServing('endless credit', 'limit-exceeded', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  for (;;) await turn(peer.say({ type: 'credit', bytes: limits.windowBytesMax }));
});
whileServing('asking twice', 'corrupt', async (peer) => {
  await askAll(peer);
  await peer.say({ type: 'ask', all: true, roots: [] });
});
whileServing('done with other roots', 'corrupt', async (peer) => {
  await askAll(peer);
  await peer.say({ type: 'done', changed: [true, true, true], blobs: 0, bytes: 0 });
});
whileServing('blobs sent to one that sends', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.blob('raw', ghost, text('x'));
});
whileServing('an offer of nothing', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'offer', roots: [] });
});
whileServing('an offer of one root, and another given', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'x', id: ghost, marks: [] }] });
  await peer.hear('ask');
  await peer.say({ type: 'roots', roots: [{ name: 'x', id: mainRoot, kind: 'node', base: null }] });
});
whileServing('an offer, done at once without a blob', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id: ghost, marks: [] }] });
  await peer.hear('ask');
  await peer.say({ type: 'done', changed: [true], blobs: 0, bytes: 0 });
});
whileServing('an offer over a root that is something else', 'conflict', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id: ghost, expect: null, marks: [] }] });
  await peer.hear('ask');
});
whileServing('a stream below a base, of blobs that are not below its root', 'forbidden', async (peer) => {
  const bytes = nodeOf([{ kind: 'raw', id: ghost }]);
  await offerBased(peer, idOf(bytes));
  await peer.blob('node', idOf(bytes), bytes);
  await peer.blob('raw', sha256('smuggled'), text('smuggled'));
});
whileServing('a stream with children before their parents', 'forbidden', async (peer) => {
  const leaf = text('a leaf');
  const bytes = nodeOf([{ kind: 'raw', id: idOf(leaf) }]);
  await offerBased(peer, idOf(bytes));
  await peer.blob('raw', idOf(leaf), leaf);
});
whileServing('a stream that sends the same again and again', 'forbidden', async (peer) => {
  const bytes = nodeOf([{ kind: 'raw', id: ghost }]);
  await offerBased(peer, idOf(bytes));
  for (;;) await turn(peer.blob('node', idOf(bytes), bytes));
});
whileServing('a stream that ends another root', 'corrupt', async (peer) => {
  const bytes = nodeOf([]);
  await offerBased(peer, idOf(bytes));
  await peer.say({ type: 'streamed', root: 3 });
});
