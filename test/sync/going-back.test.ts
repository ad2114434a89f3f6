/** Roots that would go back: stores restored from a backup, copies that went on, followers that lag, two who push; and what is let through. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { type BlobId, type OpenOptions, type Store, StoreError, openStore } from '../../engine/index.ts';
import { bookmarks, pair, push, serve } from '../../sync/index.ts';
import { noise, text, unknownId } from '../engine/store-folder.ts';
import { ScriptedPeer } from './scripted-peer.ts';
import { type Two, pullOver, pushOver, setTree, twoStores } from './stores.ts';

const fast = { durability: 'relaxed' } as const;

/** A tree that differs with its version. */
const tree = (version: number): ReadonlyMap<string, Uint8Array> =>
  new Map([
    ['always', text('the same')],
    ['version', text(`version ${version}`)],
  ]);

/** What a transfer is refused with; no root may have moved at the store that was to take it. */
async function refused(
  work: () => Promise<unknown>,
  taker: Store,
  how: { readonly code: string; readonly lineage?: string; readonly words: RegExp },
): Promise<void> {
  const before = await taker.roots.get('main');
  await assert.rejects(work(), (error) => {
    assert.ok(StoreError.is(error), String((error as Error).stack));
    assert.deepEqual([error.code, error.facts['lineage']], [how.code, how.lineage], error.message);
    assert.match(error.message, how.words);
    return true;
  });
  assert.equal(await taker.roots.get('main'), before);
}

/** A push, and what the one who pushes is told. */
async function pushed(source: Store, taker: Store, options: Parameters<typeof push>[2] = {}): Promise<void> {
  const [here, there] = pair();
  const serving = serve(taker, there).catch(() => undefined);
  try {
    await push(source, here, options);
  } finally {
    await serving;
  }
}

/** Closes the store, and keeps a copy as it is now; `restore` puts that back in its place. */
async function backUp(two: Two, which: 'a' | 'b'): Promise<{ restore(this: void): Promise<void> }> {
  const folder = two[which];
  await folder.closeAll();
  const copy = `${folder.path} backup`;
  cpSync(folder.path, copy, { recursive: true });
  return {
    restore: async () => {
      await folder.closeAll();
      rmSync(folder.path, { recursive: true });
      cpSync(copy, folder.path, { recursive: true });
    },
  };
}

const secret = { kind: 'raw-key', key: noise(32, 9) } as const;

for (const [shape, options] of Object.entries<OpenOptions>({
  plain: fast,
  encrypted: { ...fast, encryption: { secret } },
}))
  twoStores(`a peer restored from a backup is told on the next pull (${shape})`, async (two) => {
    let source = await two.a.open(options);
    const replica = await two.b.open(fast);
    const old = await setTree(source, 'main', tree(1));
    await pullOver(source, replica);
    const backup = await backUp(two, 'a');
    source = await two.a.open(options);
    await setTree(source, 'main', tree(2));
    await pullOver(source, replica);
    await backup.restore();
    source = await two.a.open(options);
    const back = {
      code: 'tampered',
      lineage: 'rollback',
      words: /set back: it was .* change 2 .* after change 1; allow/,
    };
    await refused(() => pullOver(source, replica), replica, back);
    await refused(() => pullOver(source, replica, { roots: ['main'] }), replica, back);
    // Goes on from there, under other changes: not what was seen.
    await setTree(source, 'main', tree(3));
    await setTree(source, 'main', tree(4));
    const fork = { code: 'tampered', lineage: 'fork', words: /went on from an older copy/ };
    await refused(() => pullOver(source, replica), replica, fork);
    // A transfer that was cut forgets what is common, not what was seen.
    await replica.sideTable('sync').set([['cut', Uint8Array.of(1)]]);
    await refused(() => pullOver(source, replica), replica, fork);
    // What is allowed counts from then on.
    await setTree(source, 'main', tree(1));
    await pullOver(source, replica, { rollback: 'allow' });
    assert.equal(await replica.roots.get('main'), old);
    await setTree(source, 'main', tree(5));
    await pullOver(source, replica);
    assert.equal(await replica.roots.get('main'), await source.roots.get('main'));
  });

