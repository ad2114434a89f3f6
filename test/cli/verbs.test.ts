/** Every verb of the command line: what it prints, its JSON, its exit code. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareTrees } from '../../src/cli/compare.ts';
import { holdfast, holdfastProcess, workFolder, writeFiles } from './command.ts';

const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('the whole way: init, add, ls, cat, get, stat, rm, gc, scrub, stats', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  const large = Buffer.alloc(2_000_000, 'large');
  writeFiles(folder, {
    'photos/a.txt': 'hello\n',
    'photos/sub/copy.txt': 'hello\n',
    'photos/large': large,
    'single.txt': 'alone',
  });

  const made = await holdfast(['init', 'store', '--json'], options);
  assert.deepEqual([made.exit, made.json.created, made.json.format], [0, true, 1]);
  assert.match(made.json.storeId, /^[0-9a-f]{32}$/);
  const again = await holdfast(['init', 'store', '--json'], options);
  assert.deepEqual([again.exit, again.json.created, again.json.storeId], [0, false, made.json.storeId]);

  const added = await holdfast(['add', 'store', 'photos', 'single.txt'], options);
  assert.equal(added.exit, 0, added.stderr);
  assert.match(added.stdout, /^[0-9a-f]{64}\n$/);
  const second = await holdfast(['add', 'store', 'photos', 'single.txt', '--root', 'two', '--json'], options);
  const { root, files, bytes, newBytes, seconds, skipped, failures } = second.json;
  assert.deepEqual(
    { root, files, bytes, newBytes, skipped, failures },
    { root: added.stdout.trim(), files: 4, bytes: 2_000_017, newBytes: 0, skipped: [], failures: [] },
  );
  assert.ok(seconds > 0);

  const roots = await holdfast(['ls', 'store', '--json'], options);
  assert.deepEqual(
    roots.json.roots.map(({ name, id }: { name: string; id: string }) => [name, id]),
    [
      ['main', root],
      ['two', root],
    ],
  );
  const listed = await holdfast(['ls', 'store', 'main:photos', '--json'], options);
  assert.deepEqual(
    listed.json.entries.map(({ name, type, size }: { name: string; type: string; size?: number }) => [
      name,
      type,
      size,
    ]),
    [
      ['a.txt', 'file', 6],
      ['large', 'file', 2_000_000],
      ['sub', 'folder', undefined],
    ],
  );
  assert.equal(listed.json.entries[0].id, sha256('hello\n'));
  const shown = await holdfast(['ls', 'store', 'main:photos'], options);
  assert.match(shown.stdout, /^-rw-r--r-- {12}6 {2}\d{4}-\d\d-\d\d \d\d:\d\d {2}a\.txt\n/m);

  assert.equal((await holdfast(['cat', 'store', 'main:photos/sub/copy.txt'], options)).stdout, 'hello\n');
  assert.equal((await holdfast(['cat', 'store', sha256('alone')], options)).stdout, 'alone');
  const catted = await holdfast(['cat', 'store', 'main:single.txt', '--json'], options);
  assert.equal(catted.stdout, `alone\n${JSON.stringify({ id: sha256('alone'), size: 5 })}\n`);

  const got = await holdfast(['get', 'store', 'main', 'out', '--json'], options);
  assert.deepEqual([got.exit, got.json.files, got.json.bytes, got.json.out], [0, 4, 2_000_017, 'out']);
  const compared = await compareTrees(join(folder, 'photos'), join(folder, 'out/photos'), {
    without: new Set(),
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  assert.deepEqual(compared.differences, []);
  assert.equal((await holdfast(['get', 'store', 'main:single.txt', 'one.txt'], options)).exit, 0);
  assert.equal(readFileSync(join(folder, 'one.txt'), 'utf8'), 'alone');

  const stat = await holdfast(['stat', 'store', sha256(large), '--json'], options);
  assert.deepEqual(
    [stat.json.kind, stat.json.size, stat.json.references, stat.json.suspect],
    ['raw', 2_000_000, 1, false],
  );
  assert.match(stat.json.path, /blobs/);
  assert.match((await holdfast(['stat', 'store', root], options)).stdout, /^kind +node$/m);

  assert.equal((await holdfast(['rm', 'store', 'two', '--json'], options)).json.id, root);
  const dropped = await holdfast(['rm', 'store', 'main'], options);
  assert.equal(dropped.exit, 0);
  const dry = await holdfast(['gc', 'store', '--grace', '0', '--dry-run', '--json'], options);
  assert.ok(dry.json.deleted >= 6 && dry.json.dryRun === true);
  assert.equal((await holdfast(['gc', 'store', '--json'], options)).json.deleted, 0);
  const collected = await holdfast(['gc', 'store', '--grace', '0', '--json'], options);
  assert.deepEqual([collected.exit, collected.json.deleted], [0, dry.json.deleted]);

  const scrubbed = await holdfast(['scrub', 'store', '--json'], options);
  assert.deepEqual([scrubbed.exit, scrubbed.json.blobs, scrubbed.json.damaged], [0, 0, []]);
  const stats = await holdfast(['stats', 'store', '--json'], options);
  assert.deepEqual([stats.json.blobs, stats.json.roots, stats.json.storeId], [0, 0, made.json.storeId]);
  assert.match((await holdfast(['stats', 'store'], options)).stdout, /^store +[0-9a-f]{32}, format 1$/m);
});

test('mistakes of use are exit 2, what is not there is exit 1, each with one line and with one object', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'a/x': '1', 'b/x': '2', 'full/file': '3' });
  assert.equal((await holdfast(['add', 'none', 'a'], options)).exit, 1);
  await holdfast(['init', 'store'], options);
  assert.equal((await holdfast(['add', 'store', 'a'], options)).exit, 0);
  for (const args of [['--compress', 'auto'], ['--compress', 'auto', '--layout', 'hybrid'], []])
    assert.equal((await holdfast(['init', 'auto', ...args], options)).exit, 0, 'as it was made, or unsaid');
  const wrong: readonly (readonly [exit: number, code: string, args: readonly string[]])[] = [
    [2, 'invalid-argument', ['frobnicate']],
    [2, 'invalid-argument', ['ls']],
    [2, 'invalid-argument', ['add', 'store']],
    [2, 'invalid-argument', ['ls', 'store', '--frobnicate']],
    [2, 'invalid-argument', ['add', 'store', 'a/x', 'b/x']],
    [2, 'invalid-argument', ['gc', 'store', '--grace', 'soon']],
    [2, 'invalid-argument', ['stat', 'store', 'abc']],
    [2, 'invalid-argument', ['stat', 'store', 'A'.repeat(64)]],
    [2, 'invalid-argument', ['cat', 'store', 'abc']],
    [2, 'invalid-argument', ['cat', 'store', 'main:a']],
    [2, 'invalid-argument', ['ls', 'store', 'main:a/../a']],
    [1, 'conflict', ['get', 'store', 'main', 'full']],
    [1, 'conflict', ['init', 'store', '--compress', 'auto']],
    [1, 'conflict', ['init', 'store', '--chunking', 'fastcdc']],
    [1, 'conflict', ['init', 'store', '--layout', 'sqlite-only']],
    [1, 'conflict', ['init', 'auto', '--compress', 'off']],
    [1, 'not-a-store', ['ls', 'nowhere']],
    [1, 'not-a-store', ['ls', 'full']],
    [1, 'not-found', ['ls', 'store', 'nothing']],
    [1, 'not-found', ['ls', 'store', 'main:a/y']],
    [1, 'not-found', ['cat', 'store', 'f'.repeat(64)]],
    [1, 'not-found', ['stat', 'store', 'f'.repeat(64)]],
    [1, 'not-found', ['rm', 'store', 'nothing']],
    [1, 'not-found', ['add', 'store', 'nothing']],
  ];
  for (const [exit, code, args] of wrong) {
    const ended = await holdfast([...args, '--json'], options);
    const what = args.join(' ');
    assert.equal(ended.exit, exit, `${what}: ${ended.stderr}`);
    assert.equal(ended.json?.error?.code, code, `${what}: ${ended.stdout}`);
    assert.equal(ended.stdout.trim().split('\n').length, 1, what);
    assert.equal(ended.stderr, `holdfast: ${ended.json.error.message} (${code})\n`, what);
  }
  const plain = await holdfast(['stat', 'store', 'abc'], options);
  assert.deepEqual([plain.exit, plain.stdout], [2, '']);
  assert.match(plain.stderr, /^holdfast: not a blob id .*\(invalid-argument\)\n$/);
  assert.equal((await holdfast(['--help'], options)).exit, 0);
  const version = await holdfast(['--version'], options);
  const said = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
  assert.deepEqual([version.exit, version.stdout], [0, `${said}\n`]);
  assert.match((await holdfast(['help', 'gc'], options)).stdout, /--grace/);
  assert.equal((await holdfast([], options)).exit, 2);
  assert.deepEqual(readdirSync(join(folder, 'full')), ['file']);
  assert.deepEqual((await holdfast(['scrub', 'store', '--json'], options)).json.damaged, []);
});

test('what cannot be imported is exit 1 and moves no root; --keep-going leaves it out and says so', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/fine': '1' });
  writeFileSync(Buffer.concat([Buffer.from(join(folder, 'in/bad')), Buffer.from([0xff])]), 'x');
  await holdfast(['init', 'store'], options);
  const failed = await holdfast(['add', 'store', 'in', '--json'], options);
  assert.deepEqual([failed.exit, failed.json.error.code], [1, 'invalid-argument']);
  assert.match(failed.stderr, /bad\\xff/);
  assert.deepEqual((await holdfast(['ls', 'store', '--json'], options)).json.roots, []);
  const kept = await holdfast(['add', 'store', 'in', '--keep-going', '--json'], options);
  assert.deepEqual([kept.exit, kept.json.files, kept.json.failures.length], [0, 1, 1]);
  assert.match(kept.stderr, /left out: .*bad\\xff/);
  const inside = await holdfast(['add', 'store', '.', '--keep-going', '--json'], options);
  assert.equal(inside.json.skipped[0].reason, 'store');
  assert.match(inside.stderr, /skipped .*it is the store itself/);
  assert.deepEqual((await holdfast(['scrub', 'store', '--json'], options)).json.damaged, []);
});

test('as a process of its own it says the same, and ends with the same codes', async (t) => {
  const folder = workFolder(t);
  writeFiles(folder, { 'in/a.txt': 'hello\n' });
  for (const [line, exit] of [
    ['init store --json', 0],
    ['add store in --json', 0],
    ['cat store main:in/a.txt', 0],
    ['ls store nothing --json', 1],
    ['ls', 2],
  ] as const) {
    const [own, here] = [
      await holdfastProcess(line.split(' '), { cwd: folder }),
      await holdfast(line.split(' '), { cwd: folder }),
    ];
    assert.deepEqual([own.exit, here.exit], [exit, exit], own.stderr);
    assert.deepEqual(Object.keys(own.json ?? {}), Object.keys(here.json ?? {}));
    if (!line.startsWith('init') && !line.startsWith('add'))
      assert.deepEqual([own.stdout, own.stderr], [here.stdout, here.stderr]);
  }
});

test('what V8 keeps for young objects stays below 20 MB in the process of a command', async (t) => {
  const folder = workFolder(t);
  // As many objects live on as a transfer of small files has under way.
  const program = `
    import { getHeapSpaceStatistics } from 'node:v8';
    process.on('exit', () => {
      let kept = [];
      for (let i = 0; i < 1_000_000; i++) kept = kept.length > 20_000 ? [] : (kept.push({ text: 'blob ' + i }), kept);
      const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
      console.log(JSON.stringify({ young: young.space_size }));
    });`;
  const ran = await holdfastProcess(['--version'], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(program)}` },
  });
  assert.equal(ran.exit, 0, ran.stderr);
  assert.ok(ran.json.young < 20e6, `${ran.json.young} bytes`);
});
