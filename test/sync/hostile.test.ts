/** Peers that lie, flood, bend the rules or fall silent: a typed error, no root moved, nothing stored that was not asked for and right. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Store, StoreError, encodeNode, nodeProvider, openStore } from '../../engine/index.ts';
import { pair, pull, serve, streamTransport } from '../../sync/index.ts';
import * as limits from '../../sync/protocol/limits.ts';
import { encodeMessage } from '../../sync/protocol/message.ts';
import { noise, sha256, smallParameters, text, withCode } from '../engine/store-folder.ts';
import { ScriptedPeer, goodHello, header } from './scripted-peer.ts';
import { setTree } from './stores.ts';

const base = mkdtempSync(join(tmpdir(), 'holdfast-hostile-'));
let victim: Store;
let mainRoot = '';

before(async () => {
  victim = await openStore(join(base, 'victim'), {
    threads: { count: 0 },
    durability: 'relaxed',
    parameters: smallParameters,
  });
  mainRoot = await setTree(victim, 'main', new Map([['mine', text('my own file')]]));
});

after(async () => {
  const { damaged, recounted } = await victim.scrub();
  assert.deepEqual([damaged, recounted], [[], 0]);
  await victim.close();
  rmSync(base, { recursive: true });
});

interface Attack {
  readonly name: string;
  /** Codes that tell of it. */
  readonly codes: readonly string[];
  /** `pull`: the victim pulls root `x` from the attacker. `serve`: the attacker is served. */
  readonly while: 'pull' | 'serve';
  readonly act: (peer: ScriptedPeer) => Promise<void>;
  /** Right blobs that were asked for may stay, unreferenced, until they are collected. */
  readonly leavesBlobs?: true;
  /** Short where silence is the attack. */
  readonly stallMs?: number;
}

const attacks: Attack[] = [];
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

const nodeOf = (links: Parameters<typeof encodeNode>[0]['links'], payload = 'p'): Uint8Array =>
  encodeNode({ links, payload: text(payload) });
const idOf = (bytes: Uint8Array): string => nodeProvider.sha256Hex(bytes);
const ghost = sha256('nobody has this');

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
async function untilWanted(peer: ScriptedPeer, id: string, kind: 'raw' | 'node' = 'node'): Promise<void> {
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
whilePulling('silence', 'unavailable', () => new Promise(() => undefined), { stallMs: 150 });
whilePulling(
  'silence after hello',
  'unavailable',
  async (peer) => {
    await peer.hello();
    await new Promise(() => undefined);
  },
  { stallMs: 300 },
);
whilePulling('alive, alive, and nothing else', 'unavailable', async (peer) => {
  await peer.hello();
  for (;;) await peer.say({ type: 'alive' });
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
whilePulling('a name that is no UTF-8', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(
    header((writer) =>
      writer
        .array(2)
        .integer(3)
        .array(1)
        .array(4)
        .bytes(Uint8Array.of(0xff))
        .bytes(new Uint8Array(32))
        .integer(1)
        .bytes(new Uint8Array(0)),
    ),
  );
});
whilePulling('a name of 1,025 bytes', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'roots', roots: [{ name: 'x'.repeat(1025), id: ghost, kind: 'node', base: null }] });
});
whilePulling('an id of 31 bytes', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(
    header((writer) =>
      writer
        .array(2)
        .integer(3)
        .array(1)
        .array(4)
        .bytes(text('x'))
        .bytes(new Uint8Array(31))
        .integer(1)
        .bytes(new Uint8Array(0)),
    ),
  );
});
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
whilePulling('a form that was not agreed', 'incompatible-format', async (peer) => {
  await untilWanted(peer, ghost, 'raw');
  await peer.blob('raw', ghost, noise(1000), { form: 'stored' });
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
  await new Promise(() => undefined);
});
/** Nodes that each hold the next and 60,000 blobs that never come; the root first. */
function bomb(): Uint8Array[] {
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

async function throwBomb(peer: ScriptedPeer, nodes: readonly Uint8Array[]): Promise<void> {
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

whilePulling('nodes too large and too many to hold', 'limit-exceeded', async (peer) => {
  const nodes = bomb();
  await answer(peer, idOf(nodes[0]!));
  await throwBomb(peer, nodes);
});
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

whileServing('wanting before asking', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'want', wants: [{ kind: 'node', id: mainRoot, from: 0 }] });
});
whileServing('wanting more than one may', 'limit-exceeded', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.hear('roots');
  const wants = Array.from({ length: 1024 }, (_, i) => ({
    kind: 'raw' as const,
    id: i.toString(16).padStart(64, 'f'),
    from: 0,
  }));
  for (let i = 0; i < 5; i++) await peer.frame(encodeMessage({ type: 'want', wants }));
  await new Promise(() => undefined);
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
  for (;;) await peer.say({ type: 'credit', bytes: limits.windowBytesMax });
});
whileServing('asking twice', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.hear('roots');
  await peer.say({ type: 'ask', all: true, roots: [] });
});
whileServing('done with other roots', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.hear('roots');
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
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id: idOf(bytes), marks: [] }] });
  await peer.hear('ask');
  await peer.say({ type: 'roots', roots: [{ name: 'main', id: idOf(bytes), kind: 'node', base: mainRoot }] });
  await peer.blob('node', idOf(bytes), bytes);
  await peer.blob('raw', sha256('smuggled'), text('smuggled'));
});
whileServing('a stream with children before their parents', 'forbidden', async (peer) => {
  const leaf = text('a leaf');
  const bytes = nodeOf([{ kind: 'raw', id: idOf(leaf) }]);
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id: idOf(bytes), marks: [] }] });
  await peer.hear('ask');
  await peer.say({ type: 'roots', roots: [{ name: 'main', id: idOf(bytes), kind: 'node', base: mainRoot }] });
  await peer.blob('raw', idOf(leaf), leaf);
});
whileServing('a stream that sends the same again and again', 'forbidden', async (peer) => {
  const bytes = nodeOf([{ kind: 'raw', id: ghost }]);
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id: idOf(bytes), marks: [] }] });
  await peer.hear('ask');
  await peer.say({ type: 'roots', roots: [{ name: 'main', id: idOf(bytes), kind: 'node', base: mainRoot }] });
  for (;;) await peer.blob('node', idOf(bytes), bytes);
});
whileServing('a stream that ends another root', 'corrupt', async (peer) => {
  const bytes = nodeOf([]);
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id: idOf(bytes), marks: [] }] });
  await peer.hear('ask');
  await peer.say({ type: 'roots', roots: [{ name: 'main', id: idOf(bytes), kind: 'node', base: mainRoot }] });
  await peer.say({ type: 'streamed', root: 3 });
});