twoStores('who was restored from a backup does not push what is old over what is new', async (two) => {
  let laptop = await two.a.open(fast);
  const server = await two.b.open(fast);
  await setTree(laptop, 'main', tree(1));
  await pushOver(laptop, server);
  const backup = await backUp(two, 'a');
  laptop = await two.a.open(fast);
  await setTree(laptop, 'main', tree(2));
  await pushOver(laptop, server);
  await backup.restore();
  laptop = await two.a.open(fast);
  // The word of the server comes as the peer's.
  await refused(() => pushed(laptop, server), server, {
    code: 'tampered',
    words: /the peer says: .* was set back/,
  });
  const expect = { main: (await server.roots.get('main'))! };
  await refused(() => pushed(laptop, server, { expect }), server, { code: 'tampered', words: /set back/ });
  await assert.rejects(pushOver(laptop, server, { expect, rollback: 'allow' }), /expects nothing/);
  await pushOver(laptop, server, { rollback: 'allow' });
  assert.equal(await server.roots.get('main'), await laptop.roots.get('main'));
  await setTree(laptop, 'main', tree(3));
  await pushOver(laptop, server);
});

twoStores('a peer that is new here and lags behind moves nothing back', async (two) => {
  const source = await two.a.open(fast);
  const replica = await two.b.open(fast);
  const old = await setTree(source, 'main', tree(1));
  await pullOver(source, replica);
  // A follower that nobody here has heard of.
  const lagging = await openStore(`${two.b.path} lagging`, { ...fast, threads: { count: 0 } });
  await pullOver(source, lagging);
  await setTree(source, 'main', tree(2));
  await pullOver(source, replica);
  await refused(() => pullOver(lagging, replica), replica, {
    code: 'conflict',
    lineage: 'return',
    words: /go back to .*, which it was here before/,
  });
  // Going back at the source itself, in a log that goes on, is its business.
  await setTree(source, 'main', tree(1));
  await pullOver(source, replica);
  assert.equal(await replica.roots.get('main'), old);
  // Once it has caught up, and gone on, it is a peer like others.
  await setTree(source, 'main', tree(3));
  await pullOver(source, lagging);
  await pullOver(lagging, replica);
  assert.equal(await replica.roots.get('main'), await source.roots.get('main'));
  await lagging.close();
});

twoStores('of two who push one root in turn, each must bring news', async (two) => {
  const one = await two.a.open(fast);
  const server = await two.b.open(fast);
  const other = await openStore(`${two.b.path} other`, { ...fast, threads: { count: 0 } });
  await setTree(one, 'main', tree(1));
  await setTree(other, 'main', tree(100));
  await pushOver(one, server);
  await pushOver(other, server);
  await refused(() => pushed(one, server), server, {
    code: 'conflict',
    words: /the peer says: root "main" would go back/,
  });
  await setTree(one, 'main', tree(2));
  await pushOver(one, server);
  await setTree(other, 'main', tree(101));
  await pushOver(other, server);
  await other.close();
  // A root that is not here is set as it comes.
  await server.roots.delete('main');
  await pullOver(one, server);
  assert.equal(await server.roots.get('main'), await one.roots.get('main'));
  // A server may let everything back by its own word.
  await setTree(server, 'main', tree(7));
  const [here, there] = pair();
  await Promise.all([push(one, here), serve(server, there, { rollback: 'allow' })]);
  assert.equal(await server.roots.get('main'), await one.roots.get('main'));
});

twoStores('a push from here does not make the peer a stranger', async (two) => {
  const source = await two.a.open(fast);
  const replica = await two.b.open(fast);
  await setTree(source, 'main', tree(1));
  await pullOver(source, replica);
  const seen = async (): Promise<[BlobId | undefined, number | undefined]> => {
    const [mark] = await bookmarks(replica, 'main');
    return [mark?.id, mark?.seen?.sequence];
  };
  assert.deepEqual(await seen(), [await source.roots.get('main'), 1]);
  await setTree(replica, 'main', tree(2));
  await pushOver(replica, source);
  assert.deepEqual(await seen(), [await replica.roots.get('main'), 1]);
  await setTree(source, 'main', tree(3));
  await pullOver(source, replica);
  assert.deepEqual(await seen(), [await source.roots.get('main'), 3]);
});

twoStores('who may only bring what is new is told nothing of what was', async (two) => {
  const source = await two.a.open(fast);
  const server = await two.b.open(fast);
  const old = await setTree(source, 'main', tree(1));
  await pushOver(source, server);
  await setTree(source, 'main', tree(2));
  await pushOver(source, server);
  await server.roots.delete('main');
  const asked = async (allow: 'append' | 'push', marks: readonly BlobId[]): Promise<unknown[]> => {
    const [here, there] = pair();
    const serving = serve(server, there, { allow }).catch(() => undefined);
    const peer = new ScriptedPeer(here);
    await peer.hello();
    await peer.say({ type: 'offer', roots: [{ name: 'main', id: unknownId, marks }] });
    const { haves, seen } = (await peer.hear('ask')).roots[0]!;
    await peer.transport.close();
    await serving;
    return [haves, seen];
  };
  const now = await source.roots.get('main');
  assert.deepEqual(await asked('push', []), [[now], [now]]);
  assert.deepEqual(await asked('append', []), [[], []]);
  // What he names himself he may know to be here: it is what he builds on.
  assert.deepEqual(await asked('append', [old]), [[old], []]);
});

