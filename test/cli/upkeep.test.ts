/** `holdfast maintain` and `holdfast schedule`: what is due, told to people and programs, with exit codes. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { holdfast, workFolder, writeFiles } from './command.ts';

const large = Buffer.alloc(300_000, 'large ');
const largeId = createHash('sha256').update(large).digest('hex');

test('maintain does all without a schedule, and with one what is due; damage is exit 3', async (t) => {
  const options = { cwd: workFolder(t) };
  writeFiles(options.cwd, { 'in/large': large });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  // A promise of minutes: a share is everything.
  const all = ['--days', '0.01'];
  const first = await holdfast(['maintain', 'store', '--time-box', '10m', '--rate', '1GB', ...all], options);
  assert.equal(first.exit, 0, first.stderr);
  assert.match(
    first.stdout,
    /^gc +freed 0 blobs.*\nscrub +3 blobs, 300 kB verified: no damage\ncompact .*\ncatalog log +0 bytes\n$/,
  );
  const set = await holdfast(
    [
      'schedule',
      'store',
      '--gc',
      '0 3 * * *',
      '--scrub',
      '@weekly',
      '--hours',
      '22-6',
      '--idle',
      '5m',
      '--json',
    ],
    options,
  );
  assert.equal(set.exit, 0, set.stderr);
  assert.deepEqual(set.json.options, {
    gc: { cron: '0 3 * * *' },
    scrub: { cron: '@weekly', hours: { from: 22, to: 6 } },
    idleMs: 300_000,
  });
  const told = await holdfast(['schedule', 'store'], options);
  assert.match(told.stdout, /^gc +0 3 \* \* \* +next .*, never ran\nscrub +@weekly .*\nidle for +300 s\n$/);
  const none = await holdfast(['maintain', 'store', '--json'], options);
  assert.deepEqual(
    none.json.skipped.map(({ why }: { why: string }) => why),
    ['not-due', 'not-due', 'not-due'],
  );
  for (const wrong of [
    ['--gc', 'x'],
    ['--days', '3'],
    ['--remove', '--gc', '@daily'],
  ])
    assert.equal((await holdfast(['schedule', 'store', ...wrong], options)).exit, 2, wrong.join(' '));
  assert.equal((await holdfast(['schedule', 'store', '--remove'], options)).stdout, 'schedule      none\n');
  const path: string = (await holdfast(['stat', 'store', largeId, '--json'], options)).json.path;
  chmodSync(path, 0o644);
  const bytes = readFileSync(path);
  bytes[1000]! ^= 1;
  writeFileSync(path, bytes);
  const ill = await holdfast(['maintain', 'store', ...all], options);
  assert.equal(ill.exit, 3);
  assert.match(ill.stderr, /needed by main:in\/large\n/);
});

test('a dropped root is in the trash, comes back, and its space is told before it goes', async (t) => {
  const options = { cwd: workFolder(t) };
  writeFiles(options.cwd, { 'in/large': large });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  const { heldAlone } = (await holdfast(['stats', 'store', '--roots', '--json'], options)).json;
  assert.deepEqual([heldAlone[0].name, heldAlone[0].blobs, heldAlone[0].bytes > 300_000], ['main', 3, true]);
  const plan = await holdfast(['gc', 'store', '--dry-run', '--without', 'main'], options);
  assert.match(
    plan.stdout,
    /^would free 0 blobs.*\nwithout "main": 3 blobs, 30\d kB more, when the grace is over\n$/,
  );
  await holdfast(['rm', 'store', 'main'], options);
  const trash = await holdfast(['trash', 'store', '--json'], options);
  assert.equal(trash.json.deleted[0].name, 'main');
  const back = await holdfast(['undelete', 'store', 'main', '--as', 'old'], options);
  assert.equal(back.stdout, `"old" is ${trash.json.deleted[0].id} again\n`);
  const taken = await holdfast(['undelete', 'store', 'main', '--as', 'old'], options);
  assert.match(taken.stderr, /root old is there already, as [0-9a-f]{64} \(conflict\)/);
  await holdfast(['rm', 'store', 'old'], options);
  await holdfast(['gc', 'store', '--grace', '0'], options);
  assert.equal((await holdfast(['trash', 'store'], options)).stdout, '');
  assert.equal((await holdfast(['undelete', 'store', 'old'], options)).exit, 1);
});
