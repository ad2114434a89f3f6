/** The verbs `pull`, `push` and `serve`: between folders, and through ssh as a program that is found on the PATH. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { holdfast, main, workFolder, writeFiles } from './command.ts';

test('push and pull between folders, and a second time with nothing to do', async (t) => {
  const options = { cwd: workFolder(t) };
  writeFiles(options.cwd, { 'photos/a.txt': 'hello\n', 'photos/large': Buffer.alloc(1_500_000, 'large') });
  for (const store of ['store', 'replica', 'third']) await holdfast(['init', store], options);
  const added = await holdfast(['add', 'store', 'photos', '--json'], options);
  const pushed = await holdfast(['push', 'store', 'replica', 'main', '--json'], options);
  assert.equal(pushed.exit, 0, pushed.stderr);
  const { roots, blobs, bytes, roundTrips, seconds } = pushed.json;
  assert.deepEqual(roots, [{ name: 'main', id: added.json.root, changed: true }]);
  assert.ok(
    blobs >= 4 && bytes > 1_500_000 && bytes < 1_520_000 && roundTrips > 1 && seconds > 0,
    pushed.stdout,
  );
  const again = await holdfast(['push', 'store', 'replica', '--json'], options);
  assert.deepEqual([again.json.blobs, again.json.roundTrips, again.json.roots[0].changed], [0, 1, false]);
  const pulled = await holdfast(['pull', 'third', 'replica'], options);
  assert.deepEqual([pulled.exit, pulled.stdout], [0, `${added.json.root} main\n`]);
  const restored = await holdfast(['cat', 'third', 'main:photos/a.txt'], options);
  assert.equal(restored.stdout, 'hello\n');
});

test('a push to several: each is told, and one that is not there stops nobody', async (t) => {
  const options = { cwd: workFolder(t) };
  for (const store of ['store', 'one', 'two']) await holdfast(['init', store], options);
  writeFiles(options.cwd, { 'notes/a.txt': 'hello\n', 'notes/large': Buffer.alloc(300_000, 'large') });
  const { root } = (await holdfast(['add', 'store', 'notes', '--json'], options)).json;
  const also = ['--also', 'nowhere', '--also', 'two'];
  const ended = await holdfast(['push', 'store', 'one', 'main', ...also, '--json'], options);
  assert.equal(ended.exit, 1);
  const { remotes, reads } = ended.json;
  const changed = [{ name: 'main', id: root, changed: true }];
  assert.deepEqual(
    remotes.map((one: { remote: string; roots?: object; error?: { code: string } }) => [
      one.remote,
      one.roots ?? one.error?.code,
    ]),
    [
      ['one', changed],
      ['nowhere', 'not-a-store'],
      ['two', changed],
    ],
  );
  assert.ok(reads.read > 0 && reads.read + reads.shared >= 8, ended.stdout);
  const again = await holdfast(['push', 'store', 'one', '--also', 'two'], options);
  assert.deepEqual(
    [again.exit, again.stdout],
    [0, `one: ${root} main (unchanged)\ntwo: ${root} main (unchanged)\n`],
  );
  for (const wrong of [
    ['--also', 'one'],
    ['--also', 'two', '--token-file', 'token'],
  ])
    assert.equal((await holdfast(['push', 'store', 'one', ...wrong], options)).exit, 2);
});

test('a store that was set back is refused, until that is allowed', async (t) => {
  const options = { cwd: workFolder(t) };
  for (const store of ['store', 'replica']) await holdfast(['init', store], options);
  const add = async (content: string): Promise<string> => {
    writeFiles(options.cwd, { 'notes/a.txt': content });
    return (await holdfast(['add', 'store', 'notes', '--json'], options)).json.root;
  };
  const first = await add('one\n');
  await holdfast(['push', 'store', 'replica'], options);
  cpSync(join(options.cwd, 'store'), join(options.cwd, 'backup'), { recursive: true });
  await add('two\n');
  await holdfast(['push', 'store', 'replica'], options);
  for (const [verb, ...args] of [
    ['push', 'backup', 'replica'],
    ['pull', 'replica', 'backup'],
  ]) {
    const ended = await holdfast([verb!, ...args, '--json'], options);
    assert.deepEqual([ended.exit, ended.json.error.code], [3, 'tampered'], ended.stderr);
    assert.match(ended.json.error.message, /was set back/);
  }
  const allowed = await holdfast(['pull', 'replica', 'backup', '--allow-rollback', '--json'], options);
  assert.deepEqual(allowed.json.roots, [{ name: 'main', id: first, changed: true }]);
});

test('--jobs: so many threads work for a store, and one more commits', async (t) => {
  const options = { cwd: workFolder(t) };
  writeFiles(options.cwd, { key: 'c'.repeat(64) });
  assert.equal((await holdfast(['init', 'store', '--encrypt', '--key-file', 'key'], options)).exit, 0);
  let started = 0;
  const count = (): void => void started++;
  subscribe('worker_threads', count);
  t.after(() => unsubscribe('worker_threads', count));
  for (const jobs of [1, 3]) {
    started = 0;
    // With keys, all that may ever work start at once. Two more find that the remote is no store.
    const ended = await holdfast(
      ['push', 'store', 'nowhere', '--key-file', 'key', '--jobs', String(jobs)],
      options,
    );
    assert.deepEqual([ended.exit, started], [1, jobs + 1 + 2], ended.stderr);
  }
  for (const verb of ['push', 'pull'])
    for (const wrong of ['0', '65', '-1', 'many'])
      assert.equal((await holdfast([verb, 'store', 'nowhere', `--jobs=${wrong}`], options)).exit, 2);
  assert.equal((await holdfast(['serve', 'store', '--stdio', '--jobs', '0'], options)).exit, 2);
});

test('what cannot be is told with its code', async (t) => {
  const options = { cwd: workFolder(t) };
  for (const store of ['store', 'replica']) await holdfast(['init', store], options);
  const cases: [string[], number, string][] = [
    [['pull', 'store', 'replica', 'nothing'], 1, 'not-found'],
    [['pull', 'store', 'nowhere'], 1, 'not-a-store'],
    [['push', 'store', 'ssh://-oProxyCommand=x/y'], 2, 'invalid-argument'],
    [['push', 'store', 'ssh:relative'], 2, 'invalid-argument'],
  ];
  for (const [args, exit, code] of cases) {
    const ended = await holdfast([...args, '--json'], options);
    assert.deepEqual(
      [ended.exit, ended.json?.error?.code],
      [exit, code],
      `${args.join(' ')}: ${ended.stderr}`,
    );
  }
  for (const args of [
    ['serve', 'store'],
    ['serve', 'store', '--stdio', '--only', 'reading'],
  ])
    assert.equal((await holdfast(args, options)).exit, 2);
});

test('through ssh: the command that runs there is serve, and what it refuses is told', async (t) => {
  const folder = workFolder(t);
  writeFiles(folder, { 'photos/a.txt': 'hello\n' });
  // An ssh that goes nowhere: it runs what it is told here, as the shell of the far side would.
  mkdirSync(join(folder, 'bin'));
  const script = (name: string, text: string): void => {
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, 'bin', name), 0o755);
  };
  script('ssh', 'while [ "$1" != -- ]; do shift; done; [ "$2" = me@there ] || exit 9; exec sh -c "$3"');
  script('holdfast', `exec '${process.execPath}' --no-warnings '${main}' "$@"`);
  const env = { ...process.env, PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH'] ?? ''}` };
  const options = { cwd: folder, env };
  for (const store of ['store', "it's far"]) await holdfast(['init', store], { cwd: folder });
  const added = await holdfast(['add', 'store', 'photos', '--json'], { cwd: folder });
  const remote = `ssh://me@there${folder}/it's far`;
  const pushed = await holdfast(['push', 'store', remote, '--json'], options);
  assert.equal(pushed.exit, 0, pushed.stderr);
  assert.equal(pushed.json.roots[0].id, added.json.root);
  const roots = await holdfast(['ls', "it's far", '--json'], { cwd: folder });
  assert.equal(roots.json.roots[0].id, added.json.root);
  const missing = await holdfast(['pull', 'store', `ssh://me@there${folder}/nowhere`, '--json'], options);
  assert.deepEqual([missing.exit, missing.json.error.code], [4, 'unavailable']);
  assert.match(missing.json.error.message, /ssh ended with 1: holdfast: .*nowhere/);
  const elsewhere = await holdfast(['pull', 'store', `ssh://you@there${folder}/store`, '--json'], options);
  assert.match(elsewhere.json.error.message, /ssh ended with 9/);
  // ssh starts while the store here is opened; where that fails, this is told, and nothing goes on waiting for the other side.
  script('ssh', 'exec sleep 600');
  const none = await holdfast(['push', 'nothing', remote, '--json'], options);
  assert.deepEqual([none.exit, none.json.error.code], [1, 'not-a-store'], none.stderr);
});
