/** The verbs of the group: what `volumes` and `compact` print, their JSON, their exit codes. */
import assert from 'node:assert/strict';
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdfast, workFolder, writeFiles } from './command.ts';

interface Listed {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly blobs: number;
  readonly problem?: string;
}

test('a disk joins, is filled, goes away, comes back, and leaves', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  const volumes = async (...args: readonly string[]): ReturnType<typeof holdfast> =>
    await holdfast(['volumes', ...args, '--json'], options);
  writeFiles(folder, {
    'photos/a': Buffer.alloc(900_000, 'a'),
    'photos/b': Buffer.alloc(700_000, 'b'),
    'photos/c': 'small',
  });
  await holdfast(['init', 'store'], options);
  assert.equal((await holdfast(['add', 'store', 'photos'], options)).exit, 0);

  const disk = await volumes('extend', 'store', 'disk', '--cap', '5MB');
  assert.deepEqual(
    [disk.exit, disk.json.kind, disk.json.cap, disk.json.path],
    [0, 'directory', 5_000_000, join(folder, 'disk')],
  );
  const packs = await volumes('extend', 'store', 'packs', '--kind', 'sqlite', '--allocation', 'linear');
  assert.deepEqual([packs.exit, packs.json.kind], [0, 'folder']);

  const moved = await volumes('move', 'store', 'blobs', disk.json.id);
  assert.deepEqual([moved.exit, moved.json.blobs, moved.json.bytes], [0, 2, 1_600_000]);
  const listed = await volumes('list', 'store');
  const found = listed.json.volumes as Listed[];
  assert.deepEqual(
    found.map(({ kind, state, blobs }) => [kind, state, blobs]),
    [
      ['directory', 'open', 0],
      ['sqlite', 'open', found[1]!.blobs],
      ['directory', 'open', 2],
      ['folder', 'open', 0],
    ],
  );
  assert.equal((await volumes('move', 'store', found[1]!.id, packs.json.id)).exit, 0);
  assert.match(
    (await holdfast(['volumes', 'list', 'store'], options)).stdout,
    /^blobs +directory +open +0 blobs, 0 bytes .*blobs$/m,
  );

  renameSync(join(folder, 'disk'), join(folder, 'away'));
  const away = await volumes('list', 'store');
  assert.equal(away.exit, 4);
  assert.match((away.json.volumes as Listed[]).find(({ id }) => id === disk.json.id)!.problem!, /not there/);
  const blocked = await holdfast(['gc', 'store', '--json'], options);
  assert.equal(blocked.exit, 1);
  assert.match(blocked.json.blocked, /not there/);
  assert.equal((await holdfast(['cat', 'store', 'main:photos/a'], options)).exit, 4);
  assert.equal((await holdfast(['cat', 'store', 'main:photos/c'], options)).stdout, 'small');
  const gone = await volumes('reduce', 'store', disk.json.id);
  assert.deepEqual([gone.exit, gone.json.error.code], [4, 'unavailable']);
  renameSync(join(folder, 'away'), join(folder, 'disk'));

  assert.equal((await volumes('rebalance', 'store')).exit, 0);
  for (const { json } of [disk, packs]) {
    // By its id, or by its path.
    const reduced = await volumes('reduce', 'store', json === disk.json ? json.id : json.path);
    assert.equal(reduced.exit, 0, reduced.stderr);
    assert.deepEqual(readdirSync(json.path), []);
  }
  assert.equal((await holdfast(['cat', 'store', 'main:photos/b'], options)).stdout.length, 700_000);
  const compacted = await holdfast(['compact', 'store', '--json'], options);
  assert.deepEqual([compacted.exit, Object.keys(compacted.json)], [0, ['blobs', 'bytes', 'volumes']]);
  assert.equal((await holdfast(['scrub', 'store'], options)).exit, 0);
});

test('mistakes are exit 2, what is not there exit 1, a folder that is taken exit 1', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  writeFiles(folder, { 'full/letter': 'mine' });
  await holdfast(['init', 'store'], options);
  assert.equal((await holdfast(['volumes', 'extend', 'store', 'disk'], options)).exit, 0);
  const wrong: readonly (readonly [exit: number, code: string, args: readonly string[]])[] = [
    [2, 'invalid-argument', ['frobnicate', 'store']],
    [2, 'invalid-argument', ['extend', 'store']],
    [2, 'invalid-argument', ['extend', 'store', 'x', 'y']],
    [2, 'invalid-argument', ['extend', 'store', 'x', '--cap', 'much']],
    [2, 'invalid-argument', ['extend', 'store', 'x', '--kind', 'tape']],
    [2, 'invalid-argument', ['extend', 'store', 'x', '--allocation', 'chaotic']],
    [2, 'invalid-argument', ['extend', 'store', 'full']],
    [2, 'invalid-argument', ['reduce', 'store', 'blobs']],
    [1, 'not-found', ['reduce', 'store', 'nobody']],
    [1, 'conflict', ['extend', 'store', 'disk']],
  ];
  for (const [exit, code, args] of wrong) {
    const ended = await holdfast(['volumes', ...args, '--json'], options);
    assert.deepEqual(
      [ended.exit, ended.json?.error?.code],
      [exit, code],
      `${args.join(' ')}: ${ended.stderr}`,
    );
  }
});

