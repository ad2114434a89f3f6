/** What a hostile peer may do with single blobs and with the history of roots, and who may only bring. As data, like attacks.ts. */
import { encodeRun } from '../../engine/codec/chunk-run.ts';
import { nodeProvider } from '../../engine/index.ts';
import * as limits from '../../sync/protocol/limits.ts';
import { noise, text } from '../engine/store-folder.ts';
import { type Attack, ghost, idOf, nodeOf } from './attacks.ts';
import { type ScriptedPeer, header } from './scripted-peer.ts';

/** What the victim has lost: raw bytes, of a known size. */
export const wound: Uint8Array = noise(40_000, 77);
const id = idOf(wound);

export const furtherAttacks: Attack[] = [];
const whileRepairing = (name: string, codes: string | readonly string[], act: Attack['act']): void => {
  furtherAttacks.push({ name: `for a repair: ${name}`, codes: [codes].flat(), while: 'repair', act });
};

/** Answers the question for no roots, and hears what is wanted. */
async function untilAsked(peer: ScriptedPeer): Promise<void> {
  await peer.hello();
  await peer.hear('ask');
  await peer.say({ type: 'roots', roots: [] });
  await peer.hear('want');
}

const afterWant = (
  name: string,
  codes: string | readonly string[],
  act: (peer: ScriptedPeer) => Promise<void>,
): void => {
  whileRepairing(name, codes, async (peer) => {
    await untilAsked(peer);
    await act(peer);
  });
};

whileRepairing('roots that nobody asked for', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.hear('ask');
  await peer.say({ type: 'roots', roots: [{ name: 'x', id: ghost, kind: 'node', base: null }] });
});
whileRepairing('an offer in place of roots', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'x', id: ghost, marks: [] }] });
});
whileRepairing('a blob before it is wanted', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.blob('raw', id, wound);
});
whileRepairing('a close before an answer', 'unavailable', (peer) => peer.transport.close());
afterWant('wrong bytes of the right size', 'corrupt', (peer) => peer.blob('raw', id, noise(wound.length, 3)));
afterWant('another blob', 'forbidden', (peer) => peer.blob('raw', idOf(text('other')), text('other')));
afterWant('the blob as a node', 'forbidden', (peer) => peer.blob('node', id, wound));
afterWant('another size than is known', 'corrupt', (peer) => peer.blob('raw', id, wound, { size: 2 ** 40 }));
afterWant('a size of nothing', 'corrupt', (peer) => peer.blob('raw', id, new Uint8Array(0)));
afterWant('a piece from the middle', 'corrupt', (peer) => peer.blob('raw', id, wound, { offset: 1 }));
afterWant('more than was declared', 'corrupt', (peer) =>
  peer.blob('raw', id, noise(wound.length + 1), { size: wound.length }),
);
afterWant('empty pieces for ever', 'corrupt', (peer) =>
  peer.blob('raw', id, new Uint8Array(0), { size: wound.length }),
);
afterWant('chunks that are none', 'corrupt', (peer) => peer.blob('raw', id, wound, { form: 'deflate' }));
afterWant('chunks of another blob', 'corrupt', (peer) => {
  const other = new Uint8Array(wound.length).fill(1);
  const bytes = nodeProvider.deflate.compress(other, 6);
  const run = encodeRun([{ codec: 1, bytes, length: other.length }]);
  return peer.blob('raw', id, run, { form: 'deflate', size: wound.length });
});
afterWant('chunks that do not decode', 'corrupt', (peer) => {
  const run = encodeRun([{ codec: 1, bytes: noise(100), length: wound.length }]);
  return peer.blob('raw', id, run, { form: 'deflate', size: wound.length });
});
afterWant('another blob is absent', 'corrupt', (peer) =>
  peer.say({ type: 'absent', kind: 'raw', id: ghost }),
);
afterWant('it is absent after its first half', 'corrupt', async (peer) => {
  await peer.blob('raw', id, wound.subarray(0, 20_000), { size: wound.length });
  await peer.say({ type: 'absent', kind: 'raw', id });
});
afterWant('a cut after its first half', 'unavailable', async (peer) => {
  await peer.blob('raw', id, wound.subarray(0, 20_000), { size: wound.length });
  await peer.transport.close();
});
afterWant('a stream of a root', 'corrupt', (peer) => peer.say({ type: 'streamed', root: 0 }));
afterWant('done in the place of an answer', 'corrupt', (peer) =>
  peer.say({ type: 'done', changed: [], blobs: 0, bytes: 0 }),
);
afterWant('a question in the place of an answer', 'corrupt', (peer) =>
  peer.say({ type: 'ask', all: true, roots: [] }),
);
afterWant('endless signs of life', 'unavailable', async (peer) => {
  for (let i = 0; i <= limits.alivesMax; i++) await peer.say({ type: 'alive' });
});
afterWant('an error of its own', 'forbidden', (peer) =>
  peer.say({ type: 'error', code: 'forbidden', message: 'no \u001b[31m' }),
);

