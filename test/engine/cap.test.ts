/** Caps of caches: what goes, what stays whatever happens, and that what is read stays longer. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import fc from 'fast-check';
import { type Cap, type Store, StoreError } from '../../engine/index.ts';
import { holdfast } from '../cli/command.ts';
import { type ManualHost, manualHost, until } from './manual-host.ts';
import { extendBy, membersOf } from './mirror-store.ts';
import { noise, sha256, storeTest, withCode } from './store-folder.ts';

const startMs = Date.UTC(2026, 10, 1);
const minute = 60_000;
const content = (n: number): Uint8Array => new Uint8Array(100 + n).fill(n);

/** Lets time pass, so that whatever is used next was used later. */
const later = (host: ManualHost): void => host.clock.advance(2 * minute);

async function isHere(store: Store, numbers: readonly string[]): Promise<boolean[]> {
  const here = await store.hasMany(numbers);
  return numbers.map((id) => here.has(id));
}

storeTest('above the cap goes what was used longest ago; reading is using', async (folder) => {
  const host = manualHost(startMs);
  const cap: Cap = { owner: 'thumbs', blobs: 10 };
  const store = await folder.open({ host, cap: { ...cap, blobs: 1000 } });
  const ids: string[] = [];
  for (let n = 0; n < 12; n++) {
    ids.push((await store.put(content(n), { owner: 'thumbs' })).id);
    later(host);
  }
  await store.get(ids[0]!);
  await store.readRange(ids[1]!, 0, 5);
  await store.stat(ids[2]!); // a look at it is no use of it
  later(host);
  const told = await store.gc({ graceMs: 0, cap, dryRun: true });
  assert.deepEqual([told.evicted?.blobs, told.deleted], [3, 0], 'a tenth below the cap, and nothing written');
  const { evicted, deleted } = await store.gc({ graceMs: 0, cap });
  assert.deepEqual(evicted, told.evicted);
  assert.deepEqual([evicted?.left.blobs, deleted], [9, 3]);
  assert.deepEqual(
    await isHere(store, ids),
    ids.map((_, n) => n < 2 || n > 4),
  );
  assert.deepEqual((await store.gc({ graceMs: 0, cap })).evicted?.blobs, 0, 'below it nothing goes');
});

storeTest(
  'only of what the cache holds the time of use is noted: reading keeps nothing else',
  async (folder) => {
    const host = manualHost(startMs);
    const store = await folder.open({ host, cap: { owner: 'c', blobs: 10 } });
    const leaf = await store.put(content(1));
    const links = [{ kind: 'raw' as const, id: leaf.id }];
    const node = await store.put(new Uint8Array([1]), { links, owner: 'other' });
    await store.release(node.id, 'other');
    host.clock.advance(30 * minute);
    await store.get(leaf.id); // it goes with its parent, which goes in half an hour
    later(host);
    await store.get(leaf.id);
    host.clock.advance(30 * minute);
    assert.equal((await store.gc({ graceMs: 60 * minute })).deleted, 2);
  },
);

storeTest('a policy chooses, and what it keeps stays even above the cap', async (folder) => {
  const store = await folder.open();
  const ids: string[] = [];
  for (let n = 0; n < 8; n++) ids.push((await store.put(content(n), { owner: 'c' })).id);
  const asked: string[] = [];
  const policy: Cap['policy'] = ({ id, bytes }) => {
    asked.push(id);
    return ids.indexOf(id) < 5 ? undefined : -bytes; // the largest first
  };
  const one = await store.gc({ graceMs: 0, cap: { owner: 'c', blobs: 7, policy } });
  assert.deepEqual(asked.toSorted(), ids.toSorted());
  assert.equal(one.evicted?.blobs, 2);
  assert.deepEqual(await isHere(store, ids.slice(5)), [true, false, false]);
  const none = await store.gc({ graceMs: 0, cap: { owner: 'c', bytes: 0, policy } });
  assert.equal(none.evicted?.left.blobs, 5);
  assert.deepEqual(await isHere(store, ids.slice(0, 5)), [true, true, true, true, true]);
});

storeTest('a store opened with a cap evicts beside its puts', async (folder) => {
  const host = manualHost(startMs);
  const store = await folder.open({ host, cap: { owner: 'c', blobs: 10 } });
  const first = await store.put(content(0), { owner: 'c' });
  for (let n = 1; n < 30; n++) {
    later(host);
    await store.put(content(n), { owner: 'c' });
  }
  let references = 1;
  const look = async (): Promise<void> => void (references = (await store.stat(first.id))!.references);
  await until(() => (void look(), references === 0), 'the first is released');
  await store.close();
  const again = await folder.open({ host });
  const { evicted } = await again.gc({ graceMs: 0, cap: { owner: 'c', blobs: 11 } });
  assert.equal(evicted?.blobs, 0, 'no more than one above the cap were held');
});

