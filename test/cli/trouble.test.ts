/** The command line when things go wrong: damage, a busy store, signals, a reader that goes away, an old Node. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { growsBySemiSpaceFactor, nodeTooOld } from '../../src/cli/node-version.ts';
import { holdfast, holdfastRunning, main, workFolder, writeFiles } from './command.ts';

const large = Buffer.alloc(3_000_000, 'large ');
const largeId = createHash('sha256').update(large).digest('hex');

test('damage is exit 3 for cat, get and scrub; wrong bytes never come out', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/large': large, 'in/small': 'small' });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  const unreachable = await holdfast(['add', 'store', 'in', '--root', 'a:b'], options);
  assert.equal(unreachable.exit, 2, 'a root that no ROOT:PATH could name');
  const { json } = await holdfast(['stat', 'store', largeId, '--json'], options);
  const path: string = json.path;
  chmodSync(path, 0o644);
  const bytes = readFileSync(path);
  bytes[2_500_000]! ^= 1;
  writeFileSync(path, bytes);
  const catted = await holdfast(['cat', 'store', 'main:in/large'], options);
  assert.equal(catted.exit, 3, catted.stderr);
  assert.ok(large.toString().startsWith(catted.stdout), 'only verified bytes came out');
  assert.match(catted.stderr, /\(corrupt\)/);
  const got = await holdfast(['get', 'store', 'main', 'out', '--json'], options);
  assert.deepEqual([got.exit, got.json.error.code], [3, 'corrupt']);
  assert.match(got.json.error.message, /out\/in\/large: /, 'the file that it is about');
  assert.ok(!existsSync(join(folder, 'out/in/large')), 'no half file is left');
  // Whether the file beside it came first is left to chance.
  assert.deepEqual([got.json.written.folders, got.json.out], [1, 'out']);
  assert.match(got.stderr, /^out holds a part of it, [01] files?, 1 folder; .*remove it/m);
  const again = await holdfast(['get', 'store', 'main', 'out'], options);
  assert.match(again.stderr, /is not empty \(conflict\)$/m);
  assert.doesNotMatch(again.stderr, /part of it/, 'nothing was written this time');
  const scrubbed = await holdfast(['scrub', 'store', '--json'], options);
  assert.equal(scrubbed.exit, 3);
  assert.deepEqual(
    scrubbed.json.damaged.map(({ id }: { id: string }) => id),
    [largeId],
  );
  // Importing the file again heals it.
  assert.equal((await holdfast(['add', 'store', 'in', '--rehash'], options)).exit, 0);
  assert.equal((await holdfast(['scrub', 'store'], options)).exit, 0);
  assert.equal((await holdfast(['cat', 'store', 'main:in/large'], options)).stdout, large.toString());
});

test('a scrub tells damage of the root log, exit 3, and mends it', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/small': 'small' });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  const log = join(folder, 'store/roots.log');
  const bytes = readFileSync(log);
  bytes[50]! ^= 1;
  writeFileSync(log, bytes);
  const { exit, json, stderr } = await holdfast(['scrub', 'store', '--json'], options);
  assert.deepEqual([exit, json.damaged.length, json.rootLog.mended], [3, 0, true]);
  assert.match(stderr, /roots\.log is damaged at byte 24: written anew .*quarantine/);
  const again = await holdfast(['scrub', 'store'], options);
  assert.equal(again.exit, 0, again.stderr);
  assert.match(again.stdout, /^no damage/);
});

test('a store that somebody else keeps locked is exit 4', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/a': '1' });
  await holdfast(['init', 'store'], options);
  const db = new Database(join(folder, 'store', 'index.db'));
  db.exec('BEGIN EXCLUSIVE');
  try {
    const ended = await holdfast(['add', 'store', 'in', '--json'], options);
    assert.deepEqual([ended.exit, ended.json.error.code], [4, 'busy']);
  } finally {
    db.exec('ROLLBACK');
    db.close();
  }
  assert.equal((await holdfast(['add', 'store', 'in'], options)).exit, 0);
  assert.equal((await holdfast(['scrub', 'store'], options)).exit, 0);
});

for (const [signal, exit] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} in the middle of an import is exit ${exit} and leaves a clean store`, async (t) => {
    const folder = workFolder(t);
    const options = { cwd: folder };
    for (let i = 0; i < 4; i++) writeFiles(folder, { [`in/${i}`]: Buffer.alloc(20_000_000, `file ${i}`) });
    for (let i = 0; i < 500; i++) writeFiles(folder, { [`in/small/${i}`]: `content ${i}` });
    await holdfast(['init', 'store'], options);
    const { child, ended } = holdfastRunning(['add', 'store', 'in', '--json'], options);
    // Something is being taken in.
    const temps = join(folder, 'store', 'tmp');
    while (child.exitCode === null && readdirSync(temps, { recursive: true }).length < 2)
      await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill(signal);
    const stopped = await ended;
    assert.equal(stopped.exit, exit, stopped.stderr);
    assert.equal(stopped.json.error.code, 'aborted');
    assert.deepEqual(readdirSync(temps, { recursive: true }), [], 'no temp is left');
    const scrubbed = await holdfast(['scrub', 'store', '--json'], options);
    assert.deepEqual(
      [scrubbed.exit, scrubbed.json.damaged, scrubbed.json.recounted, scrubbed.json.adopted],
      [0, [], 0, 0],
    );
    assert.deepEqual((await holdfast(['ls', 'store', '--json'], options)).json.roots, []);
    assert.equal((await holdfast(['add', 'store', 'in'], options)).exit, 0);
  });
}

test('a reader that goes away ends cat quietly', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/large': Buffer.alloc(30_000_000, 'large ') });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  const { child, ended } = holdfastRunning(['cat', 'store', 'main:in/large'], options);
  child.stdout!.once('data', () => child.stdout!.destroy());
  const { exit, stderr } = await ended;
  assert.deepEqual([exit, stderr], [0, '']);
  assert.equal((await holdfast(['scrub', 'store'], options)).exit, 0);
});

test('a name with terminal codes does not reach the terminal', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/\u001b[31mred\nline': '1' });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  const { stdout } = await holdfast(['ls', 'store', 'main:in'], options);
  assert.match(stdout, /\\x1b\[31mred\\x0aline\n$/);
});

test('progress is drawn on a terminal, with a rate and the time left, and in JSON otherwise', async (t) => {
  const folder = workFolder(t);
  if (!existsSync('/usr/bin/script'))
    return t.skip('LOUD: there is no script(1) here to make a terminal with');
  for (let i = 0; i < 10; i++) writeFiles(folder, { [`in/${i}`]: Buffer.alloc(8_000_000, `file ${i}`) });
  await holdfast(['init', 'store'], { cwd: folder });
  const command = `${process.execPath} --no-warnings ${main} add store in`;
  const drawn = execFileSync('script', ['-qec', command, '/dev/null'], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, TERM: 'xterm' },
  });
  assert.match(drawn, /import {2}\[[#.]{20}\] +\d+% .*MB\/s/);
  assert.match(drawn, /left/);
  const told = await holdfast(['add', 'store', 'in', '--rehash', '--json'], { cwd: folder });
  for (const line of told.stderr.split('\n').filter((text) => text.startsWith('{')))
    assert.equal(JSON.parse(line).progress.step, 'import');
});

test('an old Node gets one readable line', () => {
  const versions = (node: string, napi: string): NodeJS.ProcessVersions => ({
    ...process.versions,
    node,
    napi,
  });
  assert.equal(nodeTooOld(process.versions), undefined);
  assert.equal(nodeTooOld(versions('22.14.0', '10')), undefined);
  for (const [node, napi] of [
    ['20.20.2', '9'],
    ['22.13.1', '10'],
    ['22.14.0', '9'],
    ['18.0.0', '8'],
  ] as const)
    assert.match(nodeTooOld(versions(node, napi))!, /needs Node.js 22\.14 or newer/);
});

test('a flag of V8 is only set where it is known: an unknown one is a line on stderr each time', () => {
  const known = (v8: string): boolean => growsBySemiSpaceFactor({ ...process.versions, v8 });
  assert.deepEqual(['12.4.254.21-node.33', '13.6.233.17-node.37'].map(known), [true, true]);
  assert.deepEqual(['11.3.244.8-node.30', '14.1.146.11-node.14', 'none'].map(known), [false, false, false]);
  if (!growsBySemiSpaceFactor(process.versions)) return;
  const script = `require('node:v8').setFlagsFromString('--semi-space-growth-factor=8')`;
  assert.equal(spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' }).stderr, '');
});
