/** The verbs `diff`, `send` and `receive`: files and pipes, resumed, and what they refuse. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { importPaths, openStore } from '../../src/index.ts';
import { type Ended, holdfast, holdfastRunning, workFolder, writeFiles } from './command.ts';

const brief = { threads: { count: 0 }, durability: 'relaxed' } as const;

interface Place {
  readonly cwd: string;
}

/** Runs with stdin from a file, or stdout into one. */
async function redirected(
  args: readonly string[],
  { cwd, from, into }: Place & { readonly from?: string; readonly into?: string },
): Promise<Ended> {
  const input = from === undefined ? 'ignore' : openSync(join(cwd, from), 'r');
  const output = into === undefined ? 'pipe' : openSync(resolve(cwd, into), 'w');
  try {
    return await holdfast(args, { cwd, stdio: [input, output, 'pipe'] });
  } finally {
    for (const fd of [input, output]) if (typeof fd === 'number') closeSync(fd);
  }
}

test('a root goes through a file, then the difference; cut and resumed; diff tells what changed', async (t) => {
  const options = { cwd: workFolder(t) };
  const files = {
    'photos/a.txt': 'hello\n',
    'photos/b.txt': 'bye\n',
    'photos/large': Buffer.alloc(600_000, 'large'),
  };
  writeFiles(options.cwd, files);
  const photos = join(options.cwd, 'photos');
  await (await openStore(join(options.cwd, 'replica'), brief)).close();
  const store = await openStore(join(options.cwd, 'store'), { ...brief, compression: 'auto' });
  const first = (await importPaths(store, [photos], { root: 'first' })).root;
  writeFiles(options.cwd, { 'photos/a.txt': 'hello again\n', 'photos/new/c.txt': 'new\n' });
  rmSync(join(photos, 'b.txt'));
  const second = (await importPaths(store, [photos], { root: 'main' })).root;
  await store.close();

  const diff = await holdfast(['diff', 'store', 'first', second, '--json'], options);
  assert.equal(diff.exit, 0, diff.stderr);
  assert.deepEqual(
    diff.json.changes.map((one: { change: string; path: string }) => `${one.change} ${one.path}`),
    ['changed photos/a.txt', 'removed photos/b.txt', 'added photos/new', 'added photos/new/c.txt'],
  );
  assert.deepEqual([diff.json.changes[0].before.size, diff.json.changes[0].after.size], [6, 12]);
  const shown = await holdfast(['diff', 'store', 'first:photos', 'main:photos'], options);
  assert.equal(
    shown.stdout,
    '~      6 -> 12  a.txt\n-            4  b.txt\n+               new/\n+            4  new/c.txt\n',
  );

  const how = ['--part', '200', '--compressed'];
  const sent = await redirected(['send', 'store', 'first', ...how], { ...options, into: 'stream' });
  assert.equal(sent.exit, 0, sent.stderr);
  assert.match(sent.stderr, /[2-5] parts/);
  const stream = readFileSync(join(options.cwd, 'stream'));
  assert.ok(stream.length < 60_000, `${stream.length} bytes of 600,000`);
  writeFileSync(join(options.cwd, 'half'), stream.subarray(0, -50));
  const cut = await redirected(['receive', 'replica', '--json'], { ...options, from: 'half' });
  assert.deepEqual([cut.exit, cut.json.error.code], [4, 'unavailable']);
  const rest = await redirected(['receive', 'replica', '--resume', '--json'], { ...options, from: 'stream' });
  assert.equal(rest.exit, 0, rest.stderr);
  assert.ok(rest.json.resumedAt > 0 && rest.json.changed, rest.stdout);
  assert.deepEqual([rest.json.id, rest.json.streamBytes], [first, stream.length]);

  const since = await redirected(['send', 'store', 'main', '--since', 'first'], { ...options, into: 'rest' });
  assert.equal(since.exit, 0, since.stderr);
  assert.ok(readFileSync(join(options.cwd, 'rest')).length < 4000);
  const received = await redirected(['receive', 'replica'], { ...options, from: 'rest' });
  assert.deepEqual([received.exit, received.stdout], [0, `${second} main\n`]);
  const replica = await openStore(join(options.cwd, 'replica'), brief);
  assert.deepEqual(
    (await replica.roots.list()).map(({ name, id }) => [name, id]),
    [
      ['first', first],
      ['main', second],
    ],
  );
  await replica.close();

  // A reader that goes away early has half a stream: that is not fine, as it is for other verbs.
  const running = holdfastRunning(['send', 'store', 'first'], options);
  running.child.stdout!.once('data', () => running.child.stdout!.destroy());
  const unread = await running.ended;
  assert.equal(unread.exit, 4, unread.stderr);

  stream[stream.length >> 1]! ^= 4;
  writeFileSync(join(options.cwd, 'damaged'), stream);
  const cases: [string[], string | undefined, number, string][] = [
    [['receive', 'replica', '--json'], 'damaged', 3, 'corrupt'],
    [['send', 'store', 'main', '--since', '@'], undefined, 1, 'not-found'],
  ];
  const damaged = await redirected(['receive', 'replica'], { ...options, from: 'damaged' });
  assert.match(damaged.stderr, /^holdfast: the stream is damaged, .*no root was set: .* \(corrupt\)$/m);
  for (const [args, from, exit, code] of cases) {
    const ended = await redirected(args, { ...options, ...(from === undefined ? {} : { from }) });
    assert.equal(ended.exit, exit, `${args.join(' ')}: ${ended.stderr}`);
    assert.match(ended.stderr, new RegExp(`\\(${code}\\)`), args.join(' '));
  }
});

test(
  'a full disk under the output is told, and is no success',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const options = { cwd: workFolder(t) };
    writeFiles(options.cwd, { 'photos/a.txt': Buffer.alloc(600_000, 'large') });
    const store = await openStore(join(options.cwd, 'store'), brief);
    await importPaths(store, [join(options.cwd, 'photos')], { root: 'main' });
    await store.close();
    for (const args of [
      ['send', 'store', 'main'],
      ['ls', 'store'],
      ['diff', 'store', 'main', 'main', '--json'],
    ]) {
      const { exit, stderr } = await redirected(args, { ...options, into: '/dev/full' });
      assert.equal(exit, 1, `${args[0]}: ${stderr}`);
      assert.match(stderr, /^holdfast: the output cannot be written: ENOSPC.* \(no-space\)$/m);
      assert.doesNotMatch(stderr, /^ +at /m, 'no stack');
    }
  },
);
