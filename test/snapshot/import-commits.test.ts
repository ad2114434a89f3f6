/** Folders of an import do not wait for each other's commits: the disk decides how many there are, not the depth of the tree. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importPaths, walkTree } from '../../src/index.ts';
import { counted } from '../engine/counting-driver.ts';
import { Workplace, wrapStore } from './workplace.ts';

const depth = 30;
/** Those folders, the one they are in, and the snapshot. */
const nodes = depth + 2;
const driver = { module: new URL('../engine/counting-driver.ts', import.meta.url).href };

test('a change deep in a tree is committed with all folders above it', async (t) => {
  const place = await Workplace.open(t, { driver });
  const deep = `in/${Array.from({ length: depth }, (_, i) => `f${i}`).join('/')}/file`;
  place.write({ [deep]: 'content' });
  await place.import(['in']);
  place.write({ [deep]: 'changed' });
  const before = counted.writes;
  await place.import(['in']);
  const spent = counted.writes - before;
  // 10 as this is written, of the catalog and of volumes; a commit for each folder would be over 60.
  assert.ok(spent <= 14, `${spent} transactions`);
});

test('all folders are put before one of them is acknowledged', { timeout: 60_000 }, async (t) => {
  const place = await Workplace.open(t);
  const names = Array.from({ length: depth }, (_, i) => `f${i}`);
  place.write({ [`in/${names.join('/')}/file`]: 'content' });
  const all = Promise.withResolvers<void>();
  let begun = 0;
  const watched = wrapStore(place.store, {
    put: async (source, options) => {
      const put = place.store.put(source, options);
      if (options?.kind !== 'node') return await put;
      if (++begun === nodes) all.resolve();
      const done = await put;
      await all.promise;
      return done;
    },
  });
  const { root } = await importPaths(watched, [place.path('in')], { root: 'main' });
  assert.equal(begun, nodes);
  const paths: string[] = [];
  for await (const { step, path } of walkTree(place.store, root)) if (step === 'enter') paths.push(path);
  assert.equal(paths.length, depth + 2);
  assert.equal(paths.at(-1), `in/${names.join('/')}/file`);
});

test('files that changed here and there are committed together', async (t) => {
  const place = await Workplace.open(t, { driver });
  const files = (content: string): Record<string, string> =>
    Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`in/folder-${i}/file`, `${content} ${i}`]));
  place.write(files('before'));
  await place.import(['in']);
  place.write(files('after'));
  const before = counted.writes;
  assert.equal((await place.import(['in'])).filesRead, 60);
  const spent = counted.writes - before;
  // 12 as this is written; a commit for each file would be over 120.
  assert.ok(spent <= 20, `${spent} transactions`);
});

test('more folders than are kept open wait for few files', { timeout: 60_000 }, async (t) => {
  const place = await Workplace.open(t);
  const chain = Array.from({ length: 80 }, () => 'f').join('/');
  place.write(Object.fromEntries(['a', 'b', 'c', 'd'].map((name) => [`in/${name}/${chain}/file`, name])));
  assert.equal((await place.import(['in'])).folders, 4 * 81 + 1);
});

test('an import that fails early ends with files that were not read yet', { timeout: 60_000 }, async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/a/file': '1', 'in/b/file': '2' });
  const stop = new AbortController();
  const stopping = wrapStore(place.store, {
    put: () => {
      stop.abort(new Error('stopped'));
      return Promise.reject(new Error('stopped'));
    },
  });
  await assert.rejects(importPaths(stopping, [place.path('in')], { signal: stop.signal }), /stopped/);
  assert.equal(await place.store.roots.get('main'), undefined);
});

test('an import ends only when the last folder is acknowledged, and fails where it is not', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/sub/file': 'content' });
  const failing = wrapStore(place.store, {
    put: async (source, options) => {
      const done = await place.store.put(source, options);
      if (options?.kind === 'node') {
        await new Promise((resolve) => setTimeout(resolve, 20));
        throw new Error('not acknowledged');
      }
      return done;
    },
  });
  await assert.rejects(importPaths(failing, [place.path('in')], { root: 'main' }), /not acknowledged/);
  assert.equal(await place.store.roots.get('main'), undefined);
});
