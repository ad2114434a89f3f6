/** Scrubs of a mirrored group in a time box: what lacks copies comes first, and none of it goes on when the time is over. */
import assert from 'node:assert/strict';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import type { Host, Store } from '../../engine/index.ts';
import { manualHost } from './manual-host.ts';
import { allHave, extendBy, membersOf, mixedWhole, putMixed } from './mirror-store.ts';
import { type StoreFolder, storeTest } from './store-folder.ts';

const hour = 3_600_000;

/** Two copies of each blob, and the wish for three. */
async function wantingMore(folder: StoreFolder, host: Host): Promise<Store> {
  const store = await folder.open({ host });
  await extendBy(store, membersOf(folder));
  await store.volumes.mirror(2);
  await putMixed(store, 1, mixedWhole);
  const stop = AbortSignal.abort(new Error('later'));
  await assert.rejects(store.volumes.mirror(3, { signal: stop }), /later/);
  assert.ok((await store.stats()).missingCopies > 60);
  return store;
}

storeTest('copies that lack are made before anything is read', async (folder) => {
  const host = manualHost(Date.UTC(2025, 0, 1));
  const store = await wantingMore(folder, host);
  let ended = false;
  // The rate waits for a clock that stands still: not much is read.
  const boxed = store.scrub({ rate: 1024, timeBoxMs: hour }).finally(() => (ended = true));
  for (let missing = 1; missing > 0; missing = (await store.stats()).missingCopies)
    assert.equal(ended, false);
  host.clock.advance(2 * hour);
  const { complete, healed, missingCopies, damaged } = await boxed;
  assert.deepEqual({ complete, missingCopies, damaged }, { complete: false, missingCopies: 0, damaged: [] });
  assert.ok(healed > 60);
  allHave(folder, 3);
});

storeTest(
  'a box that is over ends the making of copies too; the next scrub goes on with it',
  async (folder) => {
    const base = manualHost(Date.UTC(2025, 0, 1));
    let copies = -1;
    const slow: ProxyHandler<Host['files']> = {
      get(target, name) {
        const method = (Reflect.get(target, name) as (...args: never[]) => unknown).bind(target);
        if (name !== 'rename') return method;
        return (...args: never[]) => {
          // The second file that is copied takes two hours.
          if (copies >= 0 && ++copies === 2) base.clock.advance(2 * hour);
          return method(...args);
        };
      },
    };
    const files = new Proxy(base.files, slow);
    const host: Host = { ...base, files, threads: inlineThreads(() => host) };
    const store = await wantingMore(folder, host);
    copies = 0;
    const boxed = await store.scrub({ timeBoxMs: hour });
    assert.equal(boxed.complete, false);
    assert.ok(boxed.missingCopies > 0, 'not all of them');
    copies = -1;
    const next = await store.scrub({ timeBoxMs: hour });
    assert.deepEqual([next.complete, next.missingCopies, next.damaged], [true, 0, []]);
    assert.ok(next.healed > 0);
    allHave(folder, 3);
  },
);
