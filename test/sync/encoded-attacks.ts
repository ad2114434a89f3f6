/** What a hostile peer may do with blobs in chunks: sizes that lie, bombs, codecs that were not agreed, chunks that give something else. */
import { nodeProvider } from '../../engine/index.ts';
import { type EncodedChunk, encodeRun, runChunksMax, runContentMax } from '../../engine/codec/chunk-run.ts';
import { noise, text } from '../engine/store-folder.ts';
import { type Attack, ghost, idOf, nodeOf, untilWanted } from './attacks.ts';
import { type ScriptedPeer, goodHello } from './scripted-peer.ts';

export const encodedAttacks: Attack[] = [];

/** Well compressible, and large enough for a record of its own, a file, or a node. */
const quiet = new Uint8Array(3000).fill(7);
const large = new Uint8Array(300_000).fill(9);
const node = nodeOf([], 'p'.repeat(2000));

function chunkOf(content: Uint8Array, more: Partial<EncodedChunk> = {}): EncodedChunk {
  return { codec: 1, bytes: nodeProvider.deflate.compress(content, 6), length: content.length, ...more };
}

/** The blob is asked for, and comes as a run of chunks. */
const asRun = (
  name: string,
  code: string,
  how: {
    readonly run: readonly EncodedChunk[] | Uint8Array;
    readonly id?: string;
    readonly kind?: 'raw' | 'node';
    readonly size?: number;
    readonly form?: 'deflate' | 'zstd';
    readonly hello?: typeof goodHello;
  },
): void => {
  const { run, id = idOf(quiet), kind = 'raw', size = quiet.length, form = 'deflate' } = how;
  const bytes = run instanceof Uint8Array ? run : encodeRun(run);
  const act = async (peer: ScriptedPeer): Promise<void> => {
    if (how.hello !== undefined) peer.helloAs(how.hello);
    await untilWanted(peer, id, kind);
    await peer.blob(kind, id, bytes, { form, size });
  };
  encodedAttacks.push({ name: `in chunks: ${name}`, codes: [code], while: 'pull', act });
};

const whole = encodeRun([chunkOf(quiet)]);
asRun('a codec that was not agreed', 'incompatible-format', {
  run: whole,
  hello: { ...goodHello, forms: [0, 2] },
});
asRun('no codec was agreed', 'incompatible-format', { run: whole, hello: { ...goodHello, forms: [0] } });
asRun('a codec other than it says', 'corrupt', { run: whole, form: 'zstd' });
asRun('a codec that nobody knows', 'corrupt', { run: [chunkOf(quiet, { codec: 9 as 1 })] });
asRun('the bytes of another blob', 'corrupt', { run: [chunkOf(quiet)], id: ghost });
asRun('a node that is another', 'corrupt', {
  run: [chunkOf(node)],
  id: ghost,
  kind: 'node',
  size: node.length,
});
asRun('a large blob that is another', 'corrupt', {
  run: [chunkOf(large)],
  id: ghost,
  size: large.length,
});
asRun('content that is shorter than it says', 'corrupt', {
  run: [chunkOf(quiet, { length: 3001 })],
  size: 3001,
});
asRun('content that is longer than it says', 'corrupt', {
  run: [chunkOf(quiet, { length: 2999 })],
  size: 2999,
});
asRun('a node that is longer than it says', 'corrupt', {
  run: [chunkOf(node, { length: node.length - 1 })],
  id: idOf(node),
  kind: 'node',
  size: node.length - 1,
});
asRun('more than the blob has', 'corrupt', { run: [chunkOf(quiet)], size: 2999 });
asRun('a run that ends early', 'corrupt', { run: whole.subarray(0, whole.length - 1) });
asRun('a run that ends in the head of a chunk', 'corrupt', { run: new Uint8Array([...whole, 1, 2, 3]) });
asRun('no chunks', 'corrupt', { run: [] });
asRun('bytes that no codec made', 'corrupt', { run: [chunkOf(quiet, { bytes: noise(100) })] });
asRun('a node of bytes that no codec made', 'corrupt', {
  run: [chunkOf(node, { bytes: noise(100) })],
  id: idOf(node),
  kind: 'node',
  size: node.length,
});
asRun('a bomb in one chunk', 'limit-exceeded', {
  run: [chunkOf(new Uint8Array(2 * runContentMax))],
  size: 2 * runContentMax,
});
asRun('a bomb that says it is small', 'corrupt', {
  run: [chunkOf(new Uint8Array(2 * runContentMax), { length: quiet.length })],
});
asRun('a node that is a bomb', 'corrupt', {
  run: [chunkOf(new Uint8Array(2 * runContentMax), { length: node.length })],
  id: idOf(node),
  kind: 'node',
  size: node.length,
});
// A frame of zstd with one block, that repeats one byte; its head asks for a window of 2^27 bytes.
const window = new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 0xc3, 0x5d, 0, 7]);
if (nodeProvider.zstd !== undefined)
  asRun('a window larger than any chunk', 'corrupt', {
    run: [{ codec: 2, bytes: window, length: quiet.length }],
    form: 'zstd',
  });
asRun('more chunks than one run has', 'limit-exceeded', {
  run: Array.from({ length: runChunksMax + 1 }, () => chunkOf(quiet)),
  size: quiet.length * (runChunksMax + 1),
});
asRun('a chunk that is no smaller than its content', 'corrupt', {
  run: [chunkOf(quiet), chunkOf(text('abc'), { bytes: noise(3) })],
  size: quiet.length + 3,
});
asRun('chunks of nothing', 'corrupt', {
  run: [chunkOf(quiet), { codec: 0, bytes: new Uint8Array(0), length: 0 }],
});
asRun('nothing that is compressed', 'corrupt', { run: [{ codec: 0, bytes: quiet, length: quiet.length }] });
encodedAttacks.push({
  name: 'in chunks: a large blob that is right but for its last piece',
  codes: ['corrupt'],
  while: 'pull',
  async act(peer) {
    await untilWanted(peer, idOf(large), 'raw');
    const half = large.subarray(0, 150_000);
    const size = large.length;
    await peer.blob('raw', idOf(large), encodeRun([chunkOf(half)]), { form: 'deflate', size });
    const wrong = encodeRun([chunkOf(half.slice().fill(8))]);
    await peer.blob('raw', idOf(large), wrong, { form: 'deflate', size, offset: half.length });
  },
});
