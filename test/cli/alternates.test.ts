// `holdfast alternates`, `dissociate` and `repair`, as people run them, in one story.
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdfast, workFolder, writeFiles } from './command.ts';

test('a tenant over a base, damaged, repaired, and on its own again', async (t) => {
  const folder = workFolder(t);
  const run = (...args: string[]): ReturnType<typeof holdfast> =>
    holdfast([...args, '--json'], { cwd: folder });
  writeFiles(folder, { 'in/large': Buffer.alloc(400_000, 'large '), 'in/small': 'small' });
  for (const store of ['base', 'tenant']) assert.equal((await run('init', store)).exit, 0);
  assert.equal((await run('add', 'base', 'in')).exit, 0);
  const added = await run('alternates', 'add', 'tenant', 'base');
  assert.deepEqual([added.exit, added.json.immutable], [0, false], added.stderr);
  assert.equal((await run('add', 'tenant', 'in')).exit, 0);
  assert.equal((await run('alternates', 'list', 'tenant')).json.alternates[0].path, join(folder, 'base'));
  const kept = await run('alternates', 'remove', 'tenant', 'base');
  assert.deepEqual([kept.exit, kept.json.error.code], [1, 'conflict']);
  assert.equal((await run('dissociate', 'tenant')).json.blobs > 0, true);
  const [file] = readdirSync(join(folder, 'tenant/blobs'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => /[0-9a-f]{64}/.test(name),
  );
  chmodSync(join(folder, 'tenant/blobs', file!), 0o644);
  truncateSync(join(folder, 'tenant/blobs', file!), 1000);
  const alone = await run('repair', 'tenant');
  assert.deepEqual([alone.exit, alone.json.remaining.length], [3, 1]);
  const healed = await run('repair', 'tenant', '--from', 'base');
  assert.deepEqual([healed.exit, healed.json.healed, healed.json.sources.from], [0, 1, 1], healed.stderr);
});
