// Repair: damage of every kind in every form of blob, healed from a second store and from an alternate, the bad copy set aside.
import assert from 'node:assert/strict';
import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { BlobId, BlobSource, OpenOptions, Store } from '../../engine/index.ts';
import { chunking } from './chunked-store.ts';
import { harmHalf, harms } from './harm.ts';
import {
  noise,
  same,
  sha256,
  smallParameters,
  storeTest,
  text,
  unknownId,
  until,
  withCode,
} from './store-folder.ts';
import { closeOthers, openBeside } from './tenants.ts';

const shapes: Readonly<Record<string, OpenOptions>> = {
  plain: {},
  compressed: { compression: 'always' },
  chunked: { parameters: { ...smallParameters, chunking } },
  'sqlite-only': {
    parameters: { ...smallParameters, chunking: { ...chunking, mode: 'off' } },
    layout: 'sqlite-only',
  },
};

interface Made {
  readonly id: BlobId;
  readonly content: Uint8Array;
}

/** Records and larger blobs, of which some compress, and a node. */
async function fill(store: Store): Promise<Made[]> {
  const contents = [
    ...Array.from({ length: 6 }, (_, i) => noise(900 + i * 300, 40 + i)),
    noise(40_000, 50),
    noise(90_000, 51),
    text('the same words again and again '.repeat(2000)),
  ];
  const made: Made[] = [];
  for (const content of contents) made.push({ id: (await store.put(content, { owner: 'x' })).id, content });
  const links = made.slice(0, 3).map(({ id }) => ({ kind: 'raw', id }) as const);
  const { id } = await store.put(text('a node'), { links, owner: 'x' });
  made.push({ id, content: (await store.get(id))! });
  return made;
}

for (const [shape, options] of Object.entries(shapes)) {
  for (const [what, harm] of [...Object.entries(harms), ['gone', 'removed'] as const]) {
    if (shape !== 'plain' && what !== (shape === 'chunked' ? 'gone' : '4 KiB of zeros')) continue;
    storeTest(`${shape}, ${what}: had from a second store`, async (folder) => {
      const made = await fill(await folder.open(options));
      await folder.closeAll();
      try {
        const other = await openBeside(folder, 'other', { compression: 'auto' });
        await fill(other);
        harmHalf(folder, harm);
        const store = await folder.open();
        const alone = await store.repair();
        assert.ok(alone.remaining.length > 0 && alone.healed === 0);
        const result = await store.repair({ from: shape === 'plain' ? join(folder.side, 'other') : other });
        assert.deepEqual([result.remaining, result.sources.alternates], [[], 0]);
        assert.ok(result.healed > 0 && result.healed === result.sources.from);
        for (const { id, content } of made) same(await store.get(id), content);
        if (shape === 'plain' && what !== 'gone') assert.ok(readdirSync(folder.at('quarantine')).length > 0);
      } finally {
        await closeOthers(folder);
      }
    });
  }
}

storeTest(
  'damage that a read meets is healed from an alternate behind its back, and by repair',
  async (folder) => {
    try {
      const made = await fill(await folder.open());
      await folder.closeAll();
      await fill(await openBeside(folder, 'base'));
      harmHalf(folder, harms['a flipped bit']!);
      const store = await folder.open({ alternates: [join(folder.side, 'base')] });
      const healed: BlobId[] = [];
      const damage: BlobId[] = [];
      store.on('healed', ({ id }) => healed.push(id));
      store.on('damage', ({ id }) => damage.push(id));
      for (const { id, content } of made) same(await store.get(id), content);
      const [first] = damage;
      await until(() => healed.includes(first!), 'it is healed');
      const result = await store.repair();
      assert.deepEqual(result.remaining, []);
      assert.equal(result.sources.from, 0);
      assert.equal((await store.stats()).suspect, 0);
      // Its own again, not borrowed: the base may go.
      await store.alternates.remove(join(folder.side, 'base'));
      for (const { id, content } of made) same(await store.get(id), content);
    } finally {
      await closeOthers(folder);
    }
  },
);

storeTest('what is borrowed and damaged or gone in the base is had from another store', async (folder) => {
  try {
    const base = await openBeside(folder, 'base');
    const other = await openBeside(folder, 'other');
    const made = await fill(base);
    await fill(other);
    const store = await folder.open({ alternates: [join(folder.side, 'base')] });
    for (const { content } of made.slice(0, -1)) await store.put(content, { owner: 'me' });
    await store.roots.set('node', made.at(-1)!.id);
    const large = made.filter(({ content }) => content.length > smallParameters.smallMax);
    for (const { id } of large) truncateSync((await base.stat(id))!.path!, 0);
    await base.scrub();
    const { remaining } = await store.repair();
    assert.deepEqual(remaining.map(({ id }) => id).toSorted(), large.map(({ id }) => id).toSorted());
    const result = await store.repair({ from: other });
    assert.deepEqual([result.remaining, result.sources.from], [[], large.length]);
    for (const { id, content } of made) same(await store.get(id), content);
  } finally {
    await closeOthers(folder);
  }
});

