/** A mirrored group on real small disks: one member fills up while puts go on. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StoreError } from '../../engine/index.ts';
import { allHave, filesOf, isWhole, readsAll } from './mirror-store.ts';
import { noise, storeTest } from './store-folder.ts';

const skip = process.getuid?.() === 0 ? false : 'NOT TESTED: only root can mount a file system';

storeTest(
  'a member fills up in the middle of puts: no-space, nothing half done, and with room all goes on',
  async (folder, t) => {
    const disk = join(folder.side, 'disk');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'holdfast-test', disk], { stdio: 'pipe' });
    } catch (error) {
      t.skip(`NOT TESTED: mount is not allowed here: ${String(error)}`);
      return;
    }
    try {
      const store = await folder.open({ threads: { count: 2 } });
      const member = { files: join(disk, 'files'), volumes: join(disk, 'volumes') };
      writeFileSync(join(disk, 'filler'), new Uint8Array(6 * 1024 * 1024).fill(1));
      await store.volumes.extend(member.files);
      await store.volumes.extend(member.volumes, { kind: 'sqlite' });
      await store.volumes.mirror(2);
      const ids: string[] = [];
      const refused = { small: 0, large: 0 };
      for (let i = 0; i < 400 && (refused.small < 3 || refused.large < 3); i++) {
        const kind = i % 2 === 0 ? 'small' : 'large';
        const bytes = noise(kind === 'small' ? 15_000 : 150_000, i);
        try {
          ids.push((await store.put(bytes, { owner: 'x' })).id);
        } catch (error) {
          assert.ok(StoreError.is(error, 'no-space'), String(error));
          refused[kind]++;
        }
      }
      assert.ok(refused.small > 0 && refused.large > 0, JSON.stringify(refused));
      await readsAll(store, ids);
      for (const id of ids) assert.equal((await store.stat(id))!.copies, 2);
      assert.deepEqual(
        readdirSync(join(member.files, 'tmp')).flatMap((name) =>
          readdirSync(join(member.files, 'tmp', name)),
        ),
        [],
      );
      await assert.rejects(store.volumes.mirror(2), (error) => StoreError.is(error, 'no-space'));
      rmSync(join(disk, 'filler'));
      await store.volumes.mirror(2);
      await store.scrub();
      await store.gc({ graceMs: 0 });
      allHave(folder, 2);
      await isWhole(store, ids, 2);
      const listed = (await store.volumes.list()).find(({ path }) => path === member.files)!;
      assert.equal(filesOf(member).length, listed.blobs);
      await store.close();
      const again = await folder.open({ mode: 'open' });
      await again.volumes.mirror(1);
      await isWhole(again, ids, 1);
      for (const { id, kind } of await again.volumes.list())
        if (id !== 'blobs' && kind !== 'sqlite') await again.volumes.reduce(id);
      await folder.closeAll();
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  },
  { skip },
);