storeTest('a cap that refuses', async (folder) => {
  const host = manualHost(startMs);
  const store = await folder.open({ host, cap: { owner: 'c', bytes: 1000, above: 'refuse' } });
  const kept = await store.put(content(0), { owner: 'c' });
  const full = (error: unknown): boolean => StoreError.is(error, 'limit-exceeded');
  await assert.rejects(store.put(new Uint8Array(2000), { owner: 'c' }), full);
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, async (_, n) => await store.put(content(n + 1), { owner: 'c' })),
  );
  assert.ok(results.some(({ status }) => status === 'fulfilled'));
  await assert.rejects(store.put(content(99), { owner: 'c' }), full);
  assert.equal((await store.put(content(99), { owner: 'other' })).deduplicated, false, 'others are free');
  assert.equal((await store.gc({ graceMs: 0 })).evicted, undefined, 'it evicts nothing');
  assert.equal(await store.release(kept.id, 'c'), true);
  for (const [n, result] of results.entries())
    if (result.status === 'fulfilled' && n > 0) await store.release(result.value.id, 'c');
  later(host);
  await store.put(content(50), { owner: 'c' });
});

storeTest('puts at once do not pass a cap that refuses', async (folder) => {
  const host = manualHost(startMs);
  const store = await folder.open({ host, cap: { owner: 'c', blobs: 10, above: 'refuse' } });
  const put = async (n: number): Promise<unknown> => await store.put(content(n), { owner: 'c' });
  const results = await Promise.allSettled(Array.from({ length: 100 }, (_, n) => put(n)));
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 10);
  // What failed gives its place back.
  later(host);
  await store.release(sha256(content(0)), 'c');
  await assert.rejects(
    store.put(content(0), { owner: 'c', expectId: sha256('other') }),
    withCode('conflict'),
  );
  await put(200);
});

storeTest('what is put again costs nothing, and what is put is counted as it is held', async (folder) => {
  const host = manualHost(startMs);
  const full = (error: unknown): boolean => StoreError.is(error, 'limit-exceeded');
  // The clock stands still, so the store looks once and counts from then on.
  const open = async (cap: Omit<Cap, 'owner' | 'above'>): Promise<Store> =>
    await folder.open({ host, cap: { owner: 'c', above: 'refuse', ...cap } });
  let store = await open({ blobs: 2 });
  for (let n = 0; n < 5; n++) await store.put(content(1), { owner: 'c' });
  await store.put(content(2), { owner: 'other' });
  await store.put(content(2), { owner: 'c' });
  const second = await store.put(content(3), { owner: 'c' });
  assert.deepEqual(Object.keys(second).toSorted(), ['deduplicated', 'id', 'size', 'storedSize']);
  await assert.rejects(store.put(content(4), { owner: 'c' }), full);
  await store.close();
  // Chunks that are there already: each file counts whole, as it does when the store looks.
  store = await open({ bytes: 2_000_000 });
  const chunked = async (seed: number): Promise<unknown> =>
    await store.put(Buffer.concat([noise(900_000), noise(100, seed)]), { owner: 'c', chunking: 'fastcdc' });
  await chunked(1);
  await chunked(2);
  await assert.rejects(chunked(3), full);
  await store.close();
  store = await open({ bytes: 1_900_000 });
  await extendBy(store, membersOf(folder, 2));
  await store.volumes.mirror(2);
  await store.put(content(90), { owner: 'c' });
  await store.put(noise(30_000, 9), { owner: 'c' });
  await assert.rejects(store.put(noise(50_000, 10), { owner: 'c' }), full, 'both copies count');
});

storeTest('caps that make no sense are refused', async (folder) => {
  const store = await folder.open();
  const wrong: unknown[] = [
    { owner: 'c' },
    { owner: '', blobs: 1 },
    { owner: 'c', bytes: -1 },
    { owner: 'c', blobs: 1.5 },
    { owner: 'c', blobs: 1, above: 'cry' },
    { owner: 'c', blobs: 1, policy: 'lru' },
  ];
  for (const cap of wrong)
    await assert.rejects(
      async () => await store.gc({ cap: cap as Cap }),
      (error) => StoreError.is(error, 'invalid-argument'),
    );
  const policy = (): number => Number.NaN;
  await store.put(content(1), { owner: 'c' });
  await assert.rejects(store.gc({ cap: { owner: 'c', blobs: 0, policy } }), /gave no number/);
});

