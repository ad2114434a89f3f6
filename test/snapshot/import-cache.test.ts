/** The import cache: unchanged files are not read again, and nothing it remembers is believed unless a live root holds it. */
import assert from 'node:assert/strict';
import {
  cpSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { test } from 'node:test';
import { importPaths, openStore } from '../../src/index.ts';
import { Workplace, later, wrapStore } from './workplace.ts';

const library = {
  'in/a': '1',
  'in/b': '22',
  'in/sub/c': '333',
  'in/sub/deep/d': '4444',
  'in/other/e': '55555',
};

test('an unchanged folder is not read again; a changed file is, alone', async (t) => {
  const place = await Workplace.open(t);
  place.write(library);
  symlinkSync('a', place.path('in/link'));
  later(t);
  const first = await place.import(['in']);
  assert.equal(first.filesRead, 5);
  const second = await place.import(['in']);
  const { root, files, folders, links, bytes } = first;
  assert.deepEqual(
    { ...second, skipped: [], failures: [] },
    {
      root,
      files,
      folders,
      links,
      bytes,
      newBytes: 0,
      filesRead: 0,
      skipped: [],
      failures: [],
      skippedCount: 0,
      failureCount: 0,
    },
  );
  for (const [path, content] of [
    ['in/sub/c', 'changed'],
    ['in/new', 'new'],
    ['in/sub/deep/d', '4445'],
  ] as const) {
    place.write({ [path]: content });
    const third = await place.import(['in']);
    assert.equal(third.filesRead, 1, path);
    assert.equal(third.newBytes, content.length, path);
    assert.notEqual(third.root, root);
  }
  // The same from scratch: what was put together from memory is what is there.
  const rehashed = await place.import(['in'], { rehash: true });
  assert.equal(rehashed.filesRead, 6);
  assert.equal(rehashed.root, await place.store.roots.get('main'));
  assert.equal(rehashed.newBytes, 0);
});

test('a file whose times are too fresh is read again, until they are not', async (t) => {
  const place = await Workplace.open(t);
  place.write(library);
  await place.import(['in']);
  assert.equal((await place.import(['in'])).filesRead, 5);
  later(t);
  assert.equal((await place.import(['in'])).filesRead, 5);
  assert.equal((await place.import(['in'])).filesRead, 0);
});

test('new content under the old size and time is seen by the ctime', async (t) => {
  const place = await Workplace.open(t);
  place.write(library);
  later(t);
  await place.import(['in']);
  const { atime, mtime } = statSync(place.path('in/a'));
  writeFileSync(place.path('in/a'), '9');
  utimesSync(place.path('in/a'), atime, mtime);
  const result = await place.import(['in']);
  assert.equal(result.filesRead, 1);
  assert.equal(result.newBytes, 1);
});

test('a removed, renamed, replaced or linked entry is seen; what is left is not read again', async (t) => {
  const place = await Workplace.open(t);
  place.write(library);
  later(t);
  const before = await place.import(['in']);
  renameSync(place.path('in/a'), place.path('in/z'));
  assert.equal((await place.import(['in'])).filesRead, 1);
  renameSync(place.path('in/z'), place.path('in/a'));
  assert.equal((await place.import(['in'])).filesRead, 1);
  linkSync(place.path('in/b'), place.path('elsewhere'));
  assert.equal((await place.import(['in'])).filesRead, 1);
  rmSync(place.path('in/b'));
  mkdirSync(place.path('in/b'));
  assert.equal((await place.import(['in'])).filesRead, 0);
  rmSync(place.path('in/b'), { recursive: true });
  renameSync(place.path('elsewhere'), place.path('in/b'));
  const after = await place.import(['in']);
  assert.equal(after.files, before.files);
  assert.equal((await place.import(['in'], { rehash: true })).root, after.root);
});

test('a folder that goes and comes back is read again, since its content may be gone', async (t) => {
  const place = await Workplace.open(t);
  place.write(library);
  later(t);
  await place.import(['in']);
  renameSync(place.path('in/sub'), place.path('away'));
  await place.import(['in']);
  await place.store.gc({ graceMs: 0 });
  renameSync(place.path('away'), place.path('in/sub'));
  const result = await place.import(['in']);
  assert.equal(result.filesRead, 2);
  assert.equal(result.newBytes, 7);
});

test('without its root the cache is not believed', async (t) => {
  const place = await Workplace.open(t);
  place.write(library);
  later(t);
  await place.import(['in']);
  await place.store.roots.delete('main');
  await place.store.gc({ graceMs: 0 });
  const again = await place.import(['in']);
  assert.equal(again.filesRead, 5);
  assert.equal(again.newBytes, 15);
  // Held under another name is held.
  await place.store.roots.set('kept', again.root);
  await place.store.roots.delete('main');
  assert.equal((await place.import(['in'])).filesRead, 0);
});

test('a failed or stopped import spoils nothing', async (t) => {
  const place = await Workplace.open(t);
  place.write(library);
  later(t);
  const first = await place.import(['in']);
  place.write({ 'in/sub/c': 'changed', 'in/sub/deep/new': 'new' });
  // The root cannot be set: what this import remembered belongs to no snapshot.
  const broken = wrapStore(place.store, {
    roots: { ...place.store.roots, set: () => Promise.reject(new Error('no')) },
  });
  await assert.rejects(importPaths(broken, [place.path('in')]));
  assert.equal(await place.store.roots.get('main'), first.root);
  await place.store.gc({ graceMs: 0 });
  const next = await place.import(['in']);
  assert.equal(next.newBytes, 10);
  assert.equal((await place.import(['in'])).filesRead, 0);
  assert.equal((await place.import(['in'], { rehash: true })).root, next.root);
});

test('single files are remembered too, and folders that overlap do not mislead each other', async (t) => {
  const place = await Workplace.open(t);
  place.write(library);
  later(t);
  const all = await place.import(['in', 'in/a'], { root: 'all' });
  assert.equal(all.filesRead, 6);
  const again = await place.import(['in', 'in/a'], { root: 'all' });
  assert.deepEqual([again.filesRead, again.root], [0, all.root]);
  assert.equal((await place.import(['in/a'], { root: 'a' })).filesRead, 0);
  place.write({ 'in/sub/c': 'changed' });
  assert.ok((await place.import(['in/sub'], { root: 'sub' })).filesRead >= 1);
  await place.store.roots.delete('sub');
  await place.store.gc({ graceMs: 0 });
  const last = await place.import(['in'], { root: 'all' });
  assert.equal((await place.import(['in'], { root: 'check', rehash: true })).root, last.root);
});

test('a folder too large for one record is remembered in parts', async (t) => {
  const place = await Workplace.open(t);
  mkdirSync(place.path('in'));
  const name = 'x'.repeat(200);
  for (let i = 0; i < 4_500; i++) writeFileSync(place.path('in', `${name}${i}`), '');
  later(t);
  assert.equal((await place.import(['in'])).filesRead, 4_500);
  assert.equal((await place.import(['in'])).filesRead, 0);
  writeFileSync(place.path('in', 'one more'), '');
  assert.equal((await place.import(['in'])).filesRead, 1);
  for (let i = 10; i < 4_500; i++) rmSync(place.path('in', `${name}${i}`));
  assert.equal((await place.import(['in'])).filesRead, 0);
  assert.equal((await place.import(['in'])).files, 11);
});

test('a copy of a store does not take the first one for itself', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/fine': '1' });
  later(t);
  const inside = await openStore(place.path('in/store'), { threads: { count: 0 } });
  await importPaths(inside, [place.path('in')]);
  await inside.close();
  cpSync(place.path('in/store'), place.path('copy'), { recursive: true });
  const copy = await openStore(place.path('copy'), { threads: { count: 0 } });
  const result = await importPaths(copy, [place.path('in')]);
  assert.deepEqual(result.skipped, []);
  assert.ok(result.files > 3);
  assert.deepEqual((await copy.scrub()).damaged, []);
  await copy.close();
});

