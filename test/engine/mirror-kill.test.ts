/** Processes that put into a mirrored store are killed at random moments: what was acknowledged has all its copies, and nothing is left over. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type BlobId, openStore } from '../../engine/index.ts';
import type { MirrorReport } from './mirror-child.ts';
import {
  allHave,
  copiesByMember,
  extendBy,
  filesOf,
  isWhole,
  membersOf,
  putMixed,
  readsAll,
  volumesOf,
} from './mirror-store.ts';
import { smallParameters, storeTest } from './store-folder.ts';

const kills = Number(process.env['HOLDFAST_MIRROR_KILLS'] ?? 2);
const script = fileURLToPath(new URL('./mirror-child.ts', import.meta.url));

/** Runs a child until it has mirrored for a while, and kills it; returns what it was told was durable. */
async function killed(path: string, seed: number): Promise<BlobId[]> {
  const child = fork(script, [path, String(seed)], {
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    execArgv: [],
  });
  const puts: BlobId[] = [];
  let stderr = '';
  child.stderr!.on('data', (bytes: Buffer) => void (stderr += bytes.toString()));
  const begun = new Promise<void>((resolve) => {
    child.on('message', (report: MirrorReport) => {
      if ('put' in report) puts.push(report.put);
      else resolve();
    });
  });
  const ended = new Promise<string>((resolve) =>
    child.on('exit', (code, signal) => resolve(String(signal ?? code))),
  );
  await Promise.race([begun, ended]);
  await new Promise((resolve) => setTimeout(resolve, 10 + Math.random() * 250));
  child.kill('SIGKILL');
  assert.equal(await ended, 'SIGKILL', `the child ended by itself: ${stderr}`);
  return puts;
}

storeTest(
  `killed ${kills} times in the middle of puts and of mirror, a store loses no copy of what was acknowledged, and ends whole`,
  async (folder) => {
    const members = membersOf(folder);
    let store = await openStore(folder.path, { threads: { count: 0 }, parameters: smallParameters });
    await extendBy(store, members);
    const ids = new Set<BlobId>(await putMixed(store));
    await store.volumes.mirror(2);
    await store.close();
    let unfinished = 0;
    // On a busy machine the first may all come too early or too late.
    for (let kill = 0; kill < kills || (unfinished === 0 && kill < 5 * kills); kill++) {
      for (const id of await killed(folder.path, kill)) ids.add(id);
      store = await openStore(folder.path, { mode: 'open', threads: { count: 0 } });
      for (const id of ids) assert.ok((await store.stat(id))!.copies >= 2, `${id} has lost a copy`);
      if ((await store.stats()).missingCopies > 0) unfinished++;
      await readsAll(store, ids);
      copiesByMember(folder);
      if (kill % 3 === 2) {
        const { damaged, recounted, badRows } = await store.scrub();
        assert.deepEqual([damaged, recounted, badRows], [[], 0, 0]);
      }
      assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
      await store.close();
    }
    assert.ok(unfinished > 0, `none of ${5 * kills} kills came in the middle of a mirror`);
    store = await folder.open({ mode: 'open' });
    await store.volumes.mirror(2);
    await store.scrub();
    await store.gc({ graceMs: 0 });
    allHave(folder, 2);
    await isWhole(store, ids, 2);
    const listed = await store.volumes.list();
    for (const [i, { blobs }] of listed.filter(({ kind }) => kind === 'directory').entries())
      assert.equal(filesOf(members[i]!).length, blobs, 'no file is left that is no copy');
    await folder.closeAll();
    // The proof that there are two: any member may go.
    for (const path of [...filesOf(members[0]!), ...volumesOf(members[0]!)]) rmSync(path);
    store = await folder.open({ mode: 'open' });
    await readsAll(store, ids);
    assert.deepEqual((await store.scrub()).damaged, []);
    await isWhole(store, ids, 2);
  },
);