/** Runs one attack; resolves with what the victim rejected with. */
async function run(attack: Attack): Promise<unknown> {
  // As if no transfer had been cut before: after one, nothing is named as common.
  await victim.sideTable('sync').set([['cut', undefined]]);
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const options = { stallMs: attack.stallMs ?? 20_000 };
  const victims =
    attack.while === 'pull' ? pull(victim, here, { roots: ['x'], ...options }) : serve(victim, here, options);
  const acting = attack.act(peer);
  acting.catch(() => undefined); // its victim has closed: that is how most attacks end
  return await victims.then(
    () => undefined,
    (error: unknown) => error,
  );
}

test('there are at least forty attacks, each under a name of its own', () => {
  assert.ok(attacks.length >= 40, `${attacks.length}`);
  assert.equal(new Set(attacks.map(({ name }) => name)).size, attacks.length);
});

for (const attack of attacks)
  test(`a hostile peer (${attack.while}): ${attack.name}`, { timeout: 20_000 }, async () => {
    const blobs = (await victim.stats()).blobs;
    const error = await run(attack);
    assert.ok(
      StoreError.is(error),
      `a typed error, not ${String((error as Error | undefined)?.stack ?? error)}`,
    );
    assert.ok(attack.codes.includes(error.code), `${error.code}: ${error.message}`);
    assert.ok(!/[\u0000-\u001f\u007f-\u009f]/.test(error.message), 'no control characters of a stranger');
    assert.deepEqual(
      (await victim.roots.list()).map(({ name, id }) => [name, id]),
      [['main', mainRoot]],
    );
    if (attack.leavesBlobs !== true) assert.equal((await victim.stats()).blobs, blobs, 'nothing was stored');
    assert.equal((await victim.stats()).openHandles, 0);
  });

test('a node that came as raw bytes is no node: what is below it is asked for', async () => {
  const below = text('below the planted node');
  const planted = nodeOf([{ kind: 'raw', id: idOf(below) }]);
  await victim.put(planted);
  const root = nodeOf([{ kind: 'node', id: idOf(planted) }], 'root');
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const pulling = pull(victim, here, { roots: ['x'], stallMs: 2000 });
  await untilWanted(peer, idOf(root));
  await peer.blob('node', idOf(root), root);
  assert.deepEqual((await peer.hear('want')).wants, [{ kind: 'node', id: idOf(planted), from: 0 }]);
  await peer.blob('node', idOf(planted), planted);
  await peer.hear('want');
  await peer.blob('raw', idOf(below), below);
  await peer.hear('done');
  await peer.transport.close();
  await pulling.catch(() => undefined);
  assert.equal(await victim.roots.get('x'), idOf(root));
  assert.equal((await victim.stat(idOf(planted)))?.kind, 'node');
  await victim.roots.delete('x');
});

