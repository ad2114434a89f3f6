/** Source folders with what real folders hold: special files, the store itself, unreadable and changing files, impossible names. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Store, StoreError, findEntry, importPaths, openStore, walkTree } from '../../src/index.ts';
import { Workplace, asNobody, wrapStore } from './workplace.ts';

async function pathsOf(store: Store, root: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path, step } of walkTree(store, root)) if (step === 'enter') paths.push(path);
  return paths;
}

/** The import fails and names `path`, the root does not move; with keepGoing the rest is imported. */
async function failsFor(
  place: Workplace,
  want: { readonly path: string; readonly code: string; readonly store?: Store },
): Promise<void> {
  const store = want.store ?? place.store;
  const before = await store.roots.get('main');
  await assert.rejects(importPaths(store, [place.path('in')]), (error) => {
    assert.ok(StoreError.is(error), String(error));
    assert.equal(error.code, want.code);
    assert.match(error.message, /was not moved/);
    assert.equal(error.facts['failures'], 1);
    assert.deepEqual(error.facts['paths'], [want.path]);
    return true;
  });
  assert.equal(await store.roots.get('main'), before);
  const result = await importPaths(store, [place.path('in')], { keepGoing: true });
  assert.deepEqual(
    result.failures.map(({ path, code }) => ({ path, code })),
    [{ path: want.path, code: want.code }],
  );
  assert.ok((await findEntry(store, result.root, 'in/fine'))?.type === 'file');
  assert.equal(await store.roots.get('main'), result.root);
}

test('FIFOs, sockets and devices are skipped and listed', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/sub/fine': '1' });
  execFileSync('mkfifo', [place.path('in/fifo')]);
  const server = createServer().listen(place.path('in/sub/socket'));
  t.after(() => server.close());
  const device = spawnSync('mknod', [place.path('in/device'), 'c', '1', '3']).status === 0;
  if (!device) t.diagnostic('LOUD: mknod is not allowed here, so devices were not tried');
  const expected = [...(device ? ['in/device'] : []), 'in/fifo', 'in/sub/socket'].map((path) => ({
    path: place.path(path),
    reason: 'special file',
  }));
  for (let round = 0; round < 2; round++) {
    const result = await place.import(['in']);
    assert.deepEqual(
      result.skipped.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
      expected,
      `round ${round}`,
    );
    assert.deepEqual(await pathsOf(place.store, result.root), ['in', 'in/sub', 'in/sub/fine']);
  }
  await assert.rejects(place.import(['in/fifo']), { code: 'invalid-argument' });
});

test('the store inside the imported folder is skipped, and said', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'fine.txt': '1' });
  for (let round = 0; round < 2; round++) {
    const result = await importPaths(place.store, [place.folder]);
    assert.deepEqual(result.skipped, [{ path: place.path('store'), reason: 'store' }]);
    assert.equal(result.files, 1);
    assert.ok(!(await pathsOf(place.store, result.root)).some((path) => path.includes('index.db')));
  }
  await assert.rejects(place.import(['store']), { code: 'invalid-argument' });
  await assert.rejects(place.import(['store/volumes']), { code: 'invalid-argument' });
});

test('another store is a folder like any other, and a copy of a store does not take itself for the first', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/fine': '1' });
  const other = await openStore(place.path('in/other'), { threads: { count: 0 } });
  await other.put(Buffer.from('x'));
  await other.close();
  const result = await place.import(['in']);
  assert.deepEqual(result.skipped, []);
  assert.ok((await pathsOf(place.store, result.root)).includes('in/other/superblock'));
});

test('hard links, and the same content many times, are stored once', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/a': 'content' });
  for (let i = 0; i < 300; i++) linkSync(place.path('in/a'), place.path(`in/link ${i}`));
  for (let i = 0; i < 300; i++) place.write({ [`in/copy ${i}`]: 'content' });
  const result = await place.import(['in']);
  assert.equal(result.files, 601);
  assert.equal(result.newBytes, 7);
});

test('names and link targets that are not UTF-8 are failures that name them', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/fine': '1' });
  const bad = Buffer.concat([Buffer.from(place.path('in/bad')), Buffer.from([0xff, 0x2e])]);
  writeFileSync(bad, 'x');
  await failsFor(place, { path: `${place.path('in')}/bad\\xff.`, code: 'invalid-argument' });
  unlinkSync(bad);
  symlinkSync(Buffer.from([0x61, 0xfe]), place.path('in/link'));
  await failsFor(place, { path: place.path('in/link'), code: 'invalid-argument' });
});

test('two paths of one basename, no path, a path that is not there: clear errors, no root', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'a/x': '1', 'b/x': '2' });
  await assert.rejects(place.import(['a/x', 'b/x']), { code: 'invalid-argument' });
  await assert.rejects(place.import([]), { code: 'invalid-argument' });
  await assert.rejects(place.import(['a', 'nothing here']), { code: 'not-found' });
  await assert.rejects(importPaths(place.store, ['/']), { code: 'invalid-argument' });
  await assert.rejects(place.import(['a'], { root: '' }), { code: 'invalid-argument' });
  assert.deepEqual(await place.store.roots.list(), []);
});

