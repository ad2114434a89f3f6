/** `holdfast scrub` with a rate and a time box, the paths it tells of damage, and `holdfast health` with its exit codes. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { holdfast, workFolder, writeFiles } from './command.ts';

const large = Buffer.alloc(3_000_000, 'large ');
const largeId = createHash('sha256').update(large).digest('hex');

test('damage is told with its paths, and health ends with 3 until it is healed', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/deep/large': large, 'in/small': 'small' });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  const fine = await holdfast(['health', 'store', '--json'], options);
  assert.deepEqual([fine.exit, fine.json.state, fine.json.scrubs], [0, 'fine', []]);
  const path: string = (await holdfast(['stat', 'store', largeId, '--json'], options)).json.path;
  chmodSync(path, 0o644);
  const bytes = readFileSync(path);
  bytes[2_500_000]! ^= 1;
  writeFileSync(path, bytes);
  const scrubbed = await holdfast(['scrub', 'store', '--rate', '50MB', '--json'], options);
  assert.equal(scrubbed.exit, 3, scrubbed.stderr);
  assert.match(scrubbed.stderr, /needed by main:in\/deep\/large\n/);
  assert.deepEqual(scrubbed.json.damaged[0].paths, [{ root: 'main', path: 'in/deep/large' }]);
  const ill = await holdfast(['health', 'store'], options);
  assert.equal(ill.exit, 3);
  assert.match(ill.stderr, /^damage: 1 blob\(s\) are damaged$/m);
  await holdfast(['add', 'store', 'in', '--rehash'], options);
  const healed = await holdfast(['health', 'store', '--json'], options);
  assert.deepEqual([healed.exit, healed.json.scrubs.length, healed.json.scrubs[0].damaged], [0, 1, 1]);
});

test('a time box ends a scrub with 0 and says what is left; a broken promise is exit 4', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'in/large': large, 'in/small': 'small' });
  await holdfast(['init', 'store'], options);
  await holdfast(['add', 'store', 'in'], options);
  const args = ['scrub', 'store', '--rate', '1MB', '--time-box', '200ms'];
  const boxed = await holdfast([...args, '--json'], options);
  assert.deepEqual([boxed.exit, boxed.json.complete], [0, false], boxed.stderr);
  assert.equal(boxed.json.left.bytes > 0, true);
  assert.match((await holdfast(args, options)).stdout, /^out of time: /m);
  const db = new Database(join(folder, 'store', 'index.db'));
  db.prepare('DELETE FROM verified').run();
  db.prepare(`UPDATE scrubs SET elapsed = 1000`).run();
  db.close();
  const near = await holdfast(['health', 'store', '--days', '0.000001', '--json'], options);
  assert.deepEqual([near.exit, near.json.state, near.json.promise.kept], [4, 'broken', false]);
  assert.equal((await holdfast(['scrub', 'store'], options)).exit, 0);
  assert.equal((await holdfast(['health', 'store'], options)).exit, 0);
  assert.equal((await holdfast(['health', 'store', '--days', 'often'], options)).exit, 2);
  assert.equal((await holdfast(['scrub', 'store', '--rate', 'fast'], options)).exit, 2);
});
