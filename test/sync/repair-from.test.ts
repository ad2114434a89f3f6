/** Repair from a peer: over every transport, through cuts, around what the peer has not or may not give, and after the loss of a catalog. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after } from 'node:test';
import { type BlobId, type Store, StoreError, openStore, rebuildStore } from '../../engine/index.ts';
import { type Transport, pair, repairFrom, serve } from '../../sync/index.ts';
import type { MakeTransport } from '../conformance/transport.ts';
import { harmHalf, harms } from '../engine/harm.ts';
import { noise, same, text, unknownId } from '../engine/store-folder.ts';
import { AllTransports } from './ends.ts';
import { type Two, cutWhenCome, twoStores } from './stores.ts';

const fast = { durability: 'relaxed' } as const;
const zeros = harms['4 KiB of zeros']!;
const all = new AllTransports();
after(() => all.close());

interface Made {
  readonly id: BlobId;
  readonly content: Uint8Array;
}

/** Records, files, and nodes over nodes: the outermost is held by an owner, not by a root. */
async function fill(store: Store, large = 90_000): Promise<Made[]> {
  const made: Made[] = [];
  for (const content of [
    ...Array.from({ length: 12 }, (_, i) => noise(600 + i, 40 + i)),
    ...Array.from({ length: 3 }, (_, i) => noise(30_000 + i, 90 + i)),
    noise(large, 51),
    // Bytes of a node, put as bytes, of which the link leads nowhere.
    Buffer.concat([Uint8Array.of(0x83, 1, 0x81, 0x58, 33, 0), Buffer.from(unknownId, 'hex'), text('A.')]),
  ])
    made.push({ id: (await store.put(content, { owner: 'x' })).id, content });
  const links = made
    .slice(0, 3)
    .map(({ id }) => ({ kind: 'raw', id }) as const)
    .sort((x, y) => (x.id < y.id ? -1 : 1));
  const inner = await store.put(text('inner'), { links });
  const outer = await store.put(text('outer'), { links: [{ kind: 'node', id: inner.id }], owner: 'x' });
  for (const { id } of [inner, outer]) made.push({ id, content: (await store.get(id))! });
  return made;
}

/** Two stores of the same, of which the first is harmed. */
async function harmed(
  two: Two,
  harm = zeros,
  large?: number,
): Promise<{ readonly store: Store; readonly other: Store; readonly made: Made[] }> {
  const made = await fill(await two.a.open(fast), large);
  await two.a.closeAll();
  cpSync(two.a.path, two.b.path, { recursive: true });
  harmHalf(two.a, harm);
  if (large !== undefined) for (const path of two.a.files('blobs')) harmFile(path);
  const other = await two.b.open(fast);
  return { store: await two.a.open(fast), other, made };
}

/** Connects to a store that serves what it may. */
function to(
  other: Store,
  allow: 'pull' | 'append' = 'pull',
  make: MakeTransport = all.make['pair']!,
): { connect: () => Promise<Transport>; readonly served: Promise<unknown>[] } {
  const served: Promise<unknown>[] = [];
  return {
    served,
    connect: async () => {
      const { ends } = await make();
      served.push(serve(other, ends[0], { allow }).catch((error: unknown) => error));
      return ends[1];
    },
  };
}

// Hostile peers, and the protocol, are tried on all transports elsewhere.
for (const [transport, make] of Object.entries(all.make).filter(
  ([name]) => name === 'pair' || name === 'http',
))
  twoStores(`damage of every kind is had from a peer (${transport})`, async (two) => {
    const { store, other, made } = await harmed(two);
    const alone = await store.repair();
    assert.ok(alone.remaining.length > 12 && alone.healed === 0, `${alone.remaining.length}`);
    const { connect, served } = to(other, 'pull', make);
    const result = await repairFrom(store, connect);
    assert.deepEqual([result.remaining, result.failure, served.length], [[], undefined, 1]);
    assert.equal(result.sources.from, alone.remaining.length);
    assert.ok(result.receivedBytes > 20_000 && result.sentBytes > 0);
    for (const { id, content } of made) same(await store.get(id), content);
    assert.ok(Array.isArray(await served[0]), 'the peer saw a transfer that ended well');
    // Nothing is damaged any more: nobody is asked.
    assert.equal((await repairFrom(store, () => Promise.reject(new Error('asked')))).healed, 0);
  });

twoStores('what is larger than a window streams, and a cut costs a connection', async (two) => {
  const { store, other, made } = await harmed(two, zeros, 11_000_000);
  const { connect, served } = to(other);
  let connections = 0;
  const cutting = async (): Promise<Transport> => {
    const inner = await connect();
    return ++connections === 3 ? inner : cutWhenCome(inner, connections * 9000);
  };
  const result = await repairFrom(store, cutting);
  assert.deepEqual([result.remaining, connections], [[], 3]);
  assert.ok(result.receivedBytes > 11_000_000, `${result.receivedBytes}`);
  for (const { id, content } of made) same(await store.get(id), content);
  await Promise.all(served);
});