test('unreadable files and folders: the root stays, unless told to keep going', async (t) => {
  // The threads of the store load their code as nobody, too.
  const code = fileURLToPath(new URL('../../engine/index.ts', import.meta.url));
  if (!(await asNobody(() => Promise.resolve(canRead(code)))))
    return t.skip(`NOT TESTED: this is root, and nobody else may read ${code}`);
  // A store that belongs to somebody who may not read the file.
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-nobody-'));
  chmodSync(folder, 0o777);
  mkdirSync(join(folder, 'in'));
  writeFileSync(join(folder, 'in', 'fine'), '1');
  writeFileSync(join(folder, 'in', 'secret'), '2');
  chmodSync(join(folder, 'in', 'secret'), 0);
  if (process.geteuid?.() === 0) chownSync(folder, 65_534, 65_534);
  await asNobody(async () => {
    const store = await openStore(join(folder, 'store'), { threads: { count: 1 } });
    try {
      const place = { path: (path: string) => join(folder, path) } as Workplace;
      await failsFor(place, { path: join(folder, 'in', 'secret'), code: 'forbidden', store });
      const result = await importPaths(store, [join(folder, 'in')], { keepGoing: true });
      assert.deepEqual(await pathsOf(store, result.root), ['in', 'in/fine']);
      assert.deepEqual((await store.scrub()).damaged, []);
    } finally {
      await store.close();
    }
  });
  await unreadableFolder(t, folder);
  chmodSync(join(folder, 'store', 'index.db'), 0o444);
  chmodSync(join(folder, 'store'), 0o555);
  await asNobody(() =>
    assert.rejects(openStore(join(folder, 'store'), { mode: 'read-only', threads: { count: 1 } }), {
      code: /^(forbidden|unavailable)$/,
      message: /its folder must be writable, also for reading/,
    }),
  );
  chmodSync(join(folder, 'store'), 0o755);
  rmSync(folder, { recursive: true });
});

function canRead(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch {
    return false;
  }
}

async function unreadableFolder(t: TestContext, folder: string): Promise<void> {
  chmodSync(join(folder, 'in', 'secret'), 0o644);
  mkdirSync(join(folder, 'in', 'closed'));
  chmodSync(join(folder, 'in', 'closed'), 0);
  await asNobody(async () => {
    const store = await openStore(join(folder, 'store'), { threads: { count: 1 } });
    try {
      const place = { path: (path: string) => join(folder, path) } as Workplace;
      await failsFor(place, { path: join(folder, 'in', 'closed'), code: 'forbidden', store });
    } finally {
      await store.close();
    }
  });
  chmodSync(join(folder, 'in', 'closed'), 0o755);
  t.diagnostic(process.geteuid?.() === 0 ? 'ran as nobody' : 'ran as an ordinary user');
}

test('a file that cannot be read although it is there is a failure with its path', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/fine': '1', 'in/gone': '2' });
  const store = wrapStore(place.store, {
    put: (source, options) => {
      if (typeof source === 'object' && 'path' in source && String(source.path).endsWith('/gone'))
        rmSync(String(source.path), { force: true });
      return place.store.put(source, options);
    },
  });
  await assert.rejects(importPaths(store, [place.path('in')]), { code: 'not-found' });
  // Now it is gone for good, and no longer listed.
  assert.equal((await importPaths(store, [place.path('in')])).files, 1);
});

test('a file that changes while it is read is read again, and is a failure if it never holds still', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/fine': '1', 'in/once': '2' });
  let changes = 0;
  const store = wrapStore(place.store, {
    put: async (source, options) => {
      if (
        typeof source === 'object' &&
        'path' in source &&
        String(source.path).endsWith('/once') &&
        changes++ < 2
      )
        throw new StoreError('source-changed', 'changed', { path: String(source.path) });
      return await place.store.put(source, options);
    },
  });
  const { files, failures } = await importPaths(store, [place.path('in')]);
  assert.deepEqual({ files, failures, changes }, { files: 2, failures: [], changes: 3 });
  // For real: a log that is written to all the time.
  writeFileSync(place.path('in/log'), Buffer.alloc(64 * 1024 * 1024));
  const writing = setInterval(() => appendFileSync(place.path('in/log'), 'more\n'), 1);
  try {
    await failsFor(place, { path: place.path('in/log'), code: 'source-changed' });
  } finally {
    clearInterval(writing);
  }
});

test('trouble of the store is not taken for trouble of a file', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/a': '1', 'in/b': '2' });
  const store = wrapStore(place.store, {
    put: () => Promise.reject(new StoreError('no-space', 'the disk is full')),
  });
  await assert.rejects(importPaths(store, [place.path('in')], { keepGoing: true }), { code: 'no-space' });
  assert.equal(await place.store.roots.get('main'), undefined);
});

test('paths of 4,096 bytes and more, and folders nested too deep, are failures; the rest is imported', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'in/fine': '1', 'nested/fine': '1' });
  const home = process.cwd();
  const nest = (where: string, name: string, depth: number): void => {
    process.chdir(where);
    try {
      for (let i = 0; i < depth; i++) {
        mkdirSync(name);
        process.chdir(name);
      }
      writeFileSync('file', 'deep down');
    } finally {
      process.chdir(home);
    }
  };
  nest(place.path('in'), 'n'.repeat(200), 22);
  await assert.rejects(
    place.import(['in']),
    (error) =>
      StoreError.is(error) &&
      error.facts['failures'] === 1 &&
      /too long|over 4096 bytes|ENAMETOOLONG/.test(error.message),
  );
  const long = await place.import(['in'], { keepGoing: true });
  assert.equal(long.files, 1);
  nest(place.path('nested'), 'd', 130);
  await assert.rejects(place.import(['nested']), { code: 'limit-exceeded' });
  const deep = await place.import(['nested'], { keepGoing: true });
  assert.equal(deep.files, 1);
  assert.equal((await pathsOf(place.store, deep.root)).length, 128);
});