// Who may only bring what is new asks for what is here.

const whileAppending = (name: string, act: Attack['act'], codes: readonly string[] = ['forbidden']): void => {
  furtherAttacks.push({ name, codes, while: 'append', act });
};
whileAppending('who may only bring asks for no roots, to want by id', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'ask', all: false, roots: [] });
});
whileAppending('who may only bring asks for all roots', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'ask', all: true, roots: [] });
});
whileAppending(
  'who may only bring wants without asking',
  async (peer) => {
    await peer.hello();
    await peer.say({ type: 'want', wants: [{ kind: 'raw', id: ghost, from: 0 }] });
  },
  ['corrupt'],
);

// The history of roots

const whilePulling = (name: string, codes: string | readonly string[], act: Attack['act']): void => {
  furtherAttacks.push({ name: `history: ${name}`, codes: [codes].flat(), while: 'pull', act });
};
const root = nodeOf([]);
const told = { type: 'history', roots: [{ sequence: 1, seen: [] }] } as const;
const given = { type: 'roots', roots: [{ name: 'x', id: idOf(root), kind: 'node', base: null }] } as const;

whilePulling('before anybody asked', 'corrupt', async (peer) => {
  await peer.say(told);
});
whilePulling('twice', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.hear('ask');
  await peer.say(told);
  await peer.say(told);
});
whilePulling('after the roots', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.hear('ask');
  await peer.say(given);
  await peer.say(told);
});
whilePulling('of more roots than come', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.hear('ask');
  await peer.say({ type: 'history', roots: [...told.roots, ...told.roots] });
  await peer.say(given);
});
whilePulling('of what was not asked for', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.hear('ask');
  await peer.say({ type: 'history', roots: [{ sequence: 1, seen: [1] }] });
  await peer.say(given);
});
whilePulling('of more roots than there may be', 'corrupt', async (peer) => {
  await peer.hello();
  const roots = Array.from({ length: limits.rootsMax + 1 }, () => told.roots[0]);
  await peer.say({ type: 'history', roots });
});
whilePulling('of more seen than there may be', 'corrupt', async (peer) => {
  await peer.hello();
  const seen = Array.from({ length: limits.havesMax + 1 }, () => 1);
  await peer.say({ type: 'history', roots: [{ sequence: 1, seen }] });
});
whilePulling('beyond numbers', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(Uint8Array.of(0x82, 15, 0x81, 0x82, 0x1b, 255, 255, 255, 255, 255, 255, 255, 255, 0x80));
});
whilePulling('in the place of roots', 'unavailable', async (peer) => {
  await peer.hello();
  await peer.hear('ask');
  await peer.say(told);
  await peer.transport.close();
});

const whileServing = (name: string, codes: string | readonly string[], act: Attack['act']): void => {
  furtherAttacks.push({ name: `history: ${name}`, codes: [codes].flat(), while: 'serve', act });
};
whileServing('from one who takes', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.say(told);
});
whileServing('more seen than there may be', 'corrupt', async (peer) => {
  await peer.hello();
  const seen = Array.from({ length: limits.havesMax + 1 }, () => ghost);
  await peer.say({ type: 'ask', all: false, roots: [{ name: 'main', haves: [], seen }] });
});
whileServing('an offer that expects what there is not to expect', 'corrupt', async (peer) => {
  await peer.hello();
  await peer.frame(
    header((writer) => {
      writer.array(2).integer(2).array(1).array(5).bytes(text('x')).bytes(noise(32)).integer(4);
      writer.bytes(new Uint8Array(0)).array(0);
    }),
  );
});
whileServing('an offer by force that never comes', 'unavailable', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id: ghost, force: true, marks: [] }] });
  await peer.hear('ask');
  await peer.transport.close();
});
whileAppending('who may only bring offers what is here by force', async (peer) => {
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'main', id: ghost, force: true, marks: [] }] });
});