twoStores('what the peer lacks or has damaged remains; all else is healed', async (two) => {
  const { store, other, made } = await harmed(two);
  const hurt = new Set((await store.repair()).remaining.map(({ id }) => id));
  const [lacked, damaged] = [
    made[3]!,
    made.find(({ id, content }) => hurt.has(id) && content.length > 20_000)!,
  ];
  await other.release(lacked.id, 'x');
  await other.gc({ graceMs: 0 });
  const path = await other.pathOf(damaged.id);
  await two.b.closeAll();
  const whole = readFileSync(path!);
  harmFile(path!);
  const { connect, served } = to(await two.b.open(fast));
  const result = await repairFrom(store, connect);
  assert.deepEqual(result.remaining.map(({ id }) => id).sort(), [lacked.id, damaged.id].sort());
  assert.equal(result.failure, undefined);
  await Promise.all(served);
  await two.b.closeAll();
  rmSync(path!);
  await store.put(lacked.content);
  await store.put(new Uint8Array(whole));
  const again = await two.b.open(fast);
  await again.put(damaged.content);
  for (const { id, content } of made) same(await store.get(id), content);
});

function harmFile(path: string): void {
  const bytes = readFileSync(path);
  rmSync(path);
  writeFileSync(path, zeros(bytes, 0, bytes.length));
}

twoStores(
  'a peer that may not be pulled from, and one that is not there, are asked no more than they need',
  async (two) => {
    const { store, other, made } = await harmed(two);
    const { connect, served } = to(other, 'append');
    const refused = await repairFrom(store, connect);
    assert.equal((refused.failure as { code?: string }).code, 'forbidden');
    assert.equal(served.length, 1);
    assert.ok(refused.remaining.length > 12 && refused.healed === 0);
    assert.match(refused.remaining[5]!.reason, /nothing may be pulled/);
    await Promise.all(served);
    let tries = 0;
    const nobody = await repairFrom(store, () => {
      tries++;
      return Promise.reject(new StoreError('forbidden', 'a token is wanted'));
    });
    assert.ok(tries === 1 && nobody.remaining.length === refused.remaining.length);
    assert.equal(nobody.failure?.message, 'a token is wanted');
    const gone = new AbortController();
    const stopped = repairFrom(store, () => Promise.resolve(pair()[0]), {
      signal: gone.signal,
      verify: false,
    });
    setTimeout(() => gone.abort(new Error('enough')), 20);
    await assert.rejects(stopped, /enough/);
    for (const { content } of made) await store.put(content); // nodes too: bytes heal them
  },
);

twoStores('what a rebuild lost comes back as what it was, nodes with all below them', async (two) => {
  const { store, other, made } = await harmed(two);
  await store.close();
  rmSync(two.a.at('index.db'));
  const { lostBlobs } = await rebuildStore(two.a.path);
  assert.ok(lostBlobs > 12, `${lostBlobs}`);
  const again = await openStore(two.a.path, { ...fast, threads: { count: 0 } });
  const { connect, served } = to(other);
  const result = await repairFrom(again, connect, { verify: false });
  // Bytes that look like a node, with a link that nobody has, cannot be told from one.
  assert.deepEqual(
    [result.remaining.length <= 1, result.failure],
    [true, undefined],
    JSON.stringify(result.remaining),
  );
  for (const { id, content } of made.filter((one) => one.id !== result.remaining[0]?.id))
    same(await again.get(id), content);
  assert.deepEqual(
    [(await again.stat(made.at(-1)!.id))?.kind, (await again.stat(made.at(-2)!.id))?.kind],
    ['node', 'node'],
  );
  for (const { id } of result.remaining) await again.put(made.find((one) => one.id === id)!.content);
  await again.close();
  await Promise.all(served);
});

twoStores(
  'large blobs that the peer has damaged too, one after the other, are no reason to ask it for nothing more',
  async (two) => {
    const store = await two.a.open(fast);
    const larges = Array.from({ length: 4 }, (_, i) => noise(5_000_000 + i, 200 + i));
    for (const content of larges) await store.put(content, { owner: 'x' });
    const small = Array.from({ length: 8 }, (_, i) => noise(30_000 + i, 300 + i));
    for (const content of small) await store.put(content, { owner: 'x' });
    await two.a.closeAll();
    cpSync(two.a.path, two.b.path, { recursive: true });
    for (const path of two.a.files('blobs')) harmFile(path);
    for (const path of two.b.files('blobs').filter((name) => readFileSync(name).length > 1_000_000)) {
      // Its beginning is sound: it is told only in the middle of it.
      const bytes = readFileSync(path);
      rmSync(path);
      writeFileSync(path, zeros(bytes, 4_500_000, bytes.length));
    }
    const other = await two.b.open(fast);
    const again = await two.a.open(fast);
    const { connect, served } = to(other);
    const result = await repairFrom(again, connect);
    assert.deepEqual([result.remaining.length, result.healed, result.failure], [4, 8, undefined]);
    await Promise.all(served);
    for (const content of larges) for (const one of [again, other]) await one.put(content);
  },
);

twoStores('a large blob that a cut interrupts goes on where it was', async (two) => {
  const content = noise(9_000_000, 77);
  await (await two.a.open(fast)).put(content, { owner: 'x' });
  await two.a.closeAll();
  cpSync(two.a.path, two.b.path, { recursive: true });
  for (const path of two.a.files('blobs')) harmFile(path);
  const store = await two.a.open(fast);
  const { connect, served } = to(await two.b.open(fast));
  let connections = 0;
  const result = await repairFrom(store, async () => {
    const inner = await connect();
    return ++connections === 1 ? cutWhenCome(inner, 5_000_000) : inner;
  });
  assert.deepEqual([result.remaining, connections], [[], 2]);
  assert.ok(result.receivedBytes < 10_500_000, `${result.receivedBytes}`);
  await Promise.all(served);
});
