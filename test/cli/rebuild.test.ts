/** The command line on a store that lost its catalog: it says so, rebuilds, and tells what could not be brought back. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdfast, holdfastRunning, workFolder, writeFiles } from './command.ts';

test('a lost catalog: needs-rebuild, rebuild, and all is there', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/a': 'one', 'in/deep/b': 'two', 'in/large': Buffer.alloc(700_000, 'large ') });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  rmSync(join(folder, 'store/index.db'));
  const refused = await holdfast(['ls', 'store', '--json'], options);
  assert.deepEqual([refused.exit, refused.json.error.code], [1, 'needs-rebuild']);
  const rebuilt = await holdfast(['rebuild', 'store', '--json'], options);
  assert.equal(rebuilt.exit, 0, rebuilt.stderr);
  assert.deepEqual(
    [rebuilt.json.roots, rebuilt.json.damaged, rebuilt.json.lostBlobs, rebuilt.json.gap],
    [1, [], 0, undefined],
  );
  assert.equal((await holdfast(['get', 'store', 'main', 'out'], options)).exit, 0);
  assert.equal(readFileSync(join(folder, 'out/in/deep/b'), 'utf8'), 'two');
  assert.equal((await holdfast(['scrub', 'store'], options)).exit, 0);
  const people = await holdfast(['rebuild', 'store'], options);
  assert.match(people.stdout, /^rebuilt: \d+ blobs, .* 1 root, /);
});

test('what is damaged and lost is told, with exit 3; collection waits for --accept-gap', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/large': Buffer.alloc(700_000, 'large ') });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  const blobs = join(folder, 'store/blobs');
  const file = readdirSync(blobs, { recursive: true })
    .map(String)
    .find((name) => /[0-9a-f]{64}/.test(name))!;
  chmodSync(join(blobs, file), 0o644);
  writeFileSync(join(blobs, file), 'not it');
  rmSync(join(folder, 'store/index.db'));
  rmSync(join(folder, 'store/roots.log'));
  const rebuilt = await holdfast(['rebuild', 'store'], options);
  assert.equal(rebuilt.exit, 3);
  assert.match(rebuilt.stderr, /damaged: blobs: [0-9a-f]{64}\..*does not hash to its name/);
  assert.match(rebuilt.stderr, /gap: roots\.log is missing/);
  const waiting = await holdfast(['gc', 'store', '--grace', '0'], options);
  assert.equal(waiting.exit, 1);
  assert.match(waiting.stderr, /roots\.log is missing.*holdfast rebuild --accept-gap/);
  assert.equal(
    (await holdfast(['rebuild', 'store', '--accept-gap'], options)).exit,
    3,
    'the file is damaged still',
  );
  assert.equal((await holdfast(['gc', 'store', '--grace', '0'], options)).exit, 0);

  await holdfast(['init', 'other'], options);
  await holdfast(['add', 'other', 'in'], options);
  rmSync(join(folder, 'other/roots.log'));
  const lost = await holdfast(['rebuild', 'other'], options);
  assert.equal(lost.exit, 3);
  assert.match(lost.stdout, /^rebuilt, without any root or owner: \d blobs/);
});

test('a snapshot that was lost with its volumes reads as damaged, not as a blob of bytes', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/a': 'one' });
  await holdfast(['init', 'store'], options);
  const { root } = (await holdfast(['add', 'store', 'in', '--json'], options)).json;
  rmSync(join(folder, 'store/volumes'), { recursive: true });
  rmSync(join(folder, 'store/index.db'));
  const rebuilt = await holdfast(['rebuild', 'store'], options);
  assert.equal(rebuilt.exit, 3);
  assert.match(rebuilt.stderr, new RegExp(`lost: ${root}, of root main`));
  for (const line of ['get store main out', 'ls store main', `diff store main ${'0'.repeat(64)}`]) {
    const { exit, json } = await holdfast([...line.split(' '), '--json'], options);
    assert.deepEqual([exit, json.error.code], [3, 'corrupt'], line);
  }
});

test('what is no store is not rebuilt', async (t) => {
  const folder = workFolder(t);
  const { exit, json } = await holdfast(['rebuild', 'nothing', '--json'], { cwd: folder });
  assert.deepEqual([exit, json.error.code], [1, 'not-a-store']);
});

test('an encrypted store is rebuilt with a key, and without one left as it was', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder, timeout: 60_000 };
  writeFiles(folder, {
    key: Buffer.alloc(64, 'k'),
    'in/a': 'one',
    'in/large': Buffer.alloc(700_000, 'large '),
  });
  const key = ['--key-file', 'key'];
  const made = await holdfast(['init', 'store', '--encrypt', ...key, '--recovery', '--json'], options);
  await holdfast(['add', 'store', 'in', ...key], options);
  rmSync(join(folder, 'store/index.db'));
  const locked = await holdfast(['rebuild', 'store', '--json'], options);
  assert.deepEqual([locked.exit, locked.json.error.code], [1, 'wrong-key']);
  const rebuilt = await holdfast(['rebuild', 'store', ...key, '--json'], options);
  assert.equal(rebuilt.exit, 0, rebuilt.stderr);
  assert.deepEqual([rebuilt.json.roots, rebuilt.json.lostBlobs], [1, 0]);
  assert.equal((await holdfast(['cat', 'store', 'main:in/a', ...key], options)).stdout, 'one');
  const { child, ended } = holdfastRunning(['rebuild', 'store', '--recovery-key-fd', '0'], {
    ...options,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin!.end(`${made.json.recoveryKey}\n`);
  assert.equal((await ended).exit, 0);
});
