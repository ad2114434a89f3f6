/** `npm start`: the whole way of a folder and back, its table, its exit code, and that it cleans up. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareTrees } from '../../src/cli/compare.ts';
import { full } from '../crash/sample.ts';
import { holdfast, npmStart, npmStartRunning, workFolder, writeFiles } from './command.ts';

// By default a folder of a few files shows the same in half of the time: the next test.
test(
  'without a folder it shows a sample library, and leaves nothing behind',
  { skip: full ? false : 'only in CI' },
  async (t) => {
    const folder = workFolder(t);
    const { exit, stdout, stderr } = await npmStart([], { env: { ...process.env, TMPDIR: folder } });
    assert.equal(exit, 0, stderr);
    assert.match(stderr, /sample library/);
    for (const line of [
      /files +\d+ files, \d+ folders, 2 links/,
      /dedup saved +16 MB \(\d+ %\)/,
      /import .*[MG]B\/s/,
      /restore .*[MG]B\/s/,
      /compare .*[MG]B\/s/,
      /scrub +no damage in \d+ blobs/,
      /replicate .* 31 MB on the wire, \d round trips\n +changed +in the restored copy: 1 written to, 1 longer, 1 renamed, 1 new/,
      /replicate .* \d+(\.\d)? kB on the wire, 2 round trips\n +restore .*\n +compare /,
      /result +identical/,
    ])
      assert.match(stdout, line);
    assert.deepEqual(readdirSync(folder), []);
  },
);

test('with a folder and a store of its own: the store stays, and holds the folder', async (t) => {
  const folder = workFolder(t);
  const temps = join(folder, 'temps');
  mkdirSync(temps);
  mkdirSync(join(folder, 'in'));
  for (let i = 0; i < 6; i++) writeFiles(folder, { [`in/${i}/note ${i}`]: `${i}`.repeat(3000 * i) });
  // A read-only folder must not keep the temporary one from going away.
  mkdirSync(join(folder, 'in/locked'));
  writeFiles(folder, { 'in/locked/file': 'x' });
  chmodSync(join(folder, 'in/locked'), 0o555);
  const before = factsOf(join(folder, 'in'));
  const { exit, stdout, stderr } = await npmStart([join(folder, 'in'), '--store', join(folder, 'store')], {
    env: { ...process.env, TMPDIR: temps },
  });
  assert.equal(exit, 0, stderr);
  assert.deepEqual(factsOf(join(folder, 'in')), before, 'what was given is only read');
  assert.match(stdout, /The store stays in/);
  assert.deepEqual(readdirSync(temps), []);
  const listed = await holdfast(['ls', join(folder, 'store'), 'start:in', '--json']);
  assert.ok(listed.json.entries.length > 5);
  assert.equal((await holdfast(['scrub', join(folder, 'store')])).exit, 0);
});

/** Everything below a folder, with whatever a write would change. */
function factsOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => {
      const { mode, size, mtimeMs, ctimeMs, ino } = lstatSync(join(folder, name));
      return [name, mode, size, mtimeMs, ctimeMs, ino].join(' ');
    })
    .sort();
}

test('a folder that is not there, and nonsense, are exit 2; a stopped start cleans up', async (t) => {
  const folder = workFolder(t);
  const env = { ...process.env, TMPDIR: folder };
  assert.equal((await npmStart([join(folder, 'none')], { env })).exit, 2);
  assert.equal((await npmStart(['--frobnicate'], { env })).exit, 2);
  assert.equal((await npmStart(['a', 'b'], { env })).exit, 2);
  const { child, ended } = npmStartRunning([], { env });
  while (child.exitCode === null && !readdirSync(folder).some((name) => name.startsWith('holdfast-store')))
    await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill('SIGINT');
  assert.equal((await ended).exit, 130);
  assert.deepEqual(readdirSync(folder), []);
});

test('the comparison sees every kind of difference', async (t) => {
  const folder = workFolder(t);
  const compare = async (): Promise<readonly string[]> => {
    const { differences } = await compareTrees(join(folder, 'a'), join(folder, 'b'), {
      without: new Set(),
      signal: new AbortController().signal,
      onProgress: () => undefined,
    });
    return differences.map((text) => text.replaceAll(folder, ''));
  };
  const reset = (): void => {
    for (const side of ['a', 'b']) {
      rmSync(join(folder, side), { recursive: true, force: true });
      writeFiles(folder, { [`${side}/sub/file`]: Buffer.alloc(3_000_000, 'x'), [`${side}/other`]: 'y' });
      symlinkSync('other', join(folder, side, 'link'));
      for (const path of ['sub/file', 'other', 'sub', '']) utimesSync(join(folder, side, path), 9, 9);
    }
  };
  reset();
  assert.deepEqual(await compare(), []);
  const b = join(folder, 'b');
  const changes: readonly (readonly [string, () => void])[] = [
    [
      '/a/sub/file has other content',
      () => writeFileSync(join(b, 'sub/file'), Buffer.alloc(3_000_000, 'x').fill('z', 2_999_999)),
    ],
    ['/a/sub/file has another size', () => writeFileSync(join(b, 'sub/file'), 'short')],
    ['/a/other has another mode', () => chmodSync(join(b, 'other'), 0o600)],
    ['/a/other has another modification time', () => utimesSync(join(b, 'other'), 9, 10)],
    ['/a/sub has another modification time', () => utimesSync(join(b, 'sub'), 9, 10)],
    ['/a/other is only on one side', () => rmSync(join(b, 'other'))],
    ['/b/new is only on one side', () => writeFileSync(join(b, 'new'), 'n')],
    ['/a/link points elsewhere', () => (rmSync(join(b, 'link')), symlinkSync('sub', join(b, 'link')))],
    [
      '/a/link is a link here and a file there',
      () => (rmSync(join(b, 'link')), writeFileSync(join(b, 'link'), 'y')),
    ],
  ];
  for (const [expected, change] of changes) {
    reset();
    change();
    for (const path of ['sub/file', 'other'])
      if (existsSync(join(b, path)) && !expected.includes('time')) utimesSync(join(b, path), 9, 9);
    const found = await compare();
    assert.ok(found.includes(expected), `${expected}: ${found.join('; ')}`);
  }
  assert.equal(readFileSync(join(b, 'link'), 'utf8'), 'y');
});