test('a folder of many files that changed here and there becomes the snapshot that a new import makes of it', async (t) => {
  const place = await Workplace.open(t);
  const many = Array.from(
    { length: 900 },
    (_, i) => [`in/file-${String(i).padStart(4, '0')}`, `${i}`] as const,
  );
  place.write(Object.fromEntries(many));
  place.write({ 'in/file-0300-folder/inside': 'x' });
  later(t);
  await place.import(['in']);
  await place.import(['in']); // now all times are believed
  const steps: (() => void)[] = [
    () => place.write({ [many[0]![0]]: 'first', [many[499]![0]]: 'last', [many[250]![0]]: 'middle' }),
    () => rmSync(place.path(many[1]![0])),
    () => rmSync(place.path(many[498]![0])),
    () => many.slice(200, 280).forEach(([path]) => rmSync(place.path(path))),
    () => place.write({ 'in/a-new-one': 'n', 'in/file-0400-': 'n', 'in/zz': 'n' }),
    () => place.write({ 'in/file-0300-folder/inside': 'y' }),
    () => many.slice(3, 490).forEach(([path]) => rmSync(place.path(path), { force: true })),
  ];
  for (const [i, step] of steps.entries()) {
    step();
    const puts: string[] = [];
    const watched = wrapStore(place.store, {
      put: (source, options) => {
        if (options?.kind === 'node') puts.push(options.expectId!);
        return place.store.put(source, options);
      },
    });
    const { root } = await importPaths(watched, [place.path('in')]);
    if (i === 1) assert.ok(puts.length <= 6, `${puts.length} nodes are put for one file that is gone`);
    const anew = await place.import(['in'], { rehash: true });
    assert.equal(anew.root, root, `step ${i}`);
    await place.import(['in']);
  }
});