test('a store is mirrored, loses a disk, is read, and is made whole on a new one', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  const run = async (...args: readonly string[]): ReturnType<typeof holdfast> =>
    await holdfast([...args, '--json'], options);
  writeFiles(folder, { 'photos/a': Buffer.alloc(900_000, 'a'), 'photos/b': 'small' });
  await run('init', 'store');
  assert.equal((await run('add', 'store', 'photos')).exit, 0);

  const refused = await run('volumes', 'mirror', 'store', '2');
  assert.deepEqual([refused.exit, refused.json.error.code], [2, 'invalid-argument']);
  assert.equal((await run('volumes', 'mirror', 'store', 'two')).exit, 2);
  for (const disk of ['disk-1', 'disk-2']) {
    assert.equal((await run('volumes', 'extend', 'store', join(disk, 'large'))).exit, 0);
    assert.equal((await run('volumes', 'extend', 'store', join(disk, 'small'), '--kind', 'sqlite')).exit, 0);
    if (disk === 'disk-2') break;
    const mirrored = await run('volumes', 'mirror', 'store', '2', '--min-copies', '1');
    assert.deepEqual([mirrored.exit, mirrored.json.copies, mirrored.json.missing], [0, 2, 0]);
    assert.ok(mirrored.json.blobs >= 3);
  }
  const whole = await holdfast(['scrub', 'store'], options);
  assert.match(whole.stdout, /^no damage: 8 copies, 1\.8 MB/);
  assert.match((await holdfast(['health', 'store'], options)).stdout, /^last scrub .*: 8 copies, /m);
  const listed = await holdfast(['volumes', 'list', 'store'], options);
  assert.match(listed.stdout, /^2 copies of each blob$/m);

  // Both others away: each copy there is one that lacks, and who is away is named once.
  for (const disk of ['disk-1', 'disk-2']) renameSync(join(folder, disk), join(folder, `${disk}-away`));
  const ids = (await run('volumes', 'list', 'store')).json.volumes as (Listed & { path: string })[];
  const { id: gone } = ids.find(({ path }) => path.endsWith(join('disk-1', 'large')))!;
  const ill = await run('health', 'store');
  assert.deepEqual([ill.exit, ill.json.state, ill.json.missingCopies], [4, 'broken', 4]);
  const why = `volume ${gone}, 1 blob(s) in it: not there: ${join(folder, 'disk-1', 'large')} is missing`;
  assert.ok(ill.json.reasons.includes(why), ill.json.reasons.join('\n'));
  const alone = await run('scrub', 'store');
  assert.deepEqual([alone.exit, alone.json.missingCopies], [4, 4]);
  assert.ok(alone.json.away.includes(why) && alone.stderr.includes(why), alone.stderr);
  for (const disk of ['disk-1', 'disk-2']) renameSync(join(folder, `${disk}-away`), join(folder, disk));
  assert.equal((await run('health', 'store')).exit, 0);

  renameSync(join(folder, 'disk-1'), join(folder, 'dead'));
  assert.equal((await holdfast(['cat', 'store', 'main:photos/a'], options)).stdout.length, 900_000);
  assert.equal((await holdfast(['cat', 'store', 'main:photos/b'], options)).stdout, 'small');
  const scrubbed = await run('scrub', 'store');
  assert.deepEqual([scrubbed.exit, scrubbed.json.damaged, scrubbed.json.missingCopies], [0, [], 0]);
  assert.ok(scrubbed.json.healed >= 3);
  const away = (await run('volumes', 'list', 'store')).json.volumes as (Listed & { path: string })[];
  for (const { id, path, kind } of away)
    if (path.includes('disk-1') && kind !== 'sqlite')
      assert.equal((await run('volumes', 'reduce', 'store', id)).exit, 0);
  assert.equal((await run('volumes', 'list', 'store')).exit, 0);
  assert.equal((await holdfast(['scrub', 'store'], options)).exit, 0);
  assert.equal((await run('gc', 'store')).exit, 0);
});
