/** Many small blobs cost few questions, few reads and few commits: counted, because times say nothing on a busy machine. */
import assert from 'node:assert/strict';
import { type BlobId, type Link, type Store, nodeProvider } from '../../engine/index.ts';
import { type Transport, pair, push, serve } from '../../sync/index.ts';
import { FrameReader } from '../../sync/protocol/frame.ts';
import { decodeMessage } from '../../sync/protocol/message.ts';
import { closed, counted } from '../engine/counting-driver.ts';
import { type Two, assertSame, pushOver, setTree, twoStores } from './stores.ts';

const driver = { module: new URL('../engine/counting-driver.ts', import.meta.url).href };
const blobs = 1_500;
const levels = 40;

function contentOf(i: number): Uint8Array {
  return new Uint8Array(200 + (i % 100)).fill(i).map((byte, at) => byte ^ (at * 31) ^ (i >> 8));
}

async function openCounted({ a, b }: Two) {
  const how = { driver, threads: { count: 0 }, durability: 'relaxed' } as const;
  return { source: await a.open(how), replica: await b.open(how) };
}

/** Counts the messages that are sent through a transport, by type. */
function listening(inner: Transport, sent: Map<string, number>): Transport {
  const reader = new FrameReader(nodeProvider);
  return {
    async send(bytes) {
      reader.push(bytes.slice());
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
        const { type } = decodeMessage(frame.header);
        sent.set(type, (sent.get(type) ?? 0) + 1);
      }
      await inner.send(bytes);
    },
    receive: () => inner.receive(),
    close: (reason) => inner.close(reason),
  };
}

twoStores('many small blobs are asked for, read and committed together', async (two) => {
  const { source, replica } = await openCounted(two);
  const tree = new Map(
    Array.from({ length: blobs }, (_, i) => [`file-${String(i).padStart(5, '0')}`, contentOf(i)]),
  );
  await setTree(source, 'main', tree);
  const before = { ...counted };
  const sent = new Map<string, number>();
  const [ours, theirs] = pair();
  const [pushed] = await Promise.all([push(source, ours), serve(replica, listening(theirs, sent))]);
  assert.ok(pushed.blobs > blobs);
  const spent = {
    wants: sent.get('want')!,
    writes: counted.writes - before.writes,
    recordReads: counted.recordReads - before.recordReads,
  };
  // 6, 30 and 105 as this is written; one by one they would be hundreds, and the reads more than there are blobs.
  assert.ok(spent.wants <= 12, `${spent.wants} questions`);
  assert.ok(spent.writes <= 42, `${spent.writes} transactions`);
  assert.ok(spent.recordReads <= blobs / 5, `${spent.recordReads} reads of records`);
  await assertSame(source, replica, ['main']);
  // Each thread has connections of its own, so what they keep is there several times.
  closed.length = 0;
  await Promise.all([source.close(), replica.close()]);
  const kept = (what: (one: (typeof closed)[number]) => boolean): number[] => [
    ...new Set(closed.filter(what).map(({ cacheKiB }) => cacheKiB)),
  ];
  assert.deepEqual(
    kept(({ path }) => path.includes('/volumes/')),
    [2_000],
  );
  assert.deepEqual(
    kept(({ path, readonly }) => readonly && path.endsWith('/index.db')),
    [4_000],
  );
});

twoStores('a change deep in a tree is stored in a few commits, not one for each level', async (two) => {
  const { source, replica } = await openCounted(two);
  await source.roots.set('main', await putChain(source, 'before'));
  await pushOver(source, replica);
  await source.roots.set('main', await putChain(source, 'after'));
  const before = counted.writes;
  await pushOver(source, replica);
  const spent = counted.writes - before;
  // 10 as this is written, of both stores; a commit for each level would be over 80.
  assert.ok(spent <= 14, `${spent} transactions`);
  await assertSame(source, replica, ['main']);
});

/** Nodes below one another, each with a blob of its own. */
async function putChain(store: Store, mark: string): Promise<BlobId> {
  const session = await store.session();
  let { id } = await store.put(new TextEncoder().encode(mark));
  let kind: Link['kind'] = 'raw';
  for (let i = 0; i < levels; i++) {
    const beside = await store.put(new TextEncoder().encode(`beside ${i}`));
    const links: Link[] = [
      { kind, id },
      { kind: 'raw', id: beside.id },
    ];
    ({ id } = await store.put(new TextEncoder().encode(`level ${i}`), { links }));
    kind = 'node';
  }
  await session.end();
  return id;
}