storeTest('wrong bytes from the other store are not taken; what cannot be had is told', async (folder) => {
  const store = await folder.open();
  const lies = text('what the other store says it is');
  const { id } = await store.put(noise(20_000, 3), { owner: 'x' });
  const plain = await store.put(text('fine'), { owner: 'x' });
  truncateSync((await store.stat(id))!.path!, 100);
  const liar = {
    directory: '/elsewhere',
    stat: async (asked: BlobId) => (asked === id ? { id, kind: 'raw', size: lies.length } : undefined),
    stream: async () => new Blob([lies]).stream(),
  } as unknown as Store;
  const { healed, remaining } = await store.repair({ from: liar });
  assert.deepEqual([healed, remaining.map((one) => one.id)], [0, [id]]);
  assert.match(remaining[0]!.reason, new RegExp(sha256(lies)));
  assert.equal(await store.get(unknownId), undefined);
  same(await store.get(plain.id), text('fine'));
  await assert.rejects(store.repair({ from: folder.path }), withCode('invalid-argument'));
  await assert.rejects(store.repair({ from: join(folder.side, 'nothing') }), withCode('not-a-store'));
  folder.leaves([id]);
});

storeTest('of an encrypted store, from a plain one, with its keys', async (folder) => {
  const encryption = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(7) } } as const;
  const made = await fill(await folder.open({ encryption }));
  await folder.closeAll();
  try {
    const other = await openBeside(folder, 'other');
    await fill(other);
    harmHalf(folder, harms['a flipped bit']!);
    const store = await folder.open({ encryption });
    assert.deepEqual((await store.repair({ from: other })).remaining, []);
    for (const { id, content } of made) same(await store.get(id), content);
  } finally {
    await closeOthers(folder);
  }
});

storeTest(
  'without a scrub, what more of a chunked blob is damaged is told, and not taken for healed',
  async (folder) => {
    try {
      const content = noise(300_000, 77);
      const { id } = await (await folder.open(shapes['chunked'])).put(content, { owner: 'x' });
      await folder.closeAll();
      const other = await openBeside(folder, 'other');
      await other.put(content, { owner: 'x' });
      harmHalf(folder, (bytes) => {
        for (let at = 100; at < bytes.length; at += 3000) bytes[at]! ^= 1;
        return bytes;
      });
      const store = await folder.open();
      await assert.rejects(store.get(id), withCode('corrupt'));
      const known = await store.repair({ from: other, verify: false });
      assert.deepEqual(
        known.remaining.map((one) => [one.id, /more of it is damaged/.test(one.reason)]),
        [[id, true]],
      );
      assert.deepEqual((await store.repair({ from: other })).remaining, []);
      same(await store.get(id), content);
    } finally {
      await closeOthers(folder);
    }
  },
);

storeTest(
  'blobs are had while those before are committed; one that is wrong, and a stop, cost no other',
  async (folder) => {
    const store = await folder.open();
    const contents = Array.from({ length: 24 }, (_, i) => noise(700 + i, 500 + i));
    const byId = new Map<BlobId, Uint8Array>();
    for (const content of contents) byId.set((await store.put(content, { owner: 'x' })).id, content);
    await folder.closeAll();
    harmHalf(folder, 'removed');
    const again = await folder.open();
    const ids = [...byId.keys()];
    let [asked, reading, ahead, healed] = [0, 0, 0, 0];
    const source = (wrong?: BlobId, onAsked?: () => void): BlobSource => ({
      kindOf: (id) => Promise.resolve(byId.has(id) ? 'raw' : undefined),
      stream: (id) => {
        assert.equal(reading++, 0, 'one at a time is read');
        ahead = Math.max(ahead, ++asked - healed);
        onAsked?.();
        const bytes = id === wrong ? text('wrong') : byId.get(id)!;
        const parts = [bytes.slice(0, 3), bytes.slice(3)];
        return Promise.resolve(
          new ReadableStream<Uint8Array>({
            pull: (controller) => {
              const part = parts.shift();
              if (part !== undefined) return controller.enqueue(new Uint8Array(part));
              reading--;
              controller.close();
            },
          }),
        );
      },
    });
    const onProgress = (count: number): void => void (healed = count);
    const gone = new AbortController();
    const stopAt = (): void => {
      if (asked === 8) gone.abort(new Error('enough'));
    };
    await assert.rejects(
      again.repair({ from: source(undefined, stopAt), onProgress, signal: gone.signal }),
      /enough/,
    );
    const before = healed;
    [asked, reading, ahead, healed] = [0, 0, 0, 0];
    const result = await again.repair({ from: source(ids[20]), onProgress });
    assert.deepEqual([result.remaining.map(({ id }) => id), result.healed], [[ids[20]], healed]);
    assert.ok(before + healed <= 23 && healed >= 15, `${before}, then ${healed}`);
    assert.ok(ahead > 2, `${ahead} ahead`);
    await again.put(byId.get(ids[20]!)!);
    for (const [id, content] of byId) same(await again.get(id), content);
  },
);
