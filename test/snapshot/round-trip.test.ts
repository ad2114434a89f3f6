/** A folder that goes into a store comes out the same: bytes, names, modes, times, links; whatever its shape. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  lutimesSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareTrees } from '../../src/cli/compare.ts';
import { findEntry, listFolder, restoreTree, walkTree } from '../../src/index.ts';
import { sample } from '../crash/sample.ts';
import { Workplace } from './workplace.ts';

async function assertSame(a: string, b: string, without: readonly string[] = []): Promise<void> {
  const compared = await compareTrees(a, b, {
    without: new Set(without),
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  assert.deepEqual(compared.differences, []);
}

test('files of all sizes, modes and times, links, empty and read-only folders come back the same', async (t) => {
  const place = await Workplace.open(t, { threads: { count: 1 } });
  place.write({
    'in/empty': '',
    'in/one byte': 'x',
    'in/large': Buffer.alloc(3_000_001, 'large '),
    'in/same/a': 'twice',
    'in/same/b': 'twice',
    'in/Ünïcödé/日本語/🏖': 'name',
    'in/\ufeffbyte order mark': 'name',
    'in/new\nline and \u001b[31m': 'name',
    'in/locked/file': 'read only',
    'in/private': 'secret',
  });
  mkdirSync(place.path('in/nothing'));
  symlinkSync('one byte', place.path('in/link'));
  symlinkSync('/nowhere/at/all', place.path('in/broken'));
  symlinkSync('../../..', place.path('in/upwards'));
  linkSync(place.path('in/large'), place.path('in/same/hard link'));
  chmodSync(place.path('in/private'), 0o600);
  chmodSync(place.path('in/one byte'), 0o755);
  chmodSync(place.path('in/locked/file'), 0o444);
  chmodSync(place.path('in/locked'), 0o555);
  chmodSync(place.path('in/same'), 0o1777);
  utimesSync(place.path('in/same'), 1_000, 1_234_567_890.123456);
  lutimesSync(place.path('in/link'), 1_000, 1_234_567_890.123456);
  const result = await place.import(['in']);
  assert.equal(result.files, 11);
  assert.equal(result.links, 3);
  // "in" itself and the five in it.
  assert.equal(result.folders, 6);
  assert.equal(await place.store.roots.get('main'), result.root);
  await restoreTree(place.store, result.root, place.path('out'));
  await assertSame(place.path('in'), place.path('out/in'));
  execFileSync('diff', ['-r', '--no-dereference', place.path('in'), place.path('out/in')]);
  const linkMs = lstatSync(place.path('out/in/link')).mtimeMs;
  assert.ok(Math.abs(linkMs - 1_234_567_890_123.456) < 0.001, `the time of a link itself: ${linkMs}`);
  chmodSync(place.path('in/locked'), 0o755);
  chmodSync(place.path('out/in/locked'), 0o755);
});

test('times before 1970 and after 2038 come back', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/old': 'x', 'in/new': 'y' });
  execFileSync('touch', ['-d', '1969-12-31T23:43:19.75Z', place.path('in/old')]);
  execFileSync('touch', ['-d', '2100-01-01T00:00:00.5Z', place.path('in/new')]);
  const { root } = await place.import(['in']);
  await restoreTree(place.store, root, place.path('out'));
  assert.equal(lstatSync(place.path('out/in/old'), { bigint: true }).mtimeNs, -1_000_250_000_000n);
  assert.equal(lstatSync(place.path('out/in/new'), { bigint: true }).mtimeNs, 4_102_444_800_500_000_000n);
});

test('random trees come back the same, and equal trees are equal snapshots', async (t) => {
  const place = await Workplace.open(t, { threads: { count: 1 } });
  const name = fc
    .oneof(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), fc.stringMatching(/^[a-c]{1,2}$/))
    .filter(
      (text) =>
        Buffer.byteLength(text) < 200 &&
        !/[/\0]/.test(text) &&
        text !== '.' &&
        text !== '..' &&
        text.isWellFormed(),
    );
  const { tree } = fc.letrec<{ tree: [string, Uint8Array | unknown[]][] }>((tie) => ({
    tree: fc.uniqueArray(
      fc.tuple(name, fc.oneof({ maxDepth: 3 }, fc.uint8Array({ maxLength: 50 }), tie('tree'))),
      { maxLength: 6, selector: ([text]) => text },
    ),
  }));
  let run = 0;
  const make = (folder: string, entries: [string, Uint8Array | unknown[]][]): void => {
    mkdirSync(folder);
    for (const [text, content] of entries) {
      if (content instanceof Uint8Array) writeFileSync(join(folder, text), content, { mode: 0o640 });
      else make(join(folder, text), content as [string, Uint8Array][]);
      if (content instanceof Uint8Array) utimesSync(join(folder, text), 1, 1);
    }
    utimesSync(folder, 1, 1);
  };
  await fc.assert(
    fc.asyncProperty(tree, async (entries) => {
      run++;
      for (const side of ['a', 'b']) mkdirSync(place.path(`${side}${run}`));
      make(place.path(`a${run}`, 'x'), entries);
      make(place.path(`b${run}`, 'x'), entries.toReversed());
      const first = await place.import([`a${run}/x`], { root: 'a' });
      const second = await place.import([`b${run}/x`], { root: 'b' });
      assert.equal(first.root, second.root);
      assert.equal(second.newBytes, 0);
      await restoreTree(place.store, first.root, place.path(`out${run}`));
      await assertSame(place.path(`a${run}`, 'x'), place.path(`out${run}`, 'x'));
    }),
    { numRuns: sample(12, 6) },
  );
});

test('several paths are one snapshot, each under its basename', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'one/a': '1', 'two/b': '2', 'deep/file.txt': '3', 'here/inside': '4' });
  symlinkSync('two', place.path('link to two'));
  const result = await place.import(['one/', 'deep/file.txt', 'link to two', 'here/.']);
  const names: string[] = [];
  for await (const entry of listFolder(place.store, result.root)) names.push(`${entry.type} ${entry.name}`);
  assert.deepEqual(names, ['file file.txt', 'folder here', 'folder link to two', 'folder one']);
  const paths: string[] = [];
  for await (const { path, step } of walkTree(place.store, result.root))
    if (step === 'enter') paths.push(path);
  assert.deepEqual(paths, [
    'file.txt',
    'here',
    'here/inside',
    'link to two',
    'link to two/b',
    'one',
    'one/a',
  ]);
  assert.equal((await findEntry(place.store, result.root, 'link to two/b'))?.type, 'file');
  assert.equal(await findEntry(place.store, result.root, 'one/b'), undefined);
  assert.equal(await findEntry(place.store, result.root, 'file.txt/b'), undefined);
  await assert.rejects(findEntry(place.store, result.root, 'one/../two'), { code: 'invalid-argument' });
});

test('a file or a folder of a snapshot is restored by itself, with its facts', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/sub/a': 'content' });
  symlinkSync('a', place.path('in/sub/l'));
  chmodSync(place.path('in/sub/a'), 0o640);
  utimesSync(place.path('in/sub/a'), 5, 5);
  chmodSync(place.path('in/sub'), 0o750);
  utimesSync(place.path('in/sub'), 7, 7);
  const { root } = await place.import(['in']);
  const restore = async (path: string, out: string): Promise<void> => {
    const entry = await findEntry(place.store, root, path);
    assert.ok(entry !== undefined && entry.type !== 'root');
    await restoreTree(place.store, entry, place.path(out));
  };
  await restore('in/sub/a', 'file');
  assert.equal(readFileSync(place.path('file'), 'utf8'), 'content');
  await assertSame(place.path('in/sub/a'), place.path('file'));
  await restore('in/sub', 'folder');
  await assertSame(place.path('in/sub'), place.path('folder'));
  await restore('in/sub/l', 'link');
  await assertSame(place.path('in/sub/l'), place.path('link'));
});

test('a folder of many files is a tree of nodes; one changed file changes few of them', async (t) => {
  const place = await Workplace.open(t);
  for (let i = 0; i < 1_000; i++) place.write({ [`in/file ${String(i).padStart(5, '0')}`]: `content ${i}` });
  await place.import(['in']);
  const before = (await place.store.stats()).blobs;
  place.write({ 'in/file 00500': 'changed' });
  const result = await place.import(['in']);
  assert.equal(result.newBytes, 7);
  // The content, the leaf, the node above it, the snapshot; one more where the folder has three levels.
  assert.ok((await place.store.stats()).blobs - before <= 5);
  await restoreTree(place.store, result.root, place.path('out'));
  await assertSame(place.path('in'), place.path('out/in'));
});

test('a restore writes over nothing: a folder that is not empty, a file, are refused', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/a': '1', 'full/b': '2', file: '3' });
  const { root } = await place.import(['in']);
  await assert.rejects(restoreTree(place.store, root, place.path('full')), { code: 'conflict' });
  await assert.rejects(restoreTree(place.store, root, place.path('file')), { code: 'conflict' });
  const entry = await findEntry(place.store, root, 'in/a');
  assert.ok(entry?.type === 'file');
  await assert.rejects(restoreTree(place.store, entry, place.path('file')), { code: 'conflict' });
  assert.deepEqual(readdirSync(place.path('full')), ['b']);
  assert.equal(readFileSync(place.path('file'), 'utf8'), '3');
  mkdirSync(place.path('really empty'));
  symlinkSync('really empty', place.path('empty'));
  await restoreTree(place.store, root, place.path('empty'));
  await assertSame(place.path('in'), place.path('really empty/in'));
});

test('an import and a restore that are stopped reject with the reason, and leave the store as it was', async (t) => {
  const place = await Workplace.open(t, { threads: { count: 1 } });
  for (let i = 0; i < 600; i++) place.write({ [`in/${i % 20}/${i}`]: `content ${i}` });
  const reason = new Error('enough');
  const stop = new AbortController();
  const importing = place.import(['in'], { signal: stop.signal });
  setTimeout(() => stop.abort(reason), 20);
  await assert.rejects(importing, reason);
  assert.equal(await place.store.roots.get('main'), undefined);
  await assert.rejects(place.import(['in'], { signal: AbortSignal.abort(reason) }), reason);
  const { root } = await place.import(['in']);
  const again = new AbortController();
  const restoring = restoreTree(place.store, root, place.path('out'), { signal: again.signal });
  setTimeout(() => again.abort(reason), 20);
  await assert.rejects(restoring, reason);
});