storeTest(
  'whatever is done: the cap holds, the youngest stay, and what others hold is never touched',
  async (folder) => {
    const host = manualHost(startMs);
    const store = await folder.open({ host, cap: { owner: 'c', blobs: 1e6 } });
    const used = new Map<string, number>();
    const others = new Map<string, Set<string>>();
    const held = new Set<string>();
    const put = async (n: number, owner: string): Promise<void> => {
      const { id } = await store.put(content(n), { owner });
      used.set(id, host.clock.now());
      if (owner === 'c') held.add(id);
      else others.set(id, (others.get(id) ?? new Set()).add(owner));
    };
    const idOf = (n: number): string | undefined => [...used.keys()][n % Math.max(1, used.size)];
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant('put' as const), n: fc.nat(40) }) },
      fc.record({ do: fc.constantFrom('put-other', 'root', 'read', 'release-other'), n: fc.nat(40) }),
      fc.record({ do: fc.constant('gc' as const), n: fc.nat(12) }),
    );
    const act: Record<string, (n: number) => Promise<void>> = {
      put: (n) => put(n, 'c'),
      'put-other': (n) => put(n, 'other'),
      async root(n) {
        const id = idOf(n);
        if (id === undefined || !(await store.has(id))) return;
        await store.roots.set(`r${n}`, id);
        for (const owners of others.values()) owners.delete(`r${n}`);
        others.set(id, (others.get(id) ?? new Set()).add(`r${n}`));
      },
      async read(n) {
        const id = idOf(n);
        if (id !== undefined && (await store.get(id)) !== undefined) used.set(id, host.clock.now());
      },
      async 'release-other'(n) {
        const id = idOf(n);
        if (id !== undefined && (await store.release(id, 'other'))) others.get(id)?.delete('other');
      },
      async gc(blobs) {
        const isShared = (id: string): boolean => (others.get(id)?.size ?? 0) > 0;
        const alone = [...held].filter((id) => !isShared(id));
        const { evicted } = await store.gc({ graceMs: 0, cap: { owner: 'c', blobs } });
        const here = await store.hasMany(used.keys());
        for (const id of used.keys()) assert.ok(here.has(id) || !isShared(id), 'what others hold is here');
        const [left, gone] = [alone.filter((id) => here.has(id)), alone.filter((id) => !here.has(id))];
        assert.deepEqual([evicted?.blobs, evicted?.left.blobs], [gone.length, left.length]);
        assert.ok(left.length <= blobs);
        if (alone.length <= blobs) assert.deepEqual(gone, []);
        else assert.equal(left.length, Math.floor(blobs * 0.9), 'and no more than a tenth below');
        const [oldest, youngest] = [left, gone].map((list) => list.map((id) => used.get(id)!));
        assert.ok(Math.max(...youngest!, 0) <= Math.min(...oldest!, Number.MAX_SAFE_INTEGER));
        for (const id of gone) held.delete(id);
        for (const id of [...used.keys()]) if (!here.has(id)) used.delete(id);
      },
    };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 40 }), async (steps) => {
        for (const { do: what, n } of steps) {
          later(host);
          await act[what]!(n);
        }
        later(host);
        await act['gc']!(6);
      }),
      { numRuns: 10 },
    );
  },
);

storeTest('the command line keeps a cap, in gc and in maintain', async (folder) => {
  const store = await folder.open();
  for (let n = 0; n < 20; n++) await store.put(content(n), { owner: 'web' });
  await folder.closeAll();
  const of = ['--cap-owner', 'web', '--grace', '0s', '--json'];
  const first = await holdfast(['gc', folder.path, ...of, '--cap-blobs', '10']);
  assert.deepEqual([first.exit, first.json.evicted.left.blobs, first.json.deleted], [0, 9, 11]);
  const second = await holdfast(['maintain', folder.path, ...of, '--cap-bytes', '1kB']);
  assert.equal(second.exit, 0, second.stderr);
  assert.ok(second.json.gc.evicted.left.bytes <= 1000 && second.json.gc.deleted > 0);
  const said = await holdfast([
    'gc',
    join(folder.path),
    '--cap-owner',
    'web',
    '--cap-blobs',
    '0',
    '--dry-run',
  ]);
  assert.match(said.stdout, /would have released \d+ blobs/);
  for (const wrong of [
    ['--cap-bytes', '1kB'],
    ['--cap-owner', 'web'],
    [...of, '--cap-blobs', 'many'],
  ])
    assert.equal((await holdfast(['gc', folder.path, ...wrong])).exit, 2, wrong.join(' '));
});