test('nodes too large and too many to hold take a bounded part of the process they are sent to', async (t) => {
  if (!existsSync('/proc/self/status')) return t.skip('the memory of another process is read from /proc');
  const folder = join(base, 'of a child');
  await (await openStore(folder, { threads: { count: 0 } })).close();
  const serving = fileURLToPath(new URL('./serving-child.ts', import.meta.url));
  const child = spawn(process.execPath, ['--no-warnings', serving, folder], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const peer = new ScriptedPeer(streamTransport({ input: child.stdout, output: child.stdin }));
  const nodes = bomb();
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'x', id: idOf(nodes[0]!), marks: [] }] });
  await peer.hear('ask');
  const most = (): number =>
    Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024;
  const idle = most();
  let seen = 0;
  const watching = setInterval(() => {
    try {
      seen = Math.max(seen, most());
    } catch {
      // it has ended
    }
  }, 5);
  await peer.say({ type: 'roots', roots: [{ name: 'x', id: idOf(nodes[0]!), kind: 'node', base: null }] });
  await assert.rejects(throwBomb(peer, nodes), /the victim said limit-exceeded/);
  clearInterval(watching);
  await peer.transport.close(new Error('over'));
  t.diagnostic(`${Math.round(seen)} MiB at most, ${Math.round(idle)} before`);
  assert.ok(seen > idle && seen < 400, `${Math.round(seen)} MiB, ${Math.round(idle)} before`);
});

test('one that wants much and takes nothing costs a window of memory, not more', async () => {
  const large = noise(1024 * 1024, 9);
  await victim.put(large, { owner: 'me' });
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const serving = serve(victim, here, { stallMs: 1500 });
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.hear('roots');
  const before = process.memoryUsage().rss;
  const want = { kind: 'raw', id: idOf(large), from: 0 } as const;
  await peer.say({ type: 'want', wants: Array.from({ length: 1000 }, () => want) });
  // Nothing is received, no credit is given.
  await assert.rejects(serving, withCode('unavailable'));
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 100 * 1024 * 1024, `${Math.round(grown / 1024 / 1024)} MiB`);
  await victim.release(idOf(large), 'me');
});

test('a blob wanted from behind its end comes from its beginning', async () => {
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const serving = serve(victim, here, { stallMs: 2000 });
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.hear('roots');
  await peer.say({ type: 'want', wants: [{ kind: 'node', id: mainRoot, from: 1_000_000 }] });
  const { id, offset, size } = await peer.hear('blob');
  assert.deepEqual([id, offset, size], [mainRoot, 0, (await victim.stat(mainRoot))?.size]);
  await peer.say({ type: 'done', changed: [true], blobs: 1, bytes: 1 });
  await peer.transport.close();
  await serving;
});

test('a beginning that a liar left is forgotten, and the blob comes whole from somebody honest', async () => {
  const content = noise(900_000, 5);
  const lie = async (size: number): Promise<void> => {
    const [here, there] = pair();
    const peer = new ScriptedPeer(there);
    const pulling = pull(victim, here, { roots: ['x'], stallMs: 2000 });
    await untilWanted(peer, idOf(content), 'raw');
    await peer.blob('raw', idOf(content), noise(400_000, 6), { size });
    await peer.transport.close();
    await assert.rejects(pulling);
  };
  const honest = await openStore(join(base, 'honest'), { threads: { count: 0 }, durability: 'relaxed' });
  await honest.put(content, { owner: 'me' });
  await honest.roots.set('x', idOf(content));
  for (const size of [900_000, 2_000_000]) {
    await lie(size);
    const [here, there] = pair();
    await Promise.all([pull(victim, here, { roots: ['x'] }), serve(honest, there)]);
    assert.equal(await victim.roots.get('x'), idOf(content));
    await victim.roots.delete('x');
    await victim.gc({ graceMs: 0 });
    assert.equal(await victim.has(idOf(content)), false);
  }
  await honest.close();
});

test('wants for what is not there are answered as absent, and the serving side goes on', async () => {
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const serving = serve(victim, here, { stallMs: 2000 });
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
  await peer.hear('roots');
  await peer.say({ type: 'want', wants: [{ kind: 'raw', id: ghost, from: 0 }] });
  assert.deepEqual(await peer.hear('absent'), { type: 'absent', kind: 'raw', id: ghost });
  await peer.say({ type: 'want', wants: [{ kind: 'node', id: mainRoot, from: 0 }] });
  assert.equal((await peer.hear('blob')).id, mainRoot);
  await peer.say({ type: 'done', changed: [true], blobs: 1, bytes: 1 });
  await peer.say({ type: 'bye' });
  await peer.transport.close();
  assert.equal((await serving).length, 1);
});