twoStores('a peer that was heard of before and lags behind moves nothing back', async (two) => {
  const source = await two.a.open(fast);
  const replica = await two.b.open(fast);
  const follower = await openStore(`${two.b.path} follower`, { ...fast, threads: { count: 0 } });
  await setTree(source, 'main', tree(1));
  await pullOver(source, follower);
  await pullOver(follower, replica); // the follower was seen
  await setTree(source, 'main', tree(2));
  await pullOver(source, follower);
  await pullOver(source, replica);
  await setTree(source, 'main', tree(3));
  await pullOver(source, replica);
  // Its log has gone on since it was seen, but not from what is here.
  await refused(() => pullOver(follower, replica), replica, {
    code: 'conflict',
    lineage: 'return',
    words: /go back to .*, which it was here before/,
  });
  await follower.close();
});

twoStores('a peer that lost what was pushed to it, and went on, is told', async (two) => {
  let server = await two.a.open(fast);
  const laptop = await two.b.open(fast);
  await setTree(server, 'main', tree(1));
  await pullOver(server, laptop);
  const backup = await backUp(two, 'a');
  server = await two.a.open(fast);
  await setTree(laptop, 'main', tree(2));
  await pushOver(laptop, server);
  await backup.restore();
  server = await two.a.open(fast);
  await setTree(server, 'main', tree(3));
  await refused(() => pullOver(server, laptop), laptop, {
    code: 'tampered',
    lineage: 'fork',
    words: /went on from an older copy/,
  });
});

for (const how of ['pull', 'push'] as const)
  twoStores(`a peer that told nothing new is remembered all the same (${how})`, async (two) => {
    const source = await openStore(`${two.a.path} source`, { ...fast, threads: { count: 0 } });
    let follower = await two.a.open(fast);
    const replica = await two.b.open(fast);
    const over = (): Promise<unknown> =>
      how === 'pull' ? pullOver(follower, replica) : pushed(follower, replica);
    await setTree(source, 'main', tree(1));
    await pullOver(source, follower);
    const backup = await backUp(two, 'a');
    follower = await two.a.open(fast);
    await setTree(source, 'main', tree(2));
    await pullOver(source, follower);
    await pullOver(source, replica);
    await over(); // both have it
    await backup.restore();
    follower = await two.a.open(fast);
    // The replica never had what the follower has now.
    await refused(over, replica, {
      code: 'tampered',
      words: /went on from an older copy/,
      ...(how === 'pull' ? { lineage: 'fork' } : {}),
    });
    await source.close();
  });

twoStores('what is set back on purpose after a push goes through', async (two) => {
  const server = await two.a.open(fast);
  const laptop = await two.b.open(fast);
  const old = await setTree(server, 'main', tree(1));
  await pullOver(server, laptop);
  await setTree(laptop, 'main', tree(2));
  await pushOver(laptop, server);
  await server.roots.set('main', old);
  await pullOver(server, laptop);
  assert.equal(await laptop.roots.get('main'), old);
});

twoStores('of a root that is what the peer has, no log is read, whatever others had', async (two) => {
  const source = await two.a.open(fast);
  await two.b.open(fast);
  const old = await setTree(source, 'main', tree(1));
  const now = await setTree(source, 'main', tree(2));
  const told = async (seen: readonly BlobId[]): Promise<unknown> => {
    const [here, there] = pair();
    const serving = serve(source, there).catch(() => undefined);
    const peer = new ScriptedPeer(here);
    await peer.hello();
    await peer.say({ type: 'ask', all: false, roots: [{ name: 'main', haves: [], seen }] });
    const { roots } = await peer.hear('history');
    await peer.transport.close();
    await serving;
    return roots;
  };
  assert.deepEqual(await told([now, old]), [{ sequence: 0, seen: [0, 0] }]);
  assert.deepEqual(await told([old, now]), [{ sequence: 2, seen: [1, 2] }]);
  assert.deepEqual(await told([unknownId, old]), [{ sequence: 2, seen: [0, 1] }]);
});
