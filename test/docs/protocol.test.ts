/** The page of the sync protocol says what is: its trace is run, its limits and messages are those of the code. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { nodeProvider, openStore } from '../../engine/index.ts';
import { type Transport, pair, pull, serve } from '../../sync/index.ts';
import { FrameReader } from '../../sync/protocol/frame.ts';
import * as limits from '../../sync/protocol/limits.ts';
import { type Message, decodeMessage } from '../../sync/protocol/message.ts';
import { text } from '../engine/store-folder.ts';
import { setTree } from '../sync/stores.ts';
import { codeBlocks, page, sectionOf } from './page.ts';

/** Notes what is sent through a transport. */
function listening(inner: Transport, said: Message[]): Transport {
  const reader = new FrameReader(nodeProvider);
  return {
    async send(bytes) {
      reader.push(bytes.slice());
      for (let next = reader.next(); next !== undefined; next = reader.next())
        said.push(decodeMessage(next.header));
      await inner.send(bytes);
    },
    receive: () => inner.receive(),
    close: (reason) => inner.close(reason),
  };
}

const short = (id: string | null): string => (id === null ? 'nothing' : id.slice(0, 8));

function inWords(message: Message): string {
  switch (message.type) {
    case 'hello':
      return `hello, versions ${message.versions.min} to ${message.versions.max}`;
    case 'ask': {
      const named = message.roots.map(
        ({ name, haves, seen = [] }) =>
          `${name}, having ${haves.map(short).join(' ')}, having seen ${seen.map(short).join(' ')}`,
      );
      return `ask for ${[...(message.all ? ['all roots'] : []), ...named].join('; ')}`;
    }
    case 'roots':
      return `roots: ${message.roots.map(({ name, id, base }) => `${name} is ${short(id)}, from base ${short(base)}`).join('; ')}`;
    case 'history':
      return `history: ${message.roots.map(({ sequence, seen }) => [`change ${sequence}`, ...seen.map((one) => `seen at ${one}`)].join(', ')).join('; ')}`;
    case 'want':
      return `want ${message.wants.map(({ kind, id }) => `${kind} ${short(id)}`).join(', ')}`;
    case 'blob':
      return `blob ${message.kind} ${short(message.id)}, ${message.size} bytes`;
    case 'streamed':
      return `streamed root ${message.root}`;
    case 'done':
      return `done: ${message.blobs} blobs, ${message.bytes} bytes`;
    default:
      return message.type;
  }
}

test('the trace is what two stores say to each other', async () => {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-trace-'));
  const options = { threads: { count: 0 }, durability: 'relaxed' } as const;
  const source = await openStore(join(base, 'a'), options);
  const replica = await openStore(join(base, 'b'), options);
  const said: [Message[], Message[]] = [[], []];
  const exchange = async (): Promise<string[]> => {
    for (const list of said) list.length = 0;
    const [here, there] = pair();
    await Promise.all([pull(replica, listening(here, said[0])), serve(source, listening(there, said[1]))]);
    return said.flatMap((list, side) =>
      list.map((message) => `${side === 0 ? 'receiver:' : 'sender:  '} ${inWords(message)}`),
    );
  };
  const files = new Map(['one', 'two', 'three'].map((name) => [name, text(`the file ${name}`)]));
  await setTree(source, 'notes', files);
  const first = await exchange();
  files.set('two', text('another file two'));
  await setTree(source, 'notes', files);
  const second = await exchange();
  await source.close();
  await replica.close();
  rmSync(base, { recursive: true });
  const told = codeBlocks(page('docs/protocol.md')).filter(({ language }) => language === 'trace');
  assert.deepEqual(
    told.map((block) => block.text),
    [first.join('\n'), second.join('\n')],
  );
});

test('the limits are those of the code', () => {
  const rows = [...sectionOf(page('docs/protocol.md'), '## Limits').matchAll(/^\| `(\w+)` \| ([\d,]+) \|/gm)];
  const told = Object.fromEntries(rows.map((row) => [row[1]!, Number(row[2]!.replaceAll(',', ''))]));
  assert.deepEqual(told, { ...limits });
});

test('every message has its row', () => {
  const rows = [...sectionOf(page('docs/protocol.md'), '## Messages').matchAll(/^\| (\d+) \| `(\w+)` \|/gm)];
  for (const [number, row] of rows.entries()) assert.equal(Number(row[1]), number);
  assert.deepEqual(
    rows.map((row) => row[2]),
    [
      'hello',
      'ask',
      'offer',
      'roots',
      'want',
      'blob',
      'absent',
      'streamed',
      'credit',
      'done',
      'error',
      'bye',
      'alive',
      'part',
      'seal',
      'history',
      'seed',
      'keys',
    ],
  );
});
